"""The story of a record as values: how it is now, and what happened to it. `why.py` tells it, commands show it.

Texts in it are for people and hold no values of records; values are in fields of their own, so that they can be masked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from crm_sync.hub.runs import Run


class State(StrEnum):
    """What is going on with a field between the hub and one CRM."""

    IN_SYNC = "in sync"
    TO_CRM = "pending to the CRM"
    TO_HUB = "pending to the hub"
    CONFLICT = "conflict"
    PARKED = "parked"
    FROZEN = "frozen"
    WAITS = "waits"  # for the record that a reference points to
    IN_DOUBT = "in doubt"  # a write without an answer
    NOT_LINKED = "not linked"
    OUTSIDE = "outside"  # it left the mapping's filter
    GONE = "gone"  # deleted on one side: nothing is synced


@dataclass(frozen=True, slots=True)
class SideNow:
    """A field on one connection. crm: what the CRM said when it was last read, in its own terms; agreed_hub and
    agreed_crm: what both said when they last agreed, if they ever did (`agreed`). what: the state in a sentence."""

    connection: str
    crm: str | None
    agreed: bool
    agreed_hub: str | None
    agreed_crm: str | None
    state: State
    what: str
    conflict: int | None = None


@dataclass(frozen=True, slots=True)
class FieldNow:
    """A field as it is now. changed_at (UTC) and changed_by: when and by whom the hub's value was last changed:
    "application", "hub" (an undo), or a connection, whose clock the time is then of; of_field: whether that is known of the field,
    or only of the record at its creation. because: the rule that brought the value, where the journal has it."""

    field: str
    hub: str | None
    changed_at: datetime | None
    changed_by: str | None
    of_field: bool
    because: str
    sides: tuple[SideNow, ...]


@dataclass(frozen=True, slots=True)
class LinkNow:
    """The record on one connection. crm_id: None if that CRM does not have it."""

    connection: str
    crm_id: str | None
    linked_at: datetime | None
    linked_by: str | None
    modified_at: datetime | None
    what: str


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened (at: UTC). target: where, "hub" or a connection. field: None if it concerns the whole
    record. source: where the value came from: a connection, "application" (whoever writes the hub's tables), or
    "hub" where it cannot be told who wrote it there. person: who decided it. old and new are in the target's terms;
    old_known: whether the value before is recorded. A conflict has hub_value and crm_value instead. why: in plain
    words; reason: as the journal says it. said: the CRM's answer in words, answer: as it is in the journal."""

    at: datetime
    what: str
    target: str
    field: str | None = None
    source: str | None = None
    person: str | None = None
    old: str | None = None
    new: str | None = None
    old_known: bool = True
    hub_value: str | None = None
    crm_value: str | None = None
    why: str = ""
    reason: str = ""
    run_id: str | None = None
    crm_id: str | None = None
    conflict: int | None = None
    said: str = ""
    answer: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known about a record. hub_id: None for a CRM record that is not linked. hub: how it is in the hub, in
    a word. older: the journal has older entries than `lines` shows."""

    entity: str
    hub_id: UUID | None
    hub: str
    links: tuple[LinkNow, ...]
    fields: tuple[FieldNow, ...]
    lines: tuple[Line, ...]
    runs: tuple[Run, ...] = field(default=())
    older: bool = False


Mask = Callable[[str, str, str | None], str | None]


def masked(story: Story, mask: Mask) -> Story:
    """The story with every value as `mask` (entity, field, value) shows it."""

    def show(name: str | None, value: str | None) -> str | None:
        return mask(story.entity, name or "", value)

    fields = tuple(
        replace(
            f,
            hub=show(f.field, f.hub),
            sides=tuple(
                replace(
                    s,
                    crm=show(f.field, s.crm),
                    agreed_hub=show(f.field, s.agreed_hub),
                    agreed_crm=show(f.field, s.agreed_crm),
                )
                for s in f.sides
            ),
        )
        for f in story.fields
    )
    lines = tuple(
        replace(
            x,
            old=show(x.field, x.old),
            new=show(x.field, x.new),
            hub_value=show(x.field, x.hub_value),
            crm_value=show(x.field, x.crm_value),
        )
        for x in story.lines
    )
    return replace(story, fields=fields, lines=lines)
