"""Links: which hub record and which CRM record are the same.

CRM records without a link are matched to hub records by the external id, then by the match rules in order; what
matches nothing becomes a new hub record. A link starts with nothing agreed: the differences then say, field by
field, who has what. Several hub candidates are never guessed between.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from crm_sync.hub.sql import (
    base_table,
    from_text,
    hub_now,
    hub_table,
    ident,
    match_key,
    mirror_table,
    to_text,
)


@dataclass(slots=True)
class Linked:
    """What became of the records of one chunk. `open` are those of which more has to be decided: hub ids by CRM id;
    new records on which both sides agree are not among them."""

    matched: int = 0
    created: int = 0
    ambiguous: dict[str, str] = field(default_factory=dict)  # crm id -> what was ambiguous
    in_doubt: list[str] = field(default_factory=list)  # match a record whose create has no answer yet
    open: dict[str, UUID] = field(default_factory=dict)


def link(conn: Connection, stream: StreamSpec, run_id: str | None, *, create: bool) -> Linked:
    """Link the records in the temporary table `unlinked` (see `incoming.stage`). Without `create`, records that
    match nothing are left alone.

    Raises psycopg.IntegrityError or DataError if the hub table refuses a value.
    """
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
    linked.open = _open(conn, stream)
    return linked


def _by_external_id(conn: Connection, stream: StreamSpec) -> None:
    is_id = "'^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'"
    conn.execute(
        sql.SQL(
            "with given as materialized (select n, lower(hub_id)::uuid as id from unlinked"
            " where case when hub_id ~* {is_id} then true else false end),"
            " free as (select distinct on (g.id) g.n, g.id from given g"
            " cross join lateral (select h.id from {hub} h where h.id = g.id offset 0) h"
            " left join lateral (select b.hub_id from {base} b where b.hub_id = g.id offset 0) b on true"
            " where b.hub_id is null order by g.id, g.n)"
            " update unlinked u set found = f.id from free f where f.n = u.n"
        ).format(hub=hub_table(stream.entity), base=base_table(stream), is_id=sql.SQL(is_id))
    )


def _by_rule(conn: Connection, stream: StreamSpec, rule: Sequence[FieldSpec]) -> None:
    """Exact keys: one free hub record and one CRM record of this chunk on either side, or nothing."""
    keys = [match_key(spec, ident("h", spec.name), typed=True) for spec in rule]
    mine = [
        sql.SQL("{} as {}").format(match_key(spec, ident("u", spec.name), typed=False), ident(f"key{i}"))
        for i, spec in enumerate(rule)
    ]
    matched = sql.SQL(" and ").join(
        sql.SQL("{} = {}").format(key, ident("k", f"key{i}")) for i, key in enumerate(keys)
    )
    # The fences (`offset 0`, `materialized`) keep the planner, which knows nothing of the temporary table, from
    # reading the hub as a whole for each record: records are looked up by their key, and little is left to join.
    conn.execute(
        sql.SQL(
            "with wanted as materialized (select u.n, {mine} from unlinked u"
            " where u.found is null and u.candidates = 0),"
            " keyed as materialized (select k.n, h.id from wanted k"
            " cross join lateral (select h.id from {hub} h where {matched} offset 0) h),"
            " pairs as (select k.n, k.id from keyed k"
            " left join lateral (select b.hub_id from {base} b where b.hub_id = k.id offset 0) b on true"
            " where b.hub_id is null and k.id not in (select found from unlinked where found is not null)),"
            " counted as (select n, id, count(*) over (partition by n) as hubs,"
            " row_number() over (partition by id order by n) as place from pairs)"
            " update unlinked u set found = case when c.hubs = 1 then c.id end, candidates = c.hubs"
            " from counted c where c.n = u.n and (c.hubs > 1 or c.place = 1)"
        ).format(
            mine=sql.SQL(", ").join(mine),
            hub=hub_table(stream.entity),
            matched=matched,
            base=base_table(stream),
        )
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


def _link_found(conn: Connection, stream: StreamSpec, run_id: str | None) -> int:
    """Links for what was found. Fields on which both sides say the same are agreed on at once (that is what
    `core.decide` calls converged, the bulk of them when an account is connected whose records we know); the others
    stay differences."""
    names: list[sql.Composable] = []
    values: list[sql.Composable] = []
    for spec in stream.columns:
        same = sql.SQL("{} is not distinct from {}").format(
            to_text(spec, hub_now(spec)), ident("u", spec.name)
        )
        if spec.type is FieldType.REFERENCE:
            same = sql.SQL("({} and {})").format(same, _translated(spec))
        names += [ident(f"{spec.name}_{half}") for half in ("hub", "crm", "agreed")]
        for value in (hub_now(spec), ident("u", f"{spec.name}_crm")):
            values.append(sql.SQL("case when {} then {} end").format(same, value))
        values.append(same)
    rows = conn.execute(
        sql.SQL(
            "with linked as (insert into {base} (hub_id, crm_id, linked_by, {names})"
            " select u.found, u.crm_id, 'match', {values} from unlinked u"
            " cross join lateral (select * from {hub} h where h.id = u.found offset 0) h where u.found is not null"
            " order by u.found on conflict do nothing returning hub_id, crm_id),"
            " noted as (insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, reason)"
            " select %s, {connection}, {entity}, hub_id, crm_id, 'hub', 'link', 'matched' from linked)"
            " select count(*) from linked"
        ).format(
            base=base_table(stream),
            hub=hub_table(stream.entity),
            names=sql.SQL(", ").join(names),
            values=sql.SQL(", ").join(values),
            connection=sql.Literal(stream.connection),
            entity=sql.Literal(stream.entity),
        ),
        [run_id],
    ).fetchone()
    return rows[0] if rows else 0


_NEW = sql.SQL("from unlinked u where u.found is null and u.candidates = 0 order by u.n")


def _create(conn: Connection, stream: StreamSpec, run_id: str | None) -> int:
    """New hub records for what matched nothing; both halves of the base are what was just written and read. The link
    comes first: a record that got one meanwhile drops out.

    A reference whose target is not linked yet is left null and not agreed on, so that it stays a difference.
    """
    columns = stream.columns
    row = conn.execute("select count(*) from unlinked where found is null and candidates = 0").fetchone()
    wanted = row[0] if row else 0
    if not wanted:
        return 0
    made = conn.execute(_first_base(stream, columns)).rowcount
    if made < wanted:
        conn.execute(
            sql.SQL(
                "update unlinked u set candidates = -1 where u.found is null and u.candidates = 0"
                " and not exists (select from {} b where b.hub_id = u.new_id)"
            ).format(base_table(stream))
        )
    conn.execute("select set_config('crm_sync.actor', %s, true)", [stream.connection])
    conn.execute(
        sql.SQL("insert into {} (id, {}) select u.new_id, {} {}").format(
            hub_table(stream.entity),
            sql.SQL(", ").join(ident(spec.name) for spec in columns),
            sql.SQL(", ").join(from_text(spec, ident("u", spec.name)) for spec in columns),
            _NEW,
        )
    )
    conn.execute("select set_config('crm_sync.actor', '', true)")
    conn.execute(
        sql.SQL(
            "insert into sync.provenance (entity, hub_id, field, changed_at, changed_by)"
            " select {}, u.new_id, '*', coalesce(u.modified_at, now()), {} {}"
        ).format(sql.Literal(stream.entity), sql.Literal(stream.connection), _NEW)
    )
    conn.execute(
        sql.SQL(
            "insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, new_value, reason)"
            " select %s, {}, {}, u.new_id, u.crm_id, 'hub', 'create', jsonb_strip_nulls(jsonb_build_object({}))::text,"
            " 'new in the CRM' {}"
        ).format(
            sql.Literal(stream.connection),
            sql.Literal(stream.entity),
            sql.SQL(", ").join(
                sql.SQL("{}, {}").format(sql.Literal(s.name), ident("u", s.name)) for s in columns
            ),
            _NEW,
        ),
        [run_id],
    )
    return made


def _translated(spec: FieldSpec) -> sql.Composable:
    """Condition: the reference is blank in the CRM, or its target is linked."""
    return sql.SQL("({} is null or {} is not null)").format(
        ident("u", f"{spec.name}_crm"), ident("u", spec.name)
    )


def _first_base(stream: StreamSpec, columns: Sequence[FieldSpec]) -> sql.Composed:
    names: list[sql.Composable] = []
    values: list[sql.Composable] = []
    for spec in columns:
        names += [ident(f"{spec.name}_hub"), ident(f"{spec.name}_crm"), ident(f"{spec.name}_agreed")]
        agreed: sql.Composable = sql.SQL("true")
        crm: sql.Composable = ident("u", f"{spec.name}_crm")
        if spec.type is FieldType.REFERENCE:
            agreed = _translated(spec)
            crm = sql.SQL("case when {} then {} end").format(agreed, crm)
        values += [from_text(spec, ident("u", spec.name)), crm, agreed]
    return sql.SQL(
        "insert into {base} (hub_id, crm_id, linked_by, {names}) select u.new_id, u.crm_id, 'create', {values} {new}"
        " on conflict do nothing"
    ).format(
        base=base_table(stream),
        names=sql.SQL(", ").join(names),
        values=sql.SQL(", ").join(values),
        new=_NEW,
    )


def _open(conn: Connection, stream: StreamSpec) -> dict[str, UUID]:
    """The linked among the records of which more has to be decided: those that were found, and new ones that the hub
    holds differently (a trigger or a column type of the user's) or on which not every field is agreed."""
    fields = stream.fields
    changed = sql.SQL("({}) is distinct from ({})").format(
        sql.SQL(", ").join(hub_now(spec) for spec in fields),
        sql.SQL(", ").join(ident("b", f"{spec.name}_hub") for spec in fields),
    )
    rows = conn.execute(
        sql.SQL(
            "select u.crm_id, b.hub_id from unlinked u"
            " cross join lateral (select * from {base} b where b.crm_id = u.crm_id offset 0) b"
            " left join lateral (select * from {hub} h where h.id = b.hub_id offset 0) h on true"
            " where b.hub_id <> u.new_id or h.id is null or not ({agreed}) or {changed}"
        ).format(
            base=base_table(stream),
            hub=hub_table(stream.entity),
            agreed=sql.SQL(" and ").join(ident("b", f"{spec.name}_agreed") for spec in fields),
            changed=changed,
        )
    ).fetchall()
    return dict(rows)
