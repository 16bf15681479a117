"""Being there: which linked records one side has deleted, archived or brought back since both last agreed.

The SQL reads, `core/life.py` decides. Merged records, converted leads, and those outside the mapping's filter, are left alone: whether
they are there is told elsewhere. What follows in the hub is in `life_take.py`, in a CRM in `life_sent.py`.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import dict_row

from crm_sync.core.decide import Verdict
from crm_sync.core.deletes import PRESENCE
from crm_sync.core.difference import Difference
from crm_sync.core.life import Presence, decide_all
from crm_sync.core.spec import Direction, FieldType, StreamSpec
from crm_sync.hub import frozen, rules
from crm_sync.hub.sql import base_table, hub_changed, hub_table, ident, mirror_table

HUB_NOW = sql.SQL(
    "case when h.id is null then 'deleted' when h.archived_at is not null then 'archived' else 'present' end"
)
"""Expression over h, a hub row or none."""

CRM_NOW = sql.SQL("case when m.deleted then 'deleted' else 'present' end")
"""Expression over m, a row of the mirror."""

CONCERNED = sql.SQL(
    "(m.crm_id is not null and m.merged_into is null and not m.outside and not m.lead_converted)"
)
"""Condition over m: whether the record is there is for this module to say."""


def moved() -> sql.Composed:
    """Condition over b, h and m (h and m may be missing): the record's being there is not what both agreed on."""
    return sql.SQL("({} and (b.hub_state <> {} or b.crm_state <> {}))").format(CONCERNED, HUB_NOW, CRM_NOW)


def verdicts(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> list[Verdict]:
    """What is to happen with those of these records whose being there has changed, in the order of their ids."""
    return list(decide_all(read(conn, stream, hub_ids), stream)) if hub_ids else []


def read(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> list[Presence]:
    """Those of these records whose being there is not what both sides agreed on, with what is needed to decide.

    A decision is about what the person could know: one about a record that was edited after the conflict was last brought
    up to date does not count. Hence the hub's time of an edited record is that of its last edit.
    """
    query = sql.SQL(
        "with moved as materialized (select b.hub_id, b.crm_id, coalesce(h.xmin::text, '') as hub_version,"
        " {hub_now} as hub_now, b.hub_state as hub_then, {crm_now} as crm_now, b.crm_state as crm_then,"
        " m.modified_at as crm_at, h.archived_at, {edited} as edited from {base} b"
        " join {mirror} m on m.crm_id = b.crm_id left join {hub} h on h.id = b.hub_id"
        " where b.hub_id = any(%(ids)s) and {moved})"
        " select v.*, n.hub_at, n.hub_by, c.id as conflict, c.decided_by, case when c.status = 'skipped' then 'skip'"
        " when v.edited and case v.crm_now when 'present' then v.crm_at is distinct from c.crm_changed_at"
        " else n.hub_at is distinct from c.hub_changed_at end then null else c.decision end as decision from moved v"
        " left join sync.tombstone t on v.hub_now = 'deleted' and t.entity = {entity} and t.hub_id = v.hub_id"
        " left join sync.provenance p on v.hub_now <> 'deleted' and p.entity = {entity} and p.hub_id = v.hub_id"
        " and p.field = 'archived_at'"
        " left join lateral (select l.changed_at, l.changed_by from sync.provenance l where v.edited"
        " and v.crm_now = 'deleted' and l.entity = {entity} and l.hub_id = v.hub_id"
        " order by l.changed_at desc, l.field limit 1) e on true"
        " cross join lateral (select coalesce(e.changed_at, t.deleted_at, p.changed_at, v.archived_at) as hub_at,"
        " coalesce(e.changed_by, t.deleted_by, p.changed_by) as hub_by) n"
        " left join review.conflict c on c.connection = {connection} and c.entity = {entity} and c.hub_id = v.hub_id"
        " and c.field = {field} and c.status in ('open', 'decided', 'skipped')"
        " and c.hub_value = v.hub_now and c.crm_value = v.crm_now order by v.hub_id"
    ).format(
        hub_now=HUB_NOW,
        crm_now=CRM_NOW,
        edited=_edited(conn, stream),
        base=base_table(stream),
        mirror=mirror_table(stream),
        hub=hub_table(stream.entity),
        moved=moved(),
        entity=sql.Literal(stream.entity),
        connection=sql.Literal(stream.connection),
        field=sql.Literal(PRESENCE),
    )
    with conn.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query, {"ids": list(hub_ids)}).fetchall()
    held = rules.active(conn, stream.entity).get((stream.connection, PRESENCE), ()) if found else ()
    return [
        Presence(
            Difference(
                row["hub_id"], row["crm_id"], row["hub_version"], PRESENCE, row["hub_now"], row["hub_then"],
                row["crm_now"], row["crm_then"], row["hub_now"] != row["hub_then"], row["crm_now"] != row["crm_then"],
                agreed=True, crm_at=row["crm_at"], hub_at=row["hub_at"], hub_by=row["hub_by"],
                hub_at_is_of_field=True, decision=row["decision"], decided_by=row["decided_by"],
                conflict=row["conflict"], rules=held,
            ),
            edited=row["edited"],
        )
        for row in found
    ]  # fmt: skip


def agree(
    conn: Connection, stream: StreamSpec, settled: Iterable[tuple[UUID, str | None, str | None]]
) -> None:
    """Note what both sides now agree on, or agree to leave apart: hub id, the hub's state, the CRM's."""
    rows = list(settled)
    if rows:
        conn.execute(
            sql.SQL(
                "update {} b set hub_state = v.hub, crm_state = v.crm"
                " from unnest(%s::uuid[], %s::text[], %s::text[]) as v (id, hub, crm) where b.hub_id = v.id"
            ).format(base_table(stream)),
            [list(column) for column in zip(*rows, strict=True)],
        )


def _edited(conn: Connection, stream: StreamSpec) -> sql.Composable:
    """Expression over h, b and m: the side that still has the record says what the other has not heard of. A reference
    that a CRM lets go of, because its target was deleted there, is nobody's edit. A record that is another hub record's too, by
    a merge about which a person is asked, is not the hub's alone to delete."""
    seen = frozen.fields(conn, stream)
    fields = [spec for spec in stream.columns if spec.name not in seen]
    ours = [hub_changed(spec) for spec in fields if spec.direction is not Direction.INBOUND]
    theirs: list[sql.Composable] = []
    for spec in fields:
        if spec.direction is Direction.OUTBOUND:
            continue
        changed = sql.SQL("{0} is distinct from {1}").format(
            ident("m", spec.name), ident("b", f"{spec.name}_crm")
        )
        if spec.type is FieldType.REFERENCE:
            changed = sql.SQL("({} and {} is not null)").format(changed, ident("m", spec.name))
        theirs.append(changed)
    theirs.append(
        sql.SQL(
            "exists (select from review.merge r where r.connection = {} and r.entity = {} and r.kept_id = b.hub_id"
            " and r.status in ('open', 'decided'))"
        ).format(sql.Literal(stream.connection), sql.Literal(stream.entity))
    )
    return sql.SQL("case when m.deleted and h.archived_at is null and h.id is not null then {} when m.deleted then false else {} end").format(
        _any(ours), _any(theirs)
    )  # fmt: skip


def _any(conditions: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL("({})").format(sql.SQL(" or ").join(conditions)) if conditions else sql.SQL("false")
