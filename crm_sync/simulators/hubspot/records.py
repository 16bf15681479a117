"""Records of one object type: those of the seed, computed when they are read, and those that somebody wrote.

Here: values with their history, records by id and in order of id, unique values. Not here: what a seeded record is made of
(seeded.py), HubSpot's rules (store.py, writes.py).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol, TypeAlias
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.int64]
FIRST_ID = 50_000_000_001
CHUNK = 500


class Change(NamedTuple):
    """One value a property had, from ``at`` (ms) on, and where it came from."""

    at: int
    name: str
    value: str
    source: str
    source_id: str


@dataclass(slots=True, weakref_slot=True)
class Record:
    """One record; the stamps are in ms; ``trail`` is None until a value is changed for the first time."""

    id: int
    values: dict[str, str]
    created: int
    modified: int
    archived: int | None = None
    trail: list[Change] | None = None


class Seed(Protocol):
    """Records FIRST_ID to FIRST_ID + ``count`` - 1 as they were at the start."""

    count: int
    names: frozenset[str]  # properties that they have values of

    def record(self, number: int) -> Record: ...

    def records(self, numbers: Sequence[int]) -> list[Record]:
        """Many, to be read only."""

    def stamps(self) -> Numbers:
        """The modification stamp of every one, in ms."""

    def holder(self, name: str, value: str) -> int | None:
        """The id of the record with this value (lower case) of a unique property."""


class Nothing:
    """The seed of an object type that has none."""

    count = 0
    names: frozenset[str] = frozenset()

    def record(self, number: int) -> Record:
        raise KeyError(number)

    def records(self, numbers: Sequence[int]) -> list[Record]:
        del numbers
        return []

    def stamps(self) -> Numbers:
        return np.zeros(0, np.int64)

    def holder(self, name: str, value: str) -> int | None:
        del name, value
        return None


class Live:
    """The records that are not archived, by id."""

    def __init__(self) -> None:
        self.seed: Seed = Nothing()
        self.own: dict[int, Record] = {}
        self._new: list[int] = []  # ids after the seed's; may name records that are gone
        self._touched = np.zeros(0, bool)  # the seed no longer speaks for this record
        self._touches = 0
        # A record that somebody holds is the same object for everybody, or a change to it would be lost.
        self._held: WeakValueDictionary[int, Record] = WeakValueDictionary()

    def plant(self, seed: Seed) -> None:
        """Begin with these records."""
        self.seed = seed
        self._touched = np.zeros(seed.count, bool)

    def __len__(self) -> int:
        return self.seed.count - self._touches + len(self.own)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and (number in self.own or self._seeded(number))

    def __getitem__(self, number: int) -> Record:
        record = self.get(number)
        if record is None:
            raise KeyError(number)
        return record

    def get(self, number: int) -> Record | None:
        """The record, to read or to write; what is written must be entered again (``live[id] = record``)."""
        record = self.own.get(number)
        if record is not None or not self._seeded(number):
            return record
        record = self._held.get(number)
        if record is None:
            record = self._held[number] = self.seed.record(number)
        return record

    def __setitem__(self, number: int, record: Record) -> None:
        if number not in self.own and not self._touch(number) and (not self._new or number > self._new[-1]):
            self._new.append(number)
        self.own[number] = record

    def pop(self, number: int) -> Record | None:
        """Take a record away, if it is there."""
        record = self.get(number)
        self._touch(number)
        self.own.pop(number, None)
        return record

    def values(self) -> Iterator[Record]:
        """All records in order of id, to be read only."""
        numbers = self.numbers(0)
        while some := list(islice(numbers, CHUNK)):
            yield from self.many(some)

    def numbers(self, after: int) -> Iterator[int]:
        """Ids from ``after`` on, in order."""
        for number in range(max(after, FIRST_ID), FIRST_ID + self.seed.count):
            if not self._touched[number - FIRST_ID] or number in self.own:
                yield number
        for place in range(bisect_left(self._new, after), len(self._new)):
            if self._new[place] in self.own:
                yield self._new[place]

    def many(self, numbers: Sequence[int]) -> list[Record]:
        """Records that are there, to be read only."""
        own = self.own
        made = iter(self.seed.records([number for number in numbers if number not in own]))
        return [own[number] if number in own else next(made) for number in numbers]

    def page(self, after: int, limit: int) -> tuple[list[Record], int | None]:
        """Up to ``limit`` records from id ``after`` on, and the id where the next page begins."""
        numbers = list(islice(self.numbers(after), limit + 1))
        return self.many(numbers[:limit]), numbers[limit] if len(numbers) > limit else None

    def _seeded(self, number: int) -> bool:
        place = number - FIRST_ID
        return 0 <= place < self.seed.count and not self._touched[place]

    def _touch(self, number: int) -> bool:
        """Whether the record is one of the seed's."""
        if self._seeded(number):
            self._touched[number - FIRST_ID] = True
            self._touches += 1
        return 0 <= number - FIRST_ID < self.seed.count


class Unique:
    """Who holds which value of a unique property: what was written, and the seed's records."""

    def __init__(self, seeded: Callable[[str], int | None] = lambda _: None) -> None:
        self._seeded = seeded
        self._own: dict[str, int | None] = {}

    def get(self, value: str) -> int | None:
        return self._own[value] if value in self._own else self._seeded(value)

    def __setitem__(self, value: str, number: int) -> None:
        self._own[value] = number

    def __delitem__(self, value: str) -> None:
        self._own[value] = None
