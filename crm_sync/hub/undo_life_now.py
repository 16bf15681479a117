"""Undo of deletions: bringing hub records back that `undo_life.py` has found, in the caller's transaction.

A deleted row is in the journal as it was. What refers to a row that is not there (yet) is noted in `sync.let_go`, from which
the hub's own triggers set it as soon as its target is back: in this undo, or by whoever brings it back later.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.deletes import PRESENCE
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from crm_sync.hub.columns import of_returning
from crm_sync.hub.sql import base_table, hub_table, ident


def unarchive(
    conn: Connection,
    streams: Sequence[StreamSpec],
    stream: StreamSpec,
    ids: Sequence[int],
    run_id: str,
    reason: str,
) -> int:
    """Take these hub records out of the archive, as far as their fate still is to be undone; returns how many."""
    _prepare(conn)
    conn.execute(
        sql.SQL(
            "with back as (update {} h set archived_at = null from undo_record r where r.id = any(%s) and r.fate = 'undo'"
            " and h.id = r.hub_id and h.archived_at is not null returning h.id, r.crm_id)"
            " insert into undo_back select id, crm_id from back"
        ).format(hub_table(stream.entity)),
        [list(ids)],
    )
    return _note(conn, streams, stream, ids, run_id, reason)


def insert(
    conn: Connection,
    streams: Sequence[StreamSpec],
    stream: StreamSpec,
    fields: Mapping[str, FieldSpec],
    ids: Sequence[int],
    run_id: str,
    reason: str,
) -> int:
    """Insert these hub records again, likewise. Raises psycopg.Error if the hub table refuses one."""
    hub = hub_table(stream.entity)
    _prepare(conn)
    conn.execute(
        "create temporary table undo_gone on commit drop as select r.id as change, r.hub_id, r.crm_id,"
        " c.old_value::jsonb as row from undo_record r join sync.change c on c.id = r.id"
        " where r.id = any(%s) and r.fate = 'undo'",
        [list(ids)],
    )
    for spec in fields.values():
        if spec.type is FieldType.REFERENCE and spec.entity is not None:
            _refer(conn, streams, stream, spec)
    columns = of_returning(
        conn, stream.entity, hub_id=ident("g", "hub_id"), row=ident("g", "row"), typed="p", instead={}
    )
    conn.execute(
        sql.SQL(
            "with back as (insert into {hub} ({names}) select {values} from undo_gone g"
            " cross join lateral jsonb_populate_record(null::{hub}, g.row) p order by g.hub_id on conflict (id) do nothing"
            " returning id) insert into undo_back select g.hub_id, g.crm_id from undo_gone g join back on back.id = g.hub_id"
        ).format(
            hub=hub,
            names=sql.SQL(", ").join(ident(name) for name, _ in columns),
            values=sql.SQL(", ").join(value for _, value in columns),
        )
    )
    return _note(conn, streams, stream, ids, run_id, reason)


def _prepare(conn: Connection) -> None:
    conn.execute("drop table if exists pg_temp.undo_gone, pg_temp.undo_back")
    conn.execute("create temporary table undo_back (hub_id uuid, crm_id text) on commit drop")


def _refer(conn: Connection, streams: Sequence[StreamSpec], stream: StreamSpec, spec: FieldSpec) -> None:
    """What the rows refer to. If its target was deleted right before it, the row did not refer to it any more when it was
    deleted: both sides last agreed on it, so the base knows."""
    name = spec.name
    told: list[sql.Composable] = [
        sql.SQL(
            "(select b.{ours} from {base} b where b.hub_id = g.hub_id and b.{agreed} and exists (select from undo_record d"
            " where d.kind = 'deleted' and d.entity = {target} and d.hub_id = b.{ours} and d.id < g.change))"
        ).format(
            ours=ident(f"{name}_hub"),
            agreed=ident(f"{name}_agreed"),
            base=base_table(other),
            target=sql.Literal(spec.entity),
        )
        for other in streams
        if any(field.name == name and field.computed is None for field in other.fields)
    ]
    conn.execute(
        sql.SQL(
            "update undo_gone g set row = jsonb_set(g.row, array[{name}], coalesce(to_jsonb(coalesce({told})), 'null'))"
            " where g.row ->> {name} is null"
        ).format(name=sql.Literal(name), told=sql.SQL(", ").join(told))
    )
    conn.execute(
        sql.SQL(
            "insert into sync.let_go (entity, hub_id, field, target) select {entity}, g.hub_id, {name}, (g.row ->> {name})::uuid"
            " from undo_gone g where g.row ->> {name} is not null and not exists (select from {target} t"
            " where t.id = (g.row ->> {name})::uuid)"
            " on conflict (hub_id, field, entity) do update set target = excluded.target, at = excluded.at"
        ).format(
            entity=sql.Literal(stream.entity), name=sql.Literal(name), target=hub_table(spec.entity or "")
        )
    )


def _note(
    conn: Connection,
    streams: Sequence[StreamSpec],
    stream: StreamSpec,
    ids: Sequence[int],
    run_id: str,
    reason: str,
) -> int:
    """The records in `undo_back` are in the hub again: journal, and what was agreed. A CRM that lost its record by somebody
    there stays without it, as `deletes: ignore` would have it; one from which we deleted it because of that decides by its policy."""
    conn.execute("analyze undo_back")
    for other in streams:
        conn.execute(
            sql.SQL(
                "update {} b set hub_state = 'present' from undo_back k where b.hub_id = k.hub_id and b.crm_state = 'deleted'"
                " and not exists (select from sync.change x where x.entity = {} and x.hub_id = b.hub_id and x.connection = {}"
                " and x.crm_id = b.crm_id and x.side = 'crm' and x.kind = 'delete' and exists (select from undo_record r"
                " where r.id = any(%s) and r.hub_id = x.hub_id and r.id < x.id))"
            ).format(base_table(other), sql.Literal(other.entity), sql.Literal(other.connection)),
            [list(ids)],
        )
    conn.execute(
        "update review.conflict c set status = 'superseded' from undo_back k where c.entity = %s and c.hub_id = k.hub_id"
        " and c.field = %s and c.status in ('open', 'decided', 'skipped')",
        [stream.entity, PRESENCE],
    )
    number = conn.execute(
        "insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, reason)"
        " select %s, %s, %s, hub_id, crm_id, 'hub', 'restore', %s from undo_back order by hub_id",
        [run_id, stream.connection, stream.entity, reason],
    ).rowcount
    conn.execute("update undo_record set fate = 'done' where id = any(%s) and fate = 'undo'", [list(ids)])
    return number


def to_send(conn: Connection, entity: str) -> list[UUID]:
    """Records that are back in the hub, which a CRM may have to create once more."""
    rows = conn.execute(
        "select distinct hub_id from undo_record where entity = %s and kind in ('archived', 'deleted') and fate = 'done'"
        " order by 1",
        [entity],
    ).fetchall()
    return [row[0] for row in rows]


def look_again(conn: Connection) -> list[int]:
    """What was to be created in a CRM once more."""
    return [
        row[0]
        for row in conn.execute(
            "select id from undo_record where kind = 'removed' and fate = 'undo'"
        ).fetchall()
    ]
