"""The simulator's time, and how HubSpot writes moments. Not here: what happens at a moment."""

import re
import time
from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np
import numpy.typing as npt

from crm_sync.simulators.hubspot.settings import Settings

DAY = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_NUMBER = re.compile(r"-?\d{1,15}")


class Clock:
    """Milliseconds since 1970, which can be set forward but never run backwards by itself."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ahead = 0

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + round(self.settings.clock_skew * 1000) + self.ahead

    def advance(self, milliseconds: int) -> None:
        self.ahead += milliseconds


def iso(milliseconds: int) -> str:
    """Milliseconds as the API writes them: UTC, ``Z``, no fraction if it is zero (as in recorded answers)."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    text = moment.replace(tzinfo=None).isoformat(
        timespec="milliseconds" if milliseconds % 1000 else "seconds"
    )
    return text + "Z"


def isos(moments: npt.NDArray[np.int64]) -> list[str]:
    """``iso`` of many."""
    days, rest = np.divmod(moments, DAY)
    seconds, fractions = np.divmod(rest, 1000)
    dates = {day: (_EPOCH + timedelta(days=day)).date().isoformat() for day in np.unique(days).tolist()}
    times = _times()
    rows = zip(days.tolist(), seconds.tolist(), fractions.tolist(), strict=True)
    return [
        f"{dates[day]}T{times[second]}.{fraction:03d}Z" if fraction else f"{dates[day]}T{times[second]}Z"
        for day, second, fraction in rows
    ]


@cache
def _times() -> list[str]:
    return [f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(86_400)]


def milliseconds_of(value: str) -> int | None:
    """A moment given as epoch milliseconds or ISO 8601 (no zone means UTC); None if it is neither."""
    if _NUMBER.fullmatch(value):
        return int(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def day_of(milliseconds: int) -> date:
    """The UTC day in which the moment lies."""
    return (_EPOCH + timedelta(milliseconds=milliseconds)).date()


def datetime_of(milliseconds: int) -> datetime:
    """The moment as a datetime in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)
