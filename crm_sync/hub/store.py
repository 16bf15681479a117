"""The connection to the database, its transactions, and the leases of streams.

One `Store` serves one run. In a dry run everything happens in one transaction that is rolled back at the end, so
that the plan is made by the same code on the same data as the real run. Here belongs no SQL about records.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Self, TypeVar

import psycopg

from crm_sync.hub import again, lease
from crm_sync.hub.connect import connect
from crm_sync.hub.lease import Lease

T = TypeVar("T")

_SESSION = (
    "set datestyle = 'ISO, YMD'; set timezone = 'UTC'; set client_encoding = 'UTF8'; set jit = off;"
    " set work_mem = '64MB'; set random_page_cost = 1.1; set client_min_messages = warning; set application_name = 'crm_sync';"
    # Whether a row is as it was read is asked of the row; a snapshot of the whole would only refuse more.
    " set default_transaction_isolation = 'read committed';"
    # A machine that vanished without a word is noticed within two minutes, and its leases are free.
    " set tcp_keepalives_idle = 60; set tcp_keepalives_interval = 15; set tcp_keepalives_count = 4"
)


class Store:
    """A connection to the hub's database for the length of a run; not shared between threads."""

    def __init__(
        self,
        url: str,
        *,
        dry_run: bool = False,
        run_id: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self._sleep = sleep
        self.dry_run = dry_run
        self.run_id = run_id
        self.conn = connect(url, autocommit=True)
        self.conn.execute(_SESSION)
        self._leases: list[Lease] = []
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
        """A transaction; inside a dry run, a savepoint of the one that is rolled back at the end.

        Raises LostLeaseError, and nothing is written, if another run has taken a lease that this one held.
        """
        with self.conn.transaction():
            lease.renew(self.conn, self._leases)
            yield self.conn

    def committed(self, do: Callable[[psycopg.Connection], T]) -> T:
        """What `do` returns, in a transaction of its own that is begun again if others' locks broke it off. Within another
        transaction of this run it is a part of that one, and stands or falls with it.

        `do` may be called several times, so it changes nothing but the database, and asks no CRM for anything.
        """

        def once() -> T:
            with self.transaction() as conn:
                return do(conn)

        idle = self.conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        return again.until_done(once, self._sleep) if idle or self.dry_run else once()

    def fenced(self, calls: Iterable[T]) -> Iterator[T]:
        """What `calls` gives, one by one; before each is asked for, the leases must still be ours.

        For writes to a CRM, which no transaction protects: a run that was stopped for an hour must not send the
        next batch when it wakes up. Raises LostLeaseError. However it ends, `calls` is closed, and no thread of it left.
        """
        try:
            self._check()
            for answer in calls:
                yield answer
                self._check()
        finally:
            close = getattr(calls, "close", None)
            if close is not None:
                close()

    @contextmanager
    def exclusive(self, what: str) -> Iterator[None]:
        """Hold the lease called `what` (a stream, or an entity in the hub) until the end of the block.

        Raises BusyError at once if another session holds it: two runs of one stream never overlap; also if others
        held rows for too long. If the session ends within the block, LostLeaseError; if the database's disk is full,
        or it broke off a statement, StorageError.
        """
        with again.explained(self.conn, what):
            held = self._take(what)
            try:
                yield
            finally:
                if held is not None:
                    self._leases.remove(held)
                if (
                    not self.conn.closed
                    and self.conn.info.transaction_status != psycopg.pq.TransactionStatus.INERROR
                ):
                    lease.unlock(self.conn, what)

    def _take(self, what: str) -> Lease | None:
        if self.dry_run:  # its transaction stays open, and a row written in it would keep everybody waiting
            if not lease.lock(self.conn, what):
                raise lease.busy(what)
            return None
        held = lease.take(self.conn, what, self.run_id)
        self._leases.append(held)
        return held

    def _check(self) -> None:
        self.committed(lambda _: None)
