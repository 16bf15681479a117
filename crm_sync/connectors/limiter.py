"""Keeping within a vendor's limits, before the vendor has to say so.

Here: the port that the transport asks before every call and tells what came of it, and an implementation for one
process. The one that all processes of a connection share implements the same port over the database
(`hub/budget.py`), and is handed in when the connector is built.
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from crm_sync.core.errors import CrmError
from crm_sync.core.quota import Heard, Quotas


class RateLimiter(Protocol):
    """Asked before every call, and told what came of it. Used by many threads at once; what came of a call is told by
    the thread that made it."""

    def acquire(self, family: str) -> None:
        """Wait until a call of this family may be made. Raises HeldError if none may be made for a long time."""

    def heard(self, news: Iterable[Heard], age: float) -> None:
        """What an answer told of the limits. age: seconds since its request left."""

    def pause(self, family: str, seconds: float) -> None:
        """The vendor refused a call of this family as one too many: let nobody make another for so long."""

    def succeeded(self) -> None:
        """The vendor answered this thread's call, if only to refuse a record: the connection works."""

    def failed(self, error: CrmError) -> None:
        """A call of this thread failed for good in a way that counts for the circuit breaker."""

    def slot(self, name: str) -> AbstractContextManager[None]:
        """One of the few places for what may not be done often at once (`jobs`, `requests`), until the end of the
        block; waits for one to become free. Does nothing where there is no such limit."""

    def close(self) -> None: ...


class LocalLimiter:
    """Spreads the calls of one process evenly, and pauses. It knows no days, no other processes and no breaker: it is
    for accounts that nothing else uses meanwhile (simulators), and for use without a database.

    No quotas: only `pause` holds calls back.
    """

    def __init__(
        self,
        quotas: Quotas | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quotas = quotas or Quotas()
        self._calls = {name: rate.calls for name, rate in self._quotas.rates.items()}
        self._free: dict[str, float] = {}
        self._lock = threading.Lock()
        self._sleep = sleep
        self._clock = clock

    def acquire(self, family: str) -> None:
        name = self._quotas.budget(family)
        rate = self._quotas.rates.get(name)
        with self._lock:
            now = self._clock()
            turn = max(self._free.get(name, now), now)
            self._free[name] = turn + (rate.seconds / (rate.even * self._calls[name]) if rate else 0.0)
        if turn > now:
            self._sleep(turn - now)

    def heard(self, news: Iterable[Heard], age: float) -> None:  # noqa: ARG002 - nobody else is counted here
        with self._lock:
            self._calls |= {one.budget: max(one.allowed, 1) for one in news if one.budget in self._calls}

    def pause(self, family: str, seconds: float) -> None:
        name = self._quotas.budget(family)
        with self._lock:
            self._free[name] = max(self._free.get(name, 0.0), self._clock() + seconds)

    def succeeded(self) -> None: ...

    def failed(self, error: CrmError) -> None: ...

    def slot(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002 - one process cannot count the others
        return nullcontext()

    def close(self) -> None: ...
