"""The part of `crm-sync check` about what changed in a CRM's objects since they were last synced."""

from collections.abc import Sequence
from datetime import UTC, datetime

from psycopg import Connection

from crm_sync.commands import console
from crm_sync.connectors.crm import Crm
from crm_sync.core import drift
from crm_sync.core.drift_words import words
from crm_sync.core.errors import CrmError, SyncError
from crm_sync.core.looks import looks
from crm_sync.core.spec import ConnectionSpec, StreamSpec
from crm_sync.hub import schema
from crm_sync.hub.drifted import Drifted, drifted, place_of
from crm_sync.hub.store import Store
from crm_sync.steps.person import person


def changed(url: str, crm: Crm | None, connection: ConnectionSpec) -> list[Drifted]:
    """What the journal has open about the connection, and what the CRM (if it can be asked) shows beyond that, which the
    next sync will note. Nothing is written."""
    connections = {connection.name: connection}
    with Store(url) as store:
        rows = drifted(store.conn, connections, connection.streams)
        for stream in connection.streams if crm is not None else ():
            rows += _since(store.conn, crm, stream, connection, rows) if crm is not None else []
    return rows


def acknowledge(url: str, ids: Sequence[int]) -> None:
    """Note that a person has seen these changes. Raises SyncError if one of them is not open; then none is noted."""
    with Store(url) as store, store.transaction() as conn:
        missing = sorted(set(ids) - schema.acknowledge(conn, ids, person()))
        if missing:
            raise SyncError(f"no open change has the id {', '.join(map(str, missing))}; see `crm-sync check`")
    console.out.print(f"acknowledged: {', '.join(map(str, sorted(set(ids))))}; the next sync goes by it")


def show(rows: Sequence[Drifted]) -> None:
    """Print the changes, oldest first."""
    for row in rows:
        number = "new" if row.id is None else f"#{row.id}"
        mark = "✓" if not row.counts else "✗" if row.waits else "·"
        text = f"  {mark} {number} {row.entity}: {row.object}.{row.field} {row.what}, since {row.since:%Y-%m-%d %H:%M}."
        by = f" Acknowledged by {row.acknowledged_by}." if row.acknowledged_by else ""
        console.out.print(
            f"{text} What follows: {row.follows}. To do: {row.do}.{by}", markup=False, soft_wrap=True
        )


def _since(
    conn: Connection, crm: Crm, stream: StreamSpec, connection: ConnectionSpec, known: Sequence[Drifted]
) -> list[Drifted]:
    before = schema.expected(conn, stream)
    if before is None:
        return []
    try:
        info = crm.describe(stream.object)
    except CrmError:
        return []  # told by the check of the fields
    seen = {(row.entity, row.field, row.what) for row in known}
    rows = []
    for change in drift.changes(before, looks(info.fields, info.record_types, stream), stream):
        said = words(change, stream, place_of({connection.name: connection}, stream))
        if not any((stream.entity, change.field) == key[:2] and key[2].startswith(said.what) for key in seen):
            rows.append(
                Drifted(None, stream.connection, stream.entity, stream.object, change.field, said.what,
                        datetime.now(UTC), said.follows, said.do, change.held, change.fatal)
            )  # fmt: skip
    return rows
