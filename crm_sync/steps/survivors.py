"""Survivors of merges, looked up by id before a link moves to them.

A call is made only while there are such. What a listing has brought may be older than the merge: its blanks, which the
merge filled, would pass for changes. What no listing has brought is looked for, so that no hub record hangs on a dead id for
ever: one that is there is read like any record; one that is gone was deleted after the merge; one outside the mapping's
filter takes its loser along.
"""

from collections.abc import Sequence

from psycopg import Connection

from crm_sync.connectors.crm import Crm
from crm_sync.connectors.taking_part import is_filtered
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import mirror, survivors
from crm_sync.hub.mirror import Merged
from crm_sync.hub.store import Store
from crm_sync.steps.sweep import live, settle, taking_part


def look_up(store: Store, crm: Crm, stream: StreamSpec) -> Sequence[Merged]:
    """Look for the survivors that are missing, or may be older in the mirror than the merge; returns what that brought."""
    brought = (*_missing(store, crm, stream), *_unseen(store, crm, stream))
    store.committed(lambda conn: survivors.again(conn, stream))
    return brought


def _unseen(store: Store, crm: Crm, stream: StreamSpec) -> Sequence[Merged]:
    wanted = survivors.unseen(store.conn, stream)
    if not wanted:
        return ()
    found = settle(store, crm, stream, wanted)
    store.committed(lambda conn: survivors.seen(conn, stream, wanted))
    return (Merged(updated=found["updated"] + found["left"], deleted=found["deleted"]),)


def _missing(store: Store, crm: Crm, stream: StreamSpec) -> Sequence[Merged]:
    wanted = survivors.missing(store.conn, stream)
    if not wanted:
        return ()
    pages = list(crm.by_ids(stream, wanted))
    there = {crm_id for page in pages for crm_id in live(page)}
    if is_filtered(stream):
        pages = [taking_part(crm, stream, page) for page in pages]
    inside = {crm_id for page in pages for crm_id in live(page)}

    def noted(conn: Connection) -> Sequence[Merged]:
        merged = [mirror.merge(conn, stream, page, looked_up=True) for page in pages if page.batch.num_rows]
        survivors.gone(conn, stream, sorted(set(wanted) - there))
        survivors.outside(conn, stream, sorted(there - inside))
        survivors.seen(conn, stream, wanted)
        return merged

    return store.committed(noted)
