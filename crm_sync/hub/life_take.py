"""What a CRM's deletions make of hub records: archived, deleted, or brought back with the same id.

The hub row is locked and compared with the version that was read, as for values (merge.py). A record that comes back
has what the CRM says now: where that was agreed on, in the hub's own words of then; and in what the CRM does not know,
what its tombstone kept. An edit in the hub that this CRM had not been told of is such a thing: it is a difference still, and
decided as any other. What the CRM says anew is told in the journal as any value that is taken. All in the caller's transaction.
"""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.decide import Verdict
from crm_sync.core.life import Here
from crm_sync.core.normalise import Invalid
from crm_sync.core.spec import Direction, FieldSpec, FieldType, StreamSpec
from crm_sync.hub import incoming, life
from crm_sync.hub.columns import of_returning
from crm_sync.hub.sql import base_table, from_text, hub_table, ident, to_text

_KINDS = {Here.ARCHIVED: "archive", Here.DELETED: "delete", Here.PRESENT: "restore"}


def apply(
    conn: Connection, stream: StreamSpec, takes: Sequence[Verdict], run_id: str | None
) -> tuple[set[UUID], list[tuple[str, Invalid]]]:
    """Apply these verdicts; returns the hub ids that went through, and (CRM id, what is wrong) of the records that cannot
    come back because a value cannot enter the hub.

    Raises psycopg.IntegrityError or DataError if the hub table refuses: the caller narrows it down to the record.
    """
    done: set[UUID] = set()
    refused: list[tuple[str, Invalid]] = []
    conn.execute("select set_config('crm_sync.actor', %s, true)", [stream.connection])
    for value in _KINDS:
        group = [v for v in takes if v.value == value]
        if not group:
            continue
        _stage(conn, group)
        missing = [v.difference.crm_id for v in group if v.difference.hub_now == Here.DELETED]
        comes_back = value is Here.PRESENT and bool(missing)
        if comes_back:
            refused = incoming.stage(conn, stream, missing)
            _bring_back(conn, stream)
        _there(conn, stream, value)
        _note(conn, stream, value, run_id)
        if comes_back:
            _note_values(conn, stream, run_id)
            _agree_on_values(conn, stream)
        done |= {row[0] for row in conn.execute("select hub_id from gone_through")}
    conn.execute("select set_config('crm_sync.actor', '', true)")
    by_id = {v.difference.hub_id: v for v in takes}
    life.agree(conn, stream, [(i, by_id[i].value, by_id[i].difference.crm_now) for i in sorted(done)])
    return done, refused


def _stage(conn: Connection, group: Sequence[Verdict]) -> None:
    conn.execute("drop table if exists pg_temp.presence, pg_temp.gone_through")
    conn.execute(
        "create temporary table presence (hub_id uuid, crm_id text, version text, crm_at timestamptz, reason text) on commit drop"
    )
    conn.execute("create temporary table gone_through (hub_id uuid) on commit drop")
    with conn.cursor() as cursor, cursor.copy("copy presence from stdin") as copy:
        for v in group:
            d = v.difference
            copy.write_row((d.hub_id, d.crm_id, d.hub_version, d.crm_at, v.reason))
    conn.execute("analyze presence")


def _there(conn: Connection, stream: StreamSpec, value: Here) -> None:
    """Rows that the hub has: locked in the order of their ids, as an application can do it too."""
    does = {
        Here.ARCHIVED: "update {hub} h set archived_at = now() from held where h.id = held.id and h.archived_at is null",
        Here.PRESENT: "update {hub} h set archived_at = null from held where h.id = held.id",
        Here.DELETED: "delete from {hub} h using held where h.id = held.id",
    }[value]
    conn.execute(
        sql.SQL(
            "with held as materialized (select h.id from {hub} h join presence w on w.hub_id = h.id"
            " where h.xmin::text = w.version order by h.id for update of h), done as ("
            + does
            + " returning h.id)"
            " insert into gone_through select id from done"
        ).format(hub=hub_table(stream.entity))
    )


def _note(conn: Connection, stream: StreamSpec, value: Here, run_id: str | None) -> None:
    """Provenance and journal: a deletion keeps the row as it was."""
    who = {"entity": stream.entity, "connection": stream.connection, "run": run_id, "kind": _KINDS[value]}
    if value is not Here.DELETED:
        conn.execute(
            "insert into sync.provenance (entity, hub_id, field, changed_at, changed_by)"
            " select %(entity)s, w.hub_id, 'archived_at', coalesce(w.crm_at, now()), %(connection)s from presence w"
            " join gone_through g using (hub_id) on conflict (entity, hub_id, field) do update"
            " set changed_at = excluded.changed_at, changed_by = excluded.changed_by",
            who,
        )
    old = "(select t.row::text from sync.tombstone t where t.entity = %(entity)s and t.hub_id = w.hub_id)"
    conn.execute(
        sql.SQL(
            "insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, old_value, reason)"
            " select %(run)s, %(connection)s, %(entity)s, w.hub_id, w.crm_id, 'hub', %(kind)s, {},"
            " w.reason || coalesce(current_setting('crm_sync.note', true), '')"
            " from presence w join gone_through g using (hub_id) order by w.hub_id"
        ).format(sql.SQL(old if value is Here.DELETED else "null")),
        who,
    )


def _fields(stream: StreamSpec) -> list[FieldSpec]:
    """What a record that comes back takes from the CRM."""
    return [spec for spec in stream.columns if spec.direction is not Direction.OUTBOUND]


def _bring_back(conn: Connection, stream: StreamSpec) -> None:
    """Insert the rows in `unlinked`, which the hub does not have any more, with their old ids. Their links were never given up."""
    said = {
        spec.name: sql.SQL("case when {} then {} else {} end").format(
            _unsent(spec), ident("r", spec.name), _meant(spec)
        )
        for spec in _fields(stream)
    }
    columns = of_returning(
        conn, stream.entity, hub_id=ident("w", "hub_id"), row=ident("t", "row"), typed="r", instead=said
    )
    conn.execute(
        sql.SQL(
            "with back as (insert into {hub} ({names}) select {values} from unlinked u join presence w on w.crm_id = u.crm_id"
            " left join {base} b on b.hub_id = w.hub_id {tombstone}"
            " order by w.hub_id on conflict (id) do nothing returning id) insert into gone_through select id from back"
        ).format(
            hub=hub_table(stream.entity),
            base=base_table(stream),
            names=sql.SQL(", ").join(ident(name) for name, _ in columns),
            values=sql.SQL(", ").join(value for _, value in columns),
            tombstone=_tombstone(stream, "w"),
        )
    )


def _note_values(conn: Connection, stream: StreamSpec, run_id: str | None) -> None:
    """Provenance and journal of the values that a row which was inserted again did not have when it was deleted: somebody has
    edited the record in the CRM. To be asked before the base moves. A reference only counts if the CRM says another one:
    Postgres may have blanked ours."""
    fields = _fields(stream)
    if not fields:
        return
    rows = sql.SQL(", ").join(
        sql.SQL("({}, {}, {}, {})").format(
            sql.Literal(spec.name),
            to_text(spec, ident("r", spec.name)),
            to_text(spec, ident("h", spec.name)),
            sql.SQL("true")
            if spec.type is not FieldType.REFERENCE
            else sql.SQL("{} is distinct from {}").format(
                ident("b", f"{spec.name}_crm"), ident("u", f"{spec.name}_crm")
            ),
        )
        for spec in fields
    )
    conn.execute("drop table if exists pg_temp.came_otherwise")
    conn.execute(
        sql.SQL(
            "create temporary table came_otherwise on commit drop as"
            " select w.hub_id, w.crm_id, w.crm_at, w.reason, v.field, v.old, v.new from unlinked u"
            " join presence w on w.crm_id = u.crm_id join gone_through g on g.hub_id = w.hub_id"
            " join {hub} h on h.id = w.hub_id left join {base} b on b.hub_id = w.hub_id {tombstone}"
            " cross join lateral (values {rows}) as v (field, old, new, counts)"
            " where t.row ? v.field and v.counts and v.old is distinct from v.new"
        ).format(
            hub=hub_table(stream.entity),
            base=base_table(stream),
            tombstone=_tombstone(stream, "w"),
            rows=rows,
        )
    )
    who = {"entity": stream.entity, "connection": stream.connection, "run": run_id}
    conn.execute(
        "insert into sync.provenance (entity, hub_id, field, changed_at, changed_by)"
        " select %(entity)s, hub_id, field, coalesce(crm_at, now()), %(connection)s from came_otherwise"
        " on conflict (entity, hub_id, field) do update set changed_at = excluded.changed_at, changed_by = excluded.changed_by",
        who,
    )
    conn.execute(
        "insert into sync.change (run_id, connection, entity, hub_id, crm_id, field, side, kind, old_value, new_value, reason)"
        " select %(run)s, %(connection)s, %(entity)s, hub_id, crm_id, field, 'hub', 'update', old, new,"
        " reason || coalesce(current_setting('crm_sync.note', true), '') from came_otherwise order by hub_id, field",
        who,
    )


def _tombstone(stream: StreamSpec, of: str) -> sql.Composable:
    """Joins to `of`, which has the hub id, its tombstone t, if it has one, and r, the row that it kept."""
    return sql.SQL(
        "left join sync.tombstone t on t.entity = {entity} and t.hub_id = {hub_id}"
        " cross join lateral jsonb_populate_record(null::{hub}, coalesce(t.row, '{{}}')) r"
    ).format(entity=sql.Literal(stream.entity), hub_id=ident(of, "hub_id"), hub=hub_table(stream.entity))


def _meant(spec: FieldSpec) -> sql.Composable:
    """What the hub says of a field, over u and b: while the CRM says what was agreed on, what the hub said then, of which
    the CRM may know less (two of our values are one of theirs). Not of a reference, whose target may be gone."""
    said = from_text(spec, ident("u", spec.name))
    if spec.type is FieldType.REFERENCE:
        return said
    return sql.SQL("case when {} and {} is not distinct from {} then {} else {} end").format(
        ident("b", f"{spec.name}_agreed"),
        ident("b", f"{spec.name}_crm"),
        ident("u", f"{spec.name}_crm"),
        ident("b", f"{spec.name}_hub"),
        said,
    )


def _unsent(spec: FieldSpec) -> sql.Composable:
    """Condition over u, b, t and r: when the hub's row was deleted, it said what this CRM had not been told of. Not of what
    only the CRM fills, nor of a reference, whose blank may be Postgres' own."""
    if spec.direction is Direction.INBOUND or spec.type is FieldType.REFERENCE:
        return sql.SQL("false")
    return sql.SQL(
        "(coalesce(t.row ? {}, false) and {} is distinct from case when {} then {} else {} end)"
    ).format(
        sql.Literal(spec.name),
        ident("r", spec.name),
        ident("b", f"{spec.name}_agreed"),
        ident("b", f"{spec.name}_hub"),
        from_text(spec, ident("u", spec.name)),
    )


def _agree_on_values(conn: Connection, stream: StreamSpec) -> None:
    """Both halves of the base are what was just written and read. Where the hub has its own edit again, they stay as they
    were: it is a difference. So is a reference whose target is not linked yet, and which is therefore not agreed on."""
    parts: list[sql.Composable] = []
    for spec in _fields(stream):
        theirs, ours = ident("u", f"{spec.name}_crm"), ident("u", spec.name)
        agreed: sql.Composable = sql.SQL("true")
        if spec.type is FieldType.REFERENCE:
            agreed = sql.SQL("({} is null or {} is not null)").format(theirs, ours)
        halves = {
            "hub": _meant(spec),
            "crm": sql.SQL("case when {} then {} end").format(agreed, theirs),
            "agreed": agreed,
        }
        parts += [
            sql.SQL("{} = case when {} then {} else {} end").format(
                ident(f"{spec.name}_{half}"), _unsent(spec), ident("b", f"{spec.name}_{half}"), value
            )
            for half, value in halves.items()
        ]
    if parts:
        conn.execute(
            sql.SQL(
                "update {base} b set {parts} from unlinked u join {base} l on l.crm_id = u.crm_id"
                " join gone_through g on g.hub_id = l.hub_id {tombstone} where b.hub_id = l.hub_id"
            ).format(
                base=base_table(stream),
                parts=sql.SQL(", ").join(parts),
                tombstone=_tombstone(stream, "l"),
            )
        )
