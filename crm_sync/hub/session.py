"""A session with the database beside the run's: for what must count whatever becomes of the run's transaction.

Every statement is its own transaction and none waits for the disk (`synchronous_commit = off`: after a crash of the
server the last fraction of a second may be forgotten, which these tables bear). Threads may share it.
"""

import selectors
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg

from crm_sync.core.errors import ErrorClass, HeldError

T = TypeVar("T")


class Session:
    """Opened when first used, and again after it broke. Raises HeldError(TRANSIENT) if the database is away."""

    def __init__(self, url: str) -> None:
        self.opened = 0
        """How often: what belongs to a session of the server (its advisory locks) is gone when this has changed."""
        self._url = url
        self._conn: psycopg.Connection | None = None
        self._lock = threading.Lock()

    def ask(self, query: str, values: list[Any]) -> Any:
        """The first row of one statement, None if it has none."""

        def run(conn: psycopg.Connection) -> Any:
            done = conn.execute(query, values)
            return done.fetchone() if done.description else None

        return self.with_connection(run)

    def with_connection(self, do: Callable[[psycopg.Connection], T]) -> T:
        """What `do` returns, while no other thread uses the connection."""
        with self._lock:
            try:
                if self._conn is None or self._conn.closed:
                    self._conn = psycopg.connect(
                        self._url, autocommit=True, application_name="crm_sync limits"
                    )
                    self.opened += 1
                    self._conn.execute("set synchronous_commit = off; set timezone = 'UTC'")
                return do(self._conn)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                raise HeldError(
                    ErrorClass.TRANSIENT,
                    "the database cannot be asked whether a call to a CRM may be made"
                    f" ({type(error).__name__}), so none was made",
                    code="NO_BUDGET",
                ) from error

    def still(self, opened: int) -> bool:
        """Whether the session is still the one that was opened as the so-manyth. A server that ends a session says so by
        itself, so it is asked only if it has said something. One that vanished without a word is not noticed here."""
        with self._lock:
            if self._conn is None or self._conn.closed or opened != self.opened:
                return False
            with selectors.DefaultSelector() as selector:
                selector.register(self._conn.fileno(), selectors.EVENT_READ)
                if not selector.select(0):
                    return True
            try:
                self._conn.execute("select 1")
            except psycopg.Error:
                self._conn.close()  # the next statement opens another
                return False
            return True

    def close(self) -> None:
        """Can be used again afterwards."""
        with self._lock:
            if self._conn is not None:
                self.opened += 1
                self._conn.close()
            self._conn = None
