"""The queue of records to look at, fed by the capture triggers and by inbound.

A mark is a row of `sync.mark`: a stream, a record on one side, and a version that is never used twice. Marks are
only appended, so a record may be marked many times and marking never waits. Reading takes nothing away; `settle`
removes the very marks that were read, so whatever is marked again meanwhile stays. Readers of one stream exclude
each other by `Store.exclusive`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import class_row

from crm_sync.core.spec import StreamSpec
from crm_sync.hub import life
from crm_sync.hub.sql import alive, base_table, differences_view, hub_table, mirror_table


class Entry(NamedTuple):
    """A mark: the side that set it, its version, and the two ids of the record as far as they are known. A tuple,
    because a first load has a million of them."""

    side: str
    version: int
    hub_id: UUID | None
    crm_id: str | None

    @property
    def record_id(self) -> str:
        """The record's id on the side that marked it."""
        return str(self.hub_id) if self.side == "hub" else self.crm_id or ""


# Links are looked up by scalar subqueries: whatever the planner believes, that is one index probe a mark.
_MARKED = (
    "select case when m.by_hub then 'hub' else 'crm' end, m.version,"
    " case when m.by_hub then m.hub_id else (select b.hub_id from {base} b where b.crm_id = m.crm_id) end,"
    " case when m.by_hub then (select b.crm_id from {base} b where b.hub_id = m.hub_id) else m.crm_id end"
    " from sync.marks(%(stream)s, %(last)s, %(up_to)s, %(size)s) m order by m.version"
)
_LINKED = (
    "select * from (select 'hub', m.version, m.hub_id, (select b.crm_id from {base} b where b.hub_id = m.hub_id) as crm_id"
    " from sync.mark m where m.stream = %(stream)s and m.by_hub and m.version > %(last)s and m.version <= %(up_to)s"
    " union all select 'crm', m.version, (select b.hub_id from {base} b where b.crm_id = m.crm_id), m.crm_id"
    " from sync.mark m where m.stream = %(stream)s and not m.by_hub and m.version > %(last)s and m.version <= %(up_to)s) m"
    " where m.crm_id is not null order by m.version limit %(size)s"
)


def chunks(
    conn: Connection,
    stream: StreamSpec,
    size: int,
    *,
    only: Sequence[UUID] | None = None,
    up_to: int | None = None,
    linked: bool = False,
) -> Iterator[list[Entry]]:
    """The queue as it stands at the beginning, oldest first, in chunks of `size` marks; what is marked later, or after
    the version `up_to`, waits for the next run. `only` limits it to these hub records, and looks through the whole
    queue for them. `linked` leaves out hub records that have no link, without fetching them: they stay marked.

    A record that was marked twice comes twice, perhaps in two chunks.
    """
    top = conn.execute("select last_value from sync.dirty_version").fetchone()
    last, limit = 0, up_to if up_to is not None else top[0] if top else 0
    number = _number(conn, stream)
    query = sql.SQL(_LINKED if linked else _MARKED).format(base=base_table(stream))
    about = {"stream": number, "up_to": limit, "size": size}
    wanted = None if only is None else set(only)
    while True:
        rows = conn.execute(query, {**about, "last": last}).fetchall()
        if not rows:
            return
        last = rows[-1][1]
        entries = [entry for entry in map(Entry._make, rows) if wanted is None or entry.hub_id in wanted]
        if entries:
            yield entries


def settle(conn: Connection, stream: StreamSpec, entries: Iterable[Entry]) -> None:
    """Remove these marks, and no others of the same records."""
    versions: dict[str, list[int]] = {"hub": [], "crm": []}
    for entry in entries:
        versions[entry.side].append(entry.version)
    if versions["hub"] or versions["crm"]:
        conn.execute(
            "select sync.settle(%s, %s::bigint[], %s::bigint[])",
            [_number(conn, stream), versions["hub"], versions["crm"]],
        )


def mark_hub(conn: Connection, stream: StreamSpec, hub_ids: Iterable[UUID]) -> None:
    """Ask for these hub records to be looked at again on this stream."""
    ids = sorted(set(hub_ids))
    if ids:
        conn.execute(
            "insert into sync.mark (stream, by_hub, hub_id) select %s, true, unnest(%s::uuid[])",
            [_number(conn, stream), ids],
        )


def mark_differing(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> None:
    """Ask for those of these records to be looked at again that still differ, disputes in review apart."""
    rows = conn.execute(
        sql.SQL(
            "select distinct d.hub_id from unnest(%s::uuid[]) i (hub_id) cross join lateral (select v.* from {} v"
            " where v.hub_id = i.hub_id offset 0) d where not exists (select from review.conflict c"  # see differences.read
            " where c.connection = %s and c.entity = %s and c.hub_id = d.hub_id and c.field = d.field"
            " and c.status in ('open', 'skipped')"
            " and c.hub_value is not distinct from d.hub_now and c.crm_value is not distinct from d.crm_now)"
        ).format(differences_view(stream)),
        [list(hub_ids), stream.connection, stream.entity],
    ).fetchall()
    mark_hub(conn, stream, [row[0] for row in rows])


_PARKED = sql.SQL(
    "select p.side = 'hub', case p.side when 'hub' then p.record_id::uuid end,"
    " case p.side when 'crm' then p.record_id end from sync.parked p where p.connection = %s and p.entity = %s"
)


def mark_parked(conn: Connection, stream: StreamSpec) -> int:
    """Ask for every parked record of the stream to be tried again; returns how many."""
    return conn.execute(
        sql.SQL(
            "insert into sync.mark (stream, by_hub, hub_id, crm_id) select distinct %s::int, p.* from ({}) p"
        ).format(_PARKED),
        [_number(conn, stream), stream.connection, stream.entity],
    ).rowcount


def mark_all(conn: Connection, stream: StreamSpec) -> int:
    """Ask for every record that differs, is gone on one side, is parked or has no link to be looked at: the scheduled reconcile. Records
    that wait already are marked anew, once each; returns how many are marked."""
    cursor = conn.execute(
        sql.SQL(
            "with waited as (delete from sync.mark where stream = %s returning by_hub, hub_id, crm_id)"
            " insert into sync.mark (stream, by_hub, hub_id, crm_id)"
            " select %s, w.* from (select * from waited"
            " union select true, d.hub_id, null from {view} d"
            " union select true, b.hub_id, null from {base} b join {mirror} m on m.crm_id = b.crm_id"
            " left join {hub} h on h.id = b.hub_id where {gone}"
            " union select false, null, m.crm_id from {mirror} m"
            " where {alive} and not exists (select from {base} b where b.crm_id = m.crm_id)"
            " union select true, h.id, null from {hub} h"
            " where not exists (select from {base} b where b.hub_id = h.id)"
            " union {parked}) w"
        ).format(
            parked=_PARKED,
            gone=life.moved(),
            view=differences_view(stream),
            mirror=mirror_table(stream),
            alive=alive("m"),
            base=base_table(stream),
            hub=hub_table(stream.entity),
        ),
        [*[_number(conn, stream)] * 2, stream.connection, stream.entity],
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
            "select s.connection, s.entity, m.version as newest from sync.stream s cross join lateral ("
            " select version from sync.mark where stream = s.id and by_hub"
            " and marked_at < clock_timestamp() - %s::interval order by version desc limit 1) m"
            " order by s.connection, s.entity",
            [quiet],
        ).fetchall()


def count(conn: Connection, stream: StreamSpec) -> int:
    """How many records of the stream wait; looks at all its marks."""
    row = conn.execute(
        "select count(*) from (select distinct by_hub, hub_id, crm_id from sync.mark where stream = %s) m",
        [_number(conn, stream)],
    ).fetchone()
    return row[0] if row else 0


def unlinked(conn: Connection, stream: StreamSpec, only: Sequence[UUID] | None = None) -> int:
    """How many marked hub records (of these only, if given) have no link; looks at all marks."""
    row = conn.execute(
        sql.SQL(
            "select count(*) from (select distinct hub_id from sync.mark where stream = %s and by_hub) m"
            " where (select b.crm_id from {base} b where b.hub_id = m.hub_id) is null"
            " and (%s::uuid[] is null or m.hub_id = any(%s))"
        ).format(base=base_table(stream)),
        [_number(conn, stream), only, only],
    ).fetchone()
    return row[0] if row else 0


def _number(conn: Connection, stream: StreamSpec) -> int:
    """The stream's number in the queue."""
    row = conn.execute(
        "select id from sync.stream where connection = %s and entity = %s", [stream.connection, stream.entity]
    ).fetchone()
    if row is None:
        raise LookupError(f"{stream.name} is not registered in sync.stream")
    number: int = row[0]
    return number
