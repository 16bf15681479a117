"""Ages as people write them: 30m, 12h, 7d, 2w."""

import re
from datetime import timedelta

_UNITS = {"w": timedelta(weeks=1), "d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
PATTERN = r"[1-9][0-9]{0,3}[mhdw]"


def parse(text: str) -> timedelta:
    """An age such as 7d. Raises ValueError for anything else."""
    if not re.fullmatch(PATTERN, text, re.ASCII):
        raise ValueError("must be a number and a unit, such as 30m, 12h, 7d or 2w")
    return int(text[:-1]) * _UNITS[text[-1]]


def text(age: timedelta) -> str:
    """As short as it can be said exactly, to the minute."""
    for unit, length in _UNITS.items():
        if age >= length and age % length == timedelta():
            return f"{age // length}{unit}"
    return f"{age // _UNITS['m']}m"
