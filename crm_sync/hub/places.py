"""The few places for what a vendor lets be open at once: long-running jobs, requests.

A place is a numbered advisory lock of the database session. A process that dies gives it back by dying.
"""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from crm_sync.core.errors import ErrorClass, HeldError
from crm_sync.hub.session import Session

LOOK_EVERY = 0.1
"""Seconds between two looks for a free place, on average."""
LONGEST = 3600.0
"""Seconds after which waiting for a place is given up."""


class Places:
    """Places of one connection, for the threads of one process, which share the session."""

    def __init__(self, session: Session, connection: str, sleep: Callable[[float], None]) -> None:
        self._session = session
        self._connection = connection
        self._sleep = sleep
        self._lock = threading.Lock()
        self._mine: dict[str, set[int]] = defaultdict(set)

    @contextmanager
    def one(self, name: str, most: int | None) -> Iterator[None]:
        """A place called `name`, of which there are `most` (None: no limit), until the end of the block.

        Raises HeldError(RATE_LIMIT) if none becomes free within an hour.
        """
        if most is None:
            yield
            return
        key = f"crm_sync {name} {self._connection}"
        number = self._wait(name, key, most)
        try:
            yield
        finally:
            with self._lock, suppress(HeldError):  # a session that is gone has given it back
                self._mine[name].discard(number)
                self._session.ask("select pg_advisory_unlock(hashtext(%s), %s)", [key, number])

    def _wait(self, name: str, key: str, most: int) -> int:
        started = time.monotonic()
        while True:
            with self._lock:
                # A session gets a lock that it already has once more, so those of other threads are left out.
                row = self._session.ask(
                    "select i from generate_series(1, %s) i where case when i = any(%s) then false"
                    " else pg_try_advisory_lock(hashtext(%s), i) end limit 1",
                    [most, sorted(self._mine[name]), key],
                )
                if row is not None:
                    self._mine[name].add(row[0])
                    return int(row[0])
            if time.monotonic() - started > LONGEST:
                text = f"{self._connection}: all {most} places for {name} have been taken for an hour"
                raise HeldError(
                    ErrorClass.RATE_LIMIT,
                    f"{text}; the next run goes on.",
                    code="NO_PLACE",
                    retry_after=LONGEST,
                )
            self._sleep(LOOK_EVERY * random.uniform(0.5, 1.5))  # noqa: S311 - guards nothing
