"""The simulator as an ASGI application: HTTP in, the gate, a handler, HTTP out.

Here: bodies, compression, sessions, limits and versions, which every request passes. Not here: what any
path means (routes.py).
"""

import asyncio
import gzip
import re
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives import serialization
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from crm_sync.simulators.faults import FaultMiddleware, Vendor
from crm_sync.simulators.salesforce import control, org, routes, seed, trouble
from crm_sync.simulators.salesforce.cometd import PATH, CometD
from crm_sync.simulators.salesforce.errors import ApiError, not_found
from crm_sync.simulators.salesforce.sessions import Grant, expired
from crm_sync.simulators.salesforce.web import JSON, Answer, Call
from crm_sync.simulators.serve import App, Options

API = re.compile(r"/services/data/v(\d+\.\d)(/.*)?", re.IGNORECASE)
VERSION_NAMES = frozenset(f"{number}.0" for number in org.VERSIONS)
MAX_HEAD = 16_384
NO_BODY = frozenset({204, 304})
FAMILIES = (
    ("/jobs/query", "bulk_query"),
    ("/jobs/ingest", "bulk_ingest"),
    ("/composite/sobjects", "collections"),
    ("/composite", "composite"),
    ("/query", "query"),
    ("/limits", "limits"),
    ("/search", "search"),
)


class Salesforce:
    """The application; ``org`` is its whole state."""

    def __init__(self, options: Options) -> None:
        self.org = org.build(options.plan)
        self.org.settings.change(options.plan.settings)
        self.org.describe_changed = self.org.clock.now()
        seed.fill(self.org, options)
        self.login = routes.login()
        self.identity = routes.identity()
        self.api = routes.api(self.perform)
        self.cometd = CometD(self.org)
        self.control = control.router(options.plan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if _head_size(scope) > MAX_HEAD:
            await _send(
                Answer(414, ApiError(414, "URI_TOO_LONG", "The URI exceeds the maximum length").body()), send
            )
            return
        request = Request(scope, receive)
        body = await request.body()
        call = Call(
            org=self.org,
            method=request.method,
            path=scope["path"].rstrip("/"),
            query=dict(request.query_params),
            headers={key.lower(): value for key, value in request.headers.items()},
            body=body,
        )
        if PATH.fullmatch(call.path):
            await _send(await self.cometd.answer(call), send)
            return
        answer = self.answer(call)
        wait = answer.delay + (0 if call.path.startswith("/_simulator") else self.org.settings.latency)
        if wait:
            await asyncio.sleep(wait)
        await _send(answer, send)

    def answer(self, call: Call) -> Answer:
        """The answer to a request from outside, counted and, for API calls, charged."""
        template, family = call.path, "login"
        try:
            if call.headers.get("content-encoding", "").lower() == "gzip":
                call.body = _gunzip(call.body)
            if call.path.startswith("/_simulator/"):
                route, call.parts = self.control.find(call.method, call.path)
                return route.handler(call)
            if API.fullmatch(call.path):
                family, template, answer = self._api(call)
            else:
                template, answer = self._outside(call)
        except ApiError as error:
            answer = Answer(error.status, error.body())
        self.org.usage.count(family, call.method, template, answer.status)
        if call.session is not None:
            answer.headers.setdefault("Sforce-Limit-Info", self.org.usage.header(call.session.client))
        return answer

    def perform(self, call: Call) -> Answer:
        """The answer to an authenticated API call (a subrequest of a composite, too)."""
        return self._perform(call)[1]

    def _api(self, call: Call) -> tuple[str, str, Answer]:
        family = _family(call.path)
        try:
            call.session = self.org.sessions.authenticate(call.headers.get("authorization", ""))
            self.org.usage.charge(call.session.client)
        except ApiError as error:
            return family, "(refused)", Answer(error.status, error.body())
        template, answer = self._perform(call)
        return family, template, answer

    def _perform(self, call: Call) -> tuple[str, Answer]:
        template = "(unknown)"
        try:
            found = API.fullmatch(call.path)
            if found is None or found[1] not in VERSION_NAMES:
                raise not_found()
            call.version = found[1]
            route, call.parts = self.api.find(call.method, found[2] or "")
            template = route.template or "/"
            return template, route.handler(call)
        except ApiError as error:
            return template, Answer(error.status, error.body())

    def _outside(self, call: Call) -> tuple[str, Answer]:
        """Login hosts' paths."""
        try:
            route, call.parts = self.login.find(call.method, call.path)
        except ApiError as error:
            if error.status == 405:
                raise
            route, call.parts = self.identity.find(call.method, call.path)
            try:
                call.session = self.org.sessions.authenticate(call.headers.get("authorization", ""))
            except ApiError:
                return route.template, Answer(
                    403, b"Bad_OAuth_Token", {"Content-Type": "text/html;charset=UTF-8"}
                )
        return route.template, route.handler(call)


def _head_size(scope: Scope) -> int:
    """Bytes of the request's URI and headers, which the service limits together."""
    headers = sum(len(key) + len(value) for key, value in scope["headers"])
    return len(scope["raw_path"]) + len(scope["query_string"]) + headers


def _family(path: str) -> str:
    return next((name for part, name in FAMILIES if part.lower() in path.lower()), "sobjects")


def _gunzip(body: bytes) -> bytes:
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error):
        raise ApiError(400, "UNKNOWN_EXCEPTION", "The request body is not in GZIP format") from None


async def _send(answer: Answer, send: Send) -> None:
    headers = dict(answer.headers)
    body = b""
    if isinstance(answer.body, bytes):
        body = answer.body
    elif answer.body is not None:
        body = orjson.dumps(answer.body)
        headers.setdefault("Content-Type", JSON)
    if answer.stream is None and answer.status not in NO_BODY:
        headers["Content-Length"] = str(len(body))
    raw = [(key.lower().encode(), value.encode("latin-1", "replace")) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    if answer.stream is None:
        await send({"type": "http.response.body", "body": body})
        return
    for chunk in answer.stream:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


def vendor_answer(status: int, path: str) -> tuple[object, Mapping[str, str]]:
    """How Salesforce words a status that a fault plan asks for."""
    if path.startswith("/services/oauth2"):
        error = {401: "invalid_client", 403: "rate_limit_exceeded", 429: "rate_limit_exceeded"}.get(
            status, "server_error" if status >= 500 else "invalid_grant"
        )
        return {"error": error, "error_description": error.replace("_", " ")}, {}
    known = {
        401: expired(),
        403: ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
        404: not_found(),
        429: ApiError(429, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."),
        503: ApiError(503, "SERVER_UNAVAILABLE", "Server is unavailable, please retry later"),
    }
    usual = ApiError(
        status,
        "UNKNOWN_EXCEPTION",
        "An unexpected error occurred. Please include this ErrorId if you contact support: 1234567890-12345 (1234567890)",
    )
    return known.get(status, usual).body(), {}


def _write_key(state: org.Org, directory: Path) -> Path:
    """The private key of the connected app's certificate, for the JWT bearer flow."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "salesforce_jwt.key"
    path.touch(mode=0o600)
    path.write_bytes(
        state.account.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


def create(options: Options) -> App:
    """A simulated org with its first records, ready to be served."""
    application = Salesforce(options)
    state = application.org
    account = state.account
    client = account.client_id
    session = state.sessions.open(account.username, client)
    refresh = state.sessions.grant_refresh(Grant(account.username, client, "refresh_token api"))

    def base_url(url: str) -> None:
        state.base_url = url

    info: dict[str, Any] = {
        "kind": "salesforce",
        "api_version": org.LATEST,
        "client_id": client,
        "client_secret": account.client_secret,
        "access_token": session.token,
        "refresh_token": refresh,
        "username": account.username,
        "password": account.password,
        "security_token": account.security_token,
    }
    if options.state_dir is not None:
        info["private_key_file"] = str(_write_key(state, options.state_dir))
    vendor = Vendor(vendor_answer, state.clock.now, partial(trouble.act, state))
    compressed = GZipMiddleware(application, minimum_size=1400, compresslevel=1)
    asgi = FaultMiddleware(compressed, options.plan, vendor)
    return App(asgi, info, base_url)
