"""The limits of a connection's account, kept by all its processes together: budgets in Postgres.

    thread ── admitted by the breaker? ── a call of the day? ── a turn in the window ── waits for it ── calls

A turn is a moment at which a call may begin. Turns lie evenly apart and are booked on the database's clock, by one
function call for as many threads of this process as ask at that moment; a turn that is not used passes. Calls of the
day are leased by the dozen; those not made are given back at the end, or forgotten when the vendor next tells its
count. What the vendor tells of others' calls is taken off the rate.
"""

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta

from crm_sync.core.errors import CrmError, ErrorClass, HeldError
from crm_sync.core.quota import DAILY, QUEUES, Heard, Limits, Priority, Quotas
from crm_sync.hub import breaker
from crm_sync.hub.places import Places
from crm_sync.hub.session import Session

PATIENCE = 60.0
"""The longest pause, in seconds, that a call sits out; what takes longer ends the run."""
NO_TURN = 900.0
"""After so many seconds without a turn a call of low priority gives up."""
HEAR_EVERY = 0.2
"""Seconds between two notes of what answers tell; nearly every answer tells the same."""
ADMIT_EVERY = 0.5
"""Seconds for which a look at the circuit breaker counts."""
LEASE = 12
"""Calls of the day that a process takes at once."""
TURNS_MISSED = 5
"""On a machine that is always too late for its turn, a call begins all the same with this one."""

_PAUSE = (
    "insert into sync.budget as b (connection, name, pause_until) values"
    " (%s, %s, clock_timestamp() + %s * interval '1 second') on conflict (connection, name)"
    " do update set pause_until = greatest(b.pause_until, excluded.pause_until)"
)
_DAY_IS_OVER = (
    "insert into sync.budget as b (connection, name, allowed, left_over, heard_at) values"
    " (%s, %s, 1, 0, clock_timestamp()) on conflict (connection, name) do update set left_over = 0,"
    " allowed = coalesce(b.allowed, 1), heard_at = clock_timestamp()"
)
_GIVE_BACK = (
    "update sync.budget set used = greatest(used - %s, 0), left_over = left_over + %s"
    " where connection = %s and name = %s"
)


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
        self._connection = connection
        self._quotas = quotas
        self._limits = limits or Limits()
        self._priority = priority
        self._force = force
        self._sleep = sleep
        self._session = Session(url)
        self._places = Places(self._session, connection, sleep)
        self._lock = threading.Lock()  # of what follows
        self._turns: dict[str, deque[float]] = {}
        self._leased = 0
        self._heard: dict[str, Heard] = {}
        self._heard_at = float("-inf")
        self._admission = breaker.Admission()
        self._admitted_at = float("-inf")
        self._counting = threading.Lock()
        self._asking: dict[str, int] = {}
        self._thread = threading.local()  # probing: this thread's call is the one that is tried

    def acquire(self, family: str) -> None:
        """Wait for this call's turn. Raises HeldError: RATE_LIMIT if the day's share is used up or a pause is long,
        the class of the last failure if the breaker is open, TRANSIENT if the database cannot be asked."""
        if not self._probing:
            self._admit()
        self._take_from_day()
        name = self._quotas.budget(family)
        late = self._late(name)
        for _ in range(TURNS_MISSED):
            turn = self._turn(name, late)
            if (wait := turn - time.monotonic()) > 0:
                self._sleep(wait)
            if time.monotonic() - turn < late:
                return

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
        with self._lock:
            self._turns.pop(name, None)
        with suppress(HeldError):
            if seconds > PATIENCE:  # a day's limit: an answer will tell its end
                self._session.ask(_DAY_IS_OVER, [self._connection, DAILY])
            else:
                self._session.ask(_PAUSE, [self._connection, name, seconds])

    def succeeded(self) -> None:
        if self._admission.failures or self._probing:
            with suppress(HeldError):
                self._session.with_connection(lambda conn: breaker.worked(conn, self._connection))
            self._forget_admission()

    def failed(self, error: CrmError) -> None:
        probing = self._probing
        with suppress(HeldError):
            self._session.with_connection(
                lambda conn: breaker.failed(conn, self._connection, error, probing=probing)
            )
        self._forget_admission()

    def slot(self, name: str) -> AbstractContextManager[None]:
        return self._places.one(name, self._limits.most(name, self._quotas.slots.get(name)))

    def close(self) -> None:
        """Give back what is left of the day's lease and end the session. The limiter can be used again."""
        with self._lock:
            unused, self._leased = self._leased, 0
            self._turns.clear()
        if unused:
            with suppress(HeldError):
                self._session.ask(_GIVE_BACK, [unused, unused, self._connection, DAILY])
        self._session.close()

    @property
    def _probing(self) -> bool:
        return getattr(self._thread, "probing", False)

    def _forget_admission(self) -> None:
        self._thread.probing = False
        with self._lock:
            self._admission, self._admitted_at = breaker.Admission(), float("-inf")

    def _admit(self) -> None:
        """By the breaker. Threads share a look at it, but not the permission to try."""
        with self._lock:
            if time.monotonic() - self._admitted_at < ADMIT_EVERY:
                return
            found = self._session.with_connection(
                lambda conn: breaker.admit(conn, self._connection, force=self._force)
            )
            if found.probing:
                self._thread.probing = True
                return
            if found.error_class is None:
                self._admission, self._admitted_at = found, time.monotonic()
                return
        when = datetime.now(UTC) + timedelta(seconds=found.wait)
        raise HeldError(
            found.error_class,
            f"{self._connection} is not called before {when:%H:%M:%S} UTC, when it is tried again: {found.reason}",
            code="BREAKER_OPEN",
            retry_after=found.wait,
        )

    def _take_from_day(self) -> None:
        keep, own = self._limits.floor(self._priority), self._limits.share(self._priority)
        with self._lock:
            if self._leased:
                self._leased -= 1
                return
            for k in (LEASE, 1):
                held, allowed, left = self._session.ask(
                    "select * from sync.take_day(%s, %s, %s, %s)", [self._connection, keep, own, k]
                )
                if held is None:
                    self._leased = k - 1
                    return
        if held == "own":
            now = datetime.now(UTC)
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            why = (
                f"the {own} calls that {self._priority} runs may make in a day (limits.daily) have been made"
            )
            raise self._used_up(
                why, f"at midnight UTC, {midnight:%Y-%m-%d}", (midnight - now).total_seconds()
            )
        why = f"{left} of the account's {allowed} calls of a day are left; {self._priority} runs stop at {keep:.0%}"
        raise self._used_up(why, self._quotas.renewal, NO_TURN)

    def _used_up(self, why: str, when: str, seconds: float) -> HeldError:
        text = f"{self._connection}: {why}. Syncing goes on {when}; nothing is lost."
        return HeldError(ErrorClass.RATE_LIMIT, text, code="DAILY_SHARE", retry_after=seconds)

    def _turn(self, name: str, late: float) -> float:
        """The moment, on this process' monotonic clock, at which the call may begin."""
        started = time.monotonic()
        while True:
            self._count(name, 1)
            with self._lock:
                turns = self._turns.setdefault(name, deque())
                while turns and turns[0] < time.monotonic() - late:
                    turns.popleft()
                granted, wait, gap = (1, 0.0, 0.0) if turns else self._book(name)
                now = time.monotonic()
                if not turns:
                    turns.extend(now + wait + number * gap for number in range(granted))
                turn = turns.popleft() if turns else None
            self._count(name, -1)
            if turn is not None:
                return turn
            if wait > PATIENCE or now - started > NO_TURN:
                text = f"{self._connection}: no call may be made for {wait:.0f} s; the next run goes on."
                raise HeldError(ErrorClass.RATE_LIMIT, text, code="NO_TURN", retry_after=wait)
            # A little more or less, so that not all ask at once.
            ahead = max(QUEUES[self._priority], 2 * gap)
            self._sleep(max(wait - ahead, 0.0) + gap * random.random() + 0.001)  # noqa: S311 - guards nothing

    def _late(self, name: str) -> float:
        return self._quotas.rates[name].late if name in self._quotas.rates else math.inf

    def _book(self, name: str) -> tuple[int, float, float]:
        """Turns for all threads that ask now: how many, seconds until the first, seconds between them."""
        rate = self._quotas.rates.get(name)
        cap = self._limits.most(name, None)
        # A rate of the connection file alone is spread over ten seconds, like most vendors'.
        seconds, even, most = (rate.seconds, rate.even, rate.calls) if rate else (10.0, 1.0, None)
        slowest = seconds / max(min((n for n in (cap, most) if n is not None), default=1000), 1)
        granted, wait, gap = self._session.ask(
            "select * from sync.book_calls(%s, %s, %s, %s, %s, %s, %s, %s)",
            [self._connection, name, most, cap, seconds, even, max(self._asking[name], 1),
             max(QUEUES[self._priority], 2 * slowest)],
        )  # fmt: skip
        return granted, max(wait, 0.0), gap

    def _count(self, name: str, more: int) -> None:
        with self._counting:
            self._asking[name] = self._asking.get(name, 0) + more

    def _unlike(self, one: Heard) -> bool:
        """Whether it must be noted at once: the first, another limit, or hardly anything left."""
        before = self._heard.get(one.budget)
        return before is None or before.allowed != one.allowed or one.left <= one.allowed // 100

    def _note(self, one: Heard, age: float) -> None:
        if one.budget == DAILY:
            self._session.ask(
                "update sync.budget set allowed = %s, left_over = %s, heard_at = clock_timestamp()"
                " where connection = %s and name = %s",
                [one.allowed, one.left, self._connection, DAILY],
            )
        elif one.budget in self._quotas.rates:
            seconds = self._quotas.rates[one.budget].seconds
            self._session.ask(
                "select sync.hear_calls(%s, %s, %s, %s, %s, %s)",
                [self._connection, one.budget, one.allowed, one.left, seconds, age],
            )
