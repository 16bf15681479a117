"""Undo: what hub and CRMs say now of the fields that were touched, and the write that puts the hub back."""

from collections.abc import Collection, Sequence
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import class_row

from crm_sync.core.spec import Direction, FieldSpec, StreamSpec
from crm_sync.core.undo import Fate, Judged, Place, Touched
from crm_sync.hub import frozen
from crm_sync.hub.merge import assigned
from crm_sync.hub.sql import alive, base_of, base_table, hub_table, ident, mirror_table, to_text


def touched(
    conn: Connection, entity: str, fields: Sequence[FieldSpec], first: int, last: int, *, lock: bool
) -> list[Touched]:
    """These records' fields, as the hub has them now. With `lock` nobody changes their hub rows before the caller's
    transaction ends."""
    where = sql.SQL("from undo_pick p where p.entity = {} and p.record between {} and {}").format(
        *map(sql.Literal, (entity, first, last))
    )
    if lock:
        conn.execute(
            sql.SQL("select 1 from {} where id in (select p.hub_id {}) order by id for no key update").format(
                hub_table(entity), where
            )
        )
    now = sql.SQL(" ").join(
        sql.SQL("when {} then {}::text").format(sql.Literal(s.name), to_text(s, ident("h", s.name)))
        for s in fields
    )
    query = sql.SQL(
        "select p.n, p.entity, p.hub_id, p.field, p.first_side, p.first_connection, p.first_old, p.last_side,"
        " p.last_connection, p.last_new, p.hub_written, p.hub_new, p.interrupted, h.id is not null as exists,"
        " {now} as hub_now, coalesce(v.changed_at, w.changed_at) as changed_at, coalesce(v.changed_by, w.changed_by)"
        " as changed_by {where_from} left join {hub} h on h.id = p.hub_id"
        " left join sync.provenance v on v.entity = {entity} and v.hub_id = p.hub_id and v.field = p.field"
        " left join sync.provenance w on w.entity = {entity} and w.hub_id = p.hub_id and w.field = '*'"
        " where p.entity = {entity} and p.record between {first} and {last} order by p.n"
    ).format(
        now=sql.SQL("case p.field {} end").format(now) if fields else sql.SQL("null::text"),
        where_from=sql.SQL("from undo_pick p"),
        hub=hub_table(entity),
        entity=sql.Literal(entity),
        first=sql.Literal(first),
        last=sql.Literal(last),
    )
    with conn.cursor(row_factory=class_row(Touched)) as cursor:
        return cursor.execute(query).fetchall()


def linked(conn: Connection, stream: StreamSpec, first: int, last: int) -> list[str]:
    """The CRM ids of these records on a stream that maps a field of theirs that was touched."""
    rows = conn.execute(
        sql.SQL(
            "select distinct b.crm_id from undo_pick p join {} b on b.hub_id = p.hub_id"
            " where p.entity = %s and p.record between %s and %s and p.field = any(%s) and {} order by 1"
        ).format(base_table(stream), _stays_linked(stream)),
        [
            stream.entity,
            first,
            last,
            [s.name for s in stream.columns if s.direction is not Direction.INBOUND],
        ],
    ).fetchall()
    return [row[0] for row in rows]


def _stays_linked(stream: StreamSpec) -> sql.Composed:
    """Condition over b: neither the link nor the record in the CRM is going to be undone too."""
    return sql.SQL(
        "not exists (select from undo_record r where (r.kind = 'link' and r.fate = 'undo'"
        " or r.kind = 'made' and r.fate in ('undo', 'done')) and r.connection = {}"
        " and r.entity = {} and r.hub_id = b.hub_id)"
    ).format(sql.Literal(stream.connection), sql.Literal(stream.entity))


def places(
    conn: Connection,
    stream: StreamSpec,
    first: int,
    last: int,
    *,
    seen: Collection[str],
    absent: Collection[str],
) -> dict[int, Place]:
    """What the mirror and the base of one stream say, by number of the field. `seen`: the CRM records that were just
    looked at; `absent`: the fields that they lacked."""
    specs = {spec.name: spec for spec in stream.columns}
    if not specs:
        return {}

    def of(part: str) -> sql.Composable:
        def column(spec: FieldSpec) -> sql.Composable:
            if part == "hub":
                return sql.SQL("{}::text").format(to_text(spec, ident("b", f"{spec.name}_hub")))
            return ident("m", spec.name) if part == "now" else ident("b", f"{spec.name}_{part}")

        cases = (sql.SQL("when {} then {}").format(sql.Literal(s.name), column(s)) for s in specs.values())
        return sql.SQL("case p.field {} end").format(sql.SQL(" ").join(cases))

    rows = conn.execute(
        sql.SQL(
            "select p.n, p.field, b.crm_id, not coalesce({alive}, false), i.hub_id is not null, {agreed}, {hub}, {crm}, {now},"
            " m.modified_at from undo_pick p join {base} b on b.hub_id = p.hub_id left join {mirror} m on m.crm_id = b.crm_id"
            " left join sync.intent i on i.connection = {connection} and i.entity = {entity} and i.hub_id = p.hub_id"
            " where p.entity = {entity} and p.record between %s and %s and p.field = any(%s) and {stays}"
        ).format(
            stays=_stays_linked(stream),
            alive=alive("m"),
            agreed=of("agreed"),
            hub=of("hub"),
            crm=of("crm"),
            now=of("now"),
            base=base_table(stream),
            mirror=mirror_table(stream),
            connection=sql.Literal(stream.connection),
            entity=sql.Literal(stream.entity),
        ),
        [first, last, list(specs)],
    ).fetchall()
    hidden = {*absent, *frozen.fields(conn, stream)}
    return {
        n: Place(
            connection=stream.connection,
            spec=specs[name],
            crm_id=crm_id,
            gone=gone,
            readable=crm_id in seen and name not in hidden,
            in_doubt=doubt,
            agreed=agreed,
            hub_then=hub_then,
            crm_then=crm_then,
            crm_now=now,
            at=at,
        )
        for n, name, crm_id, gone, doubt, agreed, hub_then, crm_then, now, at in rows
    }


def hub_ids(conn: Connection, stream: StreamSpec, entity: str, crm_ids: Sequence[str]) -> dict[str, str]:
    """CRM id → hub id, of the linked records of another entity of the same connection that the hub still has."""
    rows = conn.execute(
        sql.SQL(
            "select l.crm_id, l.hub_id::text from {} l join {} t on t.id = l.hub_id where l.crm_id = any(%s)"
        ).format(base_of(stream, entity), hub_table(entity)),
        [list(crm_ids)],
    ).fetchall()
    return dict(rows)


def crm_ids(conn: Connection, stream: StreamSpec, entity: str, of: Sequence[str]) -> dict[str, str]:
    """Hub id → CRM id, likewise."""
    rows = conn.execute(
        sql.SQL("select hub_id::text, crm_id from {} where hub_id = any(%s::uuid[])").format(
            base_of(stream, entity)
        ),
        [list(of)],
    ).fetchall()
    return dict(rows)


def put_back(
    conn: Connection,
    entity: str,
    fields: Sequence[FieldSpec],
    judged: Sequence[Judged],
    run_id: str,
    reason: str,
) -> None:
    """Write the old values of these fields into the hub, and the journal. The caller holds the rows (`touched`).

    Raises psycopg.Error if the hub table refuses a value: the caller narrows it down.
    """
    names = {j.touched.field for j in judged}
    moving = [spec for spec in fields if spec.name in names]
    conn.execute("drop table if exists pg_temp.undo_now")
    conn.execute(
        "create temporary table undo_now (hub_id uuid, field text, old text, value text) on commit drop"
    )
    with conn.cursor() as cursor, cursor.copy("copy undo_now from stdin") as copy:
        for j in judged:
            copy.write_row((j.touched.hub_id, j.touched.field, j.old, j.value))
    conn.execute("analyze undo_now")
    parts = sql.SQL(", ").join(
        sql.SQL("bool_or(field = {0}) as {1}, min(value) filter (where field = {0}) as {2}").format(
            sql.Literal(s.name), ident(f"{s.name}_moves"), ident(f"{s.name}_value")
        )
        for s in moving
    )
    conn.execute(
        sql.SQL(
            "update {hub} h set {assignments} from (select hub_id, {parts} from undo_now group by hub_id) w"
            " where h.id = w.hub_id"
        ).format(hub=hub_table(entity), assignments=assigned(moving, "moves"), parts=parts)
    )
    conn.execute(
        "insert into sync.change (run_id, connection, entity, hub_id, field, side, kind, old_value, new_value, reason)"
        " select %s, 'hub', %s, hub_id, field, 'hub', 'update', old, value, %s from undo_now order by hub_id, field",
        [run_id, entity, reason],
    )


def to_send(conn: Connection, entity: str, *, after: int, limit: int) -> list[tuple[int, UUID]]:
    """Records with a field of the plan that goes back, or is back and did not reach a CRM yet; from the one after
    `after` on: number and hub id."""
    return conn.execute(
        "select distinct k.record, k.hub_id from undo_plan p join undo_pick k using (n) where k.entity = %s"
        " and (p.fate = %s or p.fate = %s and p.writes <> '{}') and k.record > %s order by k.record limit %s",
        [entity, str(Fate.UNDO), str(Fate.ALREADY), after, limit],
    ).fetchall()
