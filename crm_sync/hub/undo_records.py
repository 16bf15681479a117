"""Undo of whole records: which, and what forbids it. Links that are pulled apart, and hub records that a CRM brought and
that are deleted; records that come back are in `undo_life.py`, those that were created in a CRM in `undo_made.py`.

The temporary table `undo_record` has one row for each such row of the journal that was selected (`undo.py`), with its
fate. All of it is sets: conditions are updates of that table, one for each reason. How it is done: `undo_records_now.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import class_row

from crm_sync.core.spec import StreamSpec, System
from crm_sync.core.undo import Fate
from crm_sync.hub import undo_life, undo_made, undo_own
from crm_sync.hub.sql import base_table, hub_table, ident, mirror_table


@dataclass(frozen=True, slots=True)
class RecordTotal:
    """How many records share a fate for the same reason. kind: a `link`; a record that was `created` in the hub, or
    `made` in a CRM; that was `archived` or `deleted` in the hub, or `removed` from a CRM."""

    kind: str
    fate: str
    about: str
    entity: str
    connection: str
    number: int


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One record of the plan."""

    kind: str
    entity: str
    hub_id: UUID
    connection: str
    crm_id: str
    fate: str
    about: str


def collect(conn: Connection, *, made: bool) -> None:
    """The records among the rows of `undo_row`; `made`: also those that were created in a CRM."""
    conn.execute("drop table if exists pg_temp.undo_record")
    conn.execute(
        "create temporary table undo_record as select id, at, entity, hub_id, connection, crm_id,"
        " case leave when 'created_hub' then 'created' when 'created_crm' then 'made' else leave end as kind,"
        " 'undo'::text as fate, ''::text as about, interval '0' as behind from undo_row where hub_id is not null and crm_id is not null"
        " and (leave in ('link', 'created_hub', 'archived', 'deleted', 'removed')"
        + (" or leave = 'created_crm')" if made else ")")
    )
    conn.execute("create index on undo_record (id)")
    conn.execute("create index on undo_record (hub_id)")
    conn.execute("create index on undo_record (crm_id)")
    conn.execute("analyze undo_record")


def judge(conn: Connection, system: System, only: Sequence[int] | None = None) -> None:
    """Turn the fate of what cannot be undone, with the reason; `only` these rows of the journal."""
    _turn(conn, only, Fate.LEFT, "the connection is not in the connection files any more", sql.SQL(
        "(r.connection, r.entity) not in (select * from unnest({}::text[], {}::text[]))").format(
            sql.Literal([s.connection for s in system.streams]), sql.Literal([s.entity for s in system.streams])))  # fmt: skip
    gone = not _kinds(conn, only).isdisjoint({"archived", "deleted"})
    for stream in system.streams:
        for fate, about, condition in [*_of_stream(stream), *(undo_life.of_gone(stream) if gone else ())]:
            _turn(conn, only, fate, about, sql.SQL("{} and {}").format(_is_of(stream), condition))
    kinds = _kinds(conn, only)
    for stream in (
        system.streams if "removed" in kinds else ()
    ):  # depends on what was said about the hub record
        for fate, about, condition in undo_life.of_removed(stream):
            _turn(conn, only, fate, about, sql.SQL("{} and {}").format(_is_of(stream), condition))
    if "made" in kinds:
        _judge_made(conn, system, only)
    if "created" not in kinds:
        return
    for entity in reversed(system.entities):  # what refers to others comes first, and may go with them
        for fate, about, condition in _of_created(conn, system, entity):
            mine = sql.SQL("r.kind = 'created' and r.entity = {}").format(sql.Literal(entity))
            _turn(conn, only, fate, about, sql.SQL("{} and {}").format(mine, condition))
        referring = _referring(conn, entity)
        while referring is not None and _turn(conn, only, Fate.LEFT, "other records refer to it", referring):
            pass  # one that stays may refer to others of the same entity


def _kinds(conn: Connection, only: Sequence[int] | None) -> set[str]:
    """What there still is to judge: most selections have no record of most kinds, and may have a million of one."""
    rows = conn.execute(
        "select distinct kind from undo_record where fate = 'undo' and (%(ids)s::bigint[] is null or id = any(%(ids)s))",
        {"ids": None if only is None else list(only)},
    ).fetchall()
    return {row[0] for row in rows}


def _judge_made(conn: Connection, system: System, only: Sequence[int] | None) -> None:
    """Those created in a CRM: what refers to others comes first here, too."""
    for entity in reversed(system.entities):
        for stream in system.of_entity(entity):
            for fate, about, condition in undo_made.conditions(conn, stream):
                _turn(conn, only, fate, about, sql.SQL("{} and {}").format(_is_of(stream), condition))
            others = f"other records in {stream.connection} refer to it"
            needed = undo_made.referring(system, stream)
            while needed is not None and _turn(
                conn, only, Fate.LEFT, others, sql.SQL("{} and {}").format(_is_of(stream), needed)
            ):
                pass  # one that stays may refer to others
    for stream in system.streams if only is None else ():
        said = undo_made.too_many(conn, stream)
        if said:
            made = sql.SQL("{} and r.kind = 'made'").format(_is_of(stream))
            _turn(conn, only, Fate.LEFT, said, made)


def _turn(
    conn: Connection, only: Sequence[int] | None, fate: Fate, about: str, condition: sql.Composable
) -> int:
    some = sql.SQL("true") if only is None else sql.SQL("r.id = any({})").format(sql.Literal(list(only)))
    return conn.execute(
        sql.SQL("update undo_record r set fate = {}, about = {} where r.fate = 'undo' and {} and {}").format(
            sql.Literal(str(fate)), sql.Literal(about), some, condition
        )
    ).rowcount


_Condition = tuple[Fate, str, sql.Composable]


def _is_of(stream: StreamSpec) -> sql.Composed:
    return sql.SQL("r.connection = {} and r.entity = {}").format(
        sql.Literal(stream.connection), sql.Literal(stream.entity)
    )


def _of_stream(stream: StreamSpec) -> list[_Condition]:
    """What speaks against pulling a record of this stream and its hub record apart."""
    name = stream.connection
    about = {
        "base": base_table(stream),
        "mirror": mirror_table(stream),
        "hub": hub_table(stream.entity),
    }
    linked = "exists (select from {base} b where b.hub_id = r.hub_id and b.crm_id = r.crm_id)"
    later = (
        "exists (select from sync.change x where x.entity = r.entity and x.hub_id = r.hub_id and x.id > r.id"
        " and x.connection = r.connection and x.kind = 'update' and not exists (select from undo_row u where u.id = x.id))"
    )
    in_doubt = (
        "exists (select from sync.intent i where i.connection = r.connection and i.entity = r.entity"
        " and i.hub_id = r.hub_id)"
    )
    named = "exists (select from {mirror} m where m.crm_id = r.crm_id and lower(m.hub_id) = r.hub_id::text)"
    conditions: list[tuple[Fate, str, str]] = [
        (Fate.ALREADY, "gone already", "r.kind = 'created' and not exists (select from {hub} h where h.id = r.hub_id)"),
        (Fate.LEFT, f"linked with another record of {name} by now", "r.kind = 'created' and not " + linked),
        (Fate.ALREADY, "not linked any more", "r.kind = 'link' and not " + linked),
        (
            Fate.LEFT,
            f"a write to {name} has no answer yet: sync, then undo again",
            in_doubt,
        ),
        (
            Fate.LEFT,
            f"the record in {name} carries the id of the hub record",
            "r.kind = 'link' and " + named,
        ),
        (Fate.EDITED, "values went from one to the other since", "r.kind = 'link' and " + later),
    ]  # fmt: skip
    return [(fate, why, sql.SQL(text).format(**about)) for fate, why, text in conditions]


def _of_created(conn: Connection, system: System, entity: str) -> list[_Condition]:
    """What speaks against deleting a hub record of this entity."""
    edited = (
        "(exists (select from sync.provenance v where v.entity = r.entity and v.hub_id = r.hub_id and v.changed_by = 'hub')"
        " or exists (select from sync.change x where x.entity = r.entity and x.hub_id = r.hub_id and x.id > r.id"
        " and x.side = 'hub' and x.kind = 'update' and not exists (select from undo_row u where u.id = x.id))"
        " or exists (select from {hub} h where h.id = r.hub_id and h.updated_at > (select greatest(h.created_at, max(u.at))"
        " from undo_row u where u.entity = r.entity and u.hub_id = r.hub_id and u.side = 'hub')))"
    )
    found: list[_Condition] = [
        (Fate.EDITED, "edited since in the hub", sql.SQL(edited).format(hub=hub_table(entity))),
        (Fate.EDITED, "edited since in the hub", undo_own.overtaken()),
        (Fate.LEFT, "another hub record was merged into it, or is to be (`crm-sync merges`)", sql.SQL(
            "exists (select from review.merge m where m.entity = r.entity and m.kept_id = r.hub_id and"
            " (m.status in ('open', 'decided') or m.status = 'applied' and m.decision = 'merge'))")),
    ]  # fmt: skip
    own = undo_own.has_values(conn, entity, system.hub_fields(entity))
    if own is not None:
        found.append((Fate.LEFT, "has values of your own", own))
    for stream in system.of_entity(entity):
        elsewhere = sql.SQL(
            "r.connection <> {name} and exists (select from {base} b where b.hub_id = r.hub_id) and not exists"
            " (select from undo_record l where (l.kind = 'link' and l.fate = 'undo' or l.kind = 'made' and l.fate in"
            " ('undo', 'done')) and l.entity = r.entity and l.hub_id = r.hub_id and l.connection = {name})"
        ).format(name=sql.Literal(stream.connection), base=base_table(stream))
        found.append((Fate.LEFT, f"{stream.connection} has it too", elsewhere))
    return found


def _referring(conn: Connection, entity: str) -> sql.Composable | None:
    """Condition: a row of any table refers to the hub record, and does not go itself. By the foreign keys there are, the
    user's own among them."""
    keys = conn.execute(
        "select n.nspname, t.relname, a.attname from pg_constraint c join pg_class t on t.oid = c.conrelid"
        " join pg_namespace n on n.oid = t.relnamespace join pg_attribute a on a.attrelid = t.oid and a.attnum = c.conkey[1]"
        " where c.contype = 'f' and c.confrelid = to_regclass(%s) and cardinality(c.conkey) = 1 and t.relispartition = false",
        [hub_table(entity).as_string(conn)],
    ).fetchall()
    parts = []
    for schema, table, column in keys:
        stays: sql.Composable = sql.SQL("")
        if schema == "hub":
            stays = sql.SQL(
                " and not exists (select from undo_record d where d.kind = 'created' and d.fate in ('undo', 'done')"
                " and d.entity = {} and d.hub_id = x.id)"
            ).format(sql.Literal(table))
        parts.append(
            sql.SQL("exists (select from {} x where x.{} = r.hub_id{})").format(
                ident(schema, table), ident(column), stays
            )
        )
    if not parts:
        return None
    return sql.SQL("r.kind = 'created' and r.entity = {} and ({})").format(
        sql.Literal(entity), sql.SQL(" or ").join(parts)
    )


def settle(conn: Connection) -> None:
    """Tell `undo_row` what becomes of records: their rows go with them, or are left for a reason. A first agreement
    with a record that is pulled apart, or was by an undo that broke off, can be taken back: no other side has the value."""
    conn.execute(
        "update undo_row u set leave = case when r.fate in ('undo', 'done', 'already so') then 'record' else r.about end"
        " from undo_record r where r.id = u.id"
    )
    conn.execute(
        "update undo_row u set leave = 'record' from undo_record r where r.kind = 'created' and r.fate = 'undo'"
        " and r.entity = u.entity and r.hub_id = u.hub_id and u.side = 'hub' and (u.leave is null or u.leave = 'part')"
    )
    conn.execute(
        "update undo_row u set leave = 'record' from undo_record r where r.kind = 'made' and r.fate in ('undo', 'done')"
        " and r.entity = u.entity and r.hub_id = u.hub_id and r.connection = u.connection and u.side = 'crm' and u.id > r.id"
    )
    conn.execute(
        "update undo_row u set leave = null from undo_record r where r.kind = 'link' and (r.fate = 'undo' or r.fate = 'already so'"
        " and (r.connection, r.entity, r.crm_id, r.hub_id) in (select connection, entity, crm_id, hub_id from sync.unlinked))"
        " and r.entity = u.entity and r.hub_id = u.hub_id and r.connection = u.connection and u.leave = 'first'"
        " and u.side = 'hub' and u.id > r.id"
    )


def any_of(conn: Connection, entity: str, kinds: Sequence[str]) -> bool:
    """Whether a record of the entity, of one of these kinds, is to be undone."""
    row = conn.execute(
        "select exists (select from undo_record where entity = %s and kind = any(%s) and fate = 'undo')",
        [entity, list(kinds)],
    ).fetchone()
    return bool(row and row[0])


def some(conn: Connection, entity: str, connection: str, kind: str, limit: int) -> list[int]:
    """Rows of the journal that are to be undone, in their order."""
    rows = conn.execute(
        "select id from undo_record where entity = %s and connection = %s and kind = %s and fate = 'undo'"
        " order by id limit %s",
        [entity, connection, kind, limit],
    ).fetchall()
    return [row[0] for row in rows]


def totals(conn: Connection) -> list[RecordTotal]:
    """The plan in figures."""
    with conn.cursor(row_factory=class_row(RecordTotal)) as cursor:
        return cursor.execute(
            "select kind, fate, about, entity, connection, count(*) as number from undo_record group by 1, 2, 3, 4, 5"
            " order by min(id)"
        ).fetchall()


def rows(conn: Connection, limit: int) -> list[RecordRow]:
    """The first records that are going to be undone."""
    with conn.cursor(row_factory=class_row(RecordRow)) as cursor:
        return cursor.execute(
            "select kind, entity, hub_id, connection, crm_id, fate, about from undo_record where fate = 'undo'"
            " order by id limit %s",
            [limit],
        ).fetchall()
