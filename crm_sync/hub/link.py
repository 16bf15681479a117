"""Links: which hub record and which CRM record are the same.

CRM records without a link are matched to hub records by the external id, then by the match rules in order; what
matches nothing becomes a new hub record. A link starts with nothing agreed: the differences then say, field by
field, who has what. Several hub candidates are never guessed between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from crm_sync.hub import wide
from crm_sync.hub.sql import base_table, from_text, hub_table, ident, match_key, mirror_table


@dataclass(slots=True)
class Linked:
    """CRM ids by what became of them."""

    matched: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    ambiguous: dict[str, str] = field(default_factory=dict)  # crm id -> what was ambiguous
    in_doubt: list[str] = field(default_factory=list)  # match a record whose create has no answer yet


def link(
    conn: Connection,
    stream: StreamSpec,
    columns: Mapping[str, Sequence[str | None]],
    run_id: str | None,
    *,
    create: bool,
) -> Linked:
    """Link the records in `columns` (as from `wide.read_mirror`, values already in the hub's terms). Without
    `create`, records that match nothing are left alone.

    Raises psycopg.IntegrityError or DataError if the hub table refuses a value.
    """
    wide.stage_text(conn, "unlinked", columns)
    conn.execute("alter table unlinked add column found uuid, add column candidates int not null default 0")
    linked = Linked()
    _by_external_id(conn, stream)
    for rule in stream.match:
        _by_rule(conn, stream, [stream.field(name) for name in rule])
    for crm_id, candidates in conn.execute(
        "select crm_id, candidates from unlinked where candidates > 1"
    ).fetchall():
        linked.ambiguous[crm_id] = f"{candidates} hub records match; none was chosen"
    linked.in_doubt = _set_aside_in_doubt(conn, stream)
    linked.matched = _link_found(conn, stream, run_id)
    if create:
        linked.created = _create(conn, stream, run_id)
    return linked


def _by_external_id(conn: Connection, stream: StreamSpec) -> None:
    conn.execute(
        sql.SQL(
            "update unlinked u set found = h.id from {hub} h where h.id::text = lower(u.hub_id)"
            " and not exists (select from {base} b where b.hub_id = h.id)"
            " and not exists (select from unlinked o where lower(o.hub_id) = lower(u.hub_id) and o.crm_id < u.crm_id)"
        ).format(hub=hub_table(stream.entity), base=base_table(stream))
    )


def _by_rule(conn: Connection, stream: StreamSpec, rule: Sequence[FieldSpec]) -> None:
    """Exact keys: one free hub record and one CRM record of this chunk on either side, or nothing."""
    keys = [
        (
            match_key(spec, ident("u", spec.name), typed=False),
            match_key(spec, ident("h", spec.name), typed=True),
        )
        for spec in rule
    ]
    matched = sql.SQL(" and ").join(sql.SQL("{} = {}").format(mine, theirs) for mine, theirs in keys)
    conn.execute(
        sql.SQL(
            "with pairs as (select u.crm_id, h.id from unlinked u join {hub} h on {matched}"
            " where u.found is null and u.candidates = 0"
            " and not exists (select from {base} b where b.hub_id = h.id)"
            " and not exists (select from unlinked o where o.found = h.id)),"
            " counted as (select crm_id, id, count(*) over (partition by crm_id) as hubs,"
            " row_number() over (partition by id order by crm_id) as place from pairs)"
            " update unlinked u set found = case when c.hubs = 1 then c.id end, candidates = c.hubs"
            " from counted c where c.crm_id = u.crm_id and (c.hubs > 1 or c.place = 1)"
        ).format(hub=hub_table(stream.entity), matched=matched, base=base_table(stream))
    )


def _set_aside_in_doubt(conn: Connection, stream: StreamSpec) -> list[str]:
    """A match by rule with a hub record that we may just have created in the CRM: which CRM record is ours, the
    outbound step finds out first. (The external id would have said so.)"""
    rows = conn.execute(
        "update unlinked u set found = null, candidates = -1 from sync.intent i"
        " where i.connection = %s and i.entity = %s and i.kind = 'create' and i.hub_id = u.found"
        " and lower(u.hub_id) is distinct from u.found::text returning u.crm_id",
        [stream.connection, stream.entity],
    ).fetchall()
    return [row[0] for row in rows]


def waiting_matches(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these hub records, which have no link, that match a CRM record that could not be linked yet
    (parked, ambiguous, or not looked at): to create them in the CRM would make a second one of the same."""
    found: set[UUID] = set()
    for rule in stream.match:
        specs = [stream.field(name) for name in rule]
        if any(spec.type is FieldType.REFERENCE for spec in specs):
            continue  # the mirror holds the CRM's ids
        matched = sql.SQL(" and ").join(
            sql.SQL("{} = {}").format(
                match_key(spec, ident("m", spec.name), typed=False),
                match_key(spec, ident("h", spec.name), typed=True),
            )
            for spec in specs
        )
        rows = conn.execute(
            sql.SQL(
                "select distinct h.id from {hub} h join {mirror} m on {matched} where h.id = any(%s) and not m.deleted"
                " and not exists (select from {base} b where b.crm_id = m.crm_id)"
            ).format(
                hub=hub_table(stream.entity),
                mirror=mirror_table(stream),
                base=base_table(stream),
                matched=matched,
            ),
            [list(hub_ids)],
        ).fetchall()
        found |= {row[0] for row in rows}
    return found


def _link_found(conn: Connection, stream: StreamSpec, run_id: str | None) -> list[str]:
    rows = conn.execute(
        sql.SQL(
            "with linked as (insert into {base} (hub_id, crm_id, linked_by)"
            " select found, crm_id, 'match' from unlinked where found is not null order by found"
            " on conflict do nothing returning hub_id, crm_id),"
            " noted as (insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, reason)"
            " select %s, {connection}, {entity}, hub_id, crm_id, 'hub', 'link', 'matched' from linked)"
            " select crm_id from linked"
        ).format(
            base=base_table(stream),
            connection=sql.Literal(stream.connection),
            entity=sql.Literal(stream.entity),
        ),
        [run_id],
    ).fetchall()
    return [row[0] for row in rows]


def _create(conn: Connection, stream: StreamSpec, run_id: str | None) -> list[str]:
    """New hub records for what matched nothing; both halves of the base are what was just written and read.

    A reference whose target is not linked yet is left null and not agreed on, so that it stays a difference.
    """
    columns = stream.columns
    conn.execute("select set_config('crm_sync.actor', %s, true)", [stream.connection])
    conn.execute("update unlinked set found = gen_random_uuid() where found is null and candidates = 0")
    new = sql.SQL(
        "from unlinked u where candidates = 0 and not exists (select from {} b where b.crm_id = u.crm_id)"
    ).format(base_table(stream))
    conn.execute(
        sql.SQL("insert into {} (id, {}) select found, {} {}").format(
            hub_table(stream.entity),
            sql.SQL(", ").join(ident(spec.name) for spec in columns),
            sql.SQL(", ").join(from_text(spec, ident("u", spec.name)) for spec in columns),
            new,
        )
    )
    conn.execute(
        sql.SQL(
            "insert into sync.provenance (entity, hub_id, field, changed_at, changed_by)"
            " select {}, found, '*', coalesce(modified_at::timestamptz, now()), {} {}"
        ).format(sql.Literal(stream.entity), sql.Literal(stream.connection), new)
    )
    conn.execute(
        sql.SQL(
            "insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, new_value, reason)"
            " select %s, {}, {}, found, crm_id, 'hub', 'create', jsonb_strip_nulls(jsonb_build_object({}))::text,"
            " 'new in the CRM' {}"
        ).format(
            sql.Literal(stream.connection),
            sql.Literal(stream.entity),
            sql.SQL(", ").join(
                sql.SQL("{}, {}").format(sql.Literal(s.name), ident("u", s.name)) for s in columns
            ),
            new,
        ),
        [run_id],
    )
    rows = conn.execute(_first_base(stream, columns, new)).fetchall()
    conn.execute("select set_config('crm_sync.actor', '', true)")
    return [row[0] for row in rows]


def _first_base(stream: StreamSpec, columns: Sequence[FieldSpec], new: sql.Composable) -> sql.Composed:
    names: list[sql.Composable] = []
    values: list[sql.Composable] = []
    for spec in columns:
        names += [ident(f"{spec.name}_hub"), ident(f"{spec.name}_crm"), ident(f"{spec.name}_agreed")]
        agreed: sql.Composable = sql.SQL("true")
        if spec.type is FieldType.REFERENCE:
            agreed = sql.SQL("({} is null or {} is not null)").format(
                ident("u", f"{spec.name}_link"), ident("u", spec.name)
            )
        crm = sql.SQL("case when {} then {} end").format(agreed, ident("m", spec.name))
        values += [from_text(spec, ident("u", spec.name)), crm, agreed]
    return sql.SQL(
        "insert into {base} (hub_id, crm_id, linked_by, {names})"
        " select u.found, u.crm_id, 'create', {values} from (select u.* {new}) u join {mirror} m on m.crm_id = u.crm_id"
        " returning crm_id"
    ).format(
        base=base_table(stream),
        names=sql.SQL(", ").join(names),
        values=sql.SQL(", ").join(values),
        new=new,
        mirror=mirror_table(stream),
    )
