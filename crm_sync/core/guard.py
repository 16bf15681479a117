"""The guard: how much a run may delete, blank or change before a person is asked.

Here: the limits as a connection file gives them, and the verdict about what was counted. Pure. Not here: the counting
(`hub/guard.py`), what happens to a run that is held back (`steps/guard.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

FLOOR = 25
"""A share never means fewer records than this: in a small table a share is a handful, which people do change."""

EMPTY = 0.5
"""A full read that brings fewer than this part of the linked records is taken for a fault of the CRM."""


class What(StrEnum):
    """What is counted, each by its own limit. blanks and keys are counted by field, the others by record."""

    BLANKS = "blanks"  # a value is replaced by nothing
    DELETIONS = "deletions"  # a linked record is gone in the CRM
    KEYS = "keys"  # a field by which records are matched gets another value
    CHANGES = "changes"  # a linked record is changed at all
    CREATES = "creates"  # a record has no partner on the other side yet


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `number` records, or at most `share` (0 to 1) of the linked ones but FLOOR at least; neither: no limit."""

    number: int | None = None
    share: float | None = None

    def most(self, linked: int) -> int | None:
        """How many records may pass where so many are linked; None for any number."""
        if self.number is not None:
            return self.number
        return None if self.share is None else max(FLOOR, int(self.share * linked))

    def __str__(self) -> str:
        if self.number is not None:
            return str(self.number)
        return "off" if self.share is None else f"{self.share * 100:g}%"


OFF = Limit()


@dataclass(frozen=True, slots=True)
class Guard:
    """The limits of one stream. What a nightly import does is let through, however large: changes and creates are off
    (docs/decisions/0015-guard.md)."""

    blanks: Limit = Limit(share=0.02)
    deletions: Limit = Limit(share=0.02)
    keys: Limit = Limit(share=0.2)
    changes: Limit = OFF
    creates: Limit = OFF

    def limit(self, what: What) -> Limit:
        found: Limit = getattr(self, what)
        return found

    @property
    def on(self) -> frozenset[What]:
        """What has a limit."""
        return frozenset(what for what in What if self.limit(what) != OFF)

    @property
    def least(self) -> int | None:
        """So many records pass whatever would happen to them; None if nothing is ever held."""
        most = [self.limit(what).most(0) for what in self.on]
        return min((number for number in most if number is not None), default=None)


ARCHIVED = "archived_at"
"""The field of deletions that only archive the hub's record."""

Counts = Mapping[tuple[What, str], int]
"""Records by what would happen and to which field; the field is empty where records are counted as such."""


@dataclass(frozen=True, slots=True)
class Excess:
    """More than the limit: what, in which field, how many records, how many may pass."""

    what: What
    field: str
    number: int
    most: int

    def __str__(self) -> str:
        one = self.number == 1
        records = f"{self.number:,} record{'' if one else 's'}"
        match self.what:
            case What.BLANKS:
                said = f"{records} would lose {self.field}"
            case What.DELETIONS:
                said = f"{records} would be {'archived' if self.field == ARCHIVED else 'deleted'}"
            case What.KEYS:
                said = f"{records} would get another {self.field}, by which records are matched"
            case What.CHANGES:
                said = f"{records} would be changed"
            case What.CREATES:
                said = f"{records} would be created"
        return f"{said} ({self.what}: {self.most:,} may pass)"


def judge(counts: Counts, linked: int, guard: Guard) -> list[Excess]:
    """What goes beyond the limits, the gravest kind first, most records first. `linked`: how many records of the
    stream have a partner."""
    return sorted(_excess(counts, linked, guard), key=lambda one: (list(What).index(one.what), -one.number))


def _excess(counts: Counts, linked: int, guard: Guard) -> Iterator[Excess]:
    for (what, field), number in counts.items():
        most = guard.limit(what).most(linked)
        if most is not None and number > most:
            yield Excess(what, field, number, most)


def sentence(excess: Sequence[Excess], linked: int) -> str:
    """What a run would have done, for people: the first few kinds, and how many records are linked."""
    shown = "; ".join(str(one) for one in excess[:3])
    more = f"; and {len(excess) - 3} more like these" if len(excess) > 3 else ""
    return f"{shown}{more}; {linked:,} are linked"


def is_empty(read: int, linked: int) -> bool:
    """Whether a full read brought so little that the CRM is rather at fault than empty."""
    return linked > FLOOR and read < linked * EMPTY
