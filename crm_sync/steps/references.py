"""References that change without a trace: HubSpot's associations do not move a record's modification time.

A full read shows them all. Between full reads, where the connection's file says within what time (`associations_every`),
each incremental run looks at so many linked records, in the order of their ids, as the time that has passed is worth;
a call is made only when there is enough for one. What differs from the mirror is then read by id, as it is now.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from psycopg import Connection

from crm_sync.connectors.crm import BatchPage, Crm
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import mirror, rounds
from crm_sync.hub.store import Store

CALL = 1_000
"""Records of a call: what HubSpot's batch read of associations takes."""


def refresh(store: Store, crm: Crm, stream: StreamSpec, now: datetime, *, all_read: bool) -> int:
    """Look at the records whose turn it is by `now`, the CRM's clock (UTC); returns how many had changed.

    all_read: a full read has just shown every reference."""
    every = crm.references_every
    if every is None or not any(spec.entity is not None for spec in stream.columns):
        return 0
    store.committed(partial(_begin, stream, now, every, all_read))
    changed = 0
    for _ in range(rounds.due(store.conn, stream, now, every, CALL)):
        ids = rounds.following(store.conn, stream, CALL)
        differ = _differing(store, crm, stream, ids) if ids else []
        pages = list(crm.by_ids(stream, differ)) if differ else []
        changed += store.committed(partial(_take_in, stream, pages, ids))
    return changed


def _take_in(stream: StreamSpec, pages: Sequence[BatchPage], ids: Sequence[str], conn: Connection) -> int:
    changed = sum(mirror.merge(conn, stream, page, looked_up=True).updated for page in pages)
    rounds.done(conn, stream, ids)
    return changed


def _begin(stream: StreamSpec, now: datetime, every: timedelta, all_read: bool, conn: Connection) -> None:
    if all_read:
        rounds.begin(conn, stream, now)
    elif rounds.is_over(conn, stream, now, every):
        rounds.begin(conn, stream, now, after=every)


def _differing(store: Store, crm: Crm, stream: StreamSpec, ids: list[str]) -> list[str]:
    told = crm.references(stream, ids)
    held = mirror.held(store.conn, stream, ids)
    return [
        crm_id
        for crm_id in ids
        if crm_id in held
        and any(crm_id in seen and seen[crm_id] != held[crm_id][name] for name, seen in told.items())
    ]
