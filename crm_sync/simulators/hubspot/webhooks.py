"""Webhooks: subscriptions per app, and the delivery of what happened, signed, in batches, again until it is taken.

Sources: webhooks API guide, request validation guide. Not here: what happened (writes.py calls ``Store.emit``).
Deliveries are due by the simulator's clock, so moving it forward brings retries on.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import ssl
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from crm_sync.simulators.hubspot.access import App
from crm_sync.simulators.hubspot.clock import iso
from crm_sync.simulators.hubspot.store import Store

MAX_BATCH = 100
MAX_SUBSCRIPTIONS = 1_000
OBJECTS = ("contact", "company", "deal", "ticket", "product", "line_item", "object")
ACTIONS = ("creation", "deletion", "merge", "restore", "propertyChange", "associationChange")
EVENT_TYPES = frozenset(f"{o}.{a}" for o in OBJECTS for a in ACTIONS) | {"contact.privacyDeletion"}
RETRY_SECONDS = (60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 36_000)
"""Ten retries, the last about a day after the event."""
_POLL = 0.02
_LOG = 1_000
_DECODED = {
    code: bytes.fromhex(code).decode()
    for code in ["3A", "2F", "3F", "40", "21", "24", "27", "28", "29", "2A", "2C", "3B"]
}
_ESCAPE = re.compile("%(" + "|".join(_DECODED) + ")", re.IGNORECASE)


@dataclass(slots=True)
class Subscription:
    id: int
    event_type: str
    property_name: str | None
    object_type_id: str | None
    active: bool
    created: int
    updated: int

    def document(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": str(self.id),
            "eventType": self.event_type,
            "active": self.active,
            "createdAt": iso(self.created),
            "updatedAt": iso(self.updated),
        }
        if self.property_name is not None:
            shown["propertyName"] = self.property_name
        if self.object_type_id is not None:
            shown["objectTypeId"] = self.object_type_id
        return shown


@dataclass(slots=True)
class Target:
    """Where an app wants its events, and which."""

    app: App
    url: str | None = None
    concurrent: int = 10
    created: int = 0
    updated: int = 0
    subscriptions: dict[int, Subscription] = field(default_factory=dict)


@dataclass(slots=True)
class Event:
    """One event on its way; ``attempt`` 0 is the first delivery."""

    target: Target
    body: dict[str, Any]
    due: int
    attempt: int = 0


class Webhooks:
    """All apps' subscriptions and the events under way; ``log`` keeps the last deliveries."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.targets: dict[int, Target] = {}
        self.waiting: list[Event] = []
        self.log: deque[dict[str, Any]] = deque(maxlen=_LOG)
        self.next_id = 400_001
        self._task: asyncio.Task[None] | None = None

    def target(self, app: App) -> Target:
        return self.targets.setdefault(app.id, Target(app))

    def emit(self, happened: dict[str, Any]) -> None:
        """Queue what happened for everyone who subscribed; called from within the event loop."""
        kind, what = happened["kind"], happened["what"]
        facts = {name: value for name, value in happened.items() if name not in {"kind", "what"}}
        for target in self.targets.values():
            if target.url is None:
                continue
            for each in target.subscriptions.values():
                generic = each.event_type == f"object.{what}" and each.object_type_id == kind.type_id
                if not each.active or not (generic or each.event_type == f"{kind.singular}.{what}"):
                    continue
                if each.property_name is not None and each.property_name != facts.get("propertyName"):
                    continue
                body = self._body(target, each, facts)
                if generic:
                    body["objectTypeId"] = kind.type_id
                self._queue(target, body)
        if self.waiting and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._deliver())

    def _body(self, target: Target, subscription: Subscription, facts: dict[str, Any]) -> dict[str, Any]:
        return {
            "eventId": self.store.dice.randrange(1, 2**32),
            "subscriptionId": subscription.id,
            "portalId": self.store.portal_id,
            "appId": target.app.id,
            "subscriptionType": subscription.event_type,
            "attemptNumber": 0,
            **facts,
        }

    def _queue(self, target: Target, body: dict[str, Any]) -> None:
        settings, dice = self.store.settings, self.store.dice
        due = self.store.clock.now() + settings.webhook_delay
        self.waiting.append(Event(target, body, due))
        if dice.random() < settings.webhook_duplicates:
            self.waiting.append(Event(target, dict(body), due + dice.randrange(0, 500)))
        if dice.random() < settings.webhook_foreign_events:
            foreign = {**body, "portalId": self.store.portal_id + 1, "eventId": dice.randrange(1, 2**32)}
            self.waiting.append(Event(target, foreign, due))

    async def _deliver(self) -> None:
        verify: ssl.SSLContext | bool = True
        if self.store.settings.webhook_ca_file:
            verify = ssl.create_default_context(cafile=self.store.settings.webhook_ca_file)
        timeout = self.store.settings.webhook_timeout
        async with httpx.AsyncClient(verify=verify, timeout=timeout, trust_env=False) as client:
            while self.waiting:
                due = self._due()
                if not due:
                    await asyncio.sleep(_POLL)
                    continue
                await asyncio.gather(
                    *(self._send(client, target, events) for target, events in self._batches(due))
                )

    def _due(self) -> list[Event]:
        now = self.store.clock.now()
        due = [event for event in self.waiting if event.due <= now]
        if due:
            self.waiting = [event for event in self.waiting if event.due > now]
        if self.store.settings.webhook_reorder:
            self.store.dice.shuffle(due)
        return due

    @staticmethod
    def _batches(events: Iterable[Event]) -> list[tuple[Target, list[Event]]]:
        by_app: dict[int, list[Event]] = {}
        for event in events:
            by_app.setdefault(event.target.app.id, []).append(event)
        return [
            (rows[0].target, rows[start : start + MAX_BATCH])
            for rows in by_app.values()
            for start in range(0, len(rows), MAX_BATCH)
        ]

    async def _send(self, client: httpx.AsyncClient, target: Target, events: list[Event]) -> None:
        if target.url is None:
            return
        body = orjson.dumps([{**event.body, "attemptNumber": event.attempt} for event in events])
        headers = sign(target.app.client_secret, "POST", target.url, body, self.store.clock.now())
        status: int | None = None
        try:
            # httpx waits that long for each step; the whole answer must be there within the time.
            async with asyncio.timeout(self.store.settings.webhook_timeout):
                status = (await client.post(target.url, content=body, headers=headers)).status_code
        except (httpx.HTTPError, TimeoutError) as error:
            outcome = type(error).__name__
        else:
            outcome = str(status)
        self.log.append(
            {
                "at": iso(self.store.clock.now()),
                "events": len(events),
                "outcome": outcome,
                "attempts": sorted({event.attempt for event in events}),
            }
        )
        if status is None or not 200 <= status < 300:
            self._again(events)

    def _again(self, events: Iterable[Event]) -> None:
        now, dice = self.store.clock.now(), self.store.dice
        scale = self.store.settings.webhook_retry_scale
        for event in events:
            if event.attempt >= len(RETRY_SECONDS):
                continue
            event.due = now + int(RETRY_SECONDS[event.attempt] * 1000 * scale * dice.uniform(0.8, 1.2))
            event.attempt += 1
            self.waiting.append(event)


def sign(secret: str, method: str, uri: str, body: bytes, now: int) -> dict[str, str]:
    """The headers of a delivery: signatures v1 and v3 (request validation guide)."""
    stamp = str(now)
    decoded = _ESCAPE.sub(lambda match: _DECODED[match[1].upper()], uri)
    v3 = hmac.digest(secret.encode(), f"{method}{decoded}".encode() + body + stamp.encode(), "sha256")
    return {
        "Content-Type": "application/json",
        "User-Agent": "HubSpot Connect 2.0 (http://dev.hubspot.com/) - WebHooks",
        "X-HubSpot-Signature": hashlib.sha256(secret.encode() + body).hexdigest(),
        "X-HubSpot-Signature-Version": "v1",
        "X-HubSpot-Signature-v3": base64.b64encode(v3).decode(),
        "X-HubSpot-Request-Timestamp": stamp,
    }
