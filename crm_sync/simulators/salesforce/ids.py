"""Record ids: 3 characters for the object, 12 that count, 3 that make case irrelevant.

Source: "What are Salesforce ID's composed of" (help article 000385008): the suffix encodes, for each
group of five characters, which of them are upper case.
"""

import numpy as np
import numpy.typing as npt

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SUFFIXES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
POD = "Sm0"
_PAIRS = tuple(first + second for first in DIGITS for second in DIGITS)
_UPPER_IN_PAIR = np.array([pair[0].isupper() | pair[1].isupper() << 1 for pair in _PAIRS])
_PLACES = {pair: place for place, pair in enumerate(_PAIRS)}
_VALID = frozenset(DIGITS)
_UPPER = str.maketrans({character: "1" if character.isupper() else "0" for character in DIGITS})


def make(prefix: str, number: int) -> str:
    """The ``number``-th id of the object with this key prefix, 18 characters; ids sort as their numbers do."""
    number, d = divmod(number, 3844)
    number, c = divmod(number, 3844)
    number, b = divmod(number, 3844)
    number, a = divmod(number, 3844)
    short = f"{prefix}{POD}{DIGITS[number]}{_PAIRS[a]}{_PAIRS[b]}{_PAIRS[c]}{_PAIRS[d]}"
    return short + suffix(short)


def number(record_id: str) -> int:
    """The inverse of ``make``; -1 for an id that it cannot have made."""
    if record_id[3:6] != POD or len(record_id) != 18:
        return -1
    try:
        total = DIGITS.index(record_id[6])
        for at in range(7, 15, 2):
            total = total * 3844 + _PLACES[record_id[at : at + 2]]
    except (KeyError, ValueError):
        return -1
    return total


def many(prefix: str, numbers: npt.NDArray[np.int64]) -> list[str]:
    """``make`` for many."""
    if len(numbers) and numbers.max() >= len(_PAIRS) ** 2:
        return [make(prefix, number) for number in numbers.tolist()]
    head = f"{prefix}{POD}00000"
    checks = suffix(head + "0000")[:2]
    c, d = np.divmod(numbers, len(_PAIRS))
    last = np.take(_UPPER_IN_PAIR, c) << 1 | np.take(_UPPER_IN_PAIR, d) << 3
    return [
        f"{head}{_PAIRS[one]}{_PAIRS[other]}{checks}{SUFFIXES[check]}"
        for one, other, check in zip(c.tolist(), d.tolist(), last.tolist(), strict=True)
    ]


def suffix(short: str) -> str:
    """The three check characters of a 15-character id: per five characters, a bit for each upper-case one."""
    return _check(short[:5]) + _check(short[5:10]) + _check(short[10:])


def _check(five: str) -> str:
    return SUFFIXES[int(five.translate(_UPPER)[::-1], 2)]


def normalise(text: object) -> str | None:
    """The 18-character form of a 15- or 18-character id, letter case repaired by the suffix; None if it is no id."""
    if not isinstance(text, str) or not _VALID.issuperset(text):
        return None
    if len(text) == 15:
        return text + suffix(text)
    if len(text) != 18:
        return None
    if suffix(text[:15]) == text[15:]:
        return text
    tail = text[15:].upper()
    if not set(SUFFIXES).issuperset(tail):
        return None
    short = "".join(
        character.upper() if SUFFIXES.index(tail[place // 5]) >> place % 5 & 1 else character.lower()
        for place, character in enumerate(text[:15])
    )
    return short + tail if suffix(short) == tail else None
