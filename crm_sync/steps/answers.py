"""The CRM's answers to what was sent, recorded record by record: accepted is confirmed, refused is parked.

One transaction per answer. What the vendor did not return is read back, many records at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from uuid import UUID

import pyarrow as pa
from psycopg import Connection

from crm_sync.connectors.crm import CRM_ID, DELETED, HUB_ID, MODIFIED_AT, BatchPage, Crm, Result
from crm_sync.core.errors import RULES, ErrorClass, RecordState, SyncError
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import confirm, dirty, intents, mirror, parked
from crm_sync.hub.confirm import Accepted
from crm_sync.hub.intents import Intent
from crm_sync.hub.parked import Parked
from crm_sync.hub.store import Store
from crm_sync.steps.options import Report

READ_BACK = 2_000
"""Records read back at once after writes that return no values (what Salesforce retrieves in one call)."""

_CERTAIN = frozenset(c for c, rule in RULES.items() if rule.record is RecordState.PARKED)
"""Refusals that will be the same next time, until somebody changes something: the record is parked."""


class Answers:
    """Records the answers for one stream."""

    def __init__(self, store: Store, crm: Crm, stream: StreamSpec, report: Report) -> None:
        self.store = store
        self.crm = crm
        self.stream = stream
        self.report = report

    def record_all(self, sent: Sequence[Intent], answers: Iterable[list[Result]]) -> set[UUID]:
        """Record answers as they come; those without values are gathered so that one call reads many back.

        Returns the records that are to be tried again. What was answered is recorded even if the next call fails.
        """
        by_key = {str(i.hub_id): i for i in sent}
        again: set[UUID] = set()
        gathered: list[Result] = []
        try:
            for results in answers:
                gathered += [r for r in results if r.key in by_key]
                if len(gathered) >= READ_BACK or any(r.returned is not None or not r.ok for r in results):
                    batch, gathered = gathered, []
                    again |= self._record(by_key, batch)
        finally:
            if gathered:
                again |= self._record(by_key, gathered)
        return again

    def _record(self, by_key: dict[str, Intent], results: Sequence[Result]) -> set[UUID]:
        """One answer of the vendor: what was accepted is confirmed, what was refused is parked, in one transaction.

        Returns the records that are to be tried again.
        """
        accepted = [r for r in results if r.ok]
        silent = [r.crm_id for r in accepted if r.returned is None and r.crm_id is not None]
        pages = list(self.crm.by_ids(self.stream, silent)) if silent else []
        with self.store.transaction() as conn:
            for page in [*pages, *_told(conn, self.stream, accepted)]:
                mirror.merge(conn, self.stream, page, mark_dirty=False)
            confirm.confirm(
                conn,
                self.stream,
                [
                    Accepted(by_key[r.key], r.crm_id or "", {"id": r.crm_id, "created": r.created})
                    for r in accepted
                ],
                self.store.run_id,
            )
            again = self._refused(conn, by_key, [r for r in results if not r.ok])
            dirty.mark_differing(conn, self.stream, [by_key[r.key].hub_id for r in accepted])
        for r in accepted:
            self.report.add("created" if by_key[r.key].kind == "create" else "updated")
            self.report.show(record=r.crm_id or "", action=f"{by_key[r.key].kind}d in the CRM")
        return again

    def _refused(self, conn: Connection, by_key: dict[str, Intent], refused: Sequence[Result]) -> set[UUID]:
        items = []
        again = set()
        known = [
            by_key[r.key]
            for r in refused
            if r.error and r.error.error_class is not ErrorClass.UNKNOWN_OUTCOME
        ]
        for r in refused:
            if r.error is None:
                raise SyncError(f"{self.stream.name}: a refused record without a reason (hub id {r.key})")
            if r.error.error_class not in _CERTAIN:
                self.report.add("retry")
                again.add(by_key[r.key].hub_id)
                continue
            ours = {spec.vendor.name: spec.name for spec in self.stream.fields}
            field = next((ours[name] for name in r.error.fields if name in ours), "")
            items.append(
                Parked("hub", r.key, field, r.error.error_class, r.error.code, r.error.message, None,
                       by_key[r.key].hub_id, by_key[r.key].crm_id)
            )  # fmt: skip
        parked.park(conn, self.stream, items, self.store.run_id)
        self.report.add("parked", len(items))
        intents.forget(conn, self.stream, [i.hub_id for i in known])
        return again


def _told(conn: Connection, stream: StreamSpec, results: Sequence[Result]) -> list[BatchPage]:
    """What the vendor returned with its answers, as pages for the mirror.

    A field that was not returned is absent, not null. HubSpot leaves out what is blank, so that nearly every record
    comes with another set of fields; a page for each set would be slow. What is absent is therefore filled in with
    what the mirror holds, whose rows stay locked until the page is merged.
    """
    answered = [r for r in results if r.returned is not None and r.crm_id is not None]
    ours = {spec.vendor.name: spec.name for spec in stream.fields if spec.vendor.template is None}
    alike = len(ours) == len(stream.fields)  # parts of a computed value are not in the mirror
    held = mirror.held(conn, stream, [r.crm_id or "" for r in answered], lock=True) if alike else {}
    groups: dict[tuple[bool, frozenset[str]], list[Result]] = {}
    for r in answered:
        names = frozenset() if alike else frozenset(stream.vendor_fields) & frozenset(r.returned or {})
        groups.setdefault((r.created, names), []).append(r)
    return [_page(ours, held, group, created=created) for (created, _), group in groups.items()]


def _page(
    ours: Mapping[str, str],
    held: Mapping[str, Mapping[str, str | None]],
    group: Sequence[Result],
    *,
    created: bool,
) -> BatchPage:
    columns: dict[str, list[str | None]] = {
        CRM_ID: [r.crm_id for r in group],
        MODIFIED_AT: [r.modified_at.astimezone(UTC).isoformat() if r.modified_at else None for r in group],
        DELETED: ["false"] * len(group),
    }
    if created:
        columns[HUB_ID] = [r.key for r in group]
    for name in dict.fromkeys(name for r in group for name in r.returned or {}):
        columns[name] = [
            (r.returned or {}).get(name, held.get(r.crm_id or "", {}).get(ours.get(name, ""))) for r in group
        ]
    return BatchPage(pa.RecordBatch.from_pydict({k: pa.array(v, pa.string()) for k, v in columns.items()}))
