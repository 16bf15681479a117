"""Frozen fields: what a CRM did not let us read for a while, because a permission or the field itself was gone.

What such a field says now nobody knows, so that nothing is taken from it, and nothing sent over what somebody may
have written there: the differences leave it out. When it can be read again, everything that was modified since it was
lost is read once more before it thaws. The other fields of the stream go on all the while.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from psycopg import Connection

from crm_sync.core.spec import StreamSpec
from crm_sync.hub import dirty


def fields(conn: Connection, stream: StreamSpec) -> Mapping[str, datetime | None]:
    """The frozen fields, each with the moment (UTC, the vendor's clock) from which everything modified has to be read
    again; None: everything there is."""
    rows = conn.execute(
        "select field, since from sync.frozen where connection = %s and entity = %s order by field",
        [stream.connection, stream.entity],
    ).fetchall()
    return dict(rows)


def freeze(conn: Connection, stream: StreamSpec, absent: Collection[str], since: datetime | None) -> None:
    """These fields were absent from records modified since that moment. A field that is frozen already stays so from
    the earlier moment."""
    if absent:
        conn.execute(
            "insert into sync.frozen as f (connection, entity, field, since) select %s, %s, name, %s"
            " from unnest(%s::text[]) name on conflict (connection, entity, field) do update"
            " set since = case when f.since is not null and excluded.since is not null"
            " then least(f.since, excluded.since) end",
            [stream.connection, stream.entity, since, sorted(absent)],
        )


def thaw(conn: Connection, stream: StreamSpec, names: Collection[str]) -> None:
    """These fields have been read again wherever they may have changed: what differs is looked at."""
    if names:
        conn.execute(
            "delete from sync.frozen where connection = %s and entity = %s and field = any(%s)",
            [stream.connection, stream.entity, list(names)],
        )
        dirty.mark_all(conn, stream)
