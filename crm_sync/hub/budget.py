"""The limits of a connection's account, kept by all its processes together: budgets in Postgres.

    thread ── admitted by the breaker? ── a call of the day? ── a turn in the window ── waits for it ── calls

What the vendor tells of others' calls is taken off the rate. Here: the port, and what is heard. The day is in day.py,
turns are in turns.py, the breaker is in breaker.py, places for what may not be done often at once are in places.py.
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress

from crm_sync.core.errors import CrmError, HeldError
from crm_sync.core.quota import DAILY, Heard, Limits, Priority, Quotas
from crm_sync.hub.breaker import Gate
from crm_sync.hub.day import Day
from crm_sync.hub.places import Places
from crm_sync.hub.session import Session
from crm_sync.hub.turns import PATIENCE, Turns

HEAR_EVERY = 0.2
"""Seconds between two notes of what answers tell; nearly every answer tells the same."""


class PostgresLimiter:
    """Implements `connectors.limiter.RateLimiter` for one connection of one process; its threads may share it.

    What is told after a call never raises: whatever becomes of the database, the call came to what it came to.
    force: calls are made though the breaker is open (`crm-sync check`).
    """

    def __init__(
        self,
        url: str,
        connection: str,
        quotas: Quotas,
        *,
        limits: Limits | None = None,
        priority: Priority = Priority.SCHEDULED,
        force: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._quotas = quotas
        self._limits = limits or Limits()
        self._session = Session(url)
        self._gate = Gate(self._session, connection, force=force)
        self._day = Day(self._session, connection, self._limits, priority, quotas.renewal)
        self._turns = Turns(self._session, connection, quotas, self._limits, priority, sleep)
        self._places = Places(self._session, connection, sleep)
        self._lock = threading.Lock()  # of what was heard
        self._heard: dict[str, Heard] = {}
        self._heard_at = float("-inf")

    def acquire(self, family: str) -> None:
        """Wait for this call's turn. Raises HeldError: RATE_LIMIT if the day's share is used up or a pause is long,
        the class of the last failure if the breaker is open, TRANSIENT if the database cannot be asked."""
        self._gate.enter()
        self._day.take()
        self._turns.wait(self._quotas.budget(family))

    def heard(self, news: Iterable[Heard], age: float) -> None:
        with self._lock:
            now = time.monotonic()
            due = now - self._heard_at >= HEAR_EVERY
            fresh = [one for one in news if due or self._unlike(one)]
            if fresh:
                self._heard |= {one.budget: one for one in fresh}
                self._heard_at = now
        with suppress(HeldError):
            for one in fresh:
                self._note(one, age)

    def pause(self, family: str, seconds: float) -> None:
        name = self._quotas.budget(family)
        with suppress(HeldError):
            if seconds > PATIENCE:
                self._turns.forget(name)
                self._day.is_over()
            else:
                self._turns.pause(name, seconds)

    def succeeded(self) -> None:
        with suppress(HeldError):
            self._gate.worked()

    def failed(self, error: CrmError) -> None:
        with suppress(HeldError):
            self._gate.failed(error)

    def slot(self, name: str) -> AbstractContextManager[None]:
        return self._places.one(name, self._limits.most(name, self._quotas.slots.get(name)))

    def close(self) -> None:
        """Give back what is left of the day's lease and end the session. The limiter can be used again."""
        self._turns.forget()
        with suppress(HeldError):
            self._day.give_back()
        self._places.close()
        self._session.close()

    def _unlike(self, one: Heard) -> bool:
        """Whether it must be noted at once: the first, another limit, or hardly anything left."""
        before = self._heard.get(one.budget)
        return before is None or before.allowed != one.allowed or one.left <= one.allowed // 100

    def _note(self, one: Heard, age: float) -> None:
        if one.budget == DAILY:
            self._day.hear(one)
        else:
            self._turns.hear(one, age)
