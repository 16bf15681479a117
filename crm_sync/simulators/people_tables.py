"""Arithmetic on whole columns, and tables of everything that can come out, for people_columns.py.

The formulas are those of people.py, for arrays of keys.
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from crm_sync.simulators import people, vocabulary
from crm_sync.simulators.phones import phone_text

Bits: TypeAlias = npt.NDArray[np.uint64]
Keys: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Table: TypeAlias = npt.NDArray[np.object_]

NOBODY: Final = -1
"""Stands for None in arrays of keys."""


def n(number: int) -> np.uint64:
    return np.uint64(number)


def draw(seed: int | Bits, kind: int, keys: Keys) -> Bits:
    """``people.draw`` for many; arrays of uint64 wrap around by themselves."""
    start: Any = (seed * 0x9E3779B97F4A7C15 if isinstance(seed, int) else 0) + kind * 0xD1B54A32D192ED03 + 1
    x = keys.astype(np.uint64) * n(0xDA942042E4DD58B5) + n(start & people.MASK)
    if not isinstance(seed, int):
        x += seed * n(0x9E3779B97F4A7C15)
    x = (x ^ x >> n(30)) * n(0xBF58476D1CE4E5B9)
    x = (x ^ x >> n(27)) * n(0x94D049BB133111EB)
    return x ^ x >> n(31)


def small(bits: Bits, size: int) -> Keys:
    return (bits % n(size)).astype(np.int64)


def chosen(before: Keys, bits: Bits, own: Keys | int) -> Keys:
    """``people.pick``: a key among the first ``before`` triples, NOBODY where there are none."""
    some = before > 0
    place = (bits % np.where(some, before, 1).astype(np.uint64)).astype(np.int64)
    return np.where(some, 3 * place + own, NOBODY)


def company_of_person(keys: Keys, seed: int) -> Keys:
    bits = draw(seed, people.PERSON ^ 0xFF, keys)
    own = np.where(bits & n(64) != 0, keys % 3, 0)
    return np.where(bits % n(6) == 0, NOBODY, chosen(keys // 3 * 16 // 100, bits >> n(8), own))


def or_none(values: Keys) -> list[int | None]:
    return [None if value == NOBODY else value for value in values.tolist()]


def table(values: Sequence[Any]) -> Table:
    """An array of anything, None last."""
    table = np.empty(len(values) + 1, object)
    table[:-1] = [*values]
    return table


def pick(table: Table, places: Keys, filled: Flags | None = None) -> list[Any]:
    """The values at these places; None where ``filled`` is false."""
    values: list[Any] = table[places if filled is None else np.where(filled, places, len(table) - 1)].tolist()
    return values


def tuples(values: Sequence[Any]) -> Table:
    table = np.empty(len(values) + 1, object)
    for place, value in enumerate(values):
        table[place] = value
    return table


@cache
def first_names() -> Table:
    names = [name for name, _, _ in vocabulary.FIRST]
    return table([*names, *(friend for _, _, friend in vocabulary.FIRST), *(f" {name} " for name in names)])


@cache
def last_names() -> Table:
    names = [name for name, _ in (*vocabulary.LAST, *vocabulary.STRANGE_LAST)]
    return table([*names, *(name.upper() for name in names)])


@cache
def first_addresses() -> Table:
    names = [ascii_ for _, ascii_, _ in vocabulary.FIRST]
    return table([*names, *(name.capitalize() for name in names)])


@cache
def last_addresses() -> Table:
    names = [ascii_ for _, ascii_ in (*vocabulary.LAST, *vocabulary.STRANGE_LAST)]
    return table([*names, *(name.capitalize() for name in names)])


@cache
def choices() -> Table:
    return tuples(people.CHOICES)


@cache
def births() -> Table:
    days = [people.BIRTH + timedelta(days=number) for number in range(people.BIRTH_DAYS)]
    return table([*days, vocabulary.DAYS[0]])


@cache
def closes() -> Table:
    days = [people.CLOSE + timedelta(days=number) for number in range(people.CLOSE_DAYS)]
    return table([*days, *vocabulary.DAYS])


@cache
def calls() -> Table:
    usual = [people.FIRST_CALL + timedelta(minutes=15 * number) for number in range(people.CALLS)]
    return table([*usual, *vocabulary.EDGES])


_THREE: Final = tuple(f"{number:03d}" for number in range(1000))


def domains(company_keys: Keys, seed: int, free: Keys, shout: Flags) -> list[str]:
    """``people.domain`` of each company; one of the free mail services (capitalised for ``shout``) for NOBODY."""
    check = small(draw(seed, people.COMPANY, company_keys), 1000)
    firm = ("firm", "Firm")
    mail = ("mail", "Mail")
    rows = zip(company_keys.tolist(), check.tolist(), free.tolist(), shout.tolist(), strict=True)
    return [
        f"{firm[loud]}{key}-{_THREE[digits]}.example" if key >= 0 else f"{mail[loud]}{service}.example"
        for key, digits, service, loud in rows
    ]


@cache
def _phone_table(*, mobile: bool) -> Table:
    """Every number there is, as text, but for British mobile ones: (country, style, number) in this order."""
    texts = [
        phone_text(country, number, style, mobile=mobile)
        for country, size in enumerate(_phone_sizes(mobile=mobile))
        for style in range(3)
        for number in range(size)
    ]
    return table(texts)


def _phone_sizes(*, mobile: bool) -> tuple[int, int, int]:
    """How many different numbers a country has: German, British (0: too many for a table), American."""
    return (100, 0, 9900) if mobile else (1000, 1000, 9900)


def phones(numbers: Bits, spellings: Bits, filled: Flags, *, mobile: bool) -> list[str | None]:
    style, country = small(spellings, 3), np.minimum(small(numbers, 10), 2)
    number = numbers >> n(8)
    sizes = _phone_sizes(mobile=mobile)
    offsets = (0, 3 * sizes[0], 3 * (sizes[0] + sizes[1]))
    found = [
        small(number, size) + style * size + offset if size else style
        for size, offset in zip(sizes, offsets, strict=True)
    ]
    texts = pick(
        _phone_table(mobile=mobile), np.choose(country, found), filled & ((country != 1) | (sizes[1] > 0))
    )
    if not sizes[1]:
        for place in np.flatnonzero(filled & (country == 1)).tolist():
            texts[place] = phone_text(1, int(number[place]), int(style[place]), mobile=mobile)
    return texts


def amounts(bits: Bits, currencies: Keys, filled: Flags) -> list[Decimal | None]:
    cents = small(bits, people.MOST_CENTS) + people.LEAST_CENTS
    whole = (currencies == people.CURRENCIES.index("JPY")) | (bits & n(1024) != 0)
    rows = zip(cents.tolist(), whole.tolist(), filled.tolist(), strict=True)
    return [people.amount_of(number, round_) if there else None for number, round_, there in rows]
