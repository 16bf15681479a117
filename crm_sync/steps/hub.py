"""The hub step: for the dirty records of a stream, link, decide, apply the takes.

One transaction per chunk. A record whose values cannot enter the hub is parked with its reason and the others go
on; a record that an application changed meanwhile stays dirty.
"""

import logging
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import psycopg

from crm_sync.core.decide import Kind, Verdict, decide_all
from crm_sync.core.deletes import PRESENCE
from crm_sync.core.spec import Direction, StreamSpec
from crm_sync.hub import (
    differences,
    dirty,
    history,
    merge,
    parked,
    plain,
    references_gone,
    review,
    rules,
)
from crm_sync.hub.dirty import Entry
from crm_sync.hub.plain import Taken
from crm_sync.hub.refusals import REFUSED
from crm_sync.hub.store import Store
from crm_sync.steps.bookkeeping import Bookkeeping
from crm_sync.steps.conversion import follow_conversions
from crm_sync.steps.gate import OPEN, Gate
from crm_sync.steps.guard import Brake, guarding
from crm_sync.steps.identity import unchanged
from crm_sync.steps.life import Life
from crm_sync.steps.linking import Linker
from crm_sync.steps.merges import settle_merges
from crm_sync.steps.options import PREVIEW_ROWS, Options, Report
from crm_sync.steps.reasons import invalid_value, refused_by_hub
from crm_sync.steps.unanswered import settle_seen
from crm_sync.steps.unread import creates_wait
from crm_sync.steps.work import Work

log = logging.getLogger(__name__)

CHUNK = 10_000

_COUNTS = (
    "records", "linked", "created", "updated", "converged", "disputes", "waiting", "to_push", "parked", "retry",
)  # fmt: skip


def hub(
    store: Store,
    stream: StreamSpec,
    options: Options,
    *,
    only: Sequence[UUID] | None = None,
    gate: Gate = OPEN,
) -> Report:
    """Work off the dirty records of `stream` (of these hub records only, if given; of a plan, what its gate lets
    through). Where approval is required, the books are kept and nothing else is written.

    Raises BusyError if another process is doing this for the same entity, HeldBackError if the guard stops it.
    """
    report = Report(dict.fromkeys(_COUNTS, 0))
    if gate.waits_for_approval(stream, "hub", options, report):
        gate = Bookkeeping(only)
    configuration = {**options.as_configuration(), "direction": "hub"}
    with (
        store.exclusive(f"hub {stream.entity}"),
        history.running(store, stream.connection, stream.entity, "merge", configuration) as progress,
        unchanged(store, stream, options, report),
        guarding(store, stream, "hub", options, report, only=gate.records or only) as brake,
    ):
        size = min(CHUNK, options.max_records or CHUNK)
        chosen, linked = gate.chosen(brake.only), creates_wait(store, stream)
        for marks in dirty.chunks(store.conn, stream, size, only=chosen, up_to=brake.top, linked=linked):
            entries = gate.entries(stream, marks)
            done = store.committed(partial(_work_off, store, stream, options, brake, gate, entries))
            gate.planned(done.plan)
            report.include(done)
            if options.max_records is not None and report.counts["records"] >= options.max_records:
                break
        progress.processed = report.counts["records"]
        progress.created = report.counts["created"]
        progress.updated = report.counts["updated"]
        progress.failed = report.counts["parked"]
    log.info("%s hub: %s", stream.name, report.counts)
    return report


def _work_off(
    store: Store,
    stream: StreamSpec,
    options: Options,
    brake: Brake,
    gate: Gate,
    entries: Sequence[Entry],
    _: psycopg.Connection,
) -> Report:
    """Work off one chunk in a transaction that may have to be begun again."""
    report = Report()
    _Chunk(Work(store, stream, options, report), brake, gate).run(entries)
    return report


class _Chunk:
    """One chunk of dirty records, from reading to settling."""

    def __init__(self, work: Work, brake: Brake, gate: Gate) -> None:
        self.work = work
        self.brake = brake
        self.gate = gate
        self.conn = work.conn
        self.stream = work.stream
        self.life = Life(work, brake, gate)
        self._holds = False  # hub rows, in the order of their ids: it must not wait for more of them

    def run(self, entries: Sequence[Entry]) -> None:
        work = self.work
        work.report.add("records", len({(e.hub_id, e.crm_id) for e in entries}))
        entries = settle_merges(work, entries)
        linker = Linker(work)
        unlinked = {e.crm_id for e in entries if e.hub_id is None and e.crm_id is not None}
        if unlinked:
            admitted = self.gate.links(work, unlinked)
            entries = [e for e in entries if e.hub_id is not None or e.crm_id in admitted]
            linker.link(sorted(admitted))
        hub_ids = {e.hub_id for e in entries if e.hub_id is not None and e.crm_id is not None}
        hub_ids |= set(linker.open.values())
        open_ids = self._look(hub_ids) if hub_ids else set()
        looked_at = {e.crm_id for e in entries if e.crm_id is not None}
        follow_conversions(work, looked_at, self.gate)
        run_id = work.store.run_id
        parked.replace(self.conn, self.stream, "crm", looked_at, work.failed, run_id)
        # With nothing left to send, it does not matter any more why something could not be sent.
        parked.replace(self.conn, self.stream, "hub", map(str, hub_ids - open_ids), [], run_id)
        work.report.add("parked", len({p.record_id for p in work.failed}))
        dirty.settle(self.conn, self.stream, [e for e in entries if self._is_done(e, linker, open_ids)])

    def _is_done(self, entry: Entry, linker: Linker, open_ids: set[UUID]) -> bool:
        """Whether nothing is left to do about a marked record, here or by outbound."""
        if entry.crm_id is None:  # a hub record that this CRM does not have: the outbound step creates it
            pushes = self.stream.direction is not Direction.INBOUND
            self.work.report.add("to_push", int(pushes))
            return not pushes
        hub_id = entry.hub_id or linker.open.get(entry.crm_id)
        return hub_id not in open_ids and entry.crm_id not in linker.in_doubt

    def _look(self, hub_ids: set[UUID]) -> set[UUID]:
        """Decide about linked records; returns those that still have something to be done elsewhere."""
        doubtful = settle_seen(self.work, list(hub_ids))
        references_gone.note(self.conn, self.stream, sorted(hub_ids - doubtful))
        self.life.look(sorted(hub_ids - doubtful))  # what is gone has no fields, and what came back has
        self._holds = self.life.took
        taken = self._take_plain(list(hub_ids - doubtful))
        still_open = doubtful | self.life.open | (taken.found - taken.done)
        still_open |= self._decide(list(hub_ids - doubtful - taken.found))
        if taken.done:
            review.close(self.conn, self.stream, list(taken.done), [])
            still_open |= differences.still(self.conn, self.stream, taken.done)
        return still_open

    def _take_plain(self, hub_ids: Sequence[UUID]) -> Taken:
        """Take what needs no deciding, without fetching it. A dry run shows every value, and force has reasons of its
        own: they fetch all."""
        report, options = self.work.report, self.work.options
        if not hub_ids or options.force or options.dry_run or self.gate.narrow:
            return Taken()
        try:
            with self.conn.transaction():
                taken = plain.take(
                    self.conn,
                    self.stream,
                    hub_ids,
                    self.work.store.run_id,
                    show=PREVIEW_ROWS - len(report.preview),
                    blanks=self.brake.blanks,
                )
        except REFUSED:
            return Taken()  # the others find out which record it is
        self._holds = self._holds or bool(taken.done)
        report.add("updated", len(taken.done))
        report.add("retry", len(taken.found - taken.done))
        for hub_id, name, reason in taken.shown:
            report.show(record=str(hub_id), action=f"{name} taken: {reason}")
        return taken

    def _decide(self, hub_ids: Sequence[UUID]) -> set[UUID]:
        """Apply the takes of linked records; returns the records that still have something to be done elsewhere."""
        options = self.work.options
        if not hub_ids:
            self._count([], [])
            return set()
        found = differences.read(self.conn, self.stream, hub_ids)
        verdicts = list(
            decide_all(self.stream, found, force=options.force, check=not options.skip_validation)
        )
        withheld = {v.difference.hub_id for v in verdicts if v.kind is Kind.INVALID and v.side == "crm"}
        for v in verdicts:
            if v.invalid is not None and v.side == "crm":
                d = v.difference
                said = invalid_value("crm", d.crm_id, v.invalid, crm_id=d.crm_id, hub_id=d.hub_id)
                self.work.failed.append(said)
        movable = [
            v
            for v in verdicts
            if v.kind is Kind.CONVERGED or (v.kind is Kind.TAKE and v.difference.hub_id not in withheld)
        ]
        self.brake.blanks(
            (v.difference.field, v.difference.hub_id)
            for v in movable
            if v.kind is Kind.TAKE
            and v.value is None
            and v.difference.hub_now is not None
            and v.difference.decision is None
        )
        movable = self.gate.takes(self.work, movable)
        done = self._apply(movable)
        applied = [v for v in movable if v.difference.hub_id in done]
        self._count(verdicts, applied)
        rules.note(self.conn, self.stream, verdicts)
        applied_keys = {(v.difference.hub_id, v.difference.field) for v in applied}
        rest = [v for v in verdicts if (v.difference.hub_id, v.difference.field) not in applied_keys]
        still = [(v.difference.hub_id, v.difference.field) for v in rest]
        review.close(self.conn, self.stream, hub_ids, [*still, *((i, PRESENCE) for i in self.life.unsettled)])
        # Parked: what would come in waits there, not in the queue.
        waits = withheld | {p.hub_id for p in self.work.failed}
        coming_in = (Kind.TAKE, Kind.CONVERGED)
        still_open = {
            v.difference.hub_id
            for v in rest
            if not (v.difference.hub_id in waits and (v.kind in coming_in or v.side == "crm"))
        }
        # What was taken may concern this CRM again: a field computed from it, or what a trigger of the user's made of it.
        taken = {v.difference.hub_id for v in applied if v.kind is Kind.TAKE}
        return still_open | differences.still(self.conn, self.stream, taken)

    def _apply(self, verdicts: Sequence[Verdict]) -> set[UUID]:
        """Apply; if the hub table refuses a row, halve until the record is alone, and park it."""
        if not verdicts:
            return set()
        try:
            return self._apply_at_once(verdicts)
        except REFUSED as error:
            records = sorted({v.difference.hub_id for v in verdicts})
            if len(records) == 1:
                d = verdicts[0].difference
                self.work.failed.append(refused_by_hub(error, d.crm_id, hub_id=d.hub_id))
                return set()
            half = set(records[: len(records) // 2])
            return self._apply([v for v in verdicts if v.difference.hub_id in half]) | self._apply(
                [v for v in verdicts if v.difference.hub_id not in half]
            )

    def _apply_at_once(self, verdicts: Sequence[Verdict]) -> set[UUID]:
        with self.conn.transaction() as applying:
            run_id = self.work.store.run_id
            done = merge.apply(self.conn, self.stream, verdicts, run_id, waits=not self._holds)
            if self.work.options.dry_run:
                # It lasts, and an application must not wait for these rows until it ends.
                raise psycopg.Rollback(applying)
        self._holds = self._holds or (bool(done) and not self.work.options.dry_run)
        return done

    def _count(self, verdicts: Sequence[Verdict], applied: Sequence[Verdict]) -> None:
        report = self.work.report
        taken = {v.difference.hub_id for v in applied if v.kind is Kind.TAKE}
        report.add("updated", len(taken))
        report.add("converged", sum(v.kind is Kind.CONVERGED for v in applied))
        report.add("decided_by_policy", sum(v.by_policy for v in verdicts))
        for kind, name in ((Kind.DISPUTE, "disputes"), (Kind.WAIT, "waiting")):
            report.add(name, sum(v.kind is kind for v in verdicts))
        report.add("to_push", len({v.difference.hub_id for v in verdicts if v.kind is Kind.PUSH}))
        movable = {v.difference.hub_id for v in verdicts if v.kind is Kind.TAKE}
        report.add("retry", 0 if self.gate.narrow else len(movable - taken))
        for v in applied:
            if v.kind is Kind.TAKE:
                report.show(record=str(v.difference.hub_id), action=f"{v.difference.field} taken: {v.reason}")
                if self.work.options.dry_run:
                    self.work.take(v)
