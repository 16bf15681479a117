"""Calls of a day: leased by the dozen, counted for all processes, and left to others as the limits say.

Those of a lease that are not made are given back at the end, or forgotten when the vendor next tells its count.
"""

import threading
from datetime import UTC, datetime, timedelta

from crm_sync.core.errors import ErrorClass, HeldError
from crm_sync.core.quota import DAILY, Heard, Limits, Priority
from crm_sync.hub.session import Session

LEASE = 12
"""Calls of the day that a process takes at once."""
LOOK_AGAIN = 900.0
"""Seconds after which a run may find that the vendor's day has begun anew."""

_TAKE = "select * from sync.take_day(%s, %s, %s, %s)"
_GIVE_BACK = (
    "update sync.budget set used = greatest(used - %s, 0), left_over = left_over + %s"
    " where connection = %s and name = %s"
)
_HEAR = (
    "update sync.budget set allowed = %s, left_over = %s, heard_at = clock_timestamp()"
    " where connection = %s and name = %s"
)
_IS_OVER = (
    "insert into sync.budget as b (connection, name, allowed, left_over, heard_at) values"
    " (%s, %s, 1, 0, clock_timestamp()) on conflict (connection, name) do update set left_over = 0,"
    " allowed = coalesce(b.allowed, 1), heard_at = clock_timestamp()"
)


class Day:
    """The day of one connection, for the threads of one process. renewal: for people, when the vendor's day ends."""

    def __init__(
        self, session: Session, connection: str, limits: Limits, priority: Priority, renewal: str
    ) -> None:
        self._session = session
        self._connection = connection
        self._keep, self._own = limits.floor(priority), limits.share(priority)
        self._priority = priority
        self._renewal = renewal
        self._lock = threading.Lock()
        self._leased = 0

    def take(self) -> None:
        """One call. Raises HeldError if what this priority may use is used up."""
        with self._lock:
            if self._leased:
                self._leased -= 1
                return
            for number in (LEASE, 1):
                held, allowed, left = self._session.ask(
                    _TAKE, [self._connection, self._keep, self._own, number]
                )
                if held is None:
                    self._leased = number - 1
                    return
        raise self._used_up_by_us() if held == "own" else self._used_up(allowed, left)

    def give_back(self) -> None:
        """What is left of the lease."""
        with self._lock:
            unused, self._leased = self._leased, 0
        if unused:
            self._session.ask(_GIVE_BACK, [unused, unused, self._connection, DAILY])

    def hear(self, one: Heard) -> None:
        if one.left - 8 * LEASE < self._keep * one.allowed:
            self.give_back()  # a lease of better times would go beyond what is left to others
        self._session.ask(_HEAR, [one.allowed, one.left, self._connection, DAILY])

    def is_over(self) -> None:
        """The vendor refuses calls for the rest of its day; an answer will tell the end of that."""
        self._session.ask(_IS_OVER, [self._connection, DAILY])

    def _used_up_by_us(self) -> HeldError:
        now = datetime.now(UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        why = f"the {self._own} calls that {self._priority} runs may make in a day (limits.daily) have been made"
        return self._error(why, f"at midnight UTC, {midnight:%Y-%m-%d}", (midnight - now).total_seconds())

    def _used_up(self, allowed: int, left: int) -> HeldError:
        why = (
            f"{left} of the account's {allowed} calls of a day are left;"
            f" {self._priority} runs stop at {self._keep:.0%}"
        )
        return self._error(why, self._renewal, LOOK_AGAIN)

    def _error(self, why: str, when: str, seconds: float) -> HeldError:
        text = f"{self._connection}: {why}. Syncing goes on {when}; nothing is lost."
        return HeldError(ErrorClass.RATE_LIMIT, text, code="DAILY_SHARE", retry_after=seconds)
