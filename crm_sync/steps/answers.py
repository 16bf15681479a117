"""The CRM's answers to what was sent, recorded record by record: accepted is confirmed, refused is parked, or tried again
after a pause if the reason may pass.

Many answers in one transaction. What a vendor does not return is read back if one call can do it; of larger writes the
next inbound sees what the CRM made of them (docs/decisions/0009-read-back.md).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC
from functools import partial
from uuid import UUID

from psycopg import Connection

from crm_sync.connectors import unmoved
from crm_sync.connectors.batches import NOT_SENT
from crm_sync.connectors.crm import CRM_ID, MODIFIED_AT, BatchPage, Crm, Operation, Result
from crm_sync.core.errors import RULES, ErrorClass, RecordError, RecordState, SyncError, afterwards
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import confirm, dirty, doubles, intents, landed, mirror, parked, watermark
from crm_sync.hub.confirm import Answer
from crm_sync.hub.parked import Parked
from crm_sync.hub.store import Store
from crm_sync.steps.options import Report
from crm_sync.steps.sweep import live

READ_BACK = 2_000
"""Records that are read back at most after one write (what Salesforce retrieves in a call)."""

AT_ONCE = 10_000
"""Answers recorded in one transaction at most."""

_CERTAIN = frozenset(c for c, rule in RULES.items() if rule.record is RecordState.PARKED)
"""Refusals that will be the same next time, until somebody changes something: the record is parked."""


_MAY_PASS = frozenset({ErrorClass.TRANSIENT, ErrorClass.CONCURRENCY, ErrorClass.RATE_LIMIT})
"""Refusals of a record that may pass by themselves: it is tried again after growing pauses, then parked."""


class Answers:
    """Records the answers for one stream."""

    def __init__(self, store: Store, crm: Crm, stream: StreamSpec, report: Report) -> None:
        self.store = store
        self.crm = crm
        self.stream = stream
        self.report = report
        self._ours = {spec.vendor.name: spec.name for spec in stream.fields if spec.vendor.template is None}

    def record_all(
        self,
        sent: Sequence[Operation],
        answers: Iterable[Sequence[Result]],
        incomplete: Collection[UUID] = frozenset(),
    ) -> set[UUID]:
        """Record answers as they come, many at a time; what was answered is recorded even if the next call fails.

        incomplete: records of which not everything was sent, to be looked at again. Returns the records that are to be
        tried again.
        """
        by_key = {operation.key: operation for operation in sent}
        again: set[UUID] = set()
        gathered: list[Result] = []

        def record(*, ask: bool = True) -> None:
            batch = gathered.copy()
            gathered.clear()
            if batch:
                again.update(self._record(by_key, batch, incomplete, ask=ask))

        # Behind a call that failed nothing more is asked: the CRM may just have said that there are too many calls.
        with afterwards(partial(record, ask=False)):
            for results in answers:
                gathered += [r for r in results if r.key in by_key]
                told = bool(gathered) and gathered[-1].returned is not None
                if len(gathered) >= (READ_BACK if told else AT_ONCE):
                    record()
            record()
        return again

    def _record(
        self,
        by_key: Mapping[str, Operation],
        results: Sequence[Result],
        incomplete: Collection[UUID],
        *,
        ask: bool,
    ) -> set[UUID]:
        """What was accepted is confirmed, what was refused is parked or waits, in one transaction.

        Returns the records that are to be tried again.
        """
        accepted = [r for r in results if r.ok and r.crm_id is not None]
        silent = [r.crm_id for r in accepted if r.returned is None and r.crm_id is not None]
        look = ask and bool(silent) and len(by_key) <= READ_BACK
        pages = list(self.crm.by_ids(self.stream, silent)) if look else []
        read = {crm_id for page in pages for crm_id in live(page)}
        unread = [crm_id for crm_id in silent if crm_id not in read]
        found = [
            (UUID(r.key), r.crm_id)
            for r in accepted
            if r.crm_id and not r.created and by_key[r.key].kind == "create"
        ]

        def recorded(conn: Connection) -> tuple[set[UUID], set[UUID], Report]:
            report = Report()  # of this try
            strangers: set[UUID] = set()
            if found:
                landed.remember(conn, self.stream, found)
            if unread:
                # Pages of a reading that began before would pass for changes: they say what was there before.
                watermark.Job(self.store, self.stream, "inbound").clear()
            partly: dict[str, Mapping[str, str | None]] = {}
            for page in pages:  # one that lacks a field adds no record to the mirror
                merged = mirror.merge(conn, self.stream, page, mark_dirty=False, looked_up=True)
                partly |= unmoved.shown(page) if merged.absent else {}
            if accepted:
                parked.answered(conn, self.stream, [UUID(r.key) for r in accepted])
                told = (self._answer(r, partly, read=r.crm_id in read) for r in accepted)
                strangers = confirm.confirm_answers(conn, self.stream, told, self.store.run_id)
                report.add("parked", len(strangers))
            for page in pages if unread else ():  # whoever was deleted right after the write is so only now
                mirror.merge(conn, self.stream, page, looked_up=True)
            again = self._refused(conn, by_key, [r for r in results if not r.ok], report)
            changed = {UUID(r.key) for r in accepted if look or r.returned is not None}
            unsure = changed | {UUID(r.key) for r in accepted if incomplete and UUID(r.key) in incomplete}
            if unsure:
                dirty.mark_differing(conn, self.stream, sorted(unsure))
            return again, strangers, report

        again, strangers, report = self.store.committed(recorded)
        self.report.include(report)
        for r in (r for r in accepted if UUID(r.key) not in strangers):
            kind = by_key[r.key].kind
            self.report.add("created" if kind == "create" else "updated")
            self.report.show(record=r.crm_id or "", action=f"{kind}d in the CRM")
        if ask:
            self._look_again(by_key, [r for r in results if _moved(r)])
        return again

    def _answer(
        self, result: Result, partly: Mapping[str, Mapping[str, str | None]], *, read: bool
    ) -> Answer:
        """For the confirmation: a field that was not returned is absent, not null. partly: what reading back showed of
        records, where it does not show every field. read: whether it showed this one, and not as deleted. Else what was
        sent is what it said last: the mirror has to know a record, or it does not take in that it was deleted."""
        stamp = result.modified_at.astimezone(UTC).isoformat() if result.modified_at else None
        returned = result.returned
        if returned is None and result.created and (shown := partly.get(result.crm_id or "")):
            returned, stamp = shown, shown.get(MODIFIED_AT)
        if returned is None:
            return Answer(result.key, result.crm_id or "", result.created, None if read else "", stamp)
        told = {self._ours[name]: value for name, value in returned.items() if name in self._ours}
        return Answer(result.key, result.crm_id or "", result.created, intents.as_json(told), stamp)

    def _refused(
        self, conn: Connection, by_key: Mapping[str, Operation], refused: Sequence[Result], report: Report
    ) -> set[UUID]:
        if not refused:
            return set()
        items = []
        again = set()
        taken = [r.error.existing for r in refused if r.error and r.error.existing]
        owners = doubles.owners(conn, self.stream, taken) if taken else {}
        known = [
            UUID(r.key) for r in refused if r.error and r.error.error_class is not ErrorClass.UNKNOWN_OUTCOME
        ]
        for r in refused:
            if r.error is None:
                raise SyncError(f"{self.stream.name}: a refused record without a reason (hub id {r.key})")
            passes = r.error.error_class not in _CERTAIN
            if passes:
                report.add("moved" if _moved(r) else "retry")
            if passes and not _concerns_the_record(r.error):
                again.add(UUID(r.key))
                continue
            field = next((self._ours[name] for name in r.error.fields if name in self._ours), "")
            items.append(
                Parked("hub", r.key, field, r.error.error_class, r.error.code, _reason(r.key, r.error, owners), None,
                       UUID(r.key), by_key[r.key].crm_id, passes)
            )  # fmt: skip
        parked.park(conn, self.stream, items, self.store.run_id)
        report.add("parked", sum(not item.passes for item in items))
        parked.answered(conn, self.stream, known)
        intents.forget(conn, self.stream, known)
        return again

    def _look_again(self, by_key: Mapping[str, Operation], moved: Sequence[Result]) -> None:
        """What somebody changed in the CRM before our write left goes into the mirror: the hub step decides anew."""
        expected = {r.crm_id: by_key[r.key].expected for r in moved if r.crm_id is not None}
        for page in self.crm.by_ids(self.stream, list(expected)) if expected else ():
            self.store.committed(partial(self._look_at, page, expected))

    def _look_at(
        self, page: BatchPage, expected: Mapping[str, Mapping[str, str | None]], conn: Connection
    ) -> None:
        mirror.merge(conn, self.stream, page)
        stale = self._stale(conn, page, expected)
        if stale is not None:
            mirror.merge(conn, self.stream, stale)

    def _stale(
        self, conn: Connection, page: BatchPage, expected: Mapping[str, Mapping[str, str | None]]
    ) -> BatchPage | None:
        """The records of the page, without their stamps, of which the mirror still says what the CRM does not.

        The mirror takes no page that is older than what it holds. If it holds a stamp that the CRM has never set, the
        record would be found to have moved again and again, and never be sent."""
        shown = unmoved.shown(page)
        types = unmoved.types_of(self.stream)
        held = mirror.held(conn, self.stream, [crm_id for crm_id in shown if crm_id in expected], lock=True)
        stale = {
            crm_id
            for crm_id, ours in held.items()
            for name, value in expected[crm_id].items()
            if name in shown[crm_id]
            and ours.get(self._ours[name]) == value
            and not unmoved.same(types[name], shown[crm_id][name], value)
        }
        if not stale:
            return None
        chosen = page.batch.filter([crm_id in stale for crm_id in page.batch.column(CRM_ID).to_pylist()])
        return BatchPage(chosen.drop_columns([MODIFIED_AT]))


def _reason(key: str, error: RecordError, owners: Mapping[str, UUID]) -> str:
    """The refusal; if another record has what must be unique, also which hub record that one is linked with."""
    owner = owners.get(error.existing or "")
    if owner is None or str(owner) == key:
        return error.message
    return (
        f"{error.message}; it is linked with the hub record {owner}, so that this one and that are doubles: merge them, or"
        " correct the one that is wrong (`crm-sync match --doubles` shows both)"
    )


def _concerns_the_record(error: RecordError) -> bool:
    """Whether the CRM has looked at the record and refused it: then it waits for a while. Else nothing is known of it, or
    it was not sent at all, and the next run goes on with it."""
    return error.error_class in _MAY_PASS and error.code != NOT_SENT


def _moved(result: Result) -> bool:
    return result.error is not None and result.error.error_class is ErrorClass.MOVED
