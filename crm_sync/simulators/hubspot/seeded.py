"""Records of the seed that are computed when somebody reads them: one alone, or blocks of many.

Here: how a record is put together from neutral values (people.py, people_columns.py), and who is linked to whom. Not here:
how HubSpot spells the values of each object type (seed.py), records that were written (records.py).
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from crm_sync.simulators.hubspot.clock import DAY, iso, isos
from crm_sync.simulators.hubspot.records import FIRST_ID, Numbers, Record
from crm_sync.simulators.hubspot.schema import Kind

BLOCK = 500
BLOCKS = 40
ALONE = 4
"""Records from so many blocks are not worth whole blocks."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """A property's text: made by ``spell`` from one neutral value; None or blanks are no value."""

    of: str
    spell: Callable[[Any], str | None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the records of an object type come about."""

    count: int
    one: Callable[[int], Any]  # key -> neutral record, with modified_seconds_ago
    many: Callable[[Numbers], Any]  # keys -> its columns, with the array ages
    spellings: Mapping[str, Spelling]
    holder: Callable[[str, str], int | None] = field(default=lambda _name, _value: None)


class Seeded:
    """A ``records.Seed``. ``now`` is the start in ms."""

    def __init__(self, kind: Kind, recipe: Recipe, now: int) -> None:
        self.kind = kind
        self.recipe = recipe
        self.count = recipe.count
        self.now = now
        self.names = frozenset({*recipe.spellings, "hs_object_id", kind.created, kind.modified})
        self.holder = recipe.holder
        self._blocks: OrderedDict[int, list[Record]] = OrderedDict()

    def record(self, number: int) -> Record:
        """One record, cheaper than as part of many."""
        key = key_of(number - FIRST_ID)
        neutral = self.recipe.one(key)
        modified = self.now - 1000 * neutral.modified_seconds_ago - key * 37 % 1000
        created = modified - (key * 7919 % 300) * DAY - key * 13 % DAY
        values = self._begun(number, iso(created), iso(modified))
        for name, how in self.recipe.spellings.items():
            text = how.spell(getattr(neutral, how.of))
            if text and (text := text.strip()):
                values[name] = text
        return Record(number, values, created, modified)

    def records(self, numbers: Sequence[int]) -> list[Record]:
        places = [number - FIRST_ID for number in numbers]
        blocks = list(dict.fromkeys(place // BLOCK for place in places))
        if len(blocks) < ALONE:
            made = {block: self._block(block) for block in blocks}
            return [made[place // BLOCK][place % BLOCK] for place in places]
        return self._made(np.array(places))

    def stamps(self) -> Numbers:
        return self._modified(np.arange(self.count))

    def _block(self, block: int) -> list[Record]:
        records = self._blocks.get(block)
        if records is None:
            records = self._blocks[block] = self._made(
                np.arange(block * BLOCK, min((block + 1) * BLOCK, self.count))
            )
            if len(self._blocks) > BLOCKS:
                self._blocks.popitem(last=False)
        return records

    def _made(self, places: Numbers) -> list[Record]:
        keys = key_of(places)
        neutral = self.recipe.many(keys)
        modified = self._modified(places, neutral)
        created = modified - (keys * 7919 % 300) * DAY - keys * 13 % DAY
        numbers = (places + FIRST_ID).tolist()
        values = [
            self._begun(number, born, changed)
            for number, born, changed in zip(numbers, isos(created), isos(modified), strict=True)
        ]
        for name, how in self.recipe.spellings.items():
            for record, text in zip(values, map(how.spell, getattr(neutral, how.of)), strict=True):
                if text and (text := text.strip()):
                    record[name] = text
        rows = zip(numbers, values, created.tolist(), modified.tolist(), strict=True)
        return [Record(*row) for row in rows]

    def _modified(self, places: Numbers, neutral: Any = None) -> Numbers:
        keys = key_of(places)
        ages: Numbers = (neutral or self.recipe.many(keys)).ages
        modified: Numbers = self.now - 1000 * ages - keys * 37 % 1000
        return modified

    def _begun(self, number: int, created: str, modified: str) -> dict[str, str]:
        return {"hs_object_id": str(number), self.kind.created: created, self.kind.modified: modified}


class Parents:
    """Links that follow from the seed: every record of one object type has at most one parent of another."""

    def __init__(self, count: int, parent_count: int, keys: Callable[[Numbers], Numbers]) -> None:
        self.count = count
        self.parent_count = parent_count
        self._keys = keys

    @cached_property
    def _parents(self) -> Numbers:
        """The place of each record's parent; -1 for none."""
        places = place_of(self._keys(key_of(np.arange(self.count))))
        return np.where(places < self.parent_count, places, -1)

    @cached_property
    def _by_parent(self) -> Numbers:
        return np.argsort(self._parents, kind="stable")

    @cached_property
    def _sorted(self) -> Numbers:
        return self._parents[self._by_parent]

    def parent(self, number: int) -> list[int]:
        """The parent of a record, as a list of one, or none."""
        place = number - FIRST_ID
        if not 0 <= place < self.count or self._parents[place] < 0:
            return []
        return [int(self._parents[place]) + FIRST_ID]

    def children(self, number: int) -> list[int]:
        """The records whose parent this is."""
        place = number - FIRST_ID
        if not 0 <= place < self.parent_count:
            return []
        start, end = np.searchsorted(self._sorted, [place, place + 1])
        children: list[int] = (self._by_parent[start:end] + FIRST_ID).tolist()
        return children


def key_of(place: Any) -> Any:
    """The key of HubSpot's record number ``place`` (from 0), or an array of them."""
    return 3 * (place // 2) + place % 2 * 2


def place_of(key: Any) -> Any:
    """The inverse; -1 for -1."""
    return 2 * (key // 3) + (key % 3 != 0)
