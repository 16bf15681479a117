"""The sweep: what a complete listing did not show is looked for by its id, and what left the filter is noted.

Only a listing that came to its end counts. And even then a record that was not in it is asked about: it is deleted in the
mirror if the CRM says so or does not know it, and outside if it is there but does not fulfil the stream's filter. What
follows for the hub is decided by the hub step, behind the guard.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import pyarrow as pa
from psycopg import Connection

from crm_sync.connectors.crm import CRM_ID, DELETED, MODIFIED_AT, BatchPage, Crm, Window
from crm_sync.connectors.taking_part import is_filtered
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import mirror
from crm_sync.hub import sweep as hub
from crm_sync.hub.store import Store

log = logging.getLogger(__name__)


def sweep(store: Store, crm: Crm, stream: StreamSpec, listing: int) -> dict[str, int]:
    """Settle what the listing, which has come to its end, and the mirror do not agree on. Returns counts.

    One look-up for a record that is missing: nothing if none is.
    """
    counts = dict.fromkeys(("updated", "deleted", "left"), 0)
    for ids in hub.doubtful(store.conn, stream, listing):
        for name, number in settle(store, crm, stream, ids).items():
            counts[name] += number
    log.info("%s sweep: %s", stream.name, counts)
    return counts


def settle(store: Store, crm: Crm, stream: StreamSpec, crm_ids: list[str]) -> dict[str, int]:
    """Look these records up, and note those that are gone, and which do not fulfil the filter, or do again. Returns
    counts."""
    pages = list(crm.by_ids(stream, crm_ids))
    at = crm.now()
    told = {crm_id: row for page in pages for crm_id, row in _rows(page).items()}
    live = [crm_id for crm_id in crm_ids if crm_id in told and not told[crm_id].deleted]
    lately = _lately(told, live, since=at - crm.overlap) if is_filtered(stream) else set()
    asked = [crm_id for crm_id in live if crm_id not in lately]
    inside = crm.fulfilling(stream, asked) if is_filtered(stream) and asked else set(asked)

    def noted(conn: Connection) -> dict[str, int]:
        counts = dict.fromkeys(("updated", "deleted", "left"), 0)
        hub.distrust(conn, stream, live)
        for page in pages:
            for part, listed in ((_only(page, inside), True), (_only(page, set(told) - inside), False)):
                if part.batch.num_rows:
                    merged = mirror.merge(conn, stream, part, looked_up=True, listed=listed)
                    counts["updated"] += merged.updated
                    counts["deleted"] += merged.deleted
        counts["deleted"] += hub.delete(conn, stream, sorted(set(crm_ids) - set(told)), at)
        counts["left"] += hub.leave(conn, stream, dict.fromkeys(sorted(set(asked) - inside)))
        return counts

    return store.committed(noted)


def taking_part(crm: Crm, stream: StreamSpec, page: BatchPage) -> BatchPage:
    """The records of a look-up by id that are deleted or fulfil the stream's filter, which a look-up does not obey."""
    rows = _rows(page)
    live = [crm_id for crm_id, row in rows.items() if not row.deleted]
    inside = crm.fulfilling(stream, live) if live else set()
    return _only(page, {crm_id for crm_id, row in rows.items() if row.deleted} | inside)


def left(store: Store, crm: Crm, stream: StreamSpec, window: Window) -> dict[str, int]:
    """Note the records that were modified in the window and left the stream's filter. Returns counts."""
    counts = {"deleted": 0, "left": 0}
    for page in crm.left(stream, window):
        rows = _rows(page)
        gone = _only(page, {crm_id for crm_id, row in rows.items() if row.deleted})
        if gone.batch.num_rows:
            merged = store.committed(partial(mirror.merge, stream=stream, page=gone))
            counts["deleted"] += merged.deleted
        live = {crm_id: row.at for crm_id, row in rows.items() if not row.deleted}
        suspects = hub.suspects(store.conn, stream, live)
        if suspects:
            out = sorted(set(suspects) - crm.fulfilling(stream, suspects))
            since = {crm_id: live[crm_id] for crm_id in out}
            counts["left"] += store.committed(partial(hub.leave, stream=stream, left=since))
    return counts


def live(page: BatchPage) -> set[str]:
    """The records of a look-up that the CRM does not show as deleted."""
    return {crm_id for crm_id, row in _rows(page).items() if not row.deleted}


class _Row(NamedTuple):
    at: datetime | None
    deleted: bool


def _lately(told: Mapping[str, _Row], live: Sequence[str], since: datetime) -> set[str]:
    """The live records of which nobody can tell yet whether they fulfil the filter: an index may lag behind what was
    modified lately (`since`), of which the next windows tell."""
    return {crm_id for crm_id in live if (at := told[crm_id].at) is None or at >= since}


def _rows(page: BatchPage) -> dict[str, _Row]:
    batch = page.batch
    names = set(batch.schema.names)

    def column(name: str) -> Iterable[str | None]:
        found: list[str | None] = batch.column(name).to_pylist() if name in names else [None] * batch.num_rows
        return found

    return {
        crm_id: _Row(datetime.fromisoformat(at) if at else None, (deleted or "").lower() in {"true", "1"})
        for crm_id, at, deleted in zip(column(CRM_ID), column(MODIFIED_AT), column(DELETED), strict=True)
        if crm_id
    }


def _only(page: BatchPage, crm_ids: set[str]) -> BatchPage:
    kept = pa.array([crm_id in crm_ids for crm_id in page.batch.column(CRM_ID).to_pylist()])
    return BatchPage(page.batch.filter(kept))
