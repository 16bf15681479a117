"""Undo of links, of records that a CRM brought into the hub, and of deletions; the fields are undone by `undo.py`, after them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from psycopg import Connection

from crm_sync.core.spec import StreamSpec, System
from crm_sync.hub import undo_life_now, undo_records, undo_records_now
from crm_sync.hub.refusals import REFUSED
from crm_sync.hub.store import Store
from crm_sync.steps.reasons import refused_by_hub

_Way: TypeAlias = Callable[[Sequence[int], StreamSpec], int]

BATCH = 2_000

GOING = ("link", "created")
"""What is pulled apart or deleted: records that refer to others come first."""

COMING = ("archived", "deleted")
"""What comes back: records that others refer to come first."""


def apply(
    store: Store,
    system: System,
    entity: str,
    kinds: Sequence[str],
    person: str,
    reason: str,
    *,
    batch: int = BATCH,
) -> dict[str, int]:
    """Do what the plan says of an entity, as far as nothing forbids it by now; how many of each kind went through. Each
    batch is a transaction. The caller holds the leases of the entity and its streams."""
    done = dict.fromkeys(kinds, 0)
    run = store.run_id or ""
    streams = system.of_entity(entity)
    fields = system.hub_fields(entity)

    def once(ids: Sequence[int], way: _Way, stream: StreamSpec, conn: Connection) -> int:
        undo_records_now.lock(conn, entity, ids)
        undo_records.judge(conn, system, ids)
        return _all(store, stream, ids, way)

    for stream in streams:
        ways: dict[str, _Way] = {
            "link": lambda ids, s: undo_records_now.unlink(store.conn, s, ids, person, run, reason),
            "created": lambda ids, s: undo_records_now.delete(store.conn, s, ids, person, run, reason),
            "archived": lambda ids, s: undo_life_now.unarchive(store.conn, streams, s, ids, run, reason),
            "deleted": lambda ids, s: undo_life_now.insert(store.conn, streams, s, fields, ids, run, reason),
        }
        for kind in kinds:
            while ids := undo_records.some(store.conn, entity, stream.connection, kind, batch):
                done[kind] += store.committed(partial(once, ids, ways[kind], stream))
    return done


def _all(store: Store, stream: StreamSpec, ids: Sequence[int], way: _Way) -> int:
    """All at once; if a table of the user's refuses, halve until the record is alone."""
    try:
        with store.conn.transaction():
            return way(ids, stream)
    except REFUSED as error:
        if len(ids) == 1:
            undo_records_now.refuse(
                store.conn, ids, f"the hub refuses it: {refused_by_hub(error, '').reason}"
            )
            return 0
    middle = len(ids) // 2
    return sum(_all(store, stream, part, way) for part in (ids[:middle], ids[middle:]))
