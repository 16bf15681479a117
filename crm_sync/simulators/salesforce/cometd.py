"""Change events over CometD (Bayeux with long polling), as the Streaming API delivers them.

Source: Streaming API Developer Guide, "Message Durability" (the replay extension: -1 new events only, -2
all that are retained, or the last replay id seen); Change Data Capture Developer Guide, "Change Event
Channels". Pub/Sub API (gRPC) is not simulated.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crm_sync.simulators.salesforce.control import event_document
from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.org import Org
from crm_sync.simulators.salesforce.web import Answer, Call

PATH = re.compile(r"/cometd/(\d+\.\d)(/.*)?", re.IGNORECASE)
ALL_CHANGES = "/data/ChangeEvents"
CHANNEL = re.compile(r"/data/(\w+)ChangeEvent")
POLL_SECONDS = 110.0
LOOK_SECONDS = 0.1
NEW_ONLY, RETAINED = -1, -2
Message = dict[str, Any]


@dataclass(slots=True)
class Client:
    """One handshake: channel -> replay id of the last event delivered on it."""

    positions: dict[str, int] = field(default_factory=dict)


class CometD:
    """All connected clients of the streaming endpoint."""

    def __init__(self, org: Org) -> None:
        self.org = org
        self.clients: dict[str, Client] = {}

    async def answer(self, call: Call) -> Answer:
        """POST /cometd/XX.X with a list of messages; waits if one of them is a connect."""
        try:
            call.session = self.org.sessions.authenticate(call.headers.get("authorization", ""))
            messages = call.json()
        except ApiError as error:
            return Answer(error.status, error.body())
        replies: list[Message] = []
        for message in messages if isinstance(messages, list) else [messages]:
            replies += await self._reply(message)
        return Answer(body=replies)

    async def _reply(self, message: Mapping[str, Any]) -> list[Message]:
        channel = str(message.get("channel"))
        base: Message = {"channel": channel, "successful": True}
        if "id" in message:
            base["id"] = message["id"]
        if channel == "/meta/handshake":
            return [base | self._handshake()]
        client_id = str(message.get("clientId"))
        client = self.clients.get(client_id)
        base["clientId"] = client_id
        if client is None:
            advice = {"reconnect": "handshake", "interval": 0}
            return [base | {"successful": False, "error": "403::Unknown client", "advice": advice}]
        if channel == "/meta/connect":
            events = await self._events(client, message)
            advice = {"reconnect": "retry", "interval": 0, "timeout": int(POLL_SECONDS * 1000)}
            return [*events, base | {"advice": advice}]
        if channel in {"/meta/subscribe", "/meta/unsubscribe"}:
            wanted = message.get("subscription", [])
            names = wanted if isinstance(wanted, list) else [wanted]
            return [base | {"subscription": wanted} | self._subscription(client, channel, names, message)]
        if channel == "/meta/disconnect":
            del self.clients[client_id]
            return [base]
        return [base | {"successful": False, "error": f"404::Unknown channel {channel}"}]

    def _handshake(self) -> Message:
        client_id = secrets.token_urlsafe(18)
        self.clients[client_id] = Client()
        return {
            "version": "1.0",
            "minimumVersion": "1.0",
            "clientId": client_id,
            "supportedConnectionTypes": ["long-polling"],
            "ext": {"replay": True, "payload.format": True},
        }

    def _subscription(
        self, client: Client, channel: str, names: list[str], message: Mapping[str, Any]
    ) -> Message:
        replay = (message.get("ext") or {}).get("replay") or {}
        for name in names:
            if channel == "/meta/unsubscribe":
                client.positions.pop(name, None)
                continue
            found = CHANNEL.fullmatch(name)
            if name != ALL_CHANGES and (found is None or self.org.store.schema.find(found[1]) is None):
                return {"successful": False, "error": f"404::The channel specified is not valid: {name}"}
            since = int(replay.get(name, NEW_ONLY))
            if since > self.org.store.replay_id:
                return {
                    "successful": False,
                    "error": f"400::The replayId {{{since}}} you provided was invalid.",
                }
            client.positions[name] = self.org.store.replay_id if since == NEW_ONLY else since
        return {}

    async def _events(self, client: Client, message: Mapping[str, Any]) -> list[Message]:
        """What is new on the client's channels, as soon as there is something, or nothing in the end."""
        asked = (message.get("advice") or {}).get("timeout")
        seconds = POLL_SECONDS if asked is None else min(float(asked) / 1000, POLL_SECONDS)
        deadline = time.monotonic() + seconds
        while True:
            found = self._new(client)
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            await asyncio.sleep(min(LOOK_SECONDS, left))

    def _new(self, client: Client) -> list[Message]:
        self.org.store.purge()
        found = []
        for name, since in client.positions.items():
            channel = CHANNEL.fullmatch(name)
            kind = channel[1].lower() if channel is not None else None
            for event in self.org.store.feed(since):
                client.positions[name] = event.replay_id
                if kind in {None, event.object.lower()}:
                    document = event_document(event)
                    found.append({"channel": name, "data": {"schema": event.object, **document}})
        return found
