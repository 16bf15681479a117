"""Apply an approved plan: decide its records again, refuse those that have moved, write exactly the rest.

    decide again, nothing written ─▶ compare, in SQL ─▶ refuse ─▶ CRMs, hub, CRMs, through the gate ─▶ mark from the journal

What was written is told by the journal, so that a run that was killed is finished by the next one, and nothing is
written twice. The CRMs come first, because what goes into the hub would be something else to send; those that the plan
links in the hub come behind.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial

from crm_sync.core.approval import content, mapping_digest, moved
from crm_sync.core.errors import LostLeaseError, StorageError, SyncError
from crm_sync.core.spec import StreamSpec, System
from crm_sync.hub import conversion, intents, plan_rows, plans
from crm_sync.hub.connect import connect
from crm_sync.hub.plans import Plan
from crm_sync.hub.store import Store
from crm_sync.steps.admission import Admission
from crm_sync.steps.hub import hub
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound
from crm_sync.steps.proposal import Crms, decide

log = logging.getLogger(__name__)

_AT_ONCE = 5_000


@dataclass(slots=True)
class Applied:
    """What came of a plan, as a whole and not only this time: rows written, refused and waiting (to be tried again),
    records refused; what each step did; why a stream failed."""

    plan: Plan
    written: int = 0
    refused: int = 0
    waiting: int = 0
    records_refused: int = 0
    reports: dict[str, Report] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def calls(self) -> dict[str, dict[str, int]]:
        """Calls to the CRMs by connection and family."""
        found: dict[str, dict[str, int]] = {}
        for name, report in self.reports.items():
            families = found.setdefault(name.split("/", 1)[0], {})
            for family, number in report.calls.items():
                families[family] = families.get(family, 0) + number
        return {name: calls for name, calls in found.items() if calls}


def apply(store: Store, system: System, crm: Crms, number: int) -> Applied:
    """Write what plan `number` says, as far as it is still so; a plan that was applied already is left as it is.

    Raises SyncError if it is not approved, or its rows are not those that were; BusyError if it, or a stream of it, is
    being worked on. What goes wrong with one stream is told in `Applied.failures`, and tried again the next time.
    """
    with store.exclusive(plans.lease_of(number)):
        plans.expire(store.conn)
        plan = approved(store, number)
        if plan.status == "applied":
            return _told(store, Applied(plan))
        plans.begin(store.conn, number)
        plan = approved(store, number)
        done = Applied(plan)
        streams = _streams(store, system, plan)
        gate = Admission(store, plan)
        with _noting(store, plan):
            for stream in streams:
                plan_rows.mark_written(store.conn, plan, stream)
                if intents.pending(store.conn, stream):  # of a run that was killed
                    _step(done, stream, partial(_settle, store, crm, stream, gate))
                    plan_rows.mark_written(store.conn, plan, stream)
            conversion.mark_ready(store.conn, streams)
            _refuse_moved(store, streams, crm, done)
            for stream in streams:
                _send(store, crm, stream, gate, done)
            linking: set[str] = set()
            for stream in streams:
                if stream.name not in done.failures and plan_rows.left(store.conn, plan.id, stream, "hub"):
                    linking.add(stream.name)
                    _step(done, stream, partial(hub, store, stream, Options(), gate=gate))
                    plan_rows.mark_written(store.conn, plan, stream)
            for stream in streams:
                if stream.name in linking:  # else what is left was refused for now, and pauses
                    _send(store, crm, stream, gate, done)
                plan_rows.parked(store.conn, plan.id, stream)
        if plans.waiting(store.conn, number)["waiting"]:
            _refuse_moved(store, streams, crm, done)
        if not plans.waiting(store.conn, number)["waiting"]:
            plans.end(store.conn, [number], "applied")
        conversion.mark_ready(store.conn, streams)  # what this plan has linked
        return _told(store, done)


def approved(store: Store, number: int) -> Plan:
    """The plan, which is approved, or applied already, and holds what it held when it was shown."""
    plan = plans.get(store.conn, number)
    if plan is None:
        raise SyncError(f"there is no plan {number}; those that wait: crm-sync plan list")
    if plan.status not in ("approved", "applied"):
        first = f"approve it first: crm-sync plan approve {number}"
        then = first if plan.status == "proposed" else "make a new one: crm-sync plan"
        raise SyncError(f"plan {number} is {plan.status}; {then}")
    if plan.status == "approved" and content(plan.streams, plan_rows.read(store.conn, number)) != plan.hash:
        raise SyncError(
            f"plan {number}: its rows in sync.plan_row are not those that were approved; nothing was written."
            " Make a new plan: crm-sync plan"
        )
    return plan


def of_stream(store: Store, stream: StreamSpec) -> list[Plan]:
    """The approved plans that a run of this stream applies, oldest first; those that are too old are over."""
    plans.expire(store.conn)
    return plans.find(store.conn, statuses=("approved",), stream=stream.name)


def _streams(store: Store, system: System, plan: Plan) -> list[StreamSpec]:
    """The plan's streams whose mapping is as it was, referenced entities first; of the others nothing is written."""
    known = {s.name: s for entity in system.entities for s in system.of_entity(entity)}
    for name, digest in plan.streams.items():
        if name not in known:
            plan_rows.refuse_stream(store.conn, plan.id, name, "the connection files do not have it any more")
        elif mapping_digest(known[name]) != digest:
            plan_rows.refuse_stream(store.conn, plan.id, name, "the mapping has changed")
    return [s for name, s in known.items() if plan.streams.get(name) == mapping_digest(s)]


def _refuse_moved(store: Store, streams: Sequence[StreamSpec], crm: Crms, done: Applied) -> None:
    """Decide what is left again, without writing, and refuse every record of which something is not as it was planned. A
    connection of which that is not possible (its CRM is down, a sync works on it) waits; the others go on."""
    by_connection: dict[str, list[StreamSpec]] = {}
    for stream in streams:
        if stream.name not in done.failures:
            by_connection.setdefault(stream.connection, []).append(stream)
    for some in by_connection.values():
        with _guarded(done, some):
            _compare(store, some, crm, done.plan)


def _compare(store: Store, streams: Sequence[StreamSpec], crm: Crms, plan: Plan) -> None:
    with closing(connect(store.url, autocommit=True)) as conn:
        conn.execute("set timezone = 'UTC'; set jit = off; set work_mem = '64MB'")
        decide(store.url, streams, crm, conn, store.run_id, again=plan.id)
        by_name = {stream.name: stream for stream in streams}
        why: dict[str, dict[str, str]] = {name: {} for name in by_name}
        unseen: set[str] = set()
        differing = plan_rows.differing(conn, plan.id, list(by_name))
        for n, (name, key, planned, found) in enumerate(differing, start=1):
            if planned:  # else it is in no plan: an old mark of a record that was refused
                why[name][key] = moved(planned, found) or "another record"
                if not found:
                    unseen.add(key)
            if n % _AT_ONCE == 0:
                _refuse(store, plan, by_name, why, unseen)
        _refuse(store, plan, by_name, why, unseen)


def _refuse(
    store: Store,
    plan: Plan,
    streams: Mapping[str, StreamSpec],
    why: dict[str, dict[str, str]],
    unseen: set[str],
) -> None:
    """Those that are not looked at only because they pause wait on."""
    for name, of_stream in why.items():
        pausing = plan_rows.pausing(store.conn, streams[name], sorted(unseen & of_stream.keys()))
        refused = {key: said for key, said in of_stream.items() if key not in pausing}
        plan_rows.refuse(store.conn, plan.id, name, refused)
        of_stream.clear()
    unseen.clear()


def _send(store: Store, crm: Crms, stream: StreamSpec, gate: Admission, done: Applied) -> None:
    if plan_rows.left(store.conn, gate.plan.id, stream, "crm") and stream.name not in done.failures:
        _step(done, stream, lambda: outbound(store, crm(stream.connection), stream, Options(), gate=gate))
        plan_rows.mark_written(store.conn, gate.plan, stream)


def _settle(store: Store, crm: Crms, stream: StreamSpec, gate: Admission) -> Report:
    """Only find out what became of what has left."""
    return outbound(store, crm(stream.connection), stream, Options(max_records=0), gate=gate)


def _step(done: Applied, stream: StreamSpec, step: Callable[[], Report]) -> None:
    with _guarded(done, [stream]):
        done.reports.setdefault(stream.name, Report()).include(step())


@contextmanager
def _guarded(done: Applied, streams: Sequence[StreamSpec]) -> Iterator[None]:
    """What fails in the block ends only these streams."""
    try:
        yield
    except (LostLeaseError, StorageError):
        raise
    except SyncError as error:
        for stream in streams:
            log.warning("%s: the plan is not finished: %s", stream.name, error)
            done.failures[stream.name] = str(error)


@contextmanager
def _noting(store: Store, plan: Plan) -> Iterator[None]:
    """The journal names the plan in what is written to the hub in the block (what is sent has it in its intents)."""
    store.conn.execute("select set_config('crm_sync.note', %s, false)", [plan.note])
    try:
        yield
    finally:
        if not store.conn.closed and not store.conn.broken:
            store.conn.execute("select set_config('crm_sync.note', '', false)")


def _told(store: Store, done: Applied) -> Applied:
    figures: Mapping[str, int] = plans.waiting(store.conn, done.plan.id)
    done.plan = plans.get(store.conn, done.plan.id) or done.plan
    done.written, done.refused = figures["written"], figures["refused"]
    done.waiting, done.records_refused = figures["waiting"], figures["records_refused"]
    return done
