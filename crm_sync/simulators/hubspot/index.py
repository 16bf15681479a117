"""The search index: a copy of the records that lags behind them, as HubSpot's does.

Here: what the index knows and when it learns it. Not here: the search language (search.py).
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Sequence
from heapq import merge
from typing import NamedTuple

import numpy as np

from crm_sync.simulators.hubspot.records import FIRST_ID, Nothing, Numbers, Seed

CHUNK = 500
MOST = 1 << 60  # after every moment


class Pending(NamedTuple):
    """A change the index has not seen yet; ``values`` is None for a record that left. Times in ms."""

    due: int
    kind: str
    id: int
    values: dict[str, str] | None
    modified: int


class Shelf:
    """What the index knows about one object type: the seed's records, and what it was told about since."""

    def __init__(self) -> None:
        self.seed: Seed = Nothing()
        self.version = 0
        self._rows: dict[int, dict[str, str]] = {}
        self._modified: dict[int, int] = {}
        self._order: list[tuple[int, int]] = []  # (modified, id); may name stamps that a record no longer has
        self._new: dict[int, None] = {}  # ids after the seed's, as they came
        self._touched = np.zeros(0, bool)
        self._seeded: tuple[Numbers, Numbers] | None = None  # stamps and ids of the seed, in order

    def plant(self, seed: Seed) -> None:
        self.seed = seed
        self._touched = np.zeros(seed.count, bool)

    def put(self, number: int, values: dict[str, str] | None, modified: int) -> None:
        """Learn the values of a record, or (None) that it left."""
        self.version += 1
        place = number - FIRST_ID
        seeded = 0 <= place < self.seed.count
        if seeded:
            self._touched[place] = True
        if values is None:
            self._rows.pop(number, None)
            self._modified.pop(number, None)
            self._new.pop(number, None)
            return
        if not seeded:
            self._new[number] = None
        self._rows[number] = values
        self._modified[number] = modified
        entry = (modified, number)
        if not self._order or entry > self._order[-1]:
            self._order.append(entry)
        else:
            insort(self._order, entry)

    def everything(self) -> list[int]:
        """All ids."""
        base: list[int] = (np.flatnonzero(~self._touched) + FIRST_ID).tolist()
        changed = [number for number in self._rows if number not in self._new]
        return [*(sorted(base + changed) if changed else base), *self._new]

    def each(self, numbers: Sequence[int]) -> Iterator[tuple[int, dict[str, str]]]:
        """Ids with their values."""
        for start in range(0, len(numbers), CHUNK):
            some = numbers[start : start + CHUNK]
            made = iter(self.seed.records([number for number in some if number not in self._rows]))
            for number in some:
                yield number, self._rows[number] if number in self._rows else next(made).values

    def modified(self, number: int) -> int:
        stamp = self._modified.get(number)
        return self.seed.record(number).modified if stamp is None else stamp

    def between(self, low: int | None, high: int | None) -> list[int]:
        """Ids whose modification stamp is in [low, high), ordered by stamp and id; None is no bound."""
        if self._seeded is None:
            stamps = self.seed.stamps()
            order = np.argsort(stamps, kind="stable")
            self._seeded = stamps[order], order
        low, high = 0 if low is None else low, MOST if high is None else high
        start, end = np.searchsorted(self._seeded[0], [low, high])
        places = self._seeded[1][start:end]
        untouched = ~self._touched[places]
        base = places[untouched]
        own = dict.fromkeys(
            entry
            for entry in self._order[bisect_left(self._order, (low, 0)) : bisect_left(self._order, (high, 0))]
            if self._modified.get(entry[1]) == entry[0]
        )
        if not own:
            found: list[int] = (base + FIRST_ID).tolist()
            return found
        stamps = self._seeded[0][start:end][untouched]
        entries = zip(stamps.tolist(), (base + FIRST_ID).tolist(), strict=True)
        return [number for _, number in merge(entries, own)]


class Index:
    """The shelves and the changes on their way to them."""

    def __init__(self) -> None:
        self.shelves: dict[str, Shelf] = {}
        self.queue: deque[Pending] = deque()

    def schedule(self, change: Pending) -> None:
        self.queue.append(change)

    def shelf(self, kind: str, now: int) -> Shelf:
        """The shelf as of ``now``: everything due has arrived."""
        while self.queue and self.queue[0].due <= now:
            change = self.queue.popleft()
            self._at(change.kind).put(change.id, change.values, change.modified)
        return self._at(kind)

    def plant(self, kind: str, seed: Seed) -> None:
        """Begin with these records."""
        self._at(kind).plant(seed)

    def _at(self, kind: str) -> Shelf:
        return self.shelves.setdefault(kind, Shelf())
