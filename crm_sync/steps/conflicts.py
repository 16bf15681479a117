"""The conflicts step: put every dispute into the review table, and close those that are none any more."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from psycopg import Connection

from crm_sync.core.decide import Kind, decide_all
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import differences, dirty, intents, life, parked, review, rules
from crm_sync.hub.dirty import Entry
from crm_sync.hub.store import Store
from crm_sync.steps.options import Report

CHUNK = 10_000


def conflicts(store: Store, stream: StreamSpec) -> Report:
    """Record the disputes among the dirty records of `stream`; a record with nothing else to do is settled."""
    report = Report()
    report.add("disputes", 0)
    with store.exclusive(f"hub {stream.entity}"):
        for entries in dirty.chunks(store.conn, stream, CHUNK):
            hub_ids = sorted({e.hub_id for e in entries if e.hub_id is not None and e.crm_id is not None})
            if not hub_ids:
                continue
            report.add("disputes", store.committed(partial(_record, stream, entries, hub_ids, store.run_id)))
    return report


def _record(
    stream: StreamSpec,
    entries: Sequence[Entry],
    hub_ids: Sequence[UUID],
    run_id: str | None,
    conn: Connection,
) -> int:
    """The disputes among these records into the review table, in a transaction that may have to be begun again; how many
    there are."""
    # Of a record whose last write has no answer yet nobody knows what the CRM says.
    doubted = intents.in_doubt(conn, stream, hub_ids)
    known = [hub_id for hub_id in hub_ids if hub_id not in doubted]
    verdicts = list(decide_all(stream, differences.read(conn, stream, known)))
    verdicts += life.verdicts(conn, stream, known)
    disputes = [v for v in verdicts if v.kind is Kind.DISPUTE]
    review.record(conn, stream, disputes, run_id)
    late = rules.overtaken(conn, stream, disputes)
    busy: set[UUID] = {v.difference.hub_id for v in verdicts if v.kind is not Kind.DISPUTE}
    disputed = {v.difference.hub_id for v in disputes}
    done = disputed - busy - late
    # Outbound does not look at these: with nothing to send, it does not matter any more why something could not be sent.
    parked.replace(conn, stream, "hub", map(str, done), [], run_id)
    dirty.settle(conn, stream, [e for e in entries if e.hub_id in done])
    return len(disputes)
