"""The few places for what a vendor lets be open at once: long-running jobs, requests.

A place is a numbered advisory lock of the database session. A process that dies gives it back by dying. One that is
free again is kept for a moment for this process' next request, which so need not ask for it: of the three statements
of a request two were for its place.
"""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import psycopg

from crm_sync.core.errors import ErrorClass, HeldError
from crm_sync.hub.session import Session

LOOK_EVERY = 0.1
"""Seconds between two looks for a free place, on average."""
KEEP = 0.2
"""Seconds for which a place is kept that nothing needs at the moment."""
TERM = 2.0
"""Seconds after which a place is given back even if it would be needed again: other processes wait for one too."""
LONGEST = 3600.0
"""Seconds after which waiting for a place is given up."""


_TAKE = (
    # A session gets a lock that it already has once more, so those of other threads are left out.
    "select i from generate_series(1, %s) i where case when i = any(%s) then false"
    " else pg_try_advisory_lock(hashtext(%s), i) end limit 1"
)


class _Place(NamedTuple):
    """opened: the count of the session to which it belongs. since: when it was taken. free_at: since when nothing needs
    it."""

    key: str
    number: int
    opened: int
    since: float
    free_at: float = 0.0


class Places:
    """Places of one connection, for the threads of one process, which share the session."""

    def __init__(self, session: Session, connection: str, sleep: Callable[[float], None]) -> None:
        self._session = session
        self._connection = connection
        self._sleep = sleep
        self._lock = threading.Lock()  # of what follows
        self._mine: dict[str, set[int]] = defaultdict(set)
        self._free: dict[str, list[_Place]] = defaultdict(list)
        self._timer: threading.Timer | None = None

    @contextmanager
    def one(self, name: str, most: int | None) -> Iterator[None]:
        """A place called `name`, of which there are `most` (None: no limit), until the end of the block.

        Raises HeldError(RATE_LIMIT) if none becomes free within an hour.
        """
        if most is None:
            yield
            return
        place = self._wait(name, most)
        try:
            yield
        finally:
            now = time.monotonic()
            with self._lock:
                if now - place.since > TERM:
                    self._give(place)
                else:
                    self._free[place.key].append(place._replace(free_at=now))
                    self._give_back_later()

    def close(self) -> None:
        """The session ends, and gives all places back."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
            for place in (place for places in self._free.values() for place in places):
                self._mine[place.key].discard(place.number)
            self._free.clear()

    def _wait(self, name: str, most: int) -> _Place:
        key = f"crm_sync {name} {self._connection}"
        started = time.monotonic()
        while True:
            with self._lock:
                place = self._kept(key) or self._session.with_connection(
                    lambda conn: self._take(conn, key, most)
                )
            if place is not None:
                return place
            if time.monotonic() - started > LONGEST:
                text = f"{self._connection}: all {most} places for {name} have been taken for an hour"
                raise HeldError(
                    ErrorClass.RATE_LIMIT,
                    f"{text}; the next run goes on.",
                    code="NO_PLACE",
                    retry_after=LONGEST,
                )
            self._sleep(LOOK_EVERY * random.uniform(0.5, 1.5))  # noqa: S311 - guards nothing

    def _kept(self, key: str) -> _Place | None:
        """A place that is still ours. No statement may follow before the call (turns are booked and days leased ahead), so
        that the session is looked at: another process may have taken the place since it ended."""
        while self._free[key]:
            place = self._free[key].pop()
            if self._session.still(place.opened):
                return place
            self._mine[key].discard(place.number)
        return None

    def _take(self, conn: psycopg.Connection, key: str, most: int) -> _Place | None:
        row = conn.execute(_TAKE, [most, sorted(self._mine[key]), key]).fetchone()
        if row is None:
            return None
        self._mine[key].add(row[0])
        return _Place(key, row[0], self._session.opened, time.monotonic())

    def _give_back_later(self) -> None:
        if self._timer is None and any(self._free.values()):
            self._timer = threading.Timer(KEEP, self._give_back)
            self._timer.daemon = True
            self._timer.start()

    def _give_back(self) -> None:
        """What nothing has needed for a while."""
        with self._lock:
            self._timer = None
            for key, places in self._free.items():
                idle = [place for place in places if time.monotonic() - place.free_at >= KEEP]
                self._free[key] = [place for place in places if place not in idle]
                for place in idle:
                    self._give(place)
            self._give_back_later()

    def _give(self, place: _Place) -> None:
        self._mine[place.key].discard(place.number)
        if place.opened == self._session.opened:
            with suppress(HeldError):  # a session that is gone has given it back
                self._session.ask("select pg_advisory_unlock(hashtext(%s), %s)", [place.key, place.number])
