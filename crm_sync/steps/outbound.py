"""Outbound: send to a CRM what the hub has and the CRM does not.

For the dirty records: decide again, plan, check the plan against the vendor's describe, commit the intents, send,
and record the answer per record. A record that is refused is parked; a dispute is never touched; an intent that
never got its answer is settled first, by looking.
"""

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from uuid import UUID

from psycopg import Connection

from crm_sync.connectors.crm import CRM_ID, HUB_ID, BatchPage, Crm
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import Direction, StreamSpec
from crm_sync.hub import confirm, dirty, doubts, frozen, halfway, history, intents, mirror, parked
from crm_sync.hub.dirty import Entry
from crm_sync.hub.intents import Intent
from crm_sync.hub.store import Store
from crm_sync.steps.answers import Answers
from crm_sync.steps.bookkeeping import Bookkeeping
from crm_sync.steps.gate import OPEN, Gate
from crm_sync.steps.guard import Brake, blanked, guarding, stop_if_held
from crm_sync.steps.identity import unchanged
from crm_sync.steps.life_out import Deleting, Parting
from crm_sync.steps.options import Options, Report, calls_since
from crm_sync.steps.planned import rows_of
from crm_sync.steps.planning import plan
from crm_sync.steps.sending import Sender, operations_of
from crm_sync.steps.unread import counted, creates_wait, note

log = logging.getLogger(__name__)

GENERATIONS = 10
"""New records that refer to each other are created parents first, so many generations deep."""


def outbound(
    store: Store,
    crm: Crm,
    stream: StreamSpec,
    options: Options,
    *,
    only: Sequence[UUID] | None = None,
    gate: Gate = OPEN,
) -> Report:
    """Send the pushes of `stream` (of these hub records only, if given; of a plan, what its gate lets through). Where
    approval is required, refusals are parked and nothing else is sent. What a CRM may have that was never read to its end is
    not created there.

    Raises BusyError if another process is sending for this stream, HeldBackError if the guard stops it, CrmError if the
    CRM cannot be reached; what was answered until then is recorded.
    """
    report = Report()
    for name in (
        "records",
        "created",
        "updated",
        "deleted",
        "parked",
        "retry",
        "moved",
        "waiting",
        "disputes",
    ):
        report.add(name, 0)
    if stream.direction is Direction.INBOUND:
        stop_if_held(store, stream, "crm", options, report)
        report.notes.append("the stream is inbound: nothing is ever sent")
        return report
    if gate.waits_for_approval(stream, "crm", options, report):
        gate = Bookkeeping(only)
    if not options.dry_run:
        parked.mark_due(store.conn, stream)
    configuration = {**options.as_configuration(), "direction": "outbound"}
    with (
        store.exclusive(stream.name),
        history.running(store, stream.connection, stream.entity, "outbound", configuration) as progress,
        unchanged(store, stream, options, report, crm),
        guarding(store, counted(store, stream), "crm", options, report, only=gate.records or only) as brake,
    ):
        before = dict(crm.calls)
        work = _Work(store, crm, stream, options, report, brake, gate)
        try:
            if not options.dry_run:
                work.settle_pending()
            with work.sender:
                chosen = gate.chosen(brake.only)
                for entries in dirty.chunks(
                    store.conn, stream, crm.plan, only=chosen, up_to=brake.top, linked=not work.creates
                ):
                    if work.left() == 0:
                        break
                    work.off(gate.entries(stream, entries))
            if not work.creates:
                note(store, stream, report, only)
        finally:
            report.calls = calls_since(before, crm.calls)
            progress.processed = report.counts["records"]
            progress.created = report.counts["created"]
            progress.updated = report.counts["updated"]
            progress.failed = report.counts["parked"]
            progress.metrics = {"calls": report.calls}
    log.info("%s outbound: %s", stream.name, report.counts)
    return report


class _Work:
    """Plans chunks and has them sent; settles what an earlier run left open."""

    def __init__(
        self,
        store: Store,
        crm: Crm,
        stream: StreamSpec,
        options: Options,
        report: Report,
        brake: Brake,
        gate: Gate,
    ) -> None:
        self.store = store
        self.crm = crm
        self.stream = stream
        self.options = options
        self.report = report
        self.brake = brake
        self.gate = gate
        self.creates = not creates_wait(store, stream)
        self.parting = Parting()
        self.answers = Answers(store, crm, stream, report)
        self.sender = Sender(store, crm, stream, self.answers, options.batch_size)
        self.deleting = Deleting(store, crm, stream, options, report, brake, gate, self._show)

    def left(self) -> int | None:
        """How many records may still be sent, None for any number."""
        most = self.options.max_records
        return None if most is None else max(most - self.report.counts["records"], 0)

    def off(self, entries: Sequence[Entry]) -> None:
        """Work off a chunk: plan and send; parents before the children that refer to them."""
        self.parting = self.deleting.off(entries, self.left())
        for generation in range(1, GENERATIONS + 1):
            number, after = self._send(entries, wait_for_parents=generation < GENERATIONS)
            if not after:
                return
            self.sender.finish()  # the children need the ids that their parents get
            entries = [e for e in entries if e.hub_id in after]
            if (
                number == 0 or self.options.dry_run
            ):  # they refer to each other in a circle, or nothing is created
                self._send(entries, wait_for_parents=False)
                return

    def _send(self, entries: Sequence[Entry], *, wait_for_parents: bool) -> tuple[int, set[UUID]]:
        """Plan and send; the number of writes, and the records that come after these."""
        made = plan(
            self.store, self.crm, self.stream, entries, self.options,
            limit=self.left(), wait_for_parents=wait_for_parents, again=self.parting.again,
            creates=self.creates,
        )  # fmt: skip
        made.open |= self.parting.open
        made.looked_at -= self.parting.told
        self.gate.writes(self.stream, made)
        if not self.options.dry_run:
            self.deleting.look_again(made, self.parting)
        refused, number = len({p.record_id for p in made.refused}), len(made.intents)
        self.report.add("records", number + refused)
        self.report.add("waiting", made.waiting)
        self.report.add("disputes", made.disputes)
        self.report.add("parked", refused)
        if self.options.dry_run:
            self._show(made.intents)
        else:
            self.brake.blanks(blanked(made.intents))
            self.sender.send(entries, made)
        return number, made.after

    def settle_pending(self) -> None:
        """Settle the intents of an earlier run that ended without an answer: by its jobs' results, or by looking."""
        self.deleting.settle([i for i in intents.pending(self.store.conn, self.stream) if i.kind == "delete"])
        for state in self.sender.jobs.states():
            waiting = intents.pending(self.store.conn, self.stream)
            if not waiting:
                break
            operations = operations_of(self.stream, waiting)
            log_of_job = self.sender.jobs.another()
            try:
                self.answers.record_all(
                    operations, self.crm.resume_write(self.stream, operations, state, log_of_job)
                )
            except CrmError as error:  # what the job does not tell is looked up below
                if error.error_class is not ErrorClass.UNKNOWN_OUTCOME:
                    raise
        self.sender.jobs.forget()
        waiting = intents.pending(self.store.conn, self.stream)
        if waiting:
            self._look(waiting)

    def _look(self, waiting: Sequence[Intent]) -> None:
        """Read what the CRM says about these records: what was written is confirmed, the rest is decided anew."""
        found: dict[str, str] = {}
        creates = {str(i.hub_id).lower(): i for i in waiting if i.kind == "create"}
        updates = [i for i in waiting if i.kind == "update" and i.crm_id is not None]
        for page in self.crm.by_hub_ids(self.stream, list(creates)) if creates else ():
            found |= {
                h.lower(): c
                for h, c in zip(_column(page, HUB_ID), _column(page, CRM_ID), strict=True)
                if h and c and not (h.lower() in creates and creates[h.lower()].crm_id == c)
            }
            self._merge([page])
        absent: set[str] = set()
        if updates:
            absent = self._merge(
                self.crm.by_ids(self.stream, [i.crm_id for i in updates if i.crm_id is not None])
            )
        looked_at = self.crm.now()

        def settled(conn: Connection) -> int:
            still = intents.locked(conn, self.stream, [i.hub_id for i in waiting])
            keys = [(i, str(i.hub_id).lower()) for i in still if i.kind == "create"]
            there = [(i, found[key]) for i, key in keys if key in found]
            accepted = halfway.created(conn, self.stream, there, {"settled": "found by its external id"})
            linked = [(i, i.crm_id) for i in still if i.kind == "update" and i.crm_id]
            unread = absent.union(frozen.fields(conn, self.stream))
            accepted += confirm.arrived(conn, self.stream, linked, {"settled": "read back"}, unread)
            known = {a.intent.hub_id for a in accepted}
            confirm.confirm(conn, self.stream, accepted, self.store.run_id)
            doubted = [(i, crm_id) for i, crm_id in linked if i.hub_id not in known]
            confirm.note_doubt(conn, self.stream, doubted, unread, self.store.run_id)
            unseen = [i for i in still if i.hub_id not in known]
            doubts.note(conn, self.stream, unseen, looked_at, self.store.run_id)
            intents.forget(conn, self.stream, [i.hub_id for i in still])
            dirty.mark_hub(conn, self.stream, [i.hub_id for i in still])
            return len(accepted)

        self.report.add("settled", self.store.committed(settled))

    def _merge(self, pages: Iterable[BatchPage]) -> set[str]:
        """Our fields that were absent from some page."""
        return {name for page in pages for name in self.store.committed(partial(self._take_in, page)).absent}

    def _take_in(self, page: BatchPage, conn: Connection) -> mirror.Merged:
        return mirror.merge(conn, self.stream, page, mark_dirty=False, looked_up=True)

    def _show(self, planned: Sequence[Intent]) -> None:
        self.report.plan += rows_of(self.store.conn, self.stream, planned)
        for parcel in self.gate.parcels(self.stream, planned):
            for family, number in self.crm.cost(self.stream, operations_of(self.stream, parcel)).items():
                self.report.would_cost[family] = self.report.would_cost.get(family, 0) + number
        self.gate.planned(self.report.plan)


def _column(page: BatchPage, name: str) -> list[str | None]:
    values: list[str | None] = page.batch.column(name).to_pylist()
    return values
