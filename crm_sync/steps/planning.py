"""Planning of outbound writes: from dirty records to intents, and which records are done afterwards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from uuid import UUID

from psycopg import Connection

from crm_sync.connectors.crm import Crm
from crm_sync.core import plan as core_plan
from crm_sync.core.decide import Kind, Verdict, decide_all
from crm_sync.core.errors import ErrorClass
from crm_sync.core.normalise import Invalid, to_crm
from crm_sync.core.spec import Direction, FieldType, StreamSpec
from crm_sync.hub import differences, dirty, link, review, wide
from crm_sync.hub.dirty import Entry
from crm_sync.hub.intents import Intent
from crm_sync.hub.parked import Parked
from crm_sync.hub.store import Store
from crm_sync.steps.options import Options
from crm_sync.steps.reasons import invalid_value


@dataclass(slots=True)
class Plan:
    """What is to be sent for a chunk. looked_at: all its records. open: records that somebody still has to look at (a take that the hub step
    has to apply, a dispute that is not recorded yet, a reference that waits, a write to be tried again)."""

    intents: list[Intent] = field(default_factory=list)
    looked_at: set[UUID] = field(default_factory=set)
    refused: list[Parked] = field(default_factory=list)
    open: set[UUID] = field(default_factory=set)
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
) -> Plan:
    """The writes that these dirty records need; at most `limit` records, the others stay open."""
    made = Plan(looked_at={e.hub_id for e in entries if e.hub_id is not None})
    linked = sorted({e.hub_id for e in entries if e.hub_id is not None and e.crm_id is not None})
    fresh = sorted(
        {e.hub_id for e in entries if e.side == "hub" and e.hub_id is not None and e.crm_id is None}
    )
    info: Mapping[str, core_plan.Described] = crm.describe(stream.object).fields if linked or fresh else {}
    candidates = [
        *_updates(store.conn, stream, linked, options, made),
        *_creates(store.conn, stream, fresh, options, made),
    ]
    for intent in candidates:
        checked = _checked(stream, intent, info, made)
        if checked is None:
            continue
        if limit is not None and len(made.intents) >= limit:
            made.open.add(intent.hub_id)
            continue
        made.intents.append(checked)
    return made


def settle(conn: Connection, stream: StreamSpec, entries: Sequence[Entry], made: Plan) -> None:
    """Take the records off the queue that have nothing left to do; unlinked CRM records are the hub step's."""
    dirty.settle(conn, stream, [e for e in entries if e.hub_id is not None and e.hub_id not in made.open])


def _updates(
    conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID], options: Options, made: Plan
) -> Iterator[Intent]:
    if not hub_ids:
        return
    found = differences.read(conn, stream, hub_ids)
    verdicts = sorted(
        decide_all(stream, found, force=options.force, check=not options.skip_validation),
        key=lambda v: v.difference.hub_id,
    )
    recorded = review.recorded(conn, stream, hub_ids)
    for hub_id, group in groupby(verdicts, key=lambda v: v.difference.hub_id):
        pushes: list[Verdict] = []
        withheld = False
        for v in group:
            d = v.difference
            match v.kind:
                case Kind.PUSH:
                    pushes.append(v)
                case Kind.TAKE | Kind.CONVERGED:
                    made.open.add(hub_id)
                case Kind.WAIT:
                    made.waiting += 1
                    made.open.add(hub_id)
                case Kind.DISPUTE:
                    made.disputes += 1
                    if recorded.get((hub_id, d.field), ("", "")) != (d.hub_now, d.crm_now):
                        made.open.add(hub_id)
                case Kind.INVALID if v.side == "hub" and v.invalid is not None:
                    withheld = True
                    made.refused.append(
                        invalid_value("hub", str(hub_id), v.invalid, crm_id=d.crm_id, hub_id=hub_id)
                    )
        if pushes and not withheld:
            yield Intent(
                hub_id,
                pushes[0].difference.crm_id,
                "update",
                sent={v.difference.field: v.value for v in pushes},
                hub_values={v.difference.field: v.difference.hub_now for v in pushes},
                old_values={v.difference.field: v.difference.crm_now for v in pushes},
                reasons={v.difference.field: v.reason for v in pushes},
            )


def _creates(
    conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID], options: Options, made: Plan
) -> Iterator[Intent]:
    if not hub_ids:
        return
    matching = link.waiting_matches(conn, stream, hub_ids)
    made.refused += [_match_waits(hub_id) for hub_id in sorted(matching)]
    columns = wide.read_hub(conn, stream, [hub_id for hub_id in hub_ids if hub_id not in matching])
    ids = [UUID(value) for value in columns["hub_id"] if value is not None]
    bad: set[int] = set()
    sent: list[dict[str, str | None]] = [{} for _ in ids]
    meant: list[dict[str, str | None]] = [{} for _ in ids]
    for spec in stream.fields:
        if spec.direction is Direction.INBOUND:
            continue
        ours = columns[f"{spec.name}_link"] if spec.type is FieldType.REFERENCE else columns[spec.name]
        theirs: Sequence[str | None | Invalid] = columns[spec.name]
        if spec.type is not FieldType.REFERENCE:
            theirs = to_crm(spec, columns[spec.name], check=not options.skip_validation)
        for i, value in enumerate(theirs):
            if isinstance(value, Invalid):
                bad.add(i)
                made.refused.append(invalid_value("hub", str(ids[i]), value, hub_id=ids[i]))
            elif spec.type is FieldType.REFERENCE and value is None and ours[i] is not None:
                made.waiting += 1  # created without it; the reference follows when its target is linked
            else:
                sent[i][spec.name] = value
                meant[i][spec.name] = ours[i]
    for i, hub_id in enumerate(ids):
        if i not in bad:
            yield Intent(hub_id, None, "create", sent[i], meant[i])


def _match_waits(hub_id: UUID) -> Parked:
    return Parked(
        "hub",
        str(hub_id),
        "",
        ErrorClass.VALIDATION,
        "MATCH_WAITS",
        "a CRM record that matches this one could not be linked yet (it is parked, or still in the queue);"
        " creating this one would make a second of the same",
        None,
        hub_id,
    )


def _checked(
    stream: StreamSpec, intent: Intent, info: Mapping[str, core_plan.Described], made: Plan
) -> Intent | None:
    """The intent without the fields that may not be written, or None if the CRM would refuse the record. What is
    left out is parked with its reason."""
    sent = dict(intent.sent)
    while sent:
        refusal = core_plan.check(stream, intent.kind, _given(intent.kind, sent), info)
        if refusal is None:
            return Intent(
                intent.hub_id,
                intent.crm_id,
                intent.kind,
                sent,
                intent.hub_values,
                intent.old_values,
                intent.reasons,
            )
        error = refusal.error
        made.refused.append(
            Parked("hub", str(intent.hub_id), refusal.field, error.error_class, error.code, error.message, None,
                   intent.hub_id, intent.crm_id)
        )  # fmt: skip
        if error.error_class is not ErrorClass.PERMISSION:
            return None
        del sent[refusal.field]
    return None


def _given(kind: str, sent: dict[str, str | None]) -> dict[str, str | None]:
    """A create sends only what there is; an update sends blanks too."""
    return {name: value for name, value in sent.items() if kind == "update" or value is not None}
