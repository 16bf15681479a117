"""Survivors of merges that no listing has brought: looked up by id, so that no hub record hangs on a dead id for ever.

A call is made only while there are such. One that is there is read like any record, and the link moves; one that is gone
was deleted after the merge; one outside the mapping's filter takes its loser along.
"""

from collections.abc import Sequence

from crm_sync.connectors.crm import CRM_ID, DELETED, BatchPage, Crm
from crm_sync.connectors.taking_part import is_filtered
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import mirror, survivors
from crm_sync.hub.mirror import Merged
from crm_sync.hub.store import Store
from crm_sync.steps.sweep import taking_part


def look_up(store: Store, crm: Crm, stream: StreamSpec) -> Sequence[Merged]:
    """Look for the survivors that are missing; returns what that brought."""
    wanted = survivors.missing(store.conn, stream)
    if not wanted:
        return ()
    pages = list(crm.by_ids(stream, wanted))
    live = {crm_id for page in pages for crm_id in _live(page)}
    if is_filtered(stream):
        pages = [taking_part(crm, stream, page) for page in pages]
    inside = {crm_id for page in pages for crm_id in _live(page)}
    with store.transaction() as conn:
        merged = [mirror.merge(conn, stream, page, looked_up=True) for page in pages if page.batch.num_rows]
        survivors.gone(conn, stream, sorted(set(wanted) - live))
        survivors.outside(conn, stream, sorted(live - inside))
    return merged


def _live(page: BatchPage) -> set[str]:
    batch = page.batch
    deleted = batch.column(DELETED).to_pylist() if DELETED in batch.schema.names else [None] * batch.num_rows
    rows = zip(batch.column(CRM_ID).to_pylist(), deleted, strict=True)
    return {crm_id for crm_id, gone in rows if (gone or "").lower() not in {"true", "1"}}
