"""Undo of links and of records that a CRM brought into the hub; the fields are undone by `undo.py`, after them."""

from collections.abc import Sequence

import psycopg

from crm_sync.core.spec import StreamSpec, System
from crm_sync.hub import undo_records, undo_records_now
from crm_sync.hub.store import Store
from crm_sync.steps.reasons import refused_by_hub

BATCH = 2_000


def apply(
    store: Store, system: System, entity: str, person: str, reason: str, *, batch: int = BATCH
) -> dict[str, int]:
    """Pull apart and delete what the plan says of an entity, as far as nothing forbids it by now; how many of each kind
    went through. Each batch is a transaction. The caller holds the leases of the entity and its streams."""
    done = {"link": 0, "created": 0}
    for stream in system.of_entity(entity):
        for kind in done:
            while ids := undo_records.some(store.conn, entity, stream.connection, kind, batch):
                with store.transaction() as conn:
                    undo_records_now.lock(conn, entity, ids)
                    undo_records.judge(conn, system, ids)
                    if kind == "link":
                        run = store.run_id or ""
                        done[kind] += undo_records_now.unlink(conn, stream, ids, person, run, reason)
                    else:
                        done[kind] += _delete(store, stream, ids, person, reason)
    return done


def _delete(store: Store, stream: StreamSpec, ids: Sequence[int], person: str, reason: str) -> int:
    """Delete at once; if a table of the user's refuses, halve until the record is alone."""
    try:
        with store.conn.transaction():
            return undo_records_now.delete(store.conn, stream, ids, person, store.run_id or "", reason)
    except (psycopg.IntegrityError, psycopg.errors.RaiseException) as error:
        if len(ids) == 1:
            undo_records_now.refuse(
                store.conn, ids, f"the hub refuses to delete it: {refused_by_hub(error, '').reason}"
            )
            return 0
    middle = len(ids) // 2
    return sum(_delete(store, stream, part, person, reason) for part in (ids[:middle], ids[middle:]))
