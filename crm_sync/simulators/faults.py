"""Faults in front of a simulator: what networks, proxies and busy vendors do to a client's requests.

Here: the ASGI middleware that acts a plan (fault_plan.py) out, and the answers' ``Date``. Not here: what a vendor's error
body looks like and what can happen to an account (the simulator hands both in as a ``Vendor``), and faults within the
vendor's own logic.
"""

import asyncio
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, TypeAlias

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_sync.simulators import damage, door
from crm_sync.simulators.fault_plan import Effect, Fault, Plan
from crm_sync.simulators.transport import abort, close

VendorAnswer: TypeAlias = Callable[[int, str], tuple[object, Mapping[str, str]]]
"""(status, path) -> (JSON body, headers): this vendor's way to say it."""

HTML = b"<!DOCTYPE html><html><head><title>Login</title></head><body>Please log in.</body></html>"


@dataclass(frozen=True, slots=True)
class Vendor:
    """What the middleware must know of a simulator.

    ``now`` is the vendor's clock in seconds since the epoch. ``act`` makes something happen to the account and returns
    how to take it back, or None if nothing could happen now; it raises ValueError for what it does not know.
    """

    answer: VendorAnswer
    now: Callable[[], float]
    act: Callable[[Mapping[str, Any]], Callable[[], None] | None]


class FaultMiddleware:
    """Acts the plan out around ``app``. The control surface (``/_simulator/``) is never touched."""

    def __init__(self, app: ASGIApp, plan: Plan, vendor: Vendor) -> None:
        self.app = app
        self.plan = plan
        self.vendor = vendor
        self.later: set[asyncio.Task[None]] = set()
        self.pages = damage.Pages()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = self._dated(send)
        fault, asked = None, (scope["method"], scope["path"], scope["query_string"].decode("latin-1"))
        if self.plan.faults and not scope["path"].startswith("/_simulator"):
            fault = self.plan.pick(*asked)
        with suppress(ClientDisconnect):  # a client that was killed, or gave up
            if fault is None and self.plan.repeats(*asked):
                await self._spoil(Effect(), scope, receive, send)  # as it is, but remembered
            elif fault is None:
                await self.app(scope, receive, send)
            else:
                await self._strike(fault, scope, receive, send)

    async def _strike(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        effect = fault.effect
        if effect.act is not None:
            self._act(fault, effect.act)
        for how in door.HOW:
            if (seconds := getattr(effect, how)) is not None:
                await self._shut(how, seconds, scope, receive)
                return
        if effect.delay:
            await asyncio.sleep(effect.delay)
        if effect.drop == "before":
            await _read_all(receive)
            abort(scope)
            await _gone(receive)
        elif effect.late is not None:
            await self._put_off(effect.late, scope, receive)
        elif effect.html:
            await _reply(send, receive, 200, HTML, {"content-type": "text/html; charset=utf-8"})
        elif effect.status is not None:
            await self._refuse(effect, scope, receive, send)
        elif _touches_answer(effect):
            await self._spoil(effect, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _act(self, fault: Fault, what: Mapping[str, Any]) -> None:
        """Let it happen, for so many ``seconds`` if it says so, or until another plan is in force."""
        undo = self.vendor.act({key: value for key, value in what.items() if key != "seconds"})
        if undo is None:
            fault.hits -= 1
        elif what.get("seconds") == "until another plan":
            self.plan.at_its_end.append(undo)
        elif "seconds" in what:
            self._do_later(float(what["seconds"]), undo)

    async def _shut(self, how: door.How, seconds: float, scope: Scope, receive: Receive) -> None:
        entrance = door.of(scope)
        await entrance.shut(how)
        self._keep(asyncio.get_running_loop().create_task(entrance.open_after(seconds)))
        await _gone(receive)

    def _do_later(self, seconds: float, what: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            what()

        self._keep(asyncio.get_running_loop().create_task(wait()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self.later.add(task)
        task.add_done_callback(self.later.discard)

    def _dated(self, send: Send) -> Send:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(self.vendor.now(), usegmt=True).encode()
                message["headers"] = [*message["headers"], (b"date", date)]
            await send(message)

        return dated

    async def _refuse(self, effect: Effect, scope: Scope, receive: Receive, send: Send) -> None:
        status = effect.status or 500
        body, headers = self.vendor.answer(status, scope["path"])
        if effect.body is not None:
            body = effect.body
        merged = {"content-type": "application/json;charset=UTF-8", **headers, **effect.headers}
        if effect.retry_after is not None:
            merged["retry-after"] = f"{effect.retry_after:g}"
        payload = body.encode() if isinstance(body, str) else orjson.dumps(body)
        await _reply(send, receive, status, payload, merged)

    async def _put_off(self, seconds: float, scope: Scope, receive: Receive) -> None:
        """The client sees a dead connection now; the request takes effect later all the same."""
        messages = await _read_all(receive)

        async def nowhere(_message: Message) -> None:
            pass

        async def apply() -> None:
            await asyncio.sleep(seconds)
            await self.app(scope, _told(messages, _nobody), nowhere)

        self._keep(asyncio.get_running_loop().create_task(apply()))
        abort(scope)
        await _gone(receive)

    async def _spoil(self, effect: Effect, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request take effect, then damage the answer."""
        method, path, query = scope["method"], scope["path"], scope["query_string"].decode("latin-1")
        repeats = self.plan.repeats(method, path, query)
        if repeats or effect.rows is not None or effect.charset is not None:
            plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
            scope = {**scope, "headers": plain}
        asked = await _read_all(receive)
        place = self.pages.of(path, query, _body(asked)) if repeats else ""
        start, body = await self._collect(scope, _told(asked, receive))
        if effect.stall:
            await asyncio.sleep(effect.stall)
        if effect.drop == "after" or not start:
            abort(scope)
            await _gone(receive)
            return
        headers = MutableHeaders(raw=list(start["headers"]))
        kind, true = headers.get("content-type", ""), body
        if effect.rows is not None:
            body = damage.wrong_rows(body, kind, effect.rows, self.pages.before(place), self.plan.dice)
        if repeats and start["status"] == 200:
            self.pages.remember(place, true, kind)
        if effect.charset is not None:
            body = damage.recoded(body, effect.charset)
        if effect.bad_gzip:
            headers["content-encoding"] = "gzip"
            body = damage.bad_gzip(body)
        headers["content-length"] = str(len(body))
        start["headers"] = headers.raw
        await send(start)
        if effect.truncate is None:
            await send({"type": "http.response.body", "body": body})
            return
        part = body[: int(len(body) * effect.truncate)]
        await send({"type": "http.response.body", "body": part, "more_body": True})
        close(scope)
        await _gone(receive)

    async def _collect(self, scope: Scope, receive: Receive) -> tuple[MutableMapping[str, Any], bytes]:
        """The answer as a whole: its start (empty if there was none) and its body."""
        start: MutableMapping[str, Any] = {}
        chunks: list[bytes] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                chunks.append(message.get("body", b""))

        await self.app(scope, receive, keep)
        return start, b"".join(chunks)


def _touches_answer(effect: Effect) -> bool:
    return (
        effect.drop == "after"
        or effect.stall > 0
        or effect.bad_gzip
        or any(given is not None for given in (effect.truncate, effect.charset, effect.rows))
    )


async def _read_all(receive: Receive) -> list[Message]:
    messages = []
    while True:
        messages.append(await receive())
        if messages[-1]["type"] != "http.request" or not messages[-1].get("more_body"):
            return messages


def _body(messages: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in messages)


def _told(messages: list[Message], then: Receive) -> Receive:
    """A request that was read already, and what comes after it."""

    async def again() -> Message:
        return messages.pop(0) if messages else await then()

    return again


async def _nobody() -> Message:
    return {"type": "http.disconnect"}


async def _gone(receive: Receive) -> None:
    """Wait until the server has noticed that the connection is closed; it then expects no more of us."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _reply(send: Send, receive: Receive, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    await _read_all(receive)
    raw = Headers({**{k.lower(): v for k, v in headers.items()}, "content-length": str(len(body))}).raw
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
