"""The queue of records to look at, fed by the capture triggers and by inbound.

An entry is taken by reading it and removed by `settle`, which only removes the version that was read: whatever
is marked again meanwhile stays. Nothing is claimed or hidden; readers of one stream exclude each other by
`Store.exclusive`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import class_row

from crm_sync.core.spec import StreamSpec
from crm_sync.hub.sql import base_table, differences_view, hub_table, mirror_table


@dataclass(frozen=True, slots=True)
class Entry:
    """A marked record: which side marked it, its id there, the mark's version, and its link if it has one."""

    side: str
    record_id: str
    version: int
    hub_id: UUID | None
    crm_id: str | None


def chunks(
    conn: Connection, stream: StreamSpec, size: int, *, only: Sequence[UUID] | None = None
) -> Iterator[list[Entry]]:
    """The queue as it stands at the beginning, oldest first, in chunks; entries marked later wait for the next
    run. `only` limits it to these hub records."""
    top = conn.execute("select last_value from sync.dirty_version").fetchone()
    last, limit = 0, top[0] if top else 0
    query = sql.SQL(
        "select d.side, d.record_id, d.version,"
        " coalesce(bc.hub_id, bh.hub_id, case when d.side = 'hub' then d.record_id::uuid end) as hub_id,"
        " coalesce(bc.crm_id, bh.crm_id, case when d.side = 'crm' then d.record_id end) as crm_id"
        " from sync.dirty d"
        " left join {base} bc on d.side = 'crm' and bc.crm_id = d.record_id"
        " left join {base} bh on d.side = 'hub' and bh.hub_id = case when d.side = 'hub' then d.record_id::uuid end"
        " where d.connection = %(connection)s and d.entity = %(entity)s and d.version > %(last)s and d.version <= %(limit)s"
        " and (%(only)s::uuid[] is null or coalesce(bc.hub_id::text, d.record_id) = any(%(only)s::uuid[]::text[]))"
        " order by d.version limit %(size)s"
    ).format(base=base_table(stream))
    while True:
        with conn.cursor(row_factory=class_row(Entry)) as cursor:
            entries = cursor.execute(
                query,
                {
                    "connection": stream.connection,
                    "entity": stream.entity,
                    "last": last,
                    "limit": limit,
                    "size": size,
                    "only": None if only is None else list(only),
                },
            ).fetchall()
        if not entries:
            return
        last = entries[-1].version
        yield entries


def settle(conn: Connection, stream: StreamSpec, entries: Iterable[Entry]) -> None:
    """Remove entries whose version is still the one that was read."""
    done = list(entries)
    conn.execute(
        "delete from sync.dirty d using unnest(%s::text[], %s::text[], %s::bigint[]) as e (side, record_id, version)"
        " where d.connection = %s and d.entity = %s and d.side = e.side and d.record_id = e.record_id"
        " and d.version = e.version",
        [
            [e.side for e in done],
            [e.record_id for e in done],
            [e.version for e in done],
            stream.connection,
            stream.entity,
        ],
    )


def mark_hub(conn: Connection, stream: StreamSpec, hub_ids: Iterable[UUID]) -> None:
    """Ask for these hub records to be looked at again on this stream."""
    conn.execute(
        "insert into sync.dirty (connection, entity, side, record_id)"
        " select %s, %s, 'hub', id from unnest(%s::text[]) id order by id"
        " on conflict (connection, entity, side, record_id)"
        " do update set version = excluded.version, marked_at = excluded.marked_at",
        [stream.connection, stream.entity, sorted({str(hub_id) for hub_id in hub_ids})],
    )


def mark_differing(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> None:
    """Ask for those of these records to be looked at again that still differ, disputes in review apart."""
    rows = conn.execute(
        sql.SQL(
            "select distinct d.hub_id from {} d where d.hub_id = any(%s) and not exists (select from review.conflict c"
            " where c.connection = %s and c.entity = %s and c.hub_id = d.hub_id and c.field = d.field"
            " and c.status in ('open', 'skipped')"
            " and c.hub_value is not distinct from d.hub_now and c.crm_value is not distinct from d.crm_now)"
        ).format(differences_view(stream)),
        [list(hub_ids), stream.connection, stream.entity],
    ).fetchall()
    mark_hub(conn, stream, [row[0] for row in rows])


def mark_all(conn: Connection, stream: StreamSpec) -> int:
    """Ask for every linked record and every unlinked one to be looked at again: the scheduled reconcile."""
    cursor = conn.execute(
        sql.SQL(
            "insert into sync.dirty (connection, entity, side, record_id)"
            " select distinct {connection}, {entity}, 'hub', d.hub_id::text from {view} d"
            " union all select {connection}, {entity}, 'crm', m.crm_id from {mirror} m"
            " where not m.deleted and not exists (select from {base} b where b.crm_id = m.crm_id)"
            " union all select {connection}, {entity}, 'hub', h.id::text from {hub} h"
            " where not exists (select from {base} b where b.hub_id = h.id)"
            " on conflict do nothing"
        ).format(
            connection=sql.Literal(stream.connection),
            entity=sql.Literal(stream.entity),
            view=differences_view(stream),
            mirror=mirror_table(stream),
            base=base_table(stream),
            hub=hub_table(stream.entity),
        )
    )
    return cursor.rowcount


@dataclass(frozen=True, slots=True)
class Marked:
    """What waits in the queue of one stream because the hub changed: the newest mark's version."""

    connection: str
    entity: str
    newest: int


def marked_by_hub(conn: Connection, *, quiet: timedelta) -> list[Marked]:
    """The streams with hub records to look at that were marked more than `quiet` ago, by name."""
    with conn.cursor(row_factory=class_row(Marked)) as cursor:
        return cursor.execute(
            "select connection, entity, max(version) as newest from sync.dirty"
            " where side = 'hub' and marked_at < clock_timestamp() - %s::interval"
            " group by connection, entity order by connection, entity",
            [quiet],
        ).fetchall()


def count(conn: Connection, stream: StreamSpec) -> int:
    row = conn.execute(
        "select count(*) from sync.dirty where connection = %s and entity = %s",
        [stream.connection, stream.entity],
    ).fetchone()
    return row[0] if row else 0
