"""Turns: the moments at which calls may begin, evenly apart, booked on the database's clock for all processes.

One statement books turns for as many threads of this process as ask at that moment; a turn that is not used passes.
"""

import math
import random
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import NamedTuple

from crm_sync.core.errors import ErrorClass, HeldError
from crm_sync.core.quota import QUEUES, Heard, Limits, Priority, Quotas
from crm_sync.hub.session import Session

PATIENCE = 60.0
"""The longest pause, in seconds, that a call sits out; what takes longer ends the run."""
NO_TURN = 900.0
"""After so many seconds without a turn a call of low priority gives up."""
TURNS_MISSED = 5
"""On a machine that is always too late for its turn, a call begins all the same with this one."""

_BOOK = "select * from sync.book_calls(%s, %s, %s, %s, %s, %s, %s, %s)"
_PAUSE = (
    "insert into sync.budget as b (connection, name, pause_until) values"
    " (%s, %s, clock_timestamp() + %s * interval '1 second') on conflict (connection, name)"
    " do update set pause_until = greatest(b.pause_until, excluded.pause_until)"
)


class Booked(NamedTuple):
    """Turns that were booked: how many, seconds until the first, seconds between them. None: `wait` and ask again."""

    granted: int
    wait: float
    gap: float


class Turns:
    """Turns of one connection for the threads of one process, by the name of the budget (`burst`, `search`)."""

    def __init__(
        self,
        session: Session,
        connection: str,
        quotas: Quotas,
        limits: Limits,
        priority: Priority,
        sleep: Callable[[float], None],
    ) -> None:
        self._session = session
        self._connection = connection
        self._quotas = quotas
        self._limits = limits
        self._queue = QUEUES[priority]
        self._sleep = sleep
        self._lock = threading.Lock()  # of the turns that are booked and not taken yet
        self._turns: dict[str, deque[float]] = defaultdict(deque)
        self._counting = threading.Lock()
        self._asking: dict[str, int] = defaultdict(int)

    def wait(self, name: str) -> None:
        """Wait for a turn of this budget. Raises HeldError if there is none for long, or the database is away."""
        late = self._quotas.rates[name].late if name in self._quotas.rates else math.inf
        for _ in range(TURNS_MISSED):
            turn = self._turn(name, late)
            if (wait := turn - time.monotonic()) > 0:
                self._sleep(wait)
            if time.monotonic() - turn < late:
                return

    def pause(self, name: str, seconds: float) -> None:
        """No turns for anybody for so long."""
        self.forget(name)
        self._session.ask(_PAUSE, [self._connection, name, seconds])

    def hear(self, one: Heard, age: float) -> None:
        """What an answer told whose request left `age` seconds ago."""
        if one.budget in self._quotas.rates:
            rate = self._quotas.rates[one.budget]
            self._session.ask(
                "select sync.hear_calls(%s, %s, %s, %s, %s, %s, %s)",
                [self._connection, one.budget, one.allowed, one.left, rate.seconds, age, rate.even],
            )

    def forget(self, *names: str) -> None:
        """Let booked turns pass: those of these budgets, all if none is named."""
        with self._lock:
            for name in names or tuple(self._turns):
                self._turns.pop(name, None)

    def book(self, name: str) -> Booked:
        """Book turns for all threads that ask now."""
        rate = self._quotas.rates.get(name)
        cap = self._limits.most(name, None)
        # A rate of the connection file alone is spread over ten seconds, like most vendors'.
        seconds, even, most = (rate.seconds, rate.even, rate.calls) if rate else (10.0, 1.0, None)
        slowest = seconds / max(min((n for n in (cap, most) if n is not None), default=1000), 1)
        threads, ahead = max(self._asking[name], 1), max(self._queue, 2 * slowest)
        granted, wait, gap = self._session.ask(
            _BOOK, [self._connection, name, most, cap, seconds, even, threads, ahead]
        )
        return Booked(granted, max(wait, 0.0), gap)

    def _turn(self, name: str, late: float) -> float:
        """The moment, on this process' monotonic clock, at which the call may begin."""
        started = time.monotonic()
        while True:
            self._count(name, 1)
            try:
                turn, booked = self._next(name, late)
            finally:
                self._count(name, -1)
            if turn is not None:
                return turn
            if booked.wait > PATIENCE or time.monotonic() - started > NO_TURN:
                text = (
                    f"{self._connection}: no call may be made for {booked.wait:.0f} s; the next run goes on."
                )
                raise HeldError(ErrorClass.RATE_LIMIT, text, code="NO_TURN", retry_after=booked.wait)
            # A little more or less, so that not all ask at once.
            ahead = max(self._queue, 2 * booked.gap)
            self._sleep(max(booked.wait - ahead, 0.0) + booked.gap * random.random() + 0.001)  # noqa: S311 - guards nothing

    def _next(self, name: str, late: float) -> tuple[float | None, Booked]:
        """The next booked turn; others are booked if there is none. Nobody else books meanwhile."""
        with self._lock:
            turns = self._turns[name]
            while turns and turns[0] < time.monotonic() - late:
                turns.popleft()
            if turns:
                return turns.popleft(), Booked(1, 0.0, 0.0)
            booked = self.book(name)
            first = time.monotonic() + booked.wait
            turns.extend(first + number * booked.gap for number in range(booked.granted))
            return turns.popleft() if turns else None, booked

    def _count(self, name: str, more: int) -> None:
        with self._counting:
            self._asking[name] += more
