"""Keeping within a vendor's rate limits, before the vendor has to say so.

Here: the port that the transport asks before every call, and an implementation for one process. A limiter that
is shared by all processes of a connection implements the same port over the database; it does not belong here.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem


class RateLimiter(Protocol):
    """Asked before every call."""

    def acquire(self, family: str) -> None:
        """Wait until a call of this family may be made."""

    def pause(self, seconds: float) -> None:
        """The vendor refused a call as one too many: let nobody call for so long."""


class LocalLimiter:
    """Sliding windows in memory, shared by the threads that share the instance.

    rates: by family of calls; the family "*" counts every call. Intervals in milliseconds
    (`Rate(190, 10_000)`: 190 calls in ten seconds). No rates: only `pause` holds calls back.
    """

    def __init__(
        self,
        rates: Mapping[str, Sequence[Rate]] | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buckets = {family: InMemoryBucket(list(given)) for family, given in (rates or {}).items()}
        self._lock = threading.Lock()
        self._sleep = sleep
        self._clock = clock
        self._paused_until = 0.0

    def acquire(self, family: str) -> None:
        for name in (family, "*"):
            if name in self._buckets:
                self._enter(self._buckets[name], family)
        if (wait := self._paused_until - self._clock()) > 0:
            self._sleep(wait)

    def pause(self, seconds: float) -> None:
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _enter(self, bucket: InMemoryBucket, family: str) -> None:
        while True:
            with self._lock:
                item = RateItem(family, int(self._clock() * 1000))
                bucket.leak(item.timestamp)
                if bucket.put(item):
                    return
                wait = cast("int", bucket.waiting(item))
            self._sleep(max(wait, 1) / 1000)
