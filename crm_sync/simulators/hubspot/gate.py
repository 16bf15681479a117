"""What every request passes: version of the path, token, scope, rate limits, headers, counts (usage guidelines).

Here: one ASGI middleware. Not here: the tokens themselves (access.py), faults (the shared middleware outside this one).
"""

import re
from collections import Counter, deque
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_sync.simulators.hubspot.access import Access, Grant
from crm_sync.simulators.hubspot.clock import DAY, datetime_of
from crm_sync.simulators.hubspot.errors import ApiError, limit_body
from crm_sync.simulators.hubspot.http import JSON
from crm_sync.simulators.hubspot.store import Store

ZONE = ZoneInfo("US/Eastern")
WINDOW = 10_000
VERSIONS = frozenset({"2025-09", "2026-03", "2026-09", "2026-09-beta"})
_DATE = r"(\d{4}-\d{2}(?:-beta)?)"
_DATED = (
    (re.compile(rf"/crm/objects/{_DATE}/([^/]+/[^/]+/associations/.+)"), r"/crm/v4/objects/\2"),
    (re.compile(rf"/crm/objects/{_DATE}/(.+)"), r"/crm/v3/objects/\2"),
    (re.compile(rf"/crm/associations/{_DATE}/(.+)"), r"/crm/v4/associations/\2"),
    (re.compile(rf"/crm/(properties|pipelines|owners|exports|limits)/{_DATE}(/.+|)"), r"/crm/v3/\1\3"),
    (re.compile(rf"/(crm-object-schemas|account-info|oauth|webhooks)/{_DATE}(/.+)"), r"/\1/v3\3"),
    (re.compile(rf"/(?:app-)?webhooks/{_DATE}(/.+)"), r"/webhooks/v3\2"),
)
_VERSION = re.compile(r"/(v\d)(?:/|$)")
_OBJECT = re.compile(r"/crm/v3/objects/([^/]+)(/batch/read|/search)?")
_SCHEMA = re.compile(r"/crm/v3/properties/([^/]+)(/batch/read)?")


def canonical(path: str) -> tuple[str, str]:
    """A dated path as the v3 or v4 path that answers it, and the version that was asked for."""
    path = path.rstrip("/") or "/"
    found = _VERSION.search(path)
    if found:
        return path, found[1]
    for pattern, target in _DATED:
        match = pattern.fullmatch(path)
        if match:
            version = next(group for group in match.groups() if re.fullmatch(_DATE, group or ""))
            return (match.expand(target), version) if version in VERSIONS else (path, version)
    return path, ""


class Limits:
    """How often each app called in the last ten seconds, and everybody today."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.recent: dict[int, deque[int]] = {}
        self.searches: deque[int] = deque()
        self.today: Counter[int] = Counter()
        self.refused: Counter[str] = Counter()

    def spend(self, grant: Grant, *, search: bool) -> tuple[str | None, dict[str, str]]:
        """Count a call: (name of the limit that refuses it, headers that go with the answer)."""
        settings, now = self.store.settings, self.store.clock.now()
        if search:
            self._forget(self.searches, now - 1000)
            if len(self.searches) >= settings.search_per_second:
                return "secondly", {}
            self.searches.append(now)
            return None, {}
        recent = self.recent.setdefault(grant.app.id, deque())
        self._forget(recent, now - WINDOW)
        day = day_number(now)
        most = settings.burst_private if grant.app.private else settings.burst_oauth
        policy = None
        if grant.app.private and self.today[day] >= settings.daily:
            policy = "daily"
        elif len(recent) >= most:
            policy = "ten_secondly_rolling"
        else:
            recent.append(now)
            self.today[day] += grant.app.private
        headers = {
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(WINDOW),
            "X-HubSpot-RateLimit-Max": str(most),
            "X-HubSpot-RateLimit-Remaining": str(max(0, most - len(recent))),
            "X-HubSpot-RateLimit-Secondly": str(most // 10),
            "X-HubSpot-RateLimit-Secondly-Remaining": str(max(0, most // 10 - 1)),
        }
        if grant.app.private:
            headers["X-HubSpot-RateLimit-Daily"] = str(settings.daily)
            headers["X-HubSpot-RateLimit-Daily-Remaining"] = str(max(0, settings.daily - self.today[day]))
        return policy, headers

    def wait(self, policy: str, grant: Grant) -> int:
        """Seconds until the limit lets the next call through, for ``Retry-After``."""
        now = self.store.clock.now()
        if policy == "daily":
            return max(1, (day_end(now) - now) // 1000)
        recent = self.searches if policy == "secondly" else self.recent.get(grant.app.id, deque())
        span = 1000 if policy == "secondly" else WINDOW
        return max(1, -(-(recent[0] + span - now) // 1000)) if recent else 1

    @staticmethod
    def _forget(moments: deque[int], before: int) -> None:
        while moments and moments[0] <= before:
            moments.popleft()


class Gate:
    """The middleware."""

    def __init__(self, app: ASGIApp, store: Store, access: Access, limits: Limits) -> None:
        self.app = app
        self.store = store
        self.access = access
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        if path.startswith("/_simulator"):
            await self.app(scope, receive, send)
            return
        scope["state"] = state = dict(scope.get("state") or {}, path=path)
        target, state["version"] = canonical(path)
        scope = {**scope, "path": target, "raw_path": target.encode()}
        headers = {"X-HubSpot-Correlation-Id": str(uuid4())}
        key = f"hapikey={self.access.developer_key}"
        developer = target.startswith("/webhooks/") and key in scope["query_string"].decode("latin-1").split(
            "&"
        )
        if not developer and not target.startswith(("/oauth/", "/exports/download/")):
            try:
                grant = self._authenticate(scope)
                search = target.endswith("/search")
                policy, more = self.limits.spend(grant, search=search)
                headers |= more
                if policy is not None:
                    await self._refuse_rate(send, policy, grant, headers)
                    return
                self._authorize(scope, grant)
            except ApiError as error:
                self.store.stats[f"status.{error.status}"] += 1
                await respond(send, error.status, error.body(), headers)
                return
            state["app_id"], state["grant"] = grant.app.id, grant
        await self.app(scope, receive, self._with(send, headers, scope))

    def _with(self, send: Send, headers: Mapping[str, str], scope: Scope) -> Send:
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *raw]
                self.store.stats[scope.get("family", "unknown")] += 1
                self.store.stats[f"status.{message['status']}"] += 1
            await send(message)

        return sender

    async def _refuse_rate(self, send: Send, policy: str, grant: Grant, headers: dict[str, str]) -> None:
        self.limits.refused[policy] += 1
        self.store.stats["status.429"] += 1
        if self.store.settings.retry_after:
            headers["Retry-After"] = str(self.limits.wait(policy, grant))
        await respond(send, 429, limit_body(policy), headers)

    def _authenticate(self, scope: Scope) -> Grant:
        given = next((v for n, v in scope["headers"] if n == b"authorization"), b"").decode("latin-1")
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ApiError(
                401,
                "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more "
                "details in the authentication documentation",
                "INVALID_AUTHENTICATION",
            )
        grant = self.access.tokens.get(token.strip())
        if grant is None or grant.kind != "access":
            raise ApiError(401, "Authentication credentials are invalid", "INVALID_AUTHENTICATION")
        now = self.store.clock.now()
        if grant.expires is not None and grant.expires <= now:
            ago = (now - grant.expires) // 1000
            raise ApiError(
                401,
                f"The OAuth token used to make this call expired {ago} second(s) ago.",
                "EXPIRED_AUTHENTICATION",
            )
        return grant

    def _authorize(self, scope: Scope, grant: Grant) -> None:
        any_of = self._needed(scope["path"], scope["method"])
        if any_of and not any_of & grant.scopes:
            needed = sorted(any_of)
            raise ApiError(
                403,
                "This app hasn't been granted all required scopes to make this call. Read more about required scopes here",
                "MISSING_SCOPES",
                errors=[
                    {
                        "message": "One or more of the following scopes are required.",
                        "context": {"requiredGranularScopes": needed},
                    }
                ],
                links={"scopes": "https://developers.hubspot.com/scopes"},
            )

    def _needed(self, path: str, method: str) -> set[str]:
        """Scopes of which one is enough."""
        for pattern, schema in ((_OBJECT, False), (_SCHEMA, True)):
            found = pattern.match(path)
            kind = self.store.names.get(found[1].lower()) if found else None
            if found and kind:
                right = "read" if method == "GET" or found[2] else "write"
                if not kind.scope.startswith("crm."):
                    return {kind.scope}
                name = kind.scope.removeprefix("crm.objects.")
                schemas = {f"crm.schemas.{name}.{right}"} | (
                    {f"crm.objects.{name}.read"} if right == "read" else set()
                )
                return schemas if schema else {f"{kind.scope}.{right}"}
        if path.startswith("/crm/v3/owners"):
            return {"crm.objects.owners.read"}
        if path.startswith("/crm/v3/exports"):
            return {"crm.export"}
        return set()


async def respond(send: Send, status: int, document: Any, headers: Mapping[str, str]) -> None:
    """Send a JSON answer without an application."""
    body = orjson.dumps(document)
    merged = {"content-type": JSON, "content-length": str(len(body)), **headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in merged.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def day_number(now: int) -> int:
    """The portal's own day."""
    return datetime_of(now).astimezone(ZONE).toordinal()


def day_end(now: int) -> int:
    """When the portal's day ends, in ms."""
    local = datetime_of(now).astimezone(ZONE)
    midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return min(now + 2 * DAY, int(midnight.timestamp() * 1000))
