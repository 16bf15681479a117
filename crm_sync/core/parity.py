"""What two sides that do not agree may mean: the words of `crm-sync verify`, and which of them fits. Pure.

A difference without an explanation is unexplained: nothing in the database says why it is there or that anybody is
going to look at it. Here is no SQL; `hub/parity_facts.py` collects what is known of a record.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from crm_sync.core.decide import Kind, decide, meanings
from crm_sync.core.difference import Difference
from crm_sync.core.spec import Direction, FieldSpec, StreamSpec


class What(StrEnum):
    """The kind of difference."""

    VALUE = "different value"
    MIRROR = "the mirror is wrong"
    APART = "agreed on, but not the same"
    NOT_IN_HUB = "not in the hub yet"
    NOT_IN_CRM = "not in the CRM yet"
    NO_CRM = "link without CRM record"
    NO_HUB = "link without hub record"
    SAME_HUB_ID = "two CRM records of one hub record"
    LINKED_TWICE = "linked twice"


class Why(StrEnum):
    """What explains a difference."""

    PENDING = "pending"
    CONFLICT = "open conflict"
    FILTERED = "filtered"
    PARKED = "parked"
    FROZEN = "frozen field"
    NORMALISED = "normalised"
    DELETED = "deleted in the CRM"
    MERGED = "merged in the CRM"
    HUB_DELETED = "deleted in the hub"
    ARCHIVED = "archived"
    ONE_WAY = "one-way stream"


@dataclass(frozen=True, slots=True)
class Found:
    """One difference. why: None if unexplained; detail: a few words more. Values are each side's own text."""

    stream: str
    what: What
    hub_id: UUID | None
    crm_id: str | None
    why: Why | None = None
    detail: str = ""
    field: str = ""
    hub_value: str | None = None
    crm_value: str | None = None

    @property
    def explanation(self) -> str:
        """`parked: …`, `open conflict #12`, or UNEXPLAINED."""
        if self.why is None:
            return f"UNEXPLAINED: {self.detail}" if self.detail else "UNEXPLAINED"
        separator = " " if self.why is Why.CONFLICT else ": "
        return f"{self.why}{separator}{self.detail}" if self.detail else str(self.why)


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one CRM id. seen: the CRM showed it; crm_deleted: as deleted; modified_at: then (UTC).
    mirror_at: the stamp in the mirror; outside: there as one that left the mapping's filter. marked: in the queue;
    in_doubt: a write without an answer; archived: the hub keeps it, and it takes no part in the sync; hub_deleted: an application deleted the hub record; kept_out: an undo did."""

    crm_id: str
    hub_id: UUID | None
    seen: bool
    crm_deleted: bool
    merged_into: str | None
    modified_at: datetime | None
    mirrored: bool
    mirror_deleted: bool
    outside: bool
    mirror_at: datetime | None
    in_hub: bool
    archived: bool
    marked: bool
    in_doubt: bool
    hub_deleted: bool
    kept_out: bool
    parked: str | None


@dataclass(frozen=True, slots=True)
class Value:
    """A field of a linked record that is not what it was when the sides agreed. crm_now: as read now; crm_mirror: as
    the mirror has it; *_off: which comparison failed. crm_as_hub, hub_as_crm: references through the links."""

    crm_id: str
    field: str
    hub_now: str | None
    hub_then: str | None
    crm_now: str | None
    crm_mirror: str | None
    crm_then: str | None
    hub_off: bool
    crm_off: bool
    mirror_off: bool
    agreed: bool
    crm_as_hub: str | None
    hub_as_crm: str | None
    conflict: int | None
    conflict_status: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """What holds for the whole stream. since: what the CRM stamped at or after it the next sync reads again (None:
    everything, there was no sync yet). outside: ids of records that the CRM has, but no longer lists for the stream;
    gone: of those that a look-up by id did not find."""

    since: datetime | None
    frozen: Collection[str] = ()
    outside: Collection[str] = ()
    gone: Collection[str] = ()


def explain(
    stream: StreamSpec, records: Sequence[Record], values: Sequence[Value], known: Known
) -> Iterator[Found]:
    """The differences of these records, each with what explains it."""
    by_id = {record.crm_id: record for record in records}
    for record in records:
        found = _of_record(stream, record, known)
        if found is not None:
            yield found
    by_field: dict[str, list[Value]] = {}
    for value in values:
        if value.crm_id in by_id and value.crm_id not in known.outside:
            by_field.setdefault(value.field, []).append(value)
    for name, column in by_field.items():
        spec = stream.field(name)
        same = _same(spec, column, [value.crm_now for value in column])
        mirror_same = _same(spec, column, [value.crm_mirror for value in column])
        for value, one, other in zip(column, same, mirror_same, strict=True):
            means_the_same = one and (other or not value.mirror_off)
            yield _of_value(stream, by_id[value.crm_id], value, known, same=means_the_same)


def _same(spec: FieldSpec, column: Sequence[Value], crm: Sequence[str | None]) -> list[bool]:
    """Whether the hub's value and each of these of the CRM mean the same, as `decide` has it."""
    differences = [
        Difference(
            UUID(int=0), v.crm_id, "", v.field, v.hub_now, v.hub_then, theirs, v.crm_then,
            hub_changed=True, crm_changed=True, agreed=True,
            crm_as_hub=v.crm_as_hub if theirs == v.crm_now else None,
            hub_as_crm=v.hub_as_crm,
        )
        for v, theirs in zip(column, crm, strict=True)
    ]  # fmt: skip
    return [
        decide(d, spec, meaning).kind is Kind.CONVERGED
        for d, meaning in zip(differences, meanings(spec, differences, check=False), strict=True)
    ]


def _of_record(stream: StreamSpec, r: Record, known: Known) -> Found | None:
    """What is wrong with a record as a whole; None if nothing is."""
    if r.hub_id is None:
        return _not_in_hub(stream, r, known) if r.seen and not r.crm_deleted else None
    if not r.seen or r.crm_deleted or r.crm_id in known.outside:
        why, detail = _no_crm(r, known)
        return Found(stream.name, What.NO_CRM, r.hub_id, r.crm_id, why, detail)
    if not r.in_hub:
        why = Why.HUB_DELETED if r.hub_deleted else None
        return Found(stream.name, What.NO_HUB, r.hub_id, r.crm_id, why)
    if not r.mirrored or r.mirror_deleted or r.outside:
        wrong = "is deleted" if r.mirror_deleted else "has left the mapping's filter"
        detail = f"the mirror says that it {wrong}" if r.mirrored else "the mirror does not have it"
        late = _late(r, known)
        return Found(
            stream.name, What.MIRROR, r.hub_id, r.crm_id, Why.PENDING if late else None, late or detail
        )
    return None


def _no_crm(r: Record, known: Known) -> tuple[Why | None, str]:  # noqa: PLR0911 - a table, one line a row
    """Why the CRM does not list a linked record. That it is gone explains nothing as long as the mirror keeps it: then
    no sync knows, and no policy for deletions acts."""
    if r.seen and not r.crm_deleted:  # by its id only
        late = "" if r.outside else "; the mirror does not know it yet"
        return Why.FILTERED, f"left the mapping's filter or record type{late}"
    if r.mirror_deleted:
        return (Why.MERGED, f"into {r.merged_into}") if r.merged_into else (Why.DELETED, "")
    if r.in_doubt:
        return Why.PENDING, _IN_DOUBT
    if r.crm_deleted:
        late = _late(r, known)
        return (Why.PENDING, late) if late else (None, "the CRM has deleted it, and the mirror does not know")
    if r.outside:
        return Why.FILTERED, ""
    if r.crm_id in known.gone:
        return None, "the CRM does not have it any more, and the mirror does not know"
    return None, "the CRM does not list it"


def _not_in_hub(  # noqa: PLR0911 - a table, one line a row
    stream: StreamSpec, r: Record, known: Known
) -> Found:
    what = What.NOT_IN_HUB
    if r.parked is not None:
        return Found(stream.name, what, None, r.crm_id, Why.PARKED, r.parked)
    if stream.direction is Direction.OUTBOUND:
        return Found(stream.name, what, None, r.crm_id, Why.ONE_WAY)
    if r.crm_id in known.outside:
        return Found(stream.name, what, None, r.crm_id, Why.FILTERED)
    if r.marked:
        return Found(stream.name, what, None, r.crm_id, Why.PENDING, _MARKED)
    if r.in_doubt:
        return Found(stream.name, what, None, r.crm_id, Why.PENDING, _IN_DOUBT)
    if (not r.mirrored or r.outside) and (late := _late(r, known)):
        return Found(stream.name, what, None, r.crm_id, Why.PENDING, late)
    if r.kept_out:
        return Found(stream.name, what, None, r.crm_id, Why.FILTERED, "an undo took it out of the hub")
    detail = "nothing waits for it" if r.mirrored else "the mirror does not have it"
    return Found(stream.name, what, None, r.crm_id, None, detail)


_MARKED = "the next sync looks at it"
_IN_DOUBT = "the answer to a write never came; the next sync looks"
_LATE = "modified in the CRM after the last reading"


def _late(r: Record, known: Known) -> str:
    """Why the next sync is going to read the record again; nothing if it is not."""
    if known.since is None:
        return "the stream was not synced yet"
    if r.modified_at is None:
        return _LATE
    held = r.mirror_at is None or r.mirror_at <= r.modified_at  # the mirror takes nothing that seems older
    return _LATE if r.modified_at >= known.since and held else ""


def _of_value(stream: StreamSpec, r: Record, v: Value, known: Known, *, same: bool) -> Found:
    why, detail = _why(r, v, known, same=same)
    what = What.VALUE
    if v.agreed and not (v.crm_off or v.hub_off):
        what = What.MIRROR if v.mirror_off else What.APART
    return Found(stream.name, what, r.hub_id, r.crm_id, why, detail, v.field, v.hub_now, v.crm_now)


def _why(  # noqa: PLR0911 - a table, one line a row
    r: Record, v: Value, known: Known, *, same: bool
) -> tuple[Why | None, str]:
    if v.field in known.frozen:
        return Why.FROZEN, ""
    if same:
        return Why.NORMALISED, "both mean the same"
    if r.in_doubt:
        return Why.PENDING, _IN_DOUBT
    if v.mirror_off and (late := _late(r, known)):
        return Why.PENDING, late
    if v.mirror_off:  # what the queue, reviews and parking are about is another value than the CRM's
        return None, "the mirror does not say what the CRM says, and no sync is going to read it again"
    if r.archived:
        return Why.ARCHIVED, "the hub record takes no part in the sync"
    if v.conflict is not None:
        if v.conflict_status == "decided":
            return Why.PENDING, f"conflict #{v.conflict} is decided; the next sync applies it"
        return Why.CONFLICT, f"#{v.conflict}" + (" (skipped)" if v.conflict_status == "skipped" else "")
    if r.parked is not None:
        return Why.PARKED, r.parked
    if r.marked:
        return Why.PENDING, _MARKED
    if v.agreed and not (v.hub_off or v.crm_off):
        return None, "the sides were noted as agreeing on it"
    side = "the hub" if v.hub_off else "the CRM" if v.crm_off else "neither side"
    return None, f"{side} differs from what was agreed on, and nothing waits for it"
