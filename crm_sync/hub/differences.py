"""The differences: one view per stream that lists each field whose now differs from its then.

The view is SQL a person can read and query. `read` fetches the differences of given records together with what
is needed to decide them: who changed our side and when, a person's decision if there is one, and the rules that persons made.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import args_row

from crm_sync.core.decide import LANDED_OR_TYPED, OVERWRITTEN
from crm_sync.core.difference import Difference
from crm_sync.core.spec import Direction, FieldSpec, FieldType, StreamSpec
from crm_sync.hub import aliases, doubts, frozen, rules
from crm_sync.hub.references_gone import crm_changed
from crm_sync.hub.sql import (
    alive,
    base_of,
    base_table,
    differences_view,
    hub_changed,
    hub_now,
    hub_table,
    ident,
    mirror_table,
    to_text,
)


def _row(stream: StreamSpec, spec: FieldSpec) -> sql.Composed:
    """One branch of the view: the four values of a field as text, and what changed, if anything differs."""
    now = hub_now(spec)
    then = ident("b", f"{spec.name}_hub")
    crm, crm_then = ident("m", spec.name), ident("b", f"{spec.name}_crm")
    return sql.SQL(
        "select {}::text as field, {} as hub_now, {} as hub_then, {} as crm_now, {} as crm_then,"
        " {changed} as hub_changed, {theirs} as crm_changed, {agreed} as agreed"
        " where {changed} or {theirs} or not {agreed}"
    ).format(
        sql.Literal(spec.name),
        to_text(spec, now),
        to_text(spec, then),
        crm,
        crm_then,
        changed=hub_changed(spec),
        theirs=crm_changed(stream, spec),
        agreed=ident("b", f"{spec.name}_agreed"),
    )


def create_view(stream: StreamSpec) -> sql.Composed:
    """DDL of `<connection>.<entity>_differences`. Frozen fields are left out: see frozen.py."""
    return sql.SQL(
        "create or replace view {view} as\n"
        "select b.hub_id, b.crm_id, h.xmin::text as hub_version, m.modified_at as crm_at, d.*\n"
        "from {base} b join {hub} h on h.id = b.hub_id and h.archived_at is null"
        " join {mirror} m on m.crm_id = b.crm_id and {alive}\n"
        "cross join lateral (\n{rows}\n) as d\n"
        "where d.field <> all (array(select f.field from sync.frozen f"
        " where f.connection = {connection} and f.entity = {entity}))"
    ).format(
        connection=sql.Literal(stream.connection),
        entity=sql.Literal(stream.entity),
        view=differences_view(stream),
        base=base_table(stream),
        hub=hub_table(stream.entity),
        mirror=mirror_table(stream),
        alive=alive("m"),
        rows=sql.SQL("\nunion all ").join(_row(stream, spec) for spec in stream.fields),
    )


def read(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> list[Difference]:
    """Differences of these records, ordered by record; references translated through the links.

    A reference whose target is not linked on this connection, or is gone from the hub, has no translation: it waits.
    Of values that are a conflict already, the CRM's time is the one of then: what we or others wrote since then into
    other fields of the record makes this one no newer; nor does it end the question who has written the value.

    Each record is looked up by its keys (`offset 0` and `limit 1` are fences to the planner), so that the cost follows
    the number of records. Left to itself the planner joins every hub row with every mirror row where it knows nothing
    of tables that were filled just now.
    """
    references = [
        spec for spec in stream.fields if spec.type is FieldType.REFERENCE and spec.entity is not None
    ]
    to_hub = _translated(references, lambda entity: _hub_id_of(stream, entity))
    to_crm = _translated(references, lambda entity: _crm_id_of(stream, entity))
    query = sql.SQL(
        "select d.hub_id, d.crm_id, d.hub_version, d.field, d.hub_now, d.hub_then, d.crm_now, d.crm_then,"
        " d.hub_changed, d.crm_changed, d.agreed,"
        " case when c.id is null then d.crm_at else c.crm_changed_at end as crm_at, {to_hub} as crm_as_hub, {to_crm} as hub_as_crm,"
        " coalesce(p.changed_at, r.changed_at) as hub_at, coalesce(p.changed_by, r.changed_by) as hub_by,"
        " (p.changed_at is not null) as hub_at_is_of_field,"
        " case when c.status = 'skipped' then 'skip' else c.decision end as decision, c.decided_by, c.id as conflict,"
        " o.overwrites, o.made_by_crm, {landed} as landed,"
        " d.crm_changed and ({sent} or coalesce(c.reason = {unclear}, false)) as maybe_landed"
        " from unnest(%s::uuid[]) i (hub_id)"
        " cross join lateral (select v.* from {view} v where v.hub_id = i.hub_id offset 0) d"
        " cross join lateral ({overwrites}) o"
        " left join lateral (select v.changed_at, v.changed_by from sync.provenance v where v.entity = {entity}"
        " and v.hub_id = d.hub_id and v.field = d.field limit 1) p on true"
        " left join lateral (select v.changed_at, v.changed_by from sync.provenance v where v.entity = {entity}"
        " and v.hub_id = d.hub_id and v.field = '*' limit 1) r on true"
        " left join lateral (select v.id, v.status, v.decision, v.decided_by, v.crm_changed_at, v.reason from review.conflict v"
        " where v.connection = {connection} and v.entity = {entity} and v.hub_id = d.hub_id and v.field = d.field"
        " and v.status in ('open', 'decided', 'skipped')"
        " and v.hub_value is not distinct from d.hub_now and v.crm_value is not distinct from d.crm_now limit 1) c on true"
        " order by d.hub_id"
    ).format(
        to_hub=to_hub,
        to_crm=to_crm,
        view=differences_view(stream),
        overwrites=_overwrites(stream),
        landed=doubts.landed(stream),
        sent=doubts.sent(stream),
        unclear=sql.Literal(LANDED_OR_TYPED),
        entity=sql.Literal(stream.entity),
        connection=sql.Literal(stream.connection),
    )
    with conn.cursor(row_factory=args_row(Difference)) as cursor:
        found = doubts.alike(conn, stream, cursor.execute(query, [sorted(set(hub_ids))]).fetchall())
    held = rules.active(conn, stream.entity)
    if not held:
        return found
    return [
        replace(
            d,
            rules=held.get((stream.connection, d.field), ()),
            hub_rules=held.get((d.hub_by or "", d.field), ()),
        )
        for d in found
    ]


def _overwrites(stream: StreamSpec) -> sql.Composable:
    """Subquery: how often the CRM's changes of an outbound field were overwritten since the hub last changed it, and
    whether what the CRM says was among them and came back at once. The journal is asked for such changes only."""
    names = [spec.name for spec in stream.fields if spec.direction is Direction.OUTBOUND]
    if not names:
        return sql.SQL("select 0 as overwrites, false as made_by_crm")
    return sql.SQL(
        "select count(*) as overwrites, coalesce(bool_or(w.old_value is not distinct from d.crm_now"
        " and w.answer -> 'rewritten' ? d.field), false) as made_by_crm from sync.change w"
        " where d.field = any({names}) and d.agreed and d.crm_changed and not d.hub_changed"
        " and w.entity = {entity} and w.hub_id = d.hub_id and w.connection = {connection} and w.field = d.field"
        " and w.side = 'crm' and starts_with(w.reason, {reason}) and w.id > coalesce((select max(x.id) from sync.change x"
        " where x.entity = {entity} and x.hub_id = d.hub_id and x.connection = {connection} and x.field = d.field"
        " and x.side = 'crm' and not starts_with(x.reason, {reason})), 0)"
    ).format(
        names=sql.Literal(names),
        entity=sql.Literal(stream.entity),
        connection=sql.Literal(stream.connection),
        reason=sql.Literal(OVERWRITTEN),
    )


def differs(stream: StreamSpec, spec: FieldSpec) -> sql.Composable:
    """Condition over h, b and m (hub, base, mirror): the field is in the view, unless it is frozen."""
    return sql.SQL("({} or {} or not {})").format(
        hub_changed(spec), crm_changed(stream, spec), ident("b", f"{spec.name}_agreed")
    )


def linked(stream: StreamSpec) -> sql.Composed:
    """The tables b, h and m (base, hub, mirror) of given links, for a query with `is_whole`.

    Outer joins, though only whole rows are wanted: they can only begin with the links. Where nothing is known yet of
    tables that were filled just now, the planner takes hub rows that are not archived for few, and would otherwise begin
    with all of them and join each with every row of the mirror.
    """
    return sql.SQL(
        "{base} b left join {hub} h on h.id = b.hub_id left join {mirror} m on m.crm_id = b.crm_id"
    ).format(base=base_table(stream), hub=hub_table(stream.entity), mirror=mirror_table(stream))


def is_whole() -> sql.Composed:
    """Condition over h and m of `linked`: the record is in the view. A case: from anything else the planner concludes
    that inner joins will do."""
    return sql.SQL(
        "case when h.id is not null and h.archived_at is null and m.crm_id is not null then {} else false end"
    ).format(alive("m"))


def still(conn: Connection, stream: StreamSpec, hub_ids: Iterable[UUID]) -> set[UUID]:
    """Those of these records that differ now. As the view has it, without making a row of each field."""
    seen = frozen.fields(conn, stream)
    fields = [spec for spec in stream.fields if spec.name not in seen]
    if not fields:
        return set()
    rows = conn.execute(
        sql.SQL("select b.hub_id from {linked} where b.hub_id = any(%s) and {whole} and ({differs})").format(
            linked=linked(stream),
            whole=is_whole(),
            differs=sql.SQL(" or ").join(differs(stream, spec) for spec in fields),
        ),
        [list(hub_ids)],
    ).fetchall()
    return {row[0] for row in rows}


def _translated(references: Sequence[FieldSpec], lookup: Callable[[str], sql.Composable]) -> sql.Composable:
    """Expression: a reference on the other side's terms, looked up through the links of its entity."""
    if not references:
        return sql.SQL("null::text")
    cases = sql.SQL(" ").join(
        sql.SQL("when {} then {}").format(sql.Literal(spec.name), lookup(spec.entity or ""))
        for spec in references
    )
    return sql.SQL("case d.field {} end").format(cases)


def _hub_id_of(stream: StreamSpec, entity: str) -> sql.Composable:
    return aliases.target(stream, entity, ident("d", "crm_now"), sql.SQL("l.hub_id::text"))


def _crm_id_of(stream: StreamSpec, entity: str) -> sql.Composable:
    return sql.SQL(
        "(select l.crm_id from {} l join {} t on t.id = l.hub_id where l.hub_id = d.hub_now::uuid"
        " and not exists (select from {} m where m.crm_id = l.crm_id and m.deleted))"
    ).format(base_of(stream, entity), hub_table(entity), ident(stream.connection, entity))
