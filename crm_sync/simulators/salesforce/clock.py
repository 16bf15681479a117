"""The org's clock: the machine's, plus the skew of the settings, plus what a test advanced it by.

Stamps are text as the REST API prints them (``2026-01-02T03:04:05.000+0000``): always UTC, always
of one width, so that they compare as text.
"""

import datetime as dt
import time
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from crm_sync.simulators.salesforce.settings import Settings


class Clock:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.offset = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.settings.clock_skew + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += seconds

    def stamp(self, seconds_ago: float = 0.0) -> str:
        return stamp(self.now() - seconds_ago)

    def today(self) -> dt.date:
        return dt.datetime.fromtimestamp(self.now(), dt.UTC).date()


def stamp(epoch: float) -> str:
    """Whole seconds, cut off, as Salesforce keeps SystemModstamp."""
    days, seconds = divmod(int(epoch // 1), 86_400)
    return f"{_day(days)}T{_time(seconds)}.000+0000"


def epoch(stamp_text: str) -> int:
    """Whole seconds since 1970 of a stamp."""
    return _days(stamp_text[:10]) + _seconds(stamp_text[11:19])


def stamps(epochs: npt.NDArray[np.int64]) -> list[str]:
    """``stamp`` of many whole seconds."""
    days, seconds = np.divmod(epochs, 86_400)
    dates = {day: _day(day) for day in np.unique(days).tolist()}
    times = _times()
    return [
        f"{dates[day]}T{times[second]}.000+0000"
        for day, second in zip(days.tolist(), seconds.tolist(), strict=True)
    ]


@cache
def _times() -> list[str]:
    return [_time(second) for second in range(86_400)]


@lru_cache(maxsize=4096)
def _days(text: str) -> int:
    return (dt.date.fromisoformat(text) - dt.date(1970, 1, 1)).days * 86_400


@lru_cache(maxsize=86_400)
def _seconds(text: str) -> int:
    return int(text[:2]) * 3600 + int(text[3:5]) * 60 + int(text[6:8])


@lru_cache(maxsize=4096)
def _day(days: int) -> str:
    return (dt.date(1970, 1, 1) + dt.timedelta(days=days)).isoformat()


@lru_cache(maxsize=86_400)
def _time(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
