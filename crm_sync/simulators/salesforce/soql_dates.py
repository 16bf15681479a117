"""Date literals such as TODAY and LAST_N_DAYS:3, as half-open ranges of days.

Source: SOQL and SOSL Reference, "Date Formats and Date Literals". Weeks begin on Sunday (the
locale of the org); the user's time zone is GMT.
"""

import datetime as dt
from collections.abc import Callable

Range = tuple[dt.date, dt.date]


def resolve(name: str, number: int | None, today: dt.date) -> Range | None:
    """[first day, day after the last), or None if there is no such literal."""
    if number is None:
        fixed = _FIXED.get(name)
        return fixed(today) if fixed else None
    counted = _COUNTED.get(name)
    return counted(today, number) if counted else None


def _days(today: dt.date, start: int, end: int) -> Range:
    return today + dt.timedelta(days=start), today + dt.timedelta(days=end)


def _week(today: dt.date, offset: int, length: int = 1) -> Range:
    sunday = today - dt.timedelta(days=(today.weekday() + 1) % 7)
    return sunday + dt.timedelta(weeks=offset), sunday + dt.timedelta(weeks=offset + length)


def _months(today: dt.date, size: int, offset: int, length: int = 1) -> Range:
    """Periods of ``size`` months (1 month, 3 quarter, 12 year), counted from the current one."""
    current = (today.year * 12 + today.month - 1) // size
    return _first((current + offset) * size), _first((current + offset + length) * size)


def _first(month: int) -> dt.date:
    return dt.date(month // 12, month % 12 + 1, 1)


_FIXED: dict[str, Callable[[dt.date], Range]] = {
    "TODAY": lambda t: _days(t, 0, 1),
    "YESTERDAY": lambda t: _days(t, -1, 0),
    "TOMORROW": lambda t: _days(t, 1, 2),
    "LAST_90_DAYS": lambda t: _days(t, -90, 1),
    "NEXT_90_DAYS": lambda t: _days(t, 1, 91),
    "LAST_WEEK": lambda t: _week(t, -1),
    "THIS_WEEK": lambda t: _week(t, 0),
    "NEXT_WEEK": lambda t: _week(t, 1),
    "LAST_MONTH": lambda t: _months(t, 1, -1),
    "THIS_MONTH": lambda t: _months(t, 1, 0),
    "NEXT_MONTH": lambda t: _months(t, 1, 1),
    "LAST_QUARTER": lambda t: _months(t, 3, -1),
    "THIS_QUARTER": lambda t: _months(t, 3, 0),
    "NEXT_QUARTER": lambda t: _months(t, 3, 1),
    "LAST_YEAR": lambda t: _months(t, 12, -1),
    "THIS_YEAR": lambda t: _months(t, 12, 0),
    "NEXT_YEAR": lambda t: _months(t, 12, 1),
}
_COUNTED: dict[str, Callable[[dt.date, int], Range]] = {
    "LAST_N_DAYS": lambda t, n: _days(t, -n, 1),
    "NEXT_N_DAYS": lambda t, n: _days(t, 1, n + 1),
    "N_DAYS_AGO": lambda t, n: _days(t, -n, 1 - n),
    "LAST_N_WEEKS": lambda t, n: _week(t, -n, n),
    "NEXT_N_WEEKS": lambda t, n: _week(t, 1, n),
    "N_WEEKS_AGO": lambda t, n: _week(t, -n),
    "LAST_N_MONTHS": lambda t, n: _months(t, 1, -n, n),
    "NEXT_N_MONTHS": lambda t, n: _months(t, 1, 1, n),
    "N_MONTHS_AGO": lambda t, n: _months(t, 1, -n),
    "LAST_N_QUARTERS": lambda t, n: _months(t, 3, -n, n),
    "NEXT_N_QUARTERS": lambda t, n: _months(t, 3, 1, n),
    "LAST_N_YEARS": lambda t, n: _months(t, 12, -n, n),
    "NEXT_N_YEARS": lambda t, n: _months(t, 12, 1, n),
}
