"""Undo: which fields the selected rows of the journal touched, and the plan of putting them back.

    sync.change ── selection ──▶ undo_row (one a journal row) ──▶ undo_pick (one a field) ──▶ undo_plan (its fate)

Three temporary tables of the session, so that the memory stays flat. Rows of which undo takes nothing back stay behind in
undo_row with the reason, and are told. Links and new records are in `undo_records.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from psycopg import Connection
from psycopg.rows import class_row

from crm_sync.core.decide import OVERWRITTEN
from crm_sync.core.undo import Fate, Judged


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of the journal: of a run or of a period (UTC, since <= at < until), or both; entity, field and connection
    narrow it, empty means any."""

    run_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    entity: str = ""
    field: str = ""
    connection: str = ""

    def __str__(self) -> str:
        """As the journal says it in the reason of an undo."""
        parts = [f"run {self.run_id}"] if self.run_id else ["what was written"]
        parts += [f"since {self.since:%Y-%m-%dT%H:%M:%SZ}"] if self.since else []
        parts += [f"until {self.until:%Y-%m-%dT%H:%M:%SZ}"] if self.until else []
        parts += [part for part in (self.entity, self.field, self.connection) if part]
        return " ".join(parts)


REASONS: Mapping[str, str] = {
    "created_hub": "records created in the hub from {connection} stay",
    "created_crm": "records created in {connection} stay; --created deletes them there",
    "part": "belongs to a record that was created in the same selection",
    "link": "links with {connection} stay",
    "unlink": "what was pulled apart is not linked again: `crm-sync match` shows who is who",
    "unmade": "what an undo deleted is not put together again",
    "merged": "merges are not taken apart",
    "restored": "what came back is not taken away again: delete it where you want it gone",
    "overwritten": "outbound field: the hub would overwrite {connection} again",
    "first": "first agreement with {connection}: one side was blank, and undoing would blank the other",
    "unmapped": "the entity is not in the connection files any more",
    "other": "no field of a linked record",
}
"""Why a journal row is not taken back."""


@dataclass(frozen=True, slots=True)
class Left:
    """Journal rows that are not taken back, and why."""

    entity: str
    about: str
    number: int


@dataclass(frozen=True, slots=True)
class Total:
    """How many fields share a fate for the same reason."""

    fate: str
    about: str
    entity: str
    field: str
    number: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the plan. writes: by connection, {old, new, waits}."""

    entity: str
    hub_id: UUID
    field: str
    fate: str
    about: str
    detail: str
    old: str | None
    value: str | None
    writes: Mapping[str, Mapping[str, Any]]


def run_ids(conn: Connection, text: str) -> list[str]:
    """The runs whose id is, or begins with, this text; at most ten."""
    rows = conn.execute(
        "select run_id from (select run_id from sync.history where run_id = %(id)s union"
        " select run_id from (select run_id from sync.change where run_id = %(id)s limit 1) c union"
        " select run_id from sync.history where starts_with(run_id, %(id)s)) r order by run_id <> %(id)s, run_id limit 10",
        {"id": text},
    ).fetchall()
    found = [row[0] for row in rows]
    return found[:1] if text in found else found


def last_runs(conn: Connection, number: int) -> list[tuple[str, datetime]]:
    """The last runs that wrote to the hub or a CRM, newest first: id and time of the last write."""
    return conn.execute(
        "select run_id, max(at) from (select run_id, at from sync.change where run_id is not null"
        " order by id desc limit 10000) c group by run_id order by max(at) desc limit %s",
        [number],
    ).fetchall()


_ROWS = """
create temporary table undo_row as
select c.id, c.at, c.entity, c.hub_id, c.crm_id, c.connection, c.field, c.side, o.place,
    case when o.place is null then 'unmapped' when c.kind = 'create' then 'created_' || c.side
         when c.kind in ('link', 'unlink') then c.kind when c.kind = 'restore' then 'restored'
         when c.kind = 'delete' and starts_with(c.reason, 'merged into ') then 'merged'
         when c.kind in ('delete', 'archive') and (c.hub_id is null or c.crm_id is null) then 'other'
         when c.kind = 'delete' and c.side = 'crm' then 'removed'
         when c.kind = 'delete' and starts_with(c.reason, 'undo of ') then 'unmade'
         when c.kind in ('delete', 'archive') then case c.kind when 'delete' then 'deleted' else 'archived' end
         when c.kind <> 'update' or c.hub_id is null or c.field is null then 'other'
         when starts_with(c.reason, %(overwritten)s) then 'overwritten'
         when c.reason like 'first agreement%%' then 'first'
         when c.side = 'hub' and c.old_value is null and c.reason like 'force:%%' then 'first'
         when c.side = 'crm' and c.old_value is null and c.reason like 'outbound field%%' then 'first' end as leave
from sync.change c
left join unnest(%(entities)s::text[]) with ordinality as o (entity, place) on o.entity = c.entity
where (%(run_id)s::text is null or c.run_id = %(run_id)s)
    and (%(since)s::timestamptz is null or c.at >= %(since)s) and (%(until)s::timestamptz is null or c.at < %(until)s)
    and (%(entity)s = '' or c.entity = %(entity)s) and (%(connection)s = '' or c.connection = %(connection)s)
    and (%(field)s = '' or c.field = %(field)s)
"""

# A record that was created has no value from before; the rows that complete it are no changes of it, nor was it there
# before it was deleted.
_PARTS = """
update undo_row r set leave = 'part' from undo_row made
where made.leave in ('created_hub', 'created_crm') and made.entity = r.entity and made.hub_id = r.hub_id
    and made.side = r.side and (made.side = 'hub' or made.connection = r.connection)
    and (r.leave is null or r.leave in ('archived', 'deleted', 'removed') and r.id > made.id)
"""

# What a merge of two hub records filled in is nowhere else any more: neither it nor its first way into a CRM is taken back.
_FILLED = """
update undo_row r set leave = 'merged' from review.merge m, sync.change c
where m.status = 'applied' and m.decision = 'merge' and m.entity = r.entity and m.kept_id = r.hub_id
    and r.leave is null and c.id = r.id and c.old_value is null and exists (select from sync.change f
    where f.entity = r.entity and f.hub_id = r.hub_id and f.field = r.field and f.side = 'hub' and starts_with(f.reason, 'filled from ')
    and (f.id = r.id or f.id < r.id and r.side = 'crm' and not exists (select from sync.change x where x.entity = r.entity
        and x.hub_id = r.hub_id and x.field = r.field and x.id > f.id and x.id < r.id and (x.side = 'hub' or x.connection = r.connection))))
"""

_PICK = """
create temporary table undo_pick as
select row_number() over w as n, dense_rank() over (order by g.place, g.entity, g.hub_id) as record,
    g.entity, g.hub_id, g.field, f.side as first_side, f.connection as first_connection, f.old_value as first_old,
    l.side as last_side, l.connection as last_connection, l.new_value as last_new,
    g.last_hub is not null as hub_written, h.new_value as hub_new,
    g.first <> g.last and exists (select from sync.change x where x.entity = g.entity and x.hub_id = g.hub_id
        and x.id > g.first and x.id < g.last and x.field = g.field and x.side = 'hub'
        and not exists (select from undo_row u where u.id = x.id)) as interrupted
from (select entity, place, hub_id, field, min(id) as first, max(id) as last,
        max(id) filter (where side = 'hub') as last_hub
      from undo_row where leave is null group by entity, place, hub_id, field) g
join sync.change f on f.id = g.first join sync.change l on l.id = g.last left join sync.change h on h.id = g.last_hub
window w as (order by g.place, g.entity, g.hub_id, g.field)
"""


def collect(conn: Connection, selection: Selection, entities: Sequence[str]) -> int:
    """Collect the journal's rows; returns how many there are. `entities` in the order in which they are to be undone."""
    conn.execute("drop table if exists pg_temp.undo_row, pg_temp.undo_pick, pg_temp.undo_plan")
    number = conn.execute(
        _ROWS,
        {
            "overwritten": OVERWRITTEN,
            "entities": list(entities),
            "run_id": selection.run_id,
            "since": selection.since,
            "until": selection.until,
            "entity": selection.entity,
            "connection": selection.connection,
            "field": selection.field,
        },
    ).rowcount
    conn.execute("create index on undo_row (id)")
    conn.execute("create index on undo_row (hub_id)")
    conn.execute("analyze undo_row")
    conn.execute(_PARTS)
    conn.execute(_FILLED)
    return number


def pick(conn: Connection) -> None:
    """The fields that the rows touched, but for those that go with a whole record (`undo_records.py`)."""
    conn.execute(_PICK)
    conn.execute("create index on undo_pick (record)")
    conn.execute("analyze undo_pick")
    conn.execute(
        "create temporary table undo_plan (n bigint primary key, fate text not null, about text not null,"
        " detail text not null, old text, value text, writes jsonb not null)"
    )


def batches(conn: Connection, size: int, *, planned: bool = False) -> Iterator[tuple[str, int, int]]:
    """Entity, first and last record of batches of `size` records of one entity, in order. `planned`: only those
    with something to undo."""
    where = "where n in (select n from undo_plan where fate = 'undo')" if planned else ""
    spans = conn.execute(
        f"select entity, min(record), max(record) from undo_pick {where} group by entity order by min(record)"
    ).fetchall()
    for entity, first, last in spans:
        for start in range(first, last + 1, size):
            yield entity, start, min(start + size - 1, last)


def note(conn: Connection, judged: Sequence[Judged]) -> None:
    """Put the fates of a batch into the plan."""
    with conn.cursor() as cursor, cursor.copy("copy undo_plan from stdin") as copy:
        for j in judged:
            writes = {w.connection: {"old": w.old, "new": w.new, "waits": w.waits} for w in j.writes}
            copy.write_row(
                (j.touched.n, str(j.fate), j.about, j.detail, j.old, j.value, orjson.dumps(writes).decode())
            )


def renote(conn: Connection, judged: Sequence[Judged]) -> None:
    """Replace the fates of these fields."""
    if judged:
        conn.execute("delete from undo_plan where n = any(%s)", [[j.touched.n for j in judged]])
        note(conn, judged)


def promised(conn: Connection, first: int, last: int) -> dict[int, str | None]:
    """The values to which fields of these records are to go back, as the plan was shown; by number of the field."""
    rows = conn.execute(
        "select n, value from undo_plan join undo_pick using (n) where fate = 'undo' and record between %s and %s",
        [first, last],
    ).fetchall()
    return dict(rows)


def totals(conn: Connection) -> list[Total]:
    """The plan in figures."""
    with conn.cursor(row_factory=class_row(Total)) as cursor:
        return cursor.execute(
            "select fate, about, k.entity, k.field, count(*) as number from undo_plan p join undo_pick k using (n)"
            " group by 1, 2, 3, 4 order by min(n)"
        ).fetchall()


def by_system(conn: Connection) -> dict[str, int]:
    """How many values each system is going to get: `hub`, and each CRM."""
    rows = conn.execute(
        "select 'hub', count(*) from undo_plan where fate = %(undo)s having count(*) > 0 union all"
        " select * from (select key, count(*) from undo_plan cross join lateral jsonb_object_keys(writes) key"
        " where fate = %(undo)s group by key order by key) c",
        {"undo": str(Fate.UNDO)},
    ).fetchall()
    return dict(rows)


def rows(conn: Connection, fates: Sequence[Fate], limit: int) -> list[Row]:
    """The first lines of the plan with one of these fates."""
    with conn.cursor(row_factory=class_row(Row)) as cursor:
        return cursor.execute(
            "select entity, hub_id, field, fate, about, detail, old, value, writes"
            " from undo_plan join undo_pick using (n) where fate = any(%s) order by n limit %s",
            [[str(fate) for fate in fates], limit],
        ).fetchall()


def left(conn: Connection) -> list[Left]:
    """The journal rows that are not taken back, by reason."""
    found = conn.execute(
        "select entity, leave, case when leave in ('unmapped', 'other', 'part', 'unmade', 'merged', 'restored') then '' else connection end as c,"
        " count(*) from undo_row where leave <> 'record' group by 1, 2, 3 order by min(id)"
    ).fetchall()
    return [Left(entity, _why(reason, connection), number) for entity, reason, connection, number in found]


def _why(reason: str, connection: str) -> str:
    """A whole record has a reason of its own."""
    return REASONS[reason].format(connection=connection) if reason in REASONS else reason


def examples(conn: Connection, limit: int) -> list[tuple[str, UUID | None, str | None, str]]:
    """Some of the journal rows that are not taken back: entity, hub id, field, why."""
    found = conn.execute(
        "select entity, hub_id, field, leave, connection from undo_row where leave <> 'record' order by id limit %s",
        [limit],
    ).fetchall()
    return [(e, hub_id, name, _why(why, c)) for e, hub_id, name, why, c in found]
