"""The rows of one object: those of the seed, computed when they are read, and those that somebody wrote.

A seeded row is a function of its number until it is written, so a million of them cost nothing to hold. Rows are found by
id, in order of id, in order of stamp, and by a parent. Not here: what a seeded row is made of (seeded.py), unique values
(store.py).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from crm_sync.simulators.salesforce import ids
from crm_sync.simulators.salesforce.clock import epoch
from crm_sync.simulators.salesforce.schema import Row, SObject

Numbers: TypeAlias = npt.NDArray[np.int64]
Column: TypeAlias = Sequence[Any]
CHUNK = 2_000
LAST = "~"
"""After every stamp."""
SHIFT = 32
MOST = (1 << 31) - 1  # seconds: what a key of 63 bits can hold
_NUMBER = (1 << SHIFT) - 1


class Seed(Protocol):
    """Rows number 1 to ``count`` as they were at the start. None of them has a unique value or an external id."""

    count: int

    def row(self, number: int) -> Row: ...

    def columns(self, numbers: Numbers, places: Sequence[int]) -> list[Column]:
        """The values of these rows at these places of a row, a list for each place."""

    def stamps(self) -> Numbers:
        """SystemModstamp of every row, in seconds since the epoch."""

    def parents(self, name: str) -> tuple[str, Numbers] | None:
        """The parents that a reference names: their prefix and, for every row, their number (0: none)."""


class Nothing:
    """The seed of an object that has none."""

    count = 0

    def row(self, number: int) -> Row:
        raise KeyError(number)

    def columns(self, numbers: Numbers, places: Sequence[int]) -> list[Column]:
        del numbers
        return [[] for _ in places]

    def stamps(self) -> Numbers:
        return np.zeros(0, np.int64)

    def parents(self, name: str) -> tuple[str, Numbers] | None:
        del name
        return None


class Rows:
    """Rows by their 18-character id."""

    def __init__(self, o: SObject) -> None:
        self.object = o
        self.seed: Seed = Nothing()
        self._own: dict[int, Row] = {}
        self._touched = np.zeros(1, bool)  # by number: the seed no longer speaks for this row
        self._touches = 0
        self._stamps: list[
            int
        ] = []  # of own rows: stamp << SHIFT | number; may name stamps a row no longer has
        self._sorted: Numbers | None = None  # the same for the seed
        self._lookups: dict[tuple[int, ...], dict[tuple[str, ...], list[int]]] = {}

    def plant(self, seed: Seed) -> None:
        """Begin with these rows."""
        self.seed = seed
        self._touched = np.zeros(seed.count + 1, bool)

    def __len__(self) -> int:
        return self.seed.count - self._touches + len(self._own)

    def __contains__(self, record_id: object) -> bool:
        return isinstance(record_id, str) and self._has(self._number(record_id))

    def __getitem__(self, record_id: str) -> Row:
        row = self.get(record_id)
        if row is None:
            raise KeyError(record_id)
        return row

    def get(self, record_id: str) -> Row | None:
        """The row to read; a change to it may be lost (see ``take``)."""
        number = self._number(record_id)
        row = self._own.get(number)
        return row if row is not None or not self._seeded(number) else self.seed.row(number)

    def take(self, record_id: str) -> Row | None:
        """The row to be written."""
        number = self._number(record_id)
        row = self._own.get(number)
        if row is None and self._seeded(number):
            row = self.seed.row(number)
            self._keep(number, row)
            self.stamped(row)
        return row

    def __setitem__(self, record_id: str, row: Row) -> None:
        self._keep(self._number(record_id), row)

    def __delitem__(self, record_id: str) -> None:
        number = self._number(record_id)
        self._touch(number)
        del self._own[number]

    def stamped(self, row: Row) -> None:
        """Enter a row at its SystemModstamp."""
        entry = epoch(row[self.object.position["SystemModstamp"]]) << SHIFT | self._number(row[0])
        if self._stamps and self._stamps[-1] > entry:
            self._stamps.insert(bisect_left(self._stamps, entry), entry)
        else:
            self._stamps.append(entry)

    def values(self) -> Iterator[Row]:
        return iter(self.everything())

    def everything(self, *, deleted_too: bool = True) -> "Selection":
        """All rows in order of id."""
        own = sorted((n, row) for n, row in self._own.items() if deleted_too or self._is_live(row))
        base = np.flatnonzero(~self._touched[1:]) + 1
        return self._merged(base, base, own)

    def between(self, low: str, high: str, *, deleted_too: bool = True) -> "Selection":
        """Rows whose SystemModstamp is in [low, high), in order of stamp and id. ``~`` ends a bound that is included."""
        if self._sorted is None:
            numbers = np.arange(1, self.seed.count + 1)
            self._sorted = np.sort(self.seed.stamps() << SHIFT | numbers)
        first, last = _bound(low), _bound(high)
        start, end = np.searchsorted(self._sorted, [first, last])
        keys = self._sorted[start:end]
        keys = keys[~self._touched[keys & _NUMBER]]
        place = self.object.position["SystemModstamp"]
        own = []
        for entry in dict.fromkeys(
            self._stamps[bisect_left(self._stamps, first) : bisect_left(self._stamps, last)]
        ):
            row = self._own.get(entry & _NUMBER)
            if (
                row is not None
                and epoch(row[place]) == entry >> SHIFT
                and (deleted_too or self._is_live(row))
            ):
                own.append((entry, row))
        return self._merged(keys & _NUMBER, keys, own)

    def pointing(self, name: str, parent_id: str) -> list[Row]:
        """Rows, to be written, whose reference ``name`` is ``parent_id``."""
        place = self.object.position[name]
        numbers = [number for number, row in self._own.items() if row[place] == parent_id]
        parents = self.seed.parents(name)
        if parents is not None and parents[0] == parent_id[:3]:
            found = np.flatnonzero(parents[1] == ids.number(parent_id)) + 1
            numbers += [number for number in found.tolist() if self._seeded(number)]
        rows = (self.take(ids.make(self.object.prefix, number)) for number in sorted(numbers))
        return [row for row in rows if row is not None]

    def alike(self, places: Sequence[int], wanted: Sequence[str]) -> list[Row]:
        """Rows that have these values (lower case) at these places."""
        key, lookup = tuple(wanted), self._lookup(tuple(places))
        seeded = [self.seed.row(number) for number in lookup.get(key, ()) if self._seeded(number)]
        return seeded + [
            row for row in self._own.values() if _folded([row[place] for place in places]) == key
        ]

    def _lookup(self, places: tuple[int, ...]) -> dict[tuple[str, ...], list[int]]:
        lookup = self._lookups.get(places)
        if lookup is None:
            lookup = self._lookups[places] = {}
            for start in range(1, self.seed.count + 1, CHUNK):
                numbers = np.arange(start, min(start + CHUNK, self.seed.count + 1))
                for number, values in enumerate(zip(*self.seed.columns(numbers, places), strict=True), start):
                    key = _folded(values)
                    if key is not None:
                        lookup.setdefault(key, []).append(number)
        return lookup

    def _merged(self, numbers: Numbers, keys: Numbers, own: Sequence[tuple[int, Row]]) -> "Selection":
        """Seeded rows and own rows ``(key, row)``, both in order of their keys."""
        at = np.searchsorted(keys, np.array([key for key, _ in own], np.int64))
        places = np.insert(numbers, at, -1 - np.arange(len(own)))
        return Selection(self.seed, self.object.width, places, [row for _, row in own])

    def _number(self, record_id: str) -> int:
        return ids.number(record_id) if record_id[:3] == self.object.prefix else -1

    def _seeded(self, number: int) -> bool:
        return 0 < number <= self.seed.count and not self._touched[number]

    def _has(self, number: int) -> bool:
        return number in self._own or self._seeded(number)

    def _keep(self, number: int, row: Row) -> None:
        self._touch(number)
        self._own[number] = row

    def _touch(self, number: int) -> None:
        if self._seeded(number):
            self._touched[number] = True
            self._touches += 1

    def _is_live(self, row: Row) -> bool:
        return not row[self.object.position["IsDeleted"]]


class Selection(Sequence[Row]):
    """Some rows in an order, made when they are read."""

    def __init__(self, seed: Seed, width: int, places: Numbers, own: list[Row]) -> None:
        self.seed = seed
        self.width = width
        self.places = places  # the number of a seeded row, or -1 - place in own
        self.own = own

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, at: Any) -> Any:
        return self.rows(self.places[at]) if isinstance(at, slice) else self.rows(self.places[[at]])[0]

    def __iter__(self) -> Iterator[Row]:
        return chain.from_iterable(self.rows(part) for part in self.parts(CHUNK))

    def cut(self, start: int, end: int | None) -> "Selection":
        return Selection(self.seed, self.width, self.places[start:end], self.own)

    def filtered(self, test: Callable[[Row], bool], looks_at: Sequence[int]) -> "Selection":
        """The rows that pass a test of the values at some places."""
        row: Row = [None] * self.width
        passed = []
        for part in self.parts(CHUNK):
            for place, values in zip(
                part.tolist(), zip(*self.columns(part, looks_at), strict=True), strict=True
            ):
                for at, value in zip(looks_at, values, strict=True):
                    row[at] = value
                if test(row):
                    passed.append(place)
        return Selection(self.seed, self.width, np.array(passed, np.int64), self.own)

    def parts(self, size: int) -> Iterator[Numbers]:
        """The places, ``size`` at a time, for ``rows`` and ``columns``."""
        return (self.places[start : start + size] for start in range(0, len(self.places), size))

    def frozen(self) -> "Selection":
        """The same rows as they are now, whatever becomes of them."""
        return Selection(self.seed, self.width, self.places, [list(row) for row in self.own])

    def rows(self, part: Numbers) -> list[Row]:
        if not len(part) or part.max() < 0:
            return [self.own[-1 - place] for place in part.tolist()]
        if len(part) == 1:
            return [self.seed.row(int(part[0]))]
        made = map(list, zip(*self.seed.columns(part[part > 0], range(self.width)), strict=True))
        return [self.own[-1 - place] if place < 0 else next(made) for place in part.tolist()]

    def columns(self, part: Numbers, places: Sequence[int]) -> list[Column]:
        """The values at ``places`` of the rows of a part."""
        if part.size and part.min() > 0:
            return self.seed.columns(part, places)
        rows = self.rows(part)
        return [[row[place] for row in rows] for place in places]


def _folded(values: Iterable[Any]) -> tuple[str, ...] | None:
    """Values for comparison; None if one is empty."""
    found = tuple(str(value).lower() for value in values if value is not None)
    return found if all(value is not None for value in values) else None


def _bound(text: str) -> int:
    """The least key of a row whose stamp is at or after ``text`` (after it, if it ends in ``~``)."""
    if not text:
        return 0
    if text.startswith("~"):
        return MOST << SHIFT
    later = text.endswith("~") or text[19:23] != ".000"
    return min(max(epoch(text) + later, 0), MOST) << SHIFT
