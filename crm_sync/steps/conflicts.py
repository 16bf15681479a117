"""The conflicts step: put every dispute into the review table, and close those that are none any more."""

from uuid import UUID

from crm_sync.core.decide import Kind, decide_all
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import differences, dirty, intents, review, rules
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
            with store.transaction() as conn:
                # Of a record whose last write has no answer yet nobody knows what the CRM says.
                doubted = intents.in_doubt(conn, stream, hub_ids)
                known = [hub_id for hub_id in hub_ids if hub_id not in doubted]
                verdicts = list(decide_all(stream, differences.read(conn, stream, known)))
                disputes = [v for v in verdicts if v.kind is Kind.DISPUTE]
                review.record(conn, stream, disputes, store.run_id)
                late = rules.overtaken(conn, stream, disputes)
                busy: set[UUID] = {v.difference.hub_id for v in verdicts if v.kind is not Kind.DISPUTE}
                disputed = {v.difference.hub_id for v in disputes}
                done = disputed - busy - late
                dirty.settle(conn, stream, [e for e in entries if e.hub_id in done])
            report.add("disputes", len(disputes))
    return report
