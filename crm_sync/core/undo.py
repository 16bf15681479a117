"""What undoing a field of a record means: back to which value, for whom, or why not. Pure; docs/decisions/0014-undo.md.

The hub and every CRM are held together by what they last agreed on, so a field has one value before the selection and
goes back to it everywhere: the hub at once, the CRMs by the ordinary outbound step. Whatever was edited since, on any
side, is left alone.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from crm_sync.core.normalise import Invalid, to_crm, to_hub
from crm_sync.core.spec import Direction, FieldSpec, FieldType


class Fate(StrEnum):
    UNDO = "undo"
    ALREADY = "already so"
    EDITED = "edited since"
    LEFT = "not undone"
    FOLLOWS = "follows"  # a computed field, from the fields it is made of


@dataclass(frozen=True, slots=True)
class Touched:
    """A field of a hub record that the selected journal rows wrote, from the first of them to the last.

    Values are text: those of the side `hub` in the hub's terms, of the side `crm` in that CRM's. hub_new: the last
    value that they put into the hub (hub_written: whether they did at all). interrupted: the journal has other writes to
    the hub in between, which are not selected. first_as_hub: `first_old` of a reference in the hub's terms.
    changed_at / changed_by: when and by whom the hub's field was last changed, as the provenance has it.
    """

    n: int
    entity: str
    hub_id: UUID
    field: str
    first_side: str
    first_connection: str
    first_old: str | None
    last_side: str
    last_connection: str
    last_new: str | None
    hub_written: bool
    hub_new: str | None
    interrupted: bool
    exists: bool
    hub_now: str | None
    changed_at: datetime | None
    changed_by: str | None
    first_as_hub: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What one CRM says about the field, and what was last agreed with it. gone: the record was deleted there,
    or takes no part any more. readable: what it says is known. in_doubt: a write of ours has no answer yet. at: the record's
    modification time."""

    connection: str
    spec: FieldSpec
    crm_id: str
    gone: bool
    readable: bool
    in_doubt: bool
    agreed: bool
    hub_then: str | None
    crm_then: str | None
    crm_now: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Write:
    """What a CRM is going to be sent; waits: the reference's target is not there yet."""

    connection: str
    old: str | None
    new: str | None
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """The fate of one field. about: why, the same for many; detail: what only concerns this one. old, value: the hub's
    value now and to be. writes: what goes to the CRMs; of a field that is back already, what did not reach them yet."""

    touched: Touched
    fate: Fate
    about: str = ""
    detail: str = ""
    old: str | None = None
    value: str | None = None
    writes: Sequence[Write] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the records. hub: the spec of each hub column of the entity. specs: the field of each
    connection that maps it. computed: fields that have no column. as_crm: a reference (hub id) in a CRM's terms, or None."""

    hub: Mapping[str, FieldSpec]
    specs: Mapping[tuple[str, str], FieldSpec]
    computed: Collection[str]
    as_crm: Callable[[str, FieldSpec, str], str | None]


def judge(t: Touched, places: Sequence[Place], known: Known, terms: "Terms") -> Judged:  # noqa: PLR0911 - a list of reasons
    """What is to become of one field."""
    spec = known.hub.get(t.field)
    if spec is None:
        if t.field in known.computed:
            return Judged(t, Fate.FOLLOWS, "computed: follows the fields it is made of")
        return Judged(t, Fate.LEFT, "the field is not mapped any more")
    if not t.exists:
        return Judged(t, Fate.LEFT, "the hub record is gone")
    value = _before(t, known, terms)
    if isinstance(value, Judged):
        return value
    old = t.hub_now
    live = [place for place in places if not place.gone]
    if terms.plain(spec, old) == terms.plain(spec, value) or _says_so_already(t, known, terms):
        late = [place for place in live if place.agreed and place.hub_then != old]
        return Judged(t, Fate.ALREADY, old=old, value=old, writes=_writes(late, old, known, terms)[0])
    if t.interrupted:
        return Judged(t, Fate.EDITED, "changed in between by what is not selected")
    complaint = _hub_edited(t, live, spec, terms) or next(
        (found for place in live if (found := _crm_complaint(t, place, terms)) is not None), None
    )
    if complaint is not None:
        return complaint
    writes, cannot = _writes(live, value, known, terms)
    for name, why in cannot.items():
        return Judged(t, Fate.LEFT, f"{name} cannot hold the old value", why)
    return Judged(t, Fate.UNDO, old=old, value=value, writes=writes)


def _before(t: Touched, known: Known, terms: "Terms") -> str | None | Judged:
    """The value before the selection, in the hub's terms; or why nobody can tell."""
    if t.first_side == "hub" or t.first_old is None:
        return t.first_old
    spec = known.specs.get((t.first_connection, t.field))
    if spec is None:
        return Judged(t, Fate.LEFT, f"{t.first_connection} does not map the field any more")
    if spec.type is FieldType.REFERENCE:
        if t.first_as_hub is None:
            return Judged(t, Fate.LEFT, f"what it referred to in {t.first_connection} is not linked any more")
        return t.first_as_hub
    value = terms.hub(spec, t.first_old)
    if isinstance(value, Invalid):
        return Judged(
            t, Fate.LEFT, f"the old value of {t.first_connection} has no meaning in the hub", value.reason
        )
    return value


def _says_so_already(t: Touched, known: Known, terms: "Terms") -> bool:
    """Whether the hub's value is what the CRM had, though its value could also be read as another (a lossy picklist)."""
    spec = known.specs.get((t.first_connection, t.field))
    if t.first_side == "hub" or spec is None or spec.type is FieldType.REFERENCE or t.first_old is None:
        return False
    return terms.crm(spec, t.hub_now) == t.first_old


def _hub_edited(t: Touched, live: Sequence[Place], spec: FieldSpec, terms: "Terms") -> Judged | None:
    """Whether the hub says something else than the selection left there."""
    place = next((p for p in live if t.last_side == "crm" and p.connection == t.last_connection), None)
    by_hub = place is None and t.hub_written
    if by_hub and terms.plain(spec, t.hub_now) == terms.plain(spec, t.hub_new):
        return None
    if place is None and not by_hub:
        return Judged(
            t,
            Fate.LEFT,
            f"the record is gone from {t.last_connection}, takes no part there, or is not linked any more",
        )
    if (
        place is not None
        and place.hub_then == t.hub_now
        and terms.same(place.spec, place.crm_then, t.last_new)
    ):
        return None
    if place is not None and place.hub_then == t.hub_now:  # they agreed on something else meanwhile
        return _edited(t, t.last_connection, place.at, "")
    by = "an application" if t.changed_by in (None, "hub") else t.changed_by
    return _edited(t, "the hub", t.changed_at, f"by {by}")


def _edited(t: Touched, where: str, at: datetime | None, who: str) -> Judged:
    when = f"{at:%Y-%m-%d %H:%M:%S} UTC" if at is not None else ""
    return Judged(t, Fate.EDITED, f"edited since in {where}", " ".join(part for part in (who, when) if part))


def _crm_complaint(t: Touched, place: Place, terms: "Terms") -> Judged | None:
    """Why a CRM that has the record forbids the undo."""
    name = place.connection
    if place.spec.direction is Direction.INBOUND:
        return Judged(t, Fate.LEFT, f"inbound from {name}: its value would come back with the next sync")
    if place.in_doubt:
        return Judged(t, Fate.LEFT, f"a write to {name} has no answer yet: sync, then undo again")
    if not place.readable:
        return Judged(t, Fate.LEFT, f"{name} does not let us read it now")
    if not place.agreed:
        return Judged(t, Fate.LEFT, f"not settled with {name} yet: sync, then undo again")
    if not terms.same(place.spec, place.crm_now, place.crm_then):
        return _edited(t, name, place.at, "")
    return None


def _writes(
    places: Sequence[Place], value: str | None, known: Known, terms: "Terms"
) -> tuple[list[Write], dict[str, str]]:
    """What these CRMs have to be sent, and those that cannot be sent it, with the reason."""
    writes: list[Write] = []
    cannot: dict[str, str] = {}
    for place in places:
        if place.spec.direction is Direction.INBOUND:
            continue
        sent = _sent(place, value, known, terms)
        if isinstance(sent, Invalid):
            cannot[place.connection] = sent.reason
            continue
        waits = value is not None and sent is None and place.spec.type is FieldType.REFERENCE
        if waits or not terms.same(place.spec, sent, place.crm_now):
            writes.append(Write(place.connection, place.crm_now, sent, waits))
    return writes, cannot


def _sent(place: Place, value: str | None, known: Known, terms: "Terms") -> str | Invalid | None:
    if place.spec.type is FieldType.REFERENCE:
        return None if value is None else known.as_crm(place.connection, place.spec, value)
    return terms.crm(place.spec, value)


class Terms:
    """Values in the terms of the other side, each computed once. For one batch of records: it remembers them all."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, str], str | Invalid | None] = {}

    def hub(self, spec: FieldSpec, value: str | None) -> str | Invalid | None:
        return self._once("hub", spec, value, to_hub)

    def crm(self, spec: FieldSpec, value: str | None) -> str | Invalid | None:
        return self._once("crm", spec, value, to_crm)

    def plain(self, spec: FieldSpec, value: str | None) -> str | None:
        """The hub's text in its canonical form, however an application spelled it."""
        if spec.type is FieldType.REFERENCE:
            return value
        found = self._once("plain", spec, value, lambda s, column: to_hub(replace(s, to_hub=None), column))
        return value if isinstance(found, Invalid) else found

    def same(self, spec: FieldSpec, one: str | Invalid | None, other: str | None) -> bool:
        """Whether two values of a CRM mean the same."""
        if one == other or isinstance(one, Invalid):
            return one == other
        if spec.type is FieldType.REFERENCE or spec.computed is not None:
            return False
        a, b = self.hub(spec, one), self.hub(spec, other)
        return not isinstance(a, Invalid) and a == b and spec.to_hub is None

    def _once(
        self,
        kind: str,
        spec: FieldSpec,
        value: str | None,
        convert: Callable[[FieldSpec, Sequence[str | None]], list[str | Invalid | None]],
    ) -> str | Invalid | None:
        if value is None:
            return None
        key = (kind, id(spec), value)
        if key not in self._known:
            self._known[key] = convert(spec, [value])[0]
        return self._known[key]
