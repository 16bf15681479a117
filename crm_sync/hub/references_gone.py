"""References that a CRM lost because it deleted their target: nobody's edit, as in the hub (`sync.let_go`).

    the target is deleted     the blank is no change: the hub keeps its reference, and so do the other CRMs
    it is there again         taken out of the recycle bin, or created once more: the hub's reference is sent again

What both sides keep meanwhile is in the base: the hub its reference, the CRM none. They agree to differ, so that nothing
waits, and that a blank which outlasts its target's absence is not taken for an edit later.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from crm_sync.hub.sql import base_table, hub_table, ident, mirror_table


def crm_changed(stream: StreamSpec, spec: FieldSpec) -> sql.Composable:
    """Condition over b and m: the CRM's side of the field is not what it was when the sides last agreed."""
    changed = sql.SQL("{} is distinct from {}").format(ident("m", spec.name), ident("b", f"{spec.name}_crm"))
    if not _refers(spec):
        return changed
    return sql.SQL("({} and not {})").format(changed, _let_go(stream, spec))


def note(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> None:
    """Agree to differ about what these linked records lost in the CRM."""
    fields = [spec for spec in stream.fields if _refers(spec)]
    if not fields or not hub_ids:
        return
    conn.execute(
        sql.SQL(
            "update {base} b set {values} from {mirror} m"
            " where b.hub_id = any(%s) and m.crm_id = b.crm_id and not m.deleted and ({lost})"
        ).format(
            base=base_table(stream),
            mirror=mirror_table(stream),
            values=sql.SQL(", ").join(
                sql.SQL("{0} = case when not {1} then b.{0} end").format(
                    ident(f"{spec.name}_crm"), _let_go(stream, spec)
                )
                for spec in fields
            ),
            lost=sql.SQL(" or ").join(_let_go(stream, spec) for spec in fields),
        ),
        [list(hub_ids)],
    )


def back(conn: Connection, stream: StreamSpec, hub_ids: Iterable[UUID]) -> None:
    """The CRM has these records of the hub again: whatever refers to them, and has no such reference there, is sent anew.
    Where only the CRM fills a stream nothing is sent."""
    ids = sorted(set(hub_ids))
    if not ids:
        return
    for number, entity, field in _referring(conn, stream):
        conn.execute(
            sql.SQL(
                "with lost as (update {base} b set {crm} = null, {agreed} = false from {hub} h, {mirror} m"
                " where h.{field} = any(%s) and b.hub_id = h.id and b.{ours} = h.{field} and b.{agreed}"
                " and m.crm_id = b.crm_id and m.{field} is null returning b.hub_id)"
                " insert into sync.mark (stream, by_hub, hub_id) select %s, true, hub_id from lost"
            ).format(
                base=ident(stream.connection, f"{entity}_base"),
                hub=hub_table(entity),
                mirror=ident(stream.connection, entity),
                field=ident(field),
                ours=ident(f"{field}_hub"),
                crm=ident(f"{field}_crm"),
                agreed=ident(f"{field}_agreed"),
            ),
            [ids, number],
        )


def _refers(spec: FieldSpec) -> bool:
    return spec.type is FieldType.REFERENCE and spec.entity is not None and spec.computed is None


def _let_go(stream: StreamSpec, spec: FieldSpec) -> sql.Composed:
    """Condition over b and m: the CRM has no reference any more, and what it was to is deleted there. A record that was
    merged has not gone: what referred to it refers to who is left."""
    return sql.SQL(
        "({now} is null and {then} is not null and exists (select from {target} t where t.crm_id = {then}"
        " and t.deleted and t.merged_into is null))"
    ).format(
        now=ident("m", spec.name),
        then=ident("b", f"{spec.name}_crm"),
        target=ident(stream.connection, spec.entity or ""),
    )


def _referring(conn: Connection, stream: StreamSpec) -> list[tuple[int, str, str]]:
    """The streams of this connection with references to this one's entity: number, entity, field. The catalogue knows
    them: a reference has its foreign key in the hub, and its column in the base if the connection maps it."""
    return conn.execute(
        "select s.id, s.entity, a.attname from pg_constraint c join pg_class r on r.oid = c.conrelid"
        " join pg_namespace n on n.oid = r.relnamespace and n.nspname = 'hub'"
        " join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]"
        " join sync.stream s on s.entity = r.relname and s.connection = %s and s.direction <> 'inbound'"
        " join pg_attribute b on b.attrelid = to_regclass(format('%%I.%%I', s.connection, s.entity || '_base'))"
        " and b.attname = a.attname || '_crm' where c.contype = 'f' and cardinality(c.conkey) = 1"
        " and c.confrelid = to_regclass(%s) order by 1, 3",
        [stream.connection, hub_table(stream.entity).as_string(conn)],
    ).fetchall()
