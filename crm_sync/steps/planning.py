"""Planning of outbound writes: from dirty records to intents, and which records are done afterwards."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from uuid import UUID

from psycopg import Connection

from crm_sync.connectors.crm import Crm
from crm_sync.core.decide import Kind, Verdict, decide_all
from crm_sync.core.errors import ErrorClass
from crm_sync.core.normalise import Invalid, to_crm
from crm_sync.core.plan import Checker, Described
from crm_sync.core.spec import Direction, FieldType, StreamSpec
from crm_sync.hub import differences, dirty, intents, life_sent, parked, review, schema, wide
from crm_sync.hub.dirty import Entry
from crm_sync.hub.intents import Intent
from crm_sync.hub.parked import Parked
from crm_sync.hub.store import Store
from crm_sync.steps.holding import held_back
from crm_sync.steps.options import Options
from crm_sync.steps.reasons import invalid_value

SLICE = 5_000
"""Records decided about at once; each may differ in every field, so this bounds the memory."""


@dataclass(slots=True)
class Plan:
    """What is to be sent for a chunk. looked_at: all its records. open: records that somebody still has to look at (a
    take that the hub step has to apply, a dispute that is not recorded yet, a reference that waits, a write to be
    tried again). after: records that refer to others of this plan which are to be created first. incomplete: records
    that are created without a reference, which is to follow."""

    intents: list[Intent] = field(default_factory=list)
    looked_at: set[UUID] = field(default_factory=set)
    refused: list[Parked] = field(default_factory=list)
    open: set[UUID] = field(default_factory=set)
    after: set[UUID] = field(default_factory=set)
    incomplete: set[UUID] = field(default_factory=set)
    waiting: int = 0
    disputes: int = 0


def plan(
    store: Store,
    crm: Crm,
    stream: StreamSpec,
    entries: Sequence[Entry],
    options: Options,
    *,
    limit: int | None,
    wait_for_parents: bool = True,
    again: Mapping[UUID, Verdict] = MappingProxyType({}),
    creates: bool = True,
) -> Plan:
    """The writes that these dirty records need; at most `limit` records, the others stay open. again: records that the
    CRM has deleted, to be created there once more. creates: whether anything is created at all; else it waits.

    A record whose last write has no answer yet is left alone. Of new records that refer to each other the parents
    come first and the children are put off (`Plan.after`), unless told not to wait: then they are created without
    the reference, which follows when its target is linked.
    """
    ids = {e.hub_id for e in entries if e.hub_id is not None}
    doubted = intents.in_doubt(store.conn, stream, ids)
    made = Plan(looked_at=ids - doubted, open=doubted)
    linked, fresh = _apart(entries, doubted, again)
    if not creates:
        made.open |= set(fresh)
        made.looked_at -= set(fresh)
        made.waiting += len(fresh)
        fresh = []
    info: Mapping[str, Described] = crm.describe(stream.object).fields if linked or fresh else {}
    update, create = Checker(stream, "update", info), Checker(stream, "create", info)
    parents = set(fresh) if wait_for_parents else set()
    for some in _slices(linked):
        _admit(made, _updates(store.conn, stream, some, options, made, update), limit)
    for some in _slices(fresh):
        planned = _creates(store.conn, stream, some, options, made, parents, create)
        _admit(
            made,
            (life_sent.once_more(i, again[i.hub_id]) if i.hub_id in again else i for i in planned),
            limit,
        )
    return made


def settle(conn: Connection, stream: StreamSpec, entries: Sequence[Entry], made: Plan) -> None:
    """Take the records off the queue that have nothing left to do; unlinked CRM records are the hub step's."""
    dirty.settle(conn, stream, [e for e in entries if e.hub_id is not None and e.hub_id not in made.open])


def _apart(
    entries: Sequence[Entry], doubted: set[UUID], again: Container[UUID]
) -> tuple[list[UUID], list[UUID]]:
    """The records that the CRM has and those that it does not have, each once, in the queue's order."""
    linked: dict[UUID, None] = {}
    fresh: dict[UUID, None] = {}
    for e in entries:
        if e.hub_id is None or e.hub_id in doubted:
            continue
        if e.crm_id is not None and e.hub_id not in again:
            linked[e.hub_id] = None
        elif e.side == "hub" or e.hub_id in again:
            fresh[e.hub_id] = None
    return list(linked), list(fresh)


def _slices(hub_ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(hub_ids), SLICE):
        yield hub_ids[start : start + SLICE]


def _admit(made: Plan, candidates: Iterable[Intent], limit: int | None) -> None:
    """Add the intents to the plan, as many as there may be."""
    for intent in candidates:
        if limit is not None and len(made.intents) >= limit:
            made.open.add(intent.hub_id)
        else:
            made.intents.append(intent)


def _updates(
    conn: Connection,
    stream: StreamSpec,
    hub_ids: Sequence[UUID],
    options: Options,
    made: Plan,
    checker: Checker,
) -> Iterator[Intent]:
    pushes: dict[UUID, list[Verdict]] = {}
    columns: dict[str, list[str | None]] = {}
    withheld: set[UUID] = set()
    coming: dict[str, UUID] = {}
    kept_out: set[str] = set()
    disputes: list[Verdict] = []
    found = differences.read(conn, stream, hub_ids)
    for v in decide_all(stream, found, force=options.force, check=not options.skip_validation):
        hub_id = v.difference.hub_id
        match v.kind:
            case Kind.PUSH:
                pushes.setdefault(hub_id, []).append(v)
                columns.setdefault(v.difference.field, []).append(v.value)
            case Kind.TAKE | Kind.CONVERGED:
                coming[v.difference.crm_id] = hub_id
            case Kind.WAIT:
                made.waiting += 1
                made.open.add(hub_id)
            case Kind.DISPUTE:
                disputes.append(v)
            case Kind.INVALID if v.side == "hub" and v.invalid is not None:
                withheld.add(hub_id)
                made.refused.append(
                    invalid_value("hub", str(hub_id), v.invalid, crm_id=v.difference.crm_id, hub_id=hub_id)
                )
            case Kind.INVALID:
                kept_out.add(v.difference.crm_id)
    for crm_id in coming.keys() - parked.known(conn, stream, "crm", coming.keys() & kept_out):
        made.open.add(coming[crm_id])
    _open_disputes(conn, stream, disputes, made)
    planned = (_update(moves) for hub_id, moves in pushes.items() if hub_id not in withheld)
    yield from planned if checker.takes(columns) else _checked(checker, planned, made)


def _update(moves: Sequence[Verdict]) -> Intent:
    """The intent that writes all that moves of one record."""
    first = moves[0].difference
    if len(moves) == 1:
        name = first.field
        return Intent(
            first.hub_id, first.crm_id, "update",
            {name: moves[0].value}, {name: first.hub_now}, {name: first.crm_now}, {name: moves[0].reason},
        )  # fmt: skip
    return Intent(
        first.hub_id,
        first.crm_id,
        "update",
        sent={v.difference.field: v.value for v in moves},
        hub_values={v.difference.field: v.difference.hub_now for v in moves},
        old_values={v.difference.field: v.difference.crm_now for v in moves},
        reasons={v.difference.field: v.reason for v in moves},
    )


def _open_disputes(conn: Connection, stream: StreamSpec, disputes: Sequence[Verdict], made: Plan) -> None:
    """A dispute that nobody has recorded yet keeps its record open."""
    made.disputes += len(disputes)
    if disputes:
        recorded = review.recorded(conn, stream, sorted({v.difference.hub_id for v in disputes}))
        for d in (v.difference for v in disputes):
            if recorded.get((d.hub_id, d.field), ("", "")) != (d.hub_now, d.crm_now):
                made.open.add(d.hub_id)


def _creates(
    conn: Connection,
    stream: StreamSpec,
    hub_ids: Sequence[UUID],
    options: Options,
    made: Plan,
    parents: set[UUID],
    checker: Checker,
) -> Iterator[Intent]:
    kept = held_back(conn, stream, hub_ids)
    made.refused += kept.values()
    columns = wide.read_hub(conn, stream, [hub_id for hub_id in hub_ids if hub_id not in kept])
    known = {str(hub_id): hub_id for hub_id in hub_ids}
    ids = [known[value] for value in columns["hub_id"] if value is not None]
    left_out: set[int] = set()
    without: list[tuple[int, str]] = []
    theirs: dict[str, list[str | None]] = {}
    ours: dict[str, list[str | None]] = {}
    held = schema.held(conn, stream)  # of another type in the CRM: they follow when that is settled
    for spec in stream.fields:
        if spec.direction is Direction.INBOUND or spec.name in held:
            continue
        if spec.type is FieldType.REFERENCE:
            theirs[spec.name], ours[spec.name] = columns[spec.name], columns[f"{spec.name}_link"]
            targets = parents if spec.entity == stream.entity else set()
            for i, (link_of, mine) in enumerate(zip(theirs[spec.name], ours[spec.name], strict=True)):
                if link_of is not None or mine is None:
                    continue
                if UUID(mine) in targets and UUID(mine) != ids[i]:
                    left_out.add(i)
                    made.after.add(ids[i])
                else:  # created without it; the reference follows when its target is linked
                    without.append((i, spec.name))
                    made.waiting += 1
                    made.incomplete.add(ids[i])
            continue
        ours[spec.name] = columns[spec.name]
        valid: list[str | None] = []
        theirs[spec.name] = valid
        for i, value in enumerate(to_crm(spec, columns[spec.name], check=not options.skip_validation)):
            if isinstance(value, Invalid):
                left_out.add(i)
                made.refused.append(invalid_value("hub", str(ids[i]), value, hub_id=ids[i]))
                valid.append(None)
            else:
                valid.append(value)
    made.after -= {refusal.hub_id for refusal in made.refused if refusal.hub_id is not None}
    sent, meant = _rows(theirs, len(ids)), _rows(ours, len(ids))
    for i, name in without:
        del sent[i][name], meant[i][name]
    planned = (
        Intent(hub_id, None, "create", sent[i], meant[i], _NOTHING, _NOTHING)
        for i, hub_id in enumerate(ids)
        if sent[i] and i not in left_out
    )
    yield from planned if checker.takes(theirs) else _checked(checker, planned, made)


_NOTHING: Mapping[str, str] = MappingProxyType({})


def _rows(columns: Mapping[str, Sequence[str | None]], number: int) -> list[dict[str, str | None]]:
    """The columns' rows, by field name."""
    if not columns:
        return [{} for _ in range(number)]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _checked(checker: Checker, candidates: Iterable[Intent], made: Plan) -> Iterator[Intent]:
    """The intents that the CRM would take, each without the fields that may not be written. What is left out is
    parked with its reason."""
    for intent in candidates:
        checked = _check(checker, intent, made)
        if checked is not None:
            yield checked


def _check(checker: Checker, intent: Intent, made: Plan) -> Intent | None:
    refusal = checker.refusal(_given(intent))
    while refusal is not None:
        error = refusal.error
        made.refused.append(
            Parked("hub", str(intent.hub_id), refusal.field, error.error_class, error.code, error.message, None,
                   intent.hub_id, intent.crm_id)
        )  # fmt: skip
        if error.error_class is not ErrorClass.PERMISSION:
            return None
        sent = {name: value for name, value in intent.sent.items() if name != refusal.field}
        intent = replace(intent, sent=sent)
        refusal = checker.refusal(_given(intent)) if sent else None
    return intent if intent.sent else None


def _given(intent: Intent) -> Mapping[str, str | None]:
    """A create sends only what there is; an update sends blanks too."""
    if intent.kind == "update":
        return intent.sent
    return {name: value for name, value in intent.sent.items() if value is not None}
