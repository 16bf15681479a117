"""Rounds through the linked records of a stream: how far one has come, and how much of it is due. Table sync.round."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from psycopg import Connection, sql

from crm_sync.core.spec import StreamSpec
from crm_sync.hub.sql import alive, base_table, mirror_table


def is_over(conn: Connection, stream: StreamSpec, now: datetime, every: timedelta) -> bool:
    """Whether it is time for a new round: there is none, or the last one has come to its end and its time."""
    row = conn.execute(
        "select looked >= linked and begun_at + %s <= %s from sync.round where connection = %s and entity = %s",
        [every, now, stream.connection, stream.entity],
    ).fetchone()
    return row is None or bool(row[0])


def begin(conn: Connection, stream: StreamSpec, now: datetime, after: timedelta | None = None) -> None:
    """Begin a round; this counts the links. after: it follows the last one at this distance, so that the pace is kept
    however late the runs are (None: it begins now)."""
    conn.execute(
        sql.SQL(
            "insert into sync.round as r (connection, entity, linked, begun_at)"
            " select %(connection)s, %(entity)s, count(*), %(now)s from {}"
            " on conflict (connection, entity) do update set linked = excluded.linked, looked = 0, after = '',"
            " begun_at = coalesce(greatest(r.begun_at + %(after)s, excluded.begun_at - %(after)s), excluded.begun_at)"
        ).format(base_table(stream)),
        {"connection": stream.connection, "entity": stream.entity, "now": now, "after": after},
    )


def due(conn: Connection, stream: StreamSpec, now: datetime, every: timedelta, call: int) -> int:
    """How many calls' worth of records are due: as much of the links as of the round's time has passed."""
    row = conn.execute(
        "select linked, looked, begun_at from sync.round where connection = %s and entity = %s",
        [stream.connection, stream.entity],
    ).fetchone()
    if row is None:
        return 0
    linked, looked, begun_at = int(row[0]), int(row[1]), row[2]
    share = min(max((now - begun_at) / every, 0.0), 1.0)
    open_ones = max(int(linked * share) - looked, 0)
    return -(-open_ones // call) if share >= 1 else open_ones // call


def following(conn: Connection, stream: StreamSpec, number: int) -> list[str]:
    """The next so many linked live records, by CRM id."""
    rows = conn.execute(
        sql.SQL(
            "select b.crm_id from {base} b join {mirror} m on m.crm_id = b.crm_id and {alive} where b.crm_id >"
            ' (select after from sync.round where connection = %s and entity = %s) collate "C" order by b.crm_id limit %s'
        ).format(base=base_table(stream), mirror=mirror_table(stream), alive=alive("m")),
        [stream.connection, stream.entity, number],
    ).fetchall()
    return [row[0] for row in rows]


def done(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> None:
    """These records were looked at; none: there are no more, and the round is at its end."""
    conn.execute(
        "update sync.round set looked = case when %s = 0 then linked else looked + %s end, after = coalesce(%s, after)"
        " where connection = %s and entity = %s",
        [len(crm_ids), len(crm_ids), max(crm_ids, default=None), stream.connection, stream.entity],
    )
