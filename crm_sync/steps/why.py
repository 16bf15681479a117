"""Why a record is as it is: find it, read what is remembered of it, and tell that as a `Story`.

Nothing is written, no CRM is asked. What is going on with a field is what `core.decide` says of it at this moment, as it
does in a sync.
"""

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from crm_sync.connectors.salesforce.values import full_id
from crm_sync.core.decide import Kind, Verdict, decide_all
from crm_sync.core.deletes import PRESENCE
from crm_sync.core.errors import SyncError
from crm_sync.core.life import Here
from crm_sync.core.spec import Direction, FieldSpec, StreamSpec, System
from crm_sync.hub import differences, finding, journal, life
from crm_sync.hub.finding import Found
from crm_sync.hub.journal import Dispute, Facts, Side, Value
from crm_sync.hub.store import Store
from crm_sync.steps import explained
from crm_sync.steps.story import FieldNow, Line, LinkNow, SideNow, State, Story
from crm_sync.steps.timeline import APPLICATION, HUB, lines, ours, source, who

MOST_FOUND = 20


def find(store: Store, system: System, entity: str, text: str) -> list[Found]:
    """The records that `text` may mean: a hub id; else a CRM's id (`<connection>/<id>`: of that CRM); else a value of a
    field that records are matched by. Up to MOST_FOUND and one more; none is no error.

    Raises SyncError if there is no such entity.
    """
    if entity not in system.entities:
        raise SyncError(f"there is no entity {entity!r}; there are: {', '.join(system.entities)}")
    streams = system.of_entity(entity)
    text = text.strip()
    if not text or "\0" in text or _is_broken(text):
        return []
    if (hub_id := _uuid(text)) and (found := finding.by_hub_id(store.conn, streams, hub_id)):
        return found
    found = [hit for stream in streams for hit in _by_crm_id(store, stream, text)]
    found = found or finding.by_key(store.conn, streams, system.hub_fields(entity), text, MOST_FOUND + 1)
    one_each = {hit.name: hit for hit in found}
    return list(one_each.values())[: MOST_FOUND + 1]


def why(
    store: Store, system: System, entity: str, found: Found, *, field: str | None = None, limit: int = 500
) -> Story:
    """The story of a record, of one of its fields if given; at most the newest `limit` rows of the journal.

    Raises SyncError for a field that is neither mapped nor in the record's journal.
    """
    streams = system.of_entity(entity)
    crm_ids = {found.connection: found.crm_id} if found.connection and found.crm_id else {}
    conn = store.conn
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read, read only")  # one moment
        facts = journal.read(conn, streams, found.hub_id, crm_ids=crm_ids, field=field, limit=limit)
        verdicts: dict[tuple[str, str], Verdict] = {}
        for stream in streams:
            side = facts.sides[stream.connection]
            if found.hub_id is not None and side.linked_at is not None and side.unanswered is None:
                for v in decide_all(stream, differences.read(conn, stream, [found.hub_id])):
                    verdicts[stream.connection, v.difference.field] = v
                for v in life.verdicts(conn, stream, [found.hub_id]):
                    verdicts[stream.connection, PRESENCE] = v
    story = tell(facts, streams, verdicts, field)
    if field is not None and not story.fields and not any(line.field == field for line in story.lines):
        known = dict.fromkeys(spec.name for stream in streams for spec in stream.fields)
        raise SyncError(f"{entity} has no field {field!r}; it has: {', '.join(known)}")
    return story


def tell(
    facts: Facts,
    streams: Sequence[StreamSpec],
    verdicts: Mapping[tuple[str, str], Verdict],
    field: str | None = None,
) -> Story:
    """The facts as a story. verdicts: by connection and field, of what differs. Pure."""
    told = [
        line
        for line in lines(facts, {s.connection: s for s in streams})
        if field is None or line.field in (None, field)
    ]
    hub = "in the hub" if facts.there else "not in the hub"
    if facts.archived is not None:
        hub = (
            f"archived in the hub since {facts.archived:%Y-%m-%d %H:%M:%S} UTC; it takes no part in the sync"
        )
    if not facts.there and facts.deleted is not None:
        hub = f"deleted in the hub on {facts.deleted[0]:%Y-%m-%d %H:%M:%S} UTC by {who(facts.deleted[1])}"
    return Story(
        facts.entity,
        facts.hub_id,
        hub,
        tuple(_link(facts, stream, verdicts.get((stream.connection, PRESENCE))) for stream in streams),
        tuple(_field(facts, named, verdicts, told) for named in _named(streams, field)),
        tuple(told),
        tuple(facts.runs),
        facts.older,
    )


def _is_broken(text: str) -> bool:
    """Whether it holds half of a character: bytes of a command line that were no UTF-8. No record has that."""
    return any("\ud800" <= char <= "\udfff" for char in text)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _by_crm_id(store: Store, stream: StreamSpec, text: str) -> list[Found]:
    crm_id = text.removeprefix(f"{stream.connection}/")
    ids = {crm_id, full_id(crm_id)} if stream.kind == "salesforce" else {crm_id}
    return finding.by_crm_id(store.conn, stream, sorted(ids))


_Named = list[tuple[StreamSpec, FieldSpec]]


def _named(streams: Sequence[StreamSpec], field: str | None) -> Iterator[_Named]:
    """The fields, each with the streams that map it. Two that are computed in different ways are two."""
    found: dict[tuple[str, str | None], _Named] = {}
    for stream in streams:
        for spec in stream.fields:
            if field in (None, spec.name):
                found.setdefault((spec.name, spec.computed), []).append((stream, spec))
    yield from found.values()


def _field(
    facts: Facts, named: _Named, verdicts: Mapping[tuple[str, str], Verdict], told: Sequence[Line]
) -> FieldNow:
    spec = named[0][1]
    held = {
        stream.connection: next(v for v in facts.sides[stream.connection].values if v.field == spec.name)
        for stream, _ in named
    }
    at, by = facts.provenance.get(spec.name) or facts.provenance.get("*") or (None, None)
    author = None if by is None else HUB if ours(facts, spec.name) else source(by)
    because = _because(spec.name, author, told)
    if spec.computed is not None:
        at, author, because = None, None, f"computed: {spec.computed}"
    sides = tuple(
        _side(facts, stream, held[stream.connection], verdicts.get((stream.connection, spec.name)))
        for stream, _ in named
    )
    hub = held[named[0][0].connection].hub
    return FieldNow(spec.name, hub, at, author, spec.name in facts.provenance, because, sides)


def _because(name: str, author: str | None, told: Sequence[Line]) -> str:
    """By which rule the hub has its value: what the last line about it says, if it has the same author."""
    if author == APPLICATION:
        return "changed in the hub by an application"
    took = [x for x in told if x.field == name and x.target == HUB and x.what in ("create", "update")]
    return took[-1].why if took and took[-1].source == author else ""


def _side(facts: Facts, stream: StreamSpec, v: Value, verdict: Verdict | None) -> SideNow:
    side = facts.sides[stream.connection]
    live = [d for d in facts.disputes if d.connection == stream.connection and d.field == v.field]
    dispute = next((d for d in live if d.status in ("open", "decided", "skipped")), None)
    state, what = _state(facts, stream, side, v.field, verdict, dispute)
    number = dispute.id if dispute is not None and state is State.CONFLICT else None
    return SideNow(stream.connection, v.crm, v.agreed, v.hub_then, v.crm_then, state, what, number)


def _state(  # noqa: PLR0911 - a table, one line a row
    facts: Facts,
    stream: StreamSpec,
    side: Side,
    name: str,
    verdict: Verdict | None,
    dispute: Dispute | None,
) -> tuple[State, str]:
    crm = stream.connection
    held = next((p for p in side.parked if p.field in ("", name)), None)
    parked = (State.PARKED, f"parked: {held.reason} ({held.code})") if held else None
    if side.unanswered is not None and (name in side.unanswered.sent or side.linked_at is None):
        return State.IN_DOUBT, f"write to {crm} in doubt: no answer came, the next sync looks"
    if facts.hub_id is not None and not facts.there:
        return State.GONE, "deleted in the hub"
    if facts.archived is not None:
        return State.GONE, "archived in the hub"
    if side.deleted:
        return State.GONE, _gone(crm, side)
    if side.outside and side.linked_at is not None:
        return State.OUTSIDE, _OUTSIDE
    if side.linked_at is None:
        return parked or (State.NOT_LINKED, _unlinked(facts, stream, side))
    if name in side.frozen:
        return State.FROZEN, f"frozen: {crm} does not let the field be read; nothing is taken or sent"
    if side.unanswered is not None:
        return State.IN_DOUBT, f"another write to {crm} is in doubt; decided when that is settled"
    if verdict is None:
        return State.IN_SYNC, "in sync"
    if dispute is not None and verdict.kind is Kind.DISPUTE:
        words = "skipped: both stay until one changes" if dispute.status == "skipped" else "a person decides"
        return State.CONFLICT, f"{dispute.status} conflict #{dispute.id}: {words}"
    return _of_verdict(verdict, crm, parked)


def _of_verdict(verdict: Verdict, crm: str, parked: tuple[State, str] | None) -> tuple[State, str]:
    """What is going on with a field that differs, and whose record may go on unless it is parked."""
    because = explained.reason(verdict.reason, crm)
    match verdict.kind:
        case Kind.CONVERGED:
            return State.IN_SYNC, f"in sync: {because}"
        case Kind.DISPUTE:
            return State.CONFLICT, f"becomes a conflict with the next sync: {because}"
        case Kind.WAIT:
            return State.WAITS, f"waits: {because}"
        case Kind.INVALID:
            reason = verdict.invalid.reason if verdict.invalid is not None else because
            return parked or (State.PARKED, f"cannot go on: {reason}")
        case Kind.TAKE:
            return parked or (State.TO_HUB, f"pending, {crm}'s value goes to the hub: {because}")
        case _:
            return parked or (State.TO_CRM, f"pending to {crm}: {because}")


def _unlinked(facts: Facts, stream: StreamSpec, side: Side) -> str:
    if side.crm_id is not None:
        return f"{stream.connection} has it, but it is not linked to a hub record"
    if stream.direction is Direction.INBOUND:
        return f"not in {stream.connection}, where nothing is written"
    if facts.hub_id is None or facts.archived is not None or any(p.field == "" for p in side.parked):
        return f"not in {stream.connection}"
    return f"not in {stream.connection} yet; the next sync creates it"


def _gone(crm: str, side: Side) -> str:
    if side.merged_into:
        outside = ", which is outside the mapping's filter" if side.outside else ""
        return f"merged into {side.merged_into} in {crm}{outside}; no longer synced"
    return f"deleted in {crm}; no longer synced"


_OUTSIDE = "outside the mapping's filter: nothing is taken or sent until it is inside again"
_LINKED = {
    "create": "it came from there",
    "push": "created there by us",
    "match": "recognised as the same",
    "merge": "the record it was linked with was merged into this one",
}


_FOLLOWS = {
    (Kind.TAKE, Here.ARCHIVED): "the next sync archives it in the hub",
    (Kind.TAKE, Here.DELETED): "the next sync deletes it in the hub",
    (Kind.TAKE, Here.PRESENT): "the next sync brings it back in the hub",
    (Kind.PUSH, Here.DELETED): "the next sync deletes it there",
    (Kind.PUSH, Here.PRESENT): "the next sync creates it there once more",
}


def _follows(verdict: Verdict, crm: str) -> str:
    """What becomes of a record that one side does not have any more, or has again."""
    d, because = verdict.difference, explained.reason(verdict.reason, crm)
    if verdict.kind is Kind.DISPUTE:
        number = "a conflict with the next sync" if d.conflict is None else f"conflict #{d.conflict}"
        return f"a person decides ({number}): {because}"
    words = _FOLLOWS.get((verdict.kind, Here(verdict.value))) if verdict.value else None
    return f"{words}: {because}" if words else because


def _link(facts: Facts, stream: StreamSpec, presence: Verdict | None) -> LinkNow:
    """The record on one connection, in a sentence."""
    side = facts.sides[stream.connection]
    whole = next((p for p in side.parked if p.field == ""), None)
    if side.deleted:
        what = _gone(stream.connection, side)
    elif side.converted:
        what = f"converted in {stream.connection}; no longer synced"
    elif side.outside:
        what = f"linked; {_OUTSIDE}"
    elif side.linked_at is not None:
        what = f"linked: {_LINKED.get(side.linked_by or '', side.linked_by)}"
        if not side.read:
            what += "; not read yet"
    elif side.unanswered is not None:
        what = "created there, perhaps: no answer came, the next sync looks"
    elif facts.hub_id is not None and not facts.there:
        what = "not there"
    else:
        what = _unlinked(facts, stream, side)
    if presence is not None:
        what += f"; {_follows(presence, stream.connection)}"
    if whole is not None:
        what += f"; parked: {whole.reason} ({whole.code})"
    return LinkNow(stream.connection, side.crm_id, side.linked_at, side.linked_by, side.modified_at, what)
