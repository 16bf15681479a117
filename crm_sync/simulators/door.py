"""The door of a simulator: its listening socket, which a plan of faults can shut for a while.

Here: shutting it in one of three ways, and opening it again on the same port. Not here: the decision to do so
(faults.py), and what can happen to a connection that came in (transport.py).
"""

import asyncio
import socket
from typing import Literal, cast, get_args

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from crm_sync.simulators.transport import Protocol

EXTENSION = "simulator.door"
BACKLOG = 512
PATIENCE = 30.0  # seconds for which the port may be somebody else's when it is opened again

_SPARED = ("/_simulator", "/oauth")
"""In the paths of requests whose answers still go out. A new refresh token that is lost when the old one is dead already
costs the login: a person has to connect the account again, and no sync can mend it."""

How = Literal["refuse", "hang_up", "mute"]
HOW: tuple[How, ...] = get_args(How)


class Door:
    """Where connections come in: the socket that was bound first, and uvicorn's servers, which get copies of it."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.address: tuple[str, int] = listener.getsockname()
        self.server: uvicorn.Server | None = None
        self.shut_now = False
        self._instead: asyncio.Server | None = None

    def shows(self, app: ASGIApp) -> ASGIApp:
        """The application, whose requests can find the door."""

        async def with_door(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[EXTENSION] = self
            await app(scope, receive, send)

        return with_door

    async def shut(self, how: How) -> None:
        """Reset every connection except those of the control surface and of a login under way, and let nobody in.

        Those who come are refused; or accepted and hung up on; or (mute) wait in the socket's queue. A door that is shut
        already stays shut as it is.
        """
        if self.server is None:
            return
        if not self.shut_now:
            self.shut_now = True
            await self._close(self.server, how)
        for connection in list(self.server.server_state.connections):
            protocol = cast("Protocol", connection)
            path = str((protocol.scope or {}).get("path", ""))
            if not any(part in path for part in _SPARED):
                protocol.transport.abort()

    async def _close(self, server: uvicorn.Server, how: How) -> None:
        for each in server.servers:
            each.close()
        server.servers = []
        if how == "refuse":
            self.listener.close()
        elif how == "hang_up":
            loop = asyncio.get_running_loop()
            self._instead = await loop.create_server(_HangUp, sock=self.listener.dup())

    async def open_after(self, seconds: float) -> None:
        """Let everybody in again."""
        await asyncio.sleep(seconds)
        if not self.shut_now or self.server is None or self.server.should_exit:
            return
        if self._instead is not None:
            self._instead.close()
            self._instead = None
        if self.listener.fileno() < 0:
            self.listener = await self._bound_again()
        await self._serve(self.server)
        self.shut_now = False

    async def _bound_again(self) -> socket.socket:
        for _ in range(round(PATIENCE / 0.05)):
            try:
                return listening(*self.address)
            except OSError:  # the system gave the port to a client meanwhile
                await asyncio.sleep(0.05)
        return listening(*self.address)

    async def _serve(self, server: uvicorn.Server) -> None:
        """As uvicorn does when it starts."""

        def protocol() -> Protocol:
            return Protocol(
                config=server.config, server_state=server.server_state, app_state=server.lifespan.state
            )

        loop = asyncio.get_running_loop()
        server.servers = [
            await loop.create_server(
                protocol, sock=self.listener.dup(), ssl=server.config.ssl, backlog=BACKLOG
            )
        ]


class _HangUp(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()


def of(scope: Scope) -> Door:
    """The door through which a request came."""
    return cast("Door", scope["extensions"][EXTENSION])


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
