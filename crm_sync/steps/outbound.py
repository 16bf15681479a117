"""Outbound: send to a CRM what the hub has and the CRM does not.

For the dirty records: decide again, plan, check the plan against the vendor's describe, commit the intents, send,
and record the answer per record. A record that is refused is parked; a dispute is never touched; an intent that
never got its answer is settled first, by looking.
"""

import logging
from collections.abc import Iterable, Sequence
from uuid import UUID

from crm_sync.connectors.crm import CRM_ID, HUB_ID, BatchPage, Crm, Operation
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import Direction, StreamSpec
from crm_sync.hub import confirm, dirty, history, intents, mirror, parked, watermark
from crm_sync.hub.confirm import Accepted
from crm_sync.hub.intents import Intent
from crm_sync.hub.store import Store
from crm_sync.steps.answers import Answers
from crm_sync.steps.options import Options, PlanRow, Report, calls_since
from crm_sync.steps.planning import Plan, plan, settle

log = logging.getLogger(__name__)

CHUNK = 20_000


def outbound(
    store: Store, crm: Crm, stream: StreamSpec, options: Options, *, only: Sequence[UUID] | None = None
) -> Report:
    """Send the pushes of `stream` (of these hub records only, if given).

    Raises BusyError if another process is sending for this stream, CrmError if the CRM cannot be reached; what was
    answered until then is recorded.
    """
    report = Report()
    for name in ("records", "created", "updated", "parked", "retry", "waiting", "disputes"):
        report.add(name, 0)
    if stream.direction is Direction.INBOUND:
        report.notes.append("the stream is inbound: nothing is ever sent")
        return report
    configuration = {**options.as_configuration(), "direction": "outbound"}
    with (
        store.exclusive(stream.name),
        history.running(store, stream.connection, stream.entity, "outbound", configuration) as progress,
    ):
        before = dict(crm.calls)
        sender = _Sender(store, crm, stream, options, report)
        try:
            if not options.dry_run:
                sender.settle_pending()
            for entries in dirty.chunks(store.conn, stream, CHUNK, only=only):
                left = None if options.max_records is None else options.max_records - report.counts["records"]
                if left is not None and left <= 0:
                    break
                made = plan(store, crm, stream, entries, options, limit=left)
                sender.send(made)
                with store.transaction() as conn:
                    settle(conn, stream, entries, made)
        finally:
            report.calls = calls_since(before, crm.calls)
            progress.processed = report.counts["records"]
            progress.created = report.counts["created"]
            progress.updated = report.counts["updated"]
            progress.failed = report.counts["parked"]
            progress.metrics = {"calls": report.calls}
    log.info("%s outbound: %s", stream.name, report.counts)
    return report


class _Sender:
    """Sends plans and records the answers."""

    def __init__(self, store: Store, crm: Crm, stream: StreamSpec, options: Options, report: Report) -> None:
        self.store = store
        self.crm = crm
        self.stream = stream
        self.options = options
        self.report = report
        self.job = watermark.Job(store, stream, "outbound")
        self.answers = Answers(store, crm, stream, report)

    def send(self, made: Plan) -> None:
        """Send one plan; in a dry run only show it."""
        self.report.add("records", len(made.intents) + len({p.record_id for p in made.refused}))
        self.report.add("waiting", made.waiting)
        self.report.add("disputes", made.disputes)
        self.report.add("parked", len({p.record_id for p in made.refused}))
        if self.options.dry_run:
            self._show(made.intents)
            return
        with self.store.transaction() as conn:
            looked_at = map(str, made.looked_at)
            parked.replace(conn, self.stream, "hub", looked_at, made.refused, self.store.run_id)
            intents.note(conn, self.stream, made.intents, self.store.run_id)
        if made.intents:
            operations = [self._operation(i) for i in made.intents]
            answers = self.crm.write(self.stream, operations, self.job, batch_size=self.options.batch_size)
            answers = self.store.fenced(answers)
            made.open |= self.answers.record_all(made.intents, answers)
            self.job.clear()

    def settle_pending(self) -> None:
        """Settle the intents of an earlier run that ended without an answer: by its job's results, or by looking."""
        waiting = intents.pending(self.store.conn, self.stream)
        state = self.job.load()
        if state is not None and waiting:
            operations = [self._operation(i) for i in waiting]
            try:
                self.answers.record_all(
                    waiting, self.crm.resume_write(self.stream, operations, state, self.job)
                )
            except CrmError as error:  # what the job does not tell is looked up below
                if error.error_class is not ErrorClass.UNKNOWN_OUTCOME:
                    raise
            waiting = intents.pending(self.store.conn, self.stream)
        self.job.clear()
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
                if h and c
            }
            self._merge([page])
        if updates:
            self._merge(self.crm.by_ids(self.stream, [i.crm_id for i in updates if i.crm_id is not None]))
        with self.store.transaction() as conn:
            accepted = [
                Accepted(intent, found[key], {"settled": "found by its external id"})
                for key, intent in creates.items()
                if key in found
            ]
            accepted += confirm.arrived(
                conn, self.stream, [(i, i.crm_id) for i in updates if i.crm_id], {"settled": "read back"}
            )
            known = {a.intent.hub_id for a in accepted}
            confirm.confirm(conn, self.stream, accepted, self.store.run_id)
            doubted = [(i, i.crm_id) for i in updates if i.crm_id and i.hub_id not in known]
            confirm.note_doubt(conn, self.stream, doubted, self.store.run_id)
            intents.forget(conn, self.stream, [i.hub_id for i in waiting])
            dirty.mark_hub(conn, self.stream, [i.hub_id for i in waiting])
        self.report.add("settled", len(accepted))

    def _merge(self, pages: Iterable[BatchPage]) -> None:
        for page in pages:
            with self.store.transaction() as conn:
                mirror.merge(conn, self.stream, page, mark_dirty=False)

    def _operation(self, intent: Intent) -> Operation:
        values = {self.stream.field(name).vendor.name: value for name, value in intent.sent.items()}
        if intent.kind == "create":
            values = {
                **self.stream.constants,
                **{name: value for name, value in values.items() if value is not None},
            }
            return Operation(str(intent.hub_id), "create", None, values)
        return Operation(str(intent.hub_id), "update", intent.crm_id, values)

    def _show(self, planned: Sequence[Intent]) -> None:
        for i in planned:
            for name, new in i.sent.items():
                if i.kind == "update" or new is not None:
                    reason = i.reasons.get(name, "new in the hub")
                    self.report.plan.append(
                        PlanRow(
                            self.stream.name,
                            "crm",
                            i.kind,
                            str(i.hub_id),
                            name,
                            i.old_values.get(name),
                            new,
                            reason,
                        )
                    )


def _column(page: BatchPage, name: str) -> list[str | None]:
    values: list[str | None] = page.batch.column(name).to_pylist()
    return values
