"""What the database knows of records that do not agree: the facts from which `core/parity.py` explains them.

All queries are about a batch of ids; nothing here reads more than the queue and the rows of the batch, but for the
records that only the hub has, which are told in one query.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import args_row

from crm_sync.core.parity import Record, Value
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from crm_sync.hub import aliases
from crm_sync.hub.parity_terms import any_off, crm_off, hub_off, mirror_off
from crm_sync.hub.sql import base_of, base_table, hub_now, hub_table, ident, mirror_table, to_text

BATCH = 5_000


def suspects(conn: Connection) -> Iterator[list[str]]:
    """The ids in `parity_suspect`, in batches."""
    last = ""
    while True:
        rows = conn.execute(
            'select crm_id from parity_suspect where crm_id > %s collate "C" order by crm_id limit %s',
            [last, BATCH],
        ).fetchall()
        if not rows:
            return
        yield [row[0] for row in rows]
        last = rows[-1][0]


def _literals(stream: StreamSpec) -> dict[str, sql.Composable]:
    return {
        "connection": sql.Literal(stream.connection),
        "entity": sql.Literal(stream.entity),
        "base": base_table(stream),
        "mirror": mirror_table(stream),
        "hub": hub_table(stream.entity),
        "stream": sql.SQL("(select id from sync.stream where connection = {} and entity = {})").format(
            sql.Literal(stream.connection), sql.Literal(stream.entity)
        ),
    }


def records(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> list[Record]:
    """What is known of each of these CRM ids."""
    query = sql.SQL(
        "select r.crm_id, b.hub_id, s.crm_id is not null, coalesce(s.deleted, false),"
        " coalesce(s.merged_into, m.merged_into), s.modified_at, m.crm_id is not null, coalesce(m.deleted, false),"
        " coalesce(m.outside, false), m.modified_at, h.id is not null, h.archived_at is not null,"
        " exists (select from sync.mark k where k.stream = {stream} and not k.by_hub and k.crm_id = r.crm_id)"
        " or exists (select from sync.mark k where k.stream = {stream} and k.by_hub and k.hub_id = b.hub_id),"
        " exists (select from sync.intent i where i.connection = {connection} and i.entity = {entity}"
        " and i.hub_id::text = coalesce(b.hub_id::text, lower(s.hub_id))),"
        " exists (select from sync.tombstone t where t.entity = {entity} and t.hub_id = b.hub_id),"
        " exists (select from sync.kept_out o where o.connection = {connection} and o.entity = {entity}"
        " and o.crm_id = r.crm_id and o.modified_at is not distinct from m.modified_at),"
        " (select string_agg(p.code || case p.field when '' then '' else ' (' || p.field || ')' end || ' ' || p.reason,"
        " '; ' order by p.id) from sync.parked p where p.connection = {connection} and p.entity = {entity}"
        " and (p.side, p.record_id) in (('crm', r.crm_id), ('hub', b.hub_id::text)))"
        ' from unnest(%s::text[]) as r (crm_id) left join parity_seen s on s.crm_id = r.crm_id collate "C"'
        ' left join {base} b on b.crm_id = r.crm_id collate "C" left join {mirror} m on m.crm_id = r.crm_id collate "C"'
        " left join {hub} h on h.id = b.hub_id order by r.crm_id"
    ).format(**_literals(stream))
    with conn.cursor(row_factory=args_row(Record)) as cursor:
        return cursor.execute(query, [list(crm_ids)]).fetchall()


def values(
    conn: Connection, stream: StreamSpec, fields: Sequence[FieldSpec], crm_ids: Sequence[str]
) -> list[Value]:
    """The fields of these records that do not agree, where the CRM has the record and the hub too."""
    if not fields:
        return []
    query = sql.SQL(
        "select d.*, c.id, c.status from parity_seen s join {base} b on b.crm_id = s.crm_id"
        " join {hub} h on h.id = b.hub_id left join {mirror} m on m.crm_id = s.crm_id"
        " cross join lateral ({rows}) as d"
        " left join review.conflict c on c.connection = {connection} and c.entity = {entity} and c.hub_id = b.hub_id"
        " and c.field = d.field and c.status in ('open', 'decided', 'skipped')"
        " and c.hub_value is not distinct from d.hub_now and c.crm_value is not distinct from d.crm_now"
        " where s.crm_id = any(%s) and not s.deleted and not coalesce(m.lead_converted, false)"
    ).format(rows=sql.SQL(" union all ").join(_row(stream, spec) for spec in fields), **_literals(stream))
    with conn.cursor(row_factory=args_row(Value)) as cursor:
        return cursor.execute(query, [list(crm_ids)]).fetchall()


def _row(stream: StreamSpec, spec: FieldSpec) -> sql.Composable:
    seen = ident("s", f"f_{spec.name}")
    crm_as_hub: sql.Composable = sql.SQL("null::text")
    hub_as_crm: sql.Composable = sql.SQL("null::text")
    if spec.type is FieldType.REFERENCE and spec.entity is not None:
        links = base_of(stream, spec.entity)
        crm_as_hub = aliases.target(stream, spec.entity, seen, sql.SQL("l.hub_id::text"))
        hub_as_crm = sql.SQL("(select l.crm_id from {} l where l.hub_id = {})").format(links, hub_now(spec))
    return sql.SQL(
        "select s.crm_id, {name}::text as field, {now}::text as hub_now, {then}::text, {seen} as crm_now,"
        " {mirror}, {crm_then}, {hub_off}, {crm_off}, {mirror_off}, {agreed}, {crm_as_hub}, {hub_as_crm} where {off}"
    ).format(
        name=sql.Literal(spec.name),
        now=to_text(spec, hub_now(spec)),
        then=to_text(spec, ident("b", f"{spec.name}_hub")),
        seen=seen,
        mirror=ident("m", spec.name),
        crm_then=ident("b", f"{spec.name}_crm"),
        hub_off=hub_off(spec),
        crm_off=crm_off(spec),
        mirror_off=mirror_off(spec),
        agreed=ident("b", f"{spec.name}_agreed"),
        crm_as_hub=crm_as_hub,
        hub_as_crm=hub_as_crm,
        off=any_off(spec),
    )


def only_in_hub(conn: Connection, stream: StreamSpec, most: int) -> list[tuple[str, str, int, list[UUID]]]:
    """Hub records without a link, by what the database knows of them: ('' | 'marked' | 'in doubt' | 'parked' | 'archived', the code
    it is parked with, how many, at most `most` of them)."""
    rows = conn.execute(
        sql.SQL(
            "select state, code, count(*), (array_agg(id order by id))[:%s] from (select h.id,"
            " case when h.archived_at is not null then 'archived' when i.hub_id is not null then 'in doubt' when p.code is not null then 'parked'"
            " when exists (select from sync.mark k where k.stream = {stream} and k.by_hub and k.hub_id = h.id)"
            " then 'marked' else '' end as state, coalesce(p.code, '') as code"
            " from {hub} h left join sync.intent i on i.connection = {connection} and i.entity = {entity}"
            " and i.hub_id = h.id left join (select record_id, min(code) as code from sync.parked"
            " where connection = {connection} and entity = {entity} and side = 'hub' group by 1) p"
            " on p.record_id = h.id::text where not exists (select from {base} b where b.hub_id = h.id)) u"
            " group by 1, 2 order by 1, 2"
        ).format(**_literals(stream)),
        [most],
    ).fetchall()
    return [tuple(row) for row in rows]


def doubles(conn: Connection, stream: StreamSpec, most: int) -> list[tuple[str, str, list[str]]]:
    """(what, hub id, CRM ids): live CRM records with the same external id, links of one record twice."""
    rows = conn.execute(
        sql.SQL(
            "select 'hub id', lower(hub_id), array_agg(crm_id order by crm_id) from parity_seen"
            " where not deleted and hub_id is not null group by 2 having count(*) > 1"
            " union all select 'link', hub_id::text, array_agg(crm_id) from {base} group by hub_id having count(*) > 1"
            " union all select 'link', min(hub_id::text), array[crm_id] from {base} group by crm_id having count(*) > 1"
            " order by 1, 2 limit %s"
        ).format(base=base_table(stream)),
        [most],
    ).fetchall()
    return [tuple(row) for row in rows]


def forget(conn: Connection, crm_ids: Sequence[str]) -> None:
    """The CRM does not have these records."""
    conn.execute("delete from parity_seen where crm_id = any(%s)", [list(crm_ids)])


def listed(conn: Connection, crm_ids: Sequence[str]) -> set[str]:
    """Those of these records that were read."""
    rows = conn.execute("select crm_id from parity_seen where crm_id = any(%s)", [list(crm_ids)])
    return {row[0] for row in rows}
