"""Watermarks and the vendor's long-running jobs: where reading stands, per stream."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from crm_sync.core.spec import StreamSpec
from crm_sync.hub import doubts
from crm_sync.hub.store import Store


def position(store: Store, stream: StreamSpec) -> datetime | None:
    """Everything modified before this moment of the vendor's clock has been read; None before the first sync."""
    row = store.conn.execute(
        "select position from sync.watermark where connection = %s and entity = %s",
        [stream.connection, stream.entity],
    ).fetchone()
    return row[0] if row else None


def positions(conn: Connection, connection: str) -> dict[str, datetime]:
    """The watermarks of a connection by entity, of the streams that have one."""
    rows = conn.execute(
        "select entity, position from sync.watermark where connection = %s", [connection]
    ).fetchall()
    return dict(rows)


def deletions_seen(store: Store, stream: StreamSpec) -> datetime | None:
    """Up to when the vendor's separate list of deletions has been read; None if never."""
    row = store.conn.execute(
        "select deletions_at from sync.watermark where connection = %s and entity = %s",
        [stream.connection, stream.entity],
    ).fetchone()
    return row[0] if row else None


def advance(
    store: Store, stream: StreamSpec, to: datetime, *, full: bool, deletions: datetime | None = None
) -> None:
    """Move the watermark forward (never back); `deletions` is up to when deletions were read, if they were. What may have
    landed before it was seen, or has not (`doubts.py`)."""
    doubts.over(store.conn, stream, to)
    store.conn.execute(
        "insert into sync.watermark as w (connection, entity, position, full_at, deletions_at)"
        " values (%s, %s, %s, %s, %s) on conflict (connection, entity) do update set"
        " position = greatest(w.position, excluded.position), full_at = coalesce(excluded.full_at, w.full_at),"
        " deletions_at = coalesce(excluded.deletions_at, w.deletions_at), moved_at = clock_timestamp()",
        [stream.connection, stream.entity, to, to if full else None, deletions],
    )


class Job:
    """The state of a vendor's job in `sync.job`: implements `connectors.crm.JobLog`. Durable when `save` returns.

    `save` and `clear` raise LostLeaseError in a run that another one has replaced."""

    def __init__(self, store: Store, stream: StreamSpec, direction: str) -> None:
        self._store = store
        self._key = [stream.connection, stream.entity, direction]

    def load(self) -> Mapping[str, Any] | None:
        row = self._store.conn.execute(
            "select state from sync.job where connection = %s and entity = %s and direction = %s", self._key
        ).fetchone()
        return row[0] if row else None

    def save(self, state: Mapping[str, Any]) -> None:
        self._store.committed(
            lambda conn: conn.execute(
                "insert into sync.job (connection, entity, direction, state) values (%s, %s, %s, %s)"
                " on conflict (connection, entity, direction) do update set state = excluded.state, saved_at = clock_timestamp()",
                [*self._key, Jsonb(dict(state))],
            )
        )

    def clear(self) -> None:
        with self._store.transaction() as conn:
            conn.execute(
                "delete from sync.job where connection = %s and entity = %s and direction = %s", self._key
            )
