"""Make a plan: the hub and outbound steps decide in a dry run, and every write they would make becomes a row.

A dry run is one transaction that is rolled back, so the rows go through a session of their own, chunk by chunk. What
would follow from other writes of the plan (a value taken from one CRM, sent to another) is not in it: the hub does not
have it yet, and the next plan will.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.connectors.crm import Crm
from crm_sync.core.approval import PlanRow, Target, content, mapping_digest
from crm_sync.core.guard import judge, sentence
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import conversion, holds, plan_rows, plans
from crm_sync.hub import guard as counting
from crm_sync.hub.connect import connect
from crm_sync.hub.dirty import Entry
from crm_sync.hub.intents import Intent
from crm_sync.hub.plans import Origin, Plan
from crm_sync.hub.sql import hub_table
from crm_sync.hub.store import Store
from crm_sync.steps import planning
from crm_sync.steps.gate import Gate
from crm_sync.steps.hub import hub
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound

Crms = Callable[[str], Crm]

_STAYS = ("disputes", "waiting", "parked")


@dataclass(slots=True)
class Found:
    """What the dry runs of the streams said: figures and calls by stream, and the guard's notes."""

    figures: dict[str, dict[str, int]] = field(default_factory=dict)
    calls: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, stream: StreamSpec, hub: Report, crm: Report) -> None:
        stays = {name: max(hub.counts.get(name, 0), crm.counts.get(name, 0)) for name in _STAYS}
        self.figures[stream.name] = {name: number for name, number in stays.items() if number}
        costs = self.calls.setdefault(stream.connection, {})
        for family, number in crm.would_cost.items():
            costs[family] = costs.get(family, 0) + number
        self.notes += [note for note in (*hub.notes, *crm.notes) if note.startswith("guard: ")]


class Recorder(Gate):
    """Notes what would be written in the session `conn`. again: only what is left of this plan is decided."""

    def __init__(self, conn: Connection, again: int | None = None) -> None:
        self.conn = conn
        self.again = again

    def entries(self, stream: StreamSpec, entries: Sequence[Entry]) -> Sequence[Entry]:
        return entries if self.again is None else of_plan(self.conn, self.again, stream, entries)

    def writes(self, stream: StreamSpec, made: planning.Plan) -> None:
        if self.again is not None:
            made.intents = as_planned(self.conn, self.again, stream, made)

    def parcels(self, stream: StreamSpec, planned: Sequence[Intent]) -> Iterable[Sequence[Intent]]:
        """What the plan itself links is sent behind the others (`apply.py`)."""
        linked = plan_rows.linked(self.conn, stream, [i.hub_id for i in planned])
        return [i for i in planned if i.hub_id not in linked], [i for i in planned if i.hub_id in linked]

    def planned(self, rows: list[PlanRow]) -> None:
        plan_rows.note(self.conn, self._known(rows))
        rows.clear()

    def _known(self, rows: Sequence[PlanRow]) -> list[PlanRow]:
        """Without those about hub records that only the dry run has made: they will have other ids."""
        by_entity: dict[str, set[str]] = {}
        for row in rows:
            if row.hub_id is not None:
                by_entity.setdefault(row.stream.rpartition("/")[2], set()).add(row.hub_id)
        there: set[tuple[str, str]] = set()
        for entity, ids in by_entity.items():
            found = self.conn.execute(
                sql.SQL("select id::text from {} where id = any(%s)").format(hub_table(entity)),
                [[UUID(one) for one in ids]],
            )
            there |= {(entity, row[0]) for row in found}
        return [
            r
            for r in rows
            if r.action in ("delete", "archive", "restore")  # those were there
            or r.hub_id is None
            or (r.stream.rpartition("/")[2], r.hub_id) in there
        ]


def of_plan(conn: Connection, number: int, stream: StreamSpec, entries: Sequence[Entry]) -> list[Entry]:
    """Those of these marks whose records are in what is left of the plan."""
    keys = [str(e.hub_id) for e in entries if e.hub_id is not None]
    crm_ids = [e.crm_id for e in entries if e.hub_id is None and e.crm_id is not None]
    wanted = plan_rows.waiting(conn, number, stream, keys, crm_ids)
    return [e for e in entries if (e.crm_id if e.hub_id is None else str(e.hub_id)) in wanted]


def as_planned(conn: Connection, number: int, stream: StreamSpec, made: planning.Plan) -> list[Intent]:
    """The writes without what could not be told when they were planned, and follows with the next plan: references of
    new records to what got its id since, perhaps by this very plan; computed fields whose parts this plan takes."""
    references = {spec.name for spec in stream.fields if spec.entity is not None}
    computed = {spec.name for spec in stream.fields if spec.computed is not None}
    if not made.intents or not (references or computed):
        return made.intents
    planned = plan_rows.of_records(conn, number, stream, "crm", [str(i.hub_id) for i in made.intents])
    intents = []
    for intent in made.intents:
        names = {row.field for row in planned[str(intent.hub_id)]}
        late = (references | computed if intent.kind == "create" else computed) - names
        sent_as_blank = intent.kind == "update"  # a create leaves blanks out, and so does its plan
        late = {
            name for name in late if name in intent.sent and (sent_as_blank or intent.sent[name] is not None)
        }
        if late:
            made.incomplete.add(intent.hub_id)
            sent = {name: value for name, value in intent.sent.items() if name not in late}
            meant = {name: value for name, value in intent.hub_values.items() if name not in late}
            intent = replace(intent, sent=sent, hub_values=meant)  # noqa: PLW2901 - the same write, less of it
        if intent.sent or not late:
            intents.append(intent)
        else:
            made.open.add(intent.hub_id)
    return intents


def decide(
    url: str,
    streams: Sequence[StreamSpec],
    crm: Crms,
    conn: Connection,
    run_id: str | None,
    *,
    again: int | None = None,
    targets: Mapping[str, frozenset[str]] | None = None,
) -> Found:
    """Stage in `conn` what would be written of these streams; `targets` limits a stream to some sides. Nothing is
    written, in the hub or a CRM.

    Raises BusyError while another run works on one of them, CrmError if a CRM cannot be asked for its fields.
    """
    found, gate, dry = Found(), Recorder(conn, again), Options(dry_run=True)
    plan_rows.stage(conn)
    with Store(url, dry_run=True, run_id=run_id) as store:
        for stream in streams:
            sides = (targets or {}).get(stream.name, frozenset({"hub", "crm"}))
            taken = hub(store, stream, dry, gate=gate) if "hub" in sides else Report()
            sent = (
                outbound(store, crm(stream.connection), stream, dry, gate=gate)
                if "crm" in sides
                else Report()
            )
            found.add(stream, taken, sent)
    for stream in streams:
        plan_rows.drop_computed(conn, stream)
    return found


def propose(
    url: str,
    streams: Sequence[StreamSpec],
    crm: Crms,
    *,
    origin: Origin,
    made_by: str,
    run_id: str | None = None,
    targets: Mapping[str, frozenset[str]] | None = None,
) -> Plan | None:
    """Make a plan of what these streams would write now; None if that is nothing.

    If a plan with the same content waits already, or is approved, it is that one.
    """
    with ExitStack() as stack:
        conn = stack.enter_context(closing(connect(url, autocommit=True)))
        conn.execute("set timezone = 'UTC'; set jit = off; set work_mem = '64MB'")
        conversion.mark_ready(conn, streams)
        found = decide(url, streams, crm, conn, run_id, targets=targets)
        digests = {stream.name: mapping_digest(stream) for stream in streams}
        for name, writes in plan_rows.figures(conn).items():
            found.figures[name] = {**writes, **found.figures.get(name, {})}
        with conn.transaction():
            plans.tidy(conn)
            number = plans.make(
                conn,
                origin=origin,
                made_by=made_by,
                streams=digests,
                figures=found.figures,
                calls={name: calls for name, calls in found.calls.items() if calls},
                guard=_guard(conn, streams),
                run_id=run_id,
            )
            plan_rows.keep(conn, number)
            digest = content(digests, plan_rows.read(conn, number))
            plans.complete(conn, number, digest)
            made = plans.get(conn, number)
            same = [p for p in _open(conn, streams) if p.hash == digest and p.id != number]
            if made is None or not made.rows or same:
                plans.drop(conn, number)
            if same:
                plans.seen(conn, same[-1].id)
        if same:
            return same[-1]
        return made if made is not None and made.rows else None


def refresh(url: str, stream: StreamSpec, crm: Crm, *, run_id: str | None = None) -> Plan | None:
    """The plan that a stream's writes wait in, where they wait for approval: the one that is there, if it says what
    would be written now, else a new one in its place."""
    made = propose(
        url,
        [stream],
        lambda _: crm,
        origin="run",
        made_by="sync",
        run_id=run_id,
        targets={stream.name: stream.approval},
    )
    with closing(connect(url, autocommit=True)) as conn:
        before = plans.find(conn, statuses=("proposed",), stream=stream.name, origin="run")
        plans.end(conn, [p.id for p in before if made is None or p.id != made.id], "expired")
    return made


def _open(conn: Connection, streams: Sequence[StreamSpec]) -> list[Plan]:
    return plans.find(conn, stream=streams[0].name) if streams else []


def _guard(conn: Connection, streams: Sequence[StreamSpec]) -> dict[str, str]:
    """What the guard says about what is staged, by stream and side: whoever approves it has seen it."""
    said: dict[str, str] = {}
    for stream in streams:
        sides: tuple[Target, ...] = ("hub", "crm")
        for target in sides:
            counts = plan_rows.counts(conn, stream, target)
            if judge(counts, 0, stream.guard):
                linked = counting.linked(conn, stream)
                excess = judge(counts, linked, stream.guard)
                if excess:
                    said[f"{stream.name} {target}"] = sentence(excess, linked)
        held = [h for h in holds.of_stream(conn, stream) if h.cause == "limits"]
        for hold in held:
            said.setdefault(f"{stream.name} {hold.side}", f"hold {hold.id}: {hold.sentence}")
    return said
