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
from crm_sync.hub import candidates, life_sent, match_conflicts
from crm_sync.hub.apart import not_apart
from crm_sync.hub.similar import Review
from crm_sync.hub.sql import (
    alive,
    as_object,
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

    matched_by: dict[str, int] = field(default_factory=dict)  # by the rule's name (`candidates.rules`)
    created: int = 0
    ambiguous: dict[str, str] = field(default_factory=dict)  # crm id -> what was ambiguous
    in_doubt: list[str] = field(default_factory=list)  # match a record whose create has no answer yet
    review: dict[str, Review] = field(default_factory=dict)  # crm id -> hub records that may be the same
    open: dict[str, UUID] = field(default_factory=dict)

    @property
    def matched(self) -> int:
        return sum(self.matched_by.values())


def link(conn: Connection, stream: StreamSpec, run_id: str | None, *, create: bool) -> Linked:
    """Link the records in the temporary table `unlinked` (see `incoming.stage`). Without `create`, records that
    match nothing are left alone.

    Raises psycopg.IntegrityError or DataError if the hub table refuses a value.
    """
    linked = Linked()
    linked.review = candidates.find(conn, stream)
    for crm_id, number, rule in conn.execute(
        "select crm_id, candidates, rule from unlinked where candidates > 1"
    ).fetchall():
        by = candidates.rules(stream)[rule]
        linked.ambiguous[crm_id] = f"{number} hub records match by {by}; none was chosen"
    linked.in_doubt = candidates.set_aside_in_doubt(conn, stream)
    life_sent.move(conn, stream)
    linked.matched_by = _link_found(conn, stream, run_id)
    if create:
        linked.created = _create(conn, stream, run_id)
    linked.open = _open(conn, stream)
    return linked


def waiting(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> dict[UUID, str | None]:
    """Those of these hub records, which have no link, that match a CRM record that could not be linked yet (parked, ambiguous,
    or not looked at), or whose id it carries: to create them in the CRM would make a second one of the same. Each with such a
    CRM record; None where only a person's review knows which. One that is gone from the hub, or archived there, waits for
    nothing."""
    hub_ids = _there(conn, stream, hub_ids)
    found = dict.fromkeys(match_conflicts.waiting(conn, stream, hub_ids))
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
                "select h.id, min(m.crm_id) from {hub} h join {mirror} m on {matched} where h.id = any(%s) and {alive}"
                " and not exists (select from {base} b where b.crm_id = m.crm_id) and {together} group by h.id"
            ).format(
                together=not_apart(stream, ident("m", "crm_id"), ident("h", "id")),
                hub=hub_table(stream.entity),
                mirror=mirror_table(stream),
                alive=alive("m"),
                base=base_table(stream),
                matched=matched,
            ),
            [list(hub_ids)],
        ).fetchall()
        found |= dict(rows)
    return found | _waiting_by_external_id(conn, stream, hub_ids)


def _there(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> list[UUID]:
    rows = conn.execute(
        sql.SQL("select h.id from {} h where h.id = any(%s) and h.archived_at is null").format(
            hub_table(stream.entity)
        ),
        [list(hub_ids)],
    ).fetchall()
    return [row[0] for row in rows]


def _waiting_by_external_id(
    conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]
) -> dict[UUID, str | None]:
    """Those whose id a CRM record without a link carries. A create is an upsert by that id: it would write over values that
    no rule and nobody has decided about. One outside the mapping's filter counts too."""
    if stream.external_id is None:
        return {}
    rows = conn.execute(
        sql.SQL(
            "select w.id, min(m.crm_id) from unnest(%s::uuid[]) w (id)"
            " cross join lateral (select m.crm_id from {mirror} m where length(m.hub_id) = 36"
            " and lower(m.hub_id) = w.id::text and not m.deleted and not m.lead_converted offset 0) m"
            " where not exists (select from {base} b where b.crm_id = m.crm_id) group by w.id"
        ).format(mirror=mirror_table(stream), base=base_table(stream)),
        [list(hub_ids)],
    ).fetchall()
    return dict(rows)


def _link_found(conn: Connection, stream: StreamSpec, run_id: str | None) -> dict[str, int]:
    """Links for what was found; returns how many by which rule. Fields on which both sides say the same are agreed on at once (that is what
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
            " select u.found, u.crm_id, 'match: ' || coalesce(u.how, ({rules}::text[])[u.rule + 1]), {values} from unlinked u"
            " cross join lateral (select * from {hub} h where h.id = u.found offset 0) h where u.found is not null"
            " order by u.found on conflict do nothing returning hub_id, crm_id, linked_by),"
            " noted as (insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, reason)"
            " select %s, {connection}, {entity}, hub_id, crm_id, 'hub', 'link',"
            " 'matched by ' || substr(linked_by, 8) || coalesce(current_setting('crm_sync.note', true), '')"
            " from linked) select regexp_replace(substr(linked_by, 8), '^(score|decision) [0-9o].*$', '\\1'), count(*)"
            " from linked group by 1"
        ).format(
            base=base_table(stream),
            hub=hub_table(stream.entity),
            names=sql.SQL(", ").join(names),
            values=sql.SQL(", ").join(values),
            rules=sql.Literal(candidates.rules(stream)),
            connection=sql.Literal(stream.connection),
            entity=sql.Literal(stream.entity),
        ),
        [run_id],
    ).fetchall()
    return dict(rows)


def made(conn: Connection, stream: StreamSpec) -> list[tuple[str, UUID, str]]:
    """The links that `link` has just made of what was found: CRM id, hub id, by which rule."""
    return conn.execute(
        sql.SQL(
            "select b.crm_id, b.hub_id, substr(b.linked_by, 8) from unlinked u join {} b on b.crm_id = u.crm_id"
            " and b.hub_id = u.found order by u.n"
        ).format(base_table(stream))
    ).fetchall()


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
            " select %s, {}, {}, u.new_id, u.crm_id, 'hub', 'create', jsonb_strip_nulls({})::text,"
            " 'new in the CRM' || coalesce(current_setting('crm_sync.note', true), '') {}"
        ).format(
            sql.Literal(stream.connection),
            sql.Literal(stream.entity),
            as_object(columns, "u"),
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
