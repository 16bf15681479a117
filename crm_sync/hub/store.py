"""The connection to the database, its transactions, and the locks of streams.

One `Store` serves one run. In a dry run everything happens in one transaction that is rolled back at the end, so
that the plan is made by the same code on the same data as the real run. Here belongs no SQL about records.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import psycopg

from crm_sync.core.errors import BusyError

_SESSION = (
    "set datestyle = 'ISO, YMD'; set timezone = 'UTC'; set client_encoding = 'UTF8'; set jit = off;"
    " set work_mem = '64MB'; set client_min_messages = warning; set application_name = 'crm_sync'"
)


class Store:
    """A connection to the hub's database for the length of a run; not shared between threads."""

    def __init__(self, url: str, *, dry_run: bool = False, run_id: str | None = None) -> None:
        self.url = url
        self.dry_run = dry_run
        self.run_id = run_id
        self.conn = psycopg.connect(url, autocommit=True)
        self.conn.execute(_SESSION)
        if dry_run:
            self.conn.execute("begin")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; what a dry run did is rolled back."""
        if not self.conn.closed:
            if self.dry_run:
                self.conn.execute("rollback")
            self.conn.close()

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        """A transaction; inside a dry run, a savepoint of the one that is rolled back at the end."""
        with self.conn.transaction():
            yield self.conn

    @contextmanager
    def exclusive(self, what: str) -> Iterator[None]:
        """Hold the lock called `what` (a stream and a direction) until the end of the block.

        Raises BusyError at once if another session holds it: two runs of one stream never overlap.
        """
        key = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big", signed=True)
        row = self.conn.execute("select pg_try_advisory_lock(%s)", [key]).fetchone()
        if row is None or not row[0]:
            raise BusyError(
                f"{what} is being synced by another process; this run did nothing. Try again when it is done."
            )
        try:
            yield
        finally:
            if (
                not self.conn.closed
                and self.conn.info.transaction_status != psycopg.pq.TransactionStatus.INERROR
            ):
                self.conn.execute("select pg_advisory_unlock(%s)", [key])
