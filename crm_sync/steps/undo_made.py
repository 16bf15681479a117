"""Undo of records that were created in a CRM: they are deleted there, if nobody has touched them and a person asked for it.

    look at the records ─▶ judge (hub/undo_made.py) ─▶ intents ─▶ calls ─▶ record each answer

As with any deletion (`life_out.py`), but for the hub, which keeps its record: hub and CRM agree that only the hub has it, as
`deletes: ignore` would have it, so that no sync creates it once more.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from uuid import UUID

from psycopg import Connection

from crm_sync.connectors.crm import CRM_ID, Crm, Result
from crm_sync.core.errors import ErrorClass
from crm_sync.core.spec import FieldType, StreamSpec, System
from crm_sync.core.undo import Fate
from crm_sync.hub import intents, life_sent, mirror, undo_made, undo_records
from crm_sync.hub.intents import Intent
from crm_sync.hub.sql import hub_table
from crm_sync.hub.store import Store
from crm_sync.steps import identity
from crm_sync.steps.inbound import inbound
from crm_sync.steps.life_out import AT_ONCE, NoLog
from crm_sync.steps.options import Options, Report
from crm_sync.steps.sending import operations_of


def read_referring(store: Store, system: System, crm: Callable[[str], Crm]) -> None:
    """Read what is new in the streams whose records may refer to what is to be deleted: a mirror of an hour ago does not know
    who was added since. The caller holds no lease, for reading takes its own.

    Raises BusyError while a sync works on one of them, CrmError and HeldBackError as any reading does.
    """
    going = {stream.name for stream in system.streams if undo_made.crm_ids(store.conn, stream)}
    for stream in system.streams:
        targets = {spec.entity for spec in stream.fields if spec.type is FieldType.REFERENCE}
        if any(f"{stream.connection}/{entity}" in going for entity in targets):
            inbound(store, crm(stream.connection), stream, Options(dry_run=store.dry_run))


def look(store: Store, crm: Crm, stream: StreamSpec, crm_ids: Sequence[str]) -> None:
    """Bring the mirror up to date about these records. What a look by id does not show is not there any more."""
    identity.check(store, stream.connection, Options(), Report(), crm)
    seen: set[str] = set()
    absent: set[str] = set()
    for page in crm.by_ids(stream, crm_ids) if crm_ids else ():
        absent |= store.committed(partial(mirror.merge, stream=stream, page=page, looked_up=True)).absent
        seen |= {crm_id for crm_id in page.batch.column(CRM_ID).to_pylist() if crm_id}
    now = crm.now()

    def noted(conn: Connection) -> None:
        undo_made.clock(conn, stream, now)
        lost = [crm_id for crm_id in crm_ids if crm_id not in seen]
        undo_made.turn(conn, stream, lost, Fate.ALREADY, "gone already")
        if absent:
            about = f"{stream.connection} does not let us read all of it now"
            undo_made.turn(conn, stream, crm_ids, Fate.LEFT, about)

    store.committed(noted)


def apply(store: Store, system: System, crm: Crm, stream: StreamSpec, reason: str) -> int:
    """Delete in the CRM what the plan says of a stream, as far as nothing forbids it by now; how many went through. The
    caller holds the leases of the entity and its streams.

    Raises CrmError if the CRM cannot be reached; what was answered until then is recorded.
    """
    done = 0
    while ids := undo_records.some(store.conn, stream.entity, stream.connection, "made", AT_ONCE):
        look(store, crm, stream, undo_made.crm_ids(store.conn, stream, ids))
        store.committed(partial(undo_records.judge, system=system, only=ids))
        planned = [
            life_sent.intent(hub_id, crm_id, state, reason)
            for hub_id, crm_id, state in undo_made.chosen(store.conn, ids, hub_table(stream.entity))
        ]
        if not planned:
            continue
        store.committed(partial(_intend, stream, planned, store.run_id))
        by_key = {str(i.hub_id): i for i in planned}
        answers = crm.write(stream, operations_of(stream, planned), NoLog(), batch_size=None)
        for results in store.fenced(answers):
            told = [r for r in results if r.key in by_key]
            done += store.committed(partial(_record, stream, by_key, told, store.run_id))
        silent = [i.crm_id or "" for i in planned]
        why = f"a write to {stream.connection} has no answer yet: sync, then undo again"
        store.committed(partial(undo_made.turn, stream=stream, ids=silent, fate=Fate.LEFT, about=why))
    return done


def _intend(stream: StreamSpec, planned: Sequence[Intent], run_id: str | None, conn: Connection) -> None:
    intents.note(conn, stream, planned, run_id)


def _record(
    stream: StreamSpec,
    by_key: Mapping[str, Intent],
    results: Sequence[Result],
    run_id: str | None,
    conn: Connection,
) -> int:
    """What was deleted is confirmed, what was refused stays, with the reason; how many were deleted. What may have been done
    keeps its intent, and is looked up by the next sync."""
    done: list[Intent] = []
    refused: list[UUID] = []
    reasons: dict[str, list[str]] = {}
    for r in results:
        intent = by_key[r.key]
        if r.ok or (r.error is not None and r.error.error_class is ErrorClass.GONE):
            done.append(intent)
        elif r.error is not None and r.error.error_class is not ErrorClass.UNKNOWN_OUTCOME:
            refused.append(intent.hub_id)
            about = f"{stream.connection} refuses to delete it: {r.error.message}"
            reasons.setdefault(about, []).append(intent.crm_id or "")
    undo_made.turn(conn, stream, [i.crm_id or "" for i in done], "done", "")
    for about, crm_ids in reasons.items():
        undo_made.turn(conn, stream, crm_ids, Fate.LEFT, about)
    intents.forget(conn, stream, refused)
    life_sent.confirm(conn, stream, done, "by this call", run_id)
    return len(done)
