"""Rows of the seed that are computed when somebody reads them: one at a time, or whole columns.

Here: how a row is put together from neutral values (people.py, people_columns.py) and from what every record has. Not here:
how Salesforce spells the values of each object (seed.py), rows that were written (rows.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from crm_sync.simulators.salesforce import ids
from crm_sync.simulators.salesforce.clock import stamp, stamps
from crm_sync.simulators.salesforce.rows import Column, Numbers
from crm_sync.simulators.salesforce.schema import Row, SObject

DAY = 86_400
NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Spelling:
    """A field's value: made by ``spell`` from one neutral value, or (NUMBER) from the row's number."""

    of: str
    spell: Callable[[Any], Any]
    few: bool = False  # there are at most some thousand different ones


@dataclass(frozen=True, slots=True)
class Reference:
    """A parent: its prefix, and its number (0: none) by a neutral value, or by the row's number.

    ``number`` takes one value (``of``) or an array of them (``arrays``); -1 stands for None.
    """

    prefix: str
    of: str
    arrays: str
    number: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the rows of an object come about; numbers begin with 1."""

    count: int
    one: Callable[[int], Any]  # number -> neutral record, with modified_seconds_ago
    many: Callable[[Numbers], Any]  # numbers -> its columns, with the array ages
    spellings: Mapping[str, Spelling]
    references: Mapping[str, Reference]


def same(value: Any) -> Any:
    """The spelling of a value that Salesforce writes as everybody does."""
    return value


class Seeded:
    """A ``rows.Seed``. ``now`` is the start in whole seconds, ``owners`` take turns."""

    def __init__(self, o: SObject, recipe: Recipe, now: int, owners: Sequence[str]) -> None:
        self.object = o
        self.recipe = recipe
        self.count = recipe.count
        self.now = now
        self.owners = owners
        self._template: Row = [None] * o.width
        for f in o.fields:
            if f.name in o.position and f.default is not None:
                self._template[o.position[f.name]] = f.default
        self._makers = self._system() | {
            o.position[name]: self._spelt(how) for name, how in recipe.spellings.items()
        } | {o.position[name]: _referring(how) for name, how in recipe.references.items()}  # fmt: skip
        self._stamps: Numbers | None = None
        self._parents: dict[str, Numbers] = {}

    def row(self, number: int) -> Row:
        """One row, cheaper than as part of many."""
        o, recipe = self.object, self.recipe
        row = self._template.copy()
        neutral = recipe.one(number)
        for name, how in recipe.spellings.items():
            row[o.position[name]] = how.spell(number if how.of == NUMBER else getattr(neutral, how.of))
        for name, reference in recipe.references.items():
            value = number if reference.of == NUMBER else getattr(neutral, reference.of)
            parent = int(reference.number(-1 if value is None else value))
            row[o.position[name]] = ids.make(reference.prefix, parent) if parent else None
        changed = self.now - neutral.modified_seconds_ago
        row[0] = ids.make(o.prefix, number)
        row[o.position["SystemModstamp"]] = row[o.position["LastModifiedDate"]] = stamp(changed)
        row[o.position["CreatedDate"]] = stamp(changed - number % 90 * DAY)
        for name in ("OwnerId", "CreatedById", "LastModifiedById"):
            if name in o.position:
                row[o.position[name]] = self.owners[number % len(self.owners)]
        return row

    def columns(self, numbers: Numbers, places: Sequence[int]) -> list[Column]:
        block = _Block(self.recipe, numbers)
        return [
            self._makers[place](block) if place in self._makers else [self._template[place]] * len(numbers)
            for place in places
        ]

    def stamps(self) -> Numbers:
        if self._stamps is None:
            self._stamps = self.now - self.recipe.many(np.arange(1, self.count + 1)).ages
        return self._stamps

    def parents(self, name: str) -> tuple[str, Numbers] | None:
        reference = self.recipe.references.get(name)
        if reference is None:
            return None
        if name not in self._parents:
            self._parents[name] = _Block(self.recipe, np.arange(1, self.count + 1)).parents(reference)
        return reference.prefix, self._parents[name]

    def _system(self) -> dict[int, Callable[["_Block"], Column]]:
        position, owners = self.object.position, self.owners

        def owner(block: "_Block") -> Column:
            return [owners[place] for place in (block.numbers % len(owners)).tolist()]

        def changed(block: "_Block") -> Column:
            return stamps(self.now - block.ages)

        def created(block: "_Block") -> Column:
            return stamps(self.now - block.ages - block.numbers % 90 * DAY)

        makers: dict[str, Callable[[_Block], Column]] = {
            "Id": lambda block: ids.many(self.object.prefix, block.numbers),
            "SystemModstamp": changed,
            "LastModifiedDate": changed,
            "CreatedDate": created,
            **dict.fromkeys(("OwnerId", "CreatedById", "LastModifiedById"), owner),
        }
        return {position[name]: maker for name, maker in makers.items() if name in position}

    @staticmethod
    def _spelt(how: Spelling) -> Callable[["_Block"], Column]:
        if how.spell is same:
            return lambda block: block.values(how.of)
        if how.few:
            spelt = _Memory(how.spell)
            return lambda block: list(map(spelt.__getitem__, block.values(how.of)))
        return lambda block: list(map(how.spell, block.values(how.of)))


class _Memory(dict[Any, Any]):
    """The results of a function, kept."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def __missing__(self, value: Any) -> Any:
        self[value] = result = self.function(value)
        return result


class _Block:
    """The columns of some rows, each computed once."""

    def __init__(self, recipe: Recipe, numbers: Numbers) -> None:
        self.recipe = recipe
        self.numbers = numbers

    @cached_property
    def neutral(self) -> Any:
        return self.recipe.many(self.numbers)

    @property
    def ages(self) -> Numbers:
        ages: Numbers = self.neutral.ages
        return ages

    def values(self, of: str) -> list[Any]:
        found: list[Any] = self.numbers.tolist() if of == NUMBER else getattr(self.neutral, of)
        return found

    def parents(self, reference: Reference) -> Numbers:
        by_number = reference.arrays == NUMBER
        parents: Numbers = reference.number(
            self.numbers if by_number else getattr(self.neutral, reference.arrays)
        )
        return parents


def _referring(how: Reference) -> Callable[[_Block], Column]:
    def column(block: _Block) -> Column:
        parents = block.parents(how)
        made = ids.many(how.prefix, parents)
        return [one if number else None for one, number in zip(made, parents.tolist(), strict=True)]

    return column
