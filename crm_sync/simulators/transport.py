"""The socket below a request, for the faults that only a socket can act out.

Here: an HTTP protocol for uvicorn that puts its transport into the ASGI scope, and the two ways
to end a connection in the middle of an answer. Not here: the decision to do so (faults.py).
"""

import asyncio
from typing import cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION = "simulator.transport"


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, letting the application see the connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("Scope", self.scope).setdefault("extensions", {})[EXTENSION] = self.transport


def abort(scope: Scope) -> None:
    """Reset the connection: what was buffered is thrown away, the client sees no answer."""
    _transport(scope).abort()


def close(scope: Scope) -> None:
    """Close the connection after flushing: the client sees the beginning of an answer."""
    _transport(scope).close()


def _transport(scope: Scope) -> asyncio.Transport:
    return cast("asyncio.Transport", scope["extensions"][EXTENSION])
