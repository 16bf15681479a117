"""HubSpot's rate limits: kept before HubSpot has to refuse, and shown to people.

Here: the rolling ten seconds that all calls share, the separate second of search, and what the headers tell
(developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines). Search answers carry no headers.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import httpx

SEARCH = "search"
PER_TEN_SECONDS = 100  # private apps of the smallest accounts; larger ones say so in their headers
PER_SECOND_SEARCHES = 4  # of 5 that the whole account has

_MAX = "X-HubSpot-RateLimit-Max"
_REMAINING = "X-HubSpot-RateLimit-Remaining"
_DAILY = "X-HubSpot-RateLimit-Daily"
_DAILY_REMAINING = "X-HubSpot-RateLimit-Daily-Remaining"


class HubSpotLimiter:
    """A `RateLimiter` that learns its rate.

    It starts with what every account has and takes over the maximum that the headers name. What others used of
    the same ten seconds (another process, another app of the account) is seen in the remaining count, and counted
    as if we had used it just now.
    """

    def __init__(
        self, *, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._calls = _Window(PER_TEN_SECONDS, 10.0)
        self._searches = _Window(PER_SECOND_SEARCHES, 1.0)
        self._paused_until = 0.0
        self._said: dict[str, str] = {}

    def acquire(self, family: str) -> None:
        window = self._searches if family == SEARCH else self._calls
        while True:
            with self._lock:
                now = self._clock()
                wait = max(window.wait(now), self._paused_until - now)
                if wait <= 0:
                    window.enter(now)
                    return
            self._sleep(wait)

    def pause(self, seconds: float) -> None:
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def heard(self, response: httpx.Response) -> None:
        """Learn from an answer's headers."""
        ceiling, left = _number(response, _MAX), _number(response, _REMAINING)
        with self._lock:
            if ceiling:
                self._calls.size = ceiling
                self._said["calls in 10 s"] = f"{ceiling} at most"
            if ceiling and left is not None:
                self._calls.used(ceiling - left, self._clock())
            day, day_left = _number(response, _DAILY), _number(response, _DAILY_REMAINING)
            if day is not None and day_left is not None:
                self._said["daily calls left"] = f"{day_left} of {day}"

    @property
    def said(self) -> Mapping[str, str]:
        with self._lock:
            return dict(self._said)


class _Window:
    """The moments of the calls in the last `seconds`."""

    def __init__(self, size: int, seconds: float) -> None:
        self.size = size
        self._seconds = seconds
        self._moments: deque[float] = deque()

    def wait(self, now: float) -> float:
        self._leak(now)
        if len(self._moments) < self.size:
            return 0.0
        return self._moments[len(self._moments) - self.size] + self._seconds - now

    def enter(self, now: float) -> None:
        self._moments.append(now)

    def used(self, count: int, now: float) -> None:
        """The vendor counts so many calls in its window."""
        self._leak(now)
        self._moments.extend([now] * (min(count, self.size) - len(self._moments)))

    def _leak(self, now: float) -> None:
        while self._moments and self._moments[0] <= now - self._seconds:
            self._moments.popleft()


def _number(response: httpx.Response, header: str) -> int | None:
    text = response.headers.get(header, "")
    return int(text) if text.isdecimal() else None
