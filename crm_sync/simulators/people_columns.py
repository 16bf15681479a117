"""The invented people, companies and deals of people.py, many at a time: a column is computed when it is asked for.

A million records are made in seconds this way, and one record is still cheaper made alone (``people.person``). Both
say the same: tests/simulators/test_people.py compares them value by value. Here: arithmetic on whole columns and tables
of everything that can come out. Not here: what an invented record looks like (people.py), the words (vocabulary.py).

The names of the columns are the fields of ``people.Person``, ``Company`` and ``Deal``; each is a list as long as ``keys``.
"""

from datetime import date, datetime
from decimal import Decimal
from functools import cached_property

import numpy as np

from crm_sync.simulators import people, vocabulary
from crm_sync.simulators.people import Side
from crm_sync.simulators.people_tables import (
    NOBODY,
    Flags,
    Keys,
    amounts,
    births,
    calls,
    choices,
    chosen,
    closes,
    company_of_person,
    domains,
    draw,
    first_addresses,
    first_names,
    last_addresses,
    last_names,
    n,
    or_none,
    phones,
    pick,
    small,
    table,
)

_LAST_NAMES = len(vocabulary.LAST) + len(vocabulary.STRANGE_LAST)


def keys_of(count: int, side: Side) -> Keys:
    """The keys of the first ``count`` records of a side, in order."""
    places = np.arange(count, dtype=np.int64)
    return 3 * (places // 2) + (places & 1) * people.OWN[side]


class _Block:
    """What the three kinds share: the bits that everything follows from."""

    kind: int
    shift: int

    def __init__(self, keys: Keys, seed: int, side: Side) -> None:
        self.keys = keys
        self.seed = seed
        self.side = side
        self._who = draw(seed, self.kind, keys)
        self._how = draw(self._who, people.OWN[side], keys)
        self._rest = self._who >> n(self.shift)

    @cached_property
    def key(self) -> list[int]:
        keys: list[int] = self.keys.tolist()
        return keys

    @cached_property
    def ages(self) -> Keys:
        """``modified_seconds_ago`` as an array."""
        return ((self._how >> n(24)) % n(people.YEAR_AND_A_BIT)).astype(np.int64) + 1

    @cached_property
    def modified_seconds_ago(self) -> list[int]:
        ages: list[int] = self.ages.tolist()
        return ages


class People(_Block):
    """Columns of ``people.Person``."""

    kind, shift = people.PERSON, 24

    @cached_property
    def company_keys(self) -> Keys:
        """``company_key`` as an array, NOBODY for None."""
        return company_of_person(self.keys, self.seed)

    @cached_property
    def company_key(self) -> list[int | None]:
        return or_none(self.company_keys)

    @cached_property
    def _strange(self) -> Flags:
        flags: Flags = self._who % n(97) == 0
        return flags

    @cached_property
    def _first(self) -> Keys:
        return small(self._who >> n(4), len(vocabulary.FIRST))

    @cached_property
    def _last(self) -> Keys:
        """Keys in LAST followed by STRANGE_LAST."""
        usual = small(self._who >> n(9), len(vocabulary.LAST))
        odd = small(self._who >> n(9), len(vocabulary.STRANGE_LAST)) + len(vocabulary.LAST)
        return np.where(self._strange, odd, usual)

    @cached_property
    def _slip(self) -> Keys:
        return small(self._how, 100)

    @cached_property
    def first_name(self) -> list[str | None]:
        size = len(vocabulary.FIRST)
        spelling = np.select([self._slip < 3, (self._slip >= 5) & (self._slip < 7)], [size, 2 * size], 0)
        return pick(first_names(), self._first + spelling, self._rest % n(50) != 0)

    @cached_property
    def last_name(self) -> list[str]:
        shout = (self._slip >= 3) & (self._slip < 5) & ~self._strange
        return pick(last_names(), self._last + shout * _LAST_NAMES)

    @cached_property
    def email(self) -> list[str]:
        shout = (
            (self._how >> n(20)) & n(3) == 0 if self.side == "salesforce" else np.zeros(len(self.keys), bool)
        )
        first = pick(first_addresses(), self._first + shout * len(vocabulary.FIRST))
        last = pick(last_addresses(), self._last + shout * _LAST_NAMES)
        hosts = domains(self.company_keys, self.seed, small(self._who, 7), shout)
        return [f"{a}.{b}.{key}@{at}" for a, b, key, at in zip(first, last, self.key, hosts, strict=True)]

    @cached_property
    def phone(self) -> list[str | None]:
        filled = self._rest % n(7) != 0
        return phones(self._who >> n(11), self._how >> n(8), filled, mobile=False)

    @cached_property
    def mobile(self) -> list[str | None]:
        filled = self._rest % n(5) < 3
        return phones(self._who >> n(17), self._how >> n(10), filled, mobile=True)

    @cached_property
    def title(self) -> list[str | None]:
        return pick(table(vocabulary.TITLES), small(self._rest, 12), self._rest % n(6) != 0)

    @cached_property
    def birth_date(self) -> list[date | None]:
        place = np.where(self._rest % n(101) == 1, people.BIRTH_DAYS, small(self._rest, people.BIRTH_DAYS))
        return pick(births(), place, self._rest % n(3) != 0)

    @cached_property
    def interests(self) -> list[tuple[str, ...]]:
        some = (self._who >> n(40)) & n(3) != 0
        return pick(choices(), np.where(some, small(self._who >> n(30), 64), 0))

    @cached_property
    def opted_out(self) -> list[bool]:
        flags: list[bool] = ((self._who >> n(36)) % n(9) == 0).tolist()
        return flags

    @cached_property
    def notes(self) -> list[str | None]:
        size = len(vocabulary.NOTES)
        number = self._who >> n(33)
        place = np.where((self._who >> n(50)) & n(15) == 0, small(number, size), small(number, size - 1))
        return pick(table(vocabulary.NOTES), place, (self._who >> n(42)) & n(1) == 1)

    @cached_property
    def next_call_at(self) -> list[datetime | None]:
        bits = self._who >> n(44)
        edge, usual = small(bits >> n(2), len(vocabulary.EDGES)), small(bits >> n(2), people.CALLS)
        place = np.where(bits & n(3) == 0, edge + people.CALLS, usual)
        return pick(calls(), place, (self._who >> n(43)) & n(3) == 0)


class Companies(_Block):
    """Columns of ``people.Company``."""

    kind, shift = people.COMPANY, 16

    @cached_property
    def name(self) -> list[str]:
        founders = pick(table(vocabulary.FOUNDERS), small(self._who >> n(3), len(vocabulary.FOUNDERS)))
        trades = pick(table(vocabulary.TRADES), small(self._who >> n(8), len(vocabulary.TRADES)))
        form = small(self._who >> n(13), len(vocabulary.FORMS)) * 2 + (self._how % n(25) == 0)
        forms = pick(table([spelling for pair in vocabulary.FORMS for spelling in pair]), form)
        rows = zip(founders, trades, self.key, forms, strict=True)
        return [f"{founder} {trade} {key} {form}" for founder, trade, key, form in rows]

    @cached_property
    def domain(self) -> list[str]:
        never = np.zeros(len(self.keys), bool)
        return domains(self.keys, self.seed, never.astype(np.int64), never)

    @cached_property
    def website(self) -> list[str | None]:
        fancy = ((self._how >> n(5)) & n(1) == 1).tolist()
        filled = (self._rest % n(8) != 0).tolist()
        return [
            (f"https://www.{domain}/" if long else f"http://{domain}") if there else None
            for domain, long, there in zip(self.domain, fancy, filled, strict=True)
        ]

    @cached_property
    def phone(self) -> list[str | None]:
        return phones(self._who >> n(21), self._how >> n(8), self._rest % n(6) != 0, mobile=False)

    @cached_property
    def industry(self) -> list[str | None]:
        return pick(table(people.INDUSTRIES), small(self._rest, 12), self._rest % n(9) != 0)

    @cached_property
    def employees(self) -> list[int | None]:
        return or_none(np.where(self._rest % n(5) != 0, small(self._who >> n(27), 20_000) + 1, NOBODY))

    @cached_property
    def annual_revenue(self) -> list[Decimal | None]:
        return amounts(self._who >> n(31), self._currencies, self._rest % n(4) != 0)

    @cached_property
    def description(self) -> list[str | None]:
        place = small(self._who >> n(37), len(vocabulary.NOTES) - 1)
        return pick(table(vocabulary.NOTES), place, self._rest & n(1) == 1)

    @cached_property
    def _currencies(self) -> Keys:
        return small(self._who >> n(40), 4)

    @cached_property
    def currency(self) -> list[str]:
        return pick(table(people.CURRENCIES), self._currencies)


class Deals(_Block):
    """Columns of ``people.Deal``."""

    kind, shift = people.DEAL, 0

    @cached_property
    def person_keys(self) -> Keys:
        """``person_key`` as an array, NOBODY for None."""
        before, own = self.keys // 3 * 10 // 3, self.keys % 3
        return np.where(self._who % n(5) != 0, chosen(before, self._who >> n(20), own), NOBODY)

    @cached_property
    def company_keys(self) -> Keys:
        """``company_key`` as an array, NOBODY for None."""
        alone = chosen(self.keys // 3 * 16 // 30, self._who >> n(12), self.keys % 3)
        of_person = company_of_person(self.person_keys, self.seed)
        return np.where(self.person_keys == NOBODY, alone, of_person)

    @cached_property
    def person_key(self) -> list[int | None]:
        return or_none(self.person_keys)

    @cached_property
    def company_key(self) -> list[int | None]:
        return or_none(self.company_keys)

    @cached_property
    def name(self) -> list[str]:
        why = pick(table(vocabulary.WHY), small(self._who >> n(9), len(vocabulary.WHY)))
        return [f"{reason} {key}" for reason, key in zip(why, self.key, strict=True)]

    @cached_property
    def _currencies(self) -> Keys:
        return small(self._who >> n(6), 4)

    @cached_property
    def currency(self) -> list[str]:
        return pick(table(people.CURRENCIES), self._currencies)

    @cached_property
    def amount(self) -> list[Decimal | None]:
        return amounts(self._who >> n(26), self._currencies, (self._who >> n(14)) % n(10) != 0)

    @cached_property
    def close_date(self) -> list[date]:
        special = small(self._who >> n(16), 8) + people.CLOSE_DAYS
        usual = small(self._who >> n(22), people.CLOSE_DAYS)
        return pick(closes(), np.where((self._who >> n(19)) & n(7) == 0, special, usual))

    @cached_property
    def stage(self) -> list[str]:
        ahead = self._how % n(40) == 0
        return pick(table(people.STAGES), np.minimum(small(self._who >> n(30), 7) + ahead, 6))

    @cached_property
    def description(self) -> list[str | None]:
        place = small(self._who >> n(37), len(vocabulary.NOTES) - 1)
        return pick(table(vocabulary.NOTES), place, (self._who >> n(36)) & n(1) == 1)
