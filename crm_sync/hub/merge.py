"""Apply takes and agreements: CRM values into the hub by compare-and-set, and the base to where both now agree.

A hub row that an application changed since its differences were read is left alone (its version does not match)
and stays dirty. Hub, base, provenance and journal move in the caller's one transaction.
"""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.decide import Kind, Verdict
from crm_sync.core.spec import FieldSpec, StreamSpec
from crm_sync.hub.sql import base_table, from_text, hub_now, hub_table, ident


def apply(
    conn: Connection,
    stream: StreamSpec,
    verdicts: Sequence[Verdict],
    run_id: str | None,
    *,
    waits: bool = True,
) -> set[UUID]:
    """Apply the TAKE and CONVERGED among `verdicts`; returns the hub ids that went through. waits: see `move`.

    Raises psycopg.IntegrityError or DataError if the hub table itself refuses a value (a constraint of the
    user's): the caller narrows it down to the record.
    """
    moving = [v for v in verdicts if v.kind in (Kind.TAKE, Kind.CONVERGED)]
    if not moving:
        return set()
    taken = {v.difference.field for v in moving if v.kind is Kind.TAKE}
    touched = {v.difference.field for v in moving}
    fields = [stream.field(name) for name in sorted(touched)]
    _stage(conn, moving, fields)
    taking = [spec for spec in fields if spec.name in taken]
    return move(conn, stream, taking, fields, run_id, waits=waits)


def move(
    conn: Connection,
    stream: StreamSpec,
    taken: Sequence[FieldSpec],
    touched: Sequence[FieldSpec],
    run_id: str | None,
    *,
    waits: bool = True,
) -> set[UUID]:
    """Apply what is in the temporary table `moving`; returns the hub ids that went through. waits: for hub rows that an
    application holds. In a transaction that holds such rows already, False: else two could wait for each other.

    A row of it is a record: hub_id, crm_id, version, crm_at, takes (whether anything of it goes into the hub), and of
    each field in `touched` `<name>_moves`, `_take`, `_value` (in the hub's terms), `_crm`, `_hub` (as they were read)
    and `_reason`. `taken` are the fields that go into the hub, of any record.
    """
    conn.execute("analyze moving (hub_id)")  # else it would be joined row against row
    conn.execute("drop table if exists pg_temp.moved")
    conn.execute("create temporary table moved (hub_id uuid) on commit drop")
    conn.execute("select set_config('crm_sync.actor', %s, true)", [stream.connection])
    if taken:
        _update_hub(conn, stream, taken, waits=waits)
    _move_base(conn, stream, touched)
    if taken:
        _note(conn, stream, taken, run_id)
    conn.execute("select set_config('crm_sync.actor', '', true)")
    return {row[0] for row in conn.execute("select hub_id from moved")}


_PARTS = ("moves", "take", "value", "crm", "hub", "reason")


def _stage(conn: Connection, moving: Sequence[Verdict], fields: Sequence[FieldSpec]) -> None:
    """Verdicts, one row a field, become one row a record."""
    conn.execute("drop table if exists pg_temp.verdict, pg_temp.moving")
    conn.execute(
        "create temporary table verdict (hub_id uuid, crm_id text, version text, field text, take boolean, value text,"
        " crm_now text, hub_now text, crm_at timestamptz, reason text) on commit drop"
    )
    with conn.cursor() as cursor, cursor.copy("copy verdict from stdin") as copy:
        for verdict in moving:
            d = verdict.difference
            copy.write_row(
                (d.hub_id, d.crm_id, d.hub_version, d.field, verdict.kind is Kind.TAKE, verdict.value,
                 d.crm_now, d.hub_now, d.crm_at, verdict.reason)
            )  # fmt: skip
    parts: list[sql.Composable] = [
        sql.SQL(
            "hub_id, min(crm_id) as crm_id, min(version) as version, min(crm_at) as crm_at, bool_or(take) as takes"
        )
    ]
    for spec in fields:
        parts.append(
            sql.SQL("coalesce(bool_or({0}), false) as {1}, coalesce(bool_or({0} and take), false) as {2},"
                    " min(value) filter (where {0}) as {3}, min(crm_now) filter (where {0}) as {4},"
                    " min(hub_now) filter (where {0}) as {5}, min(reason) filter (where {0}) as {6}").format(
                sql.SQL("field = {}").format(sql.Literal(spec.name)), *(ident(f"{spec.name}_{part}") for part in _PARTS)
            )
        )  # fmt: skip
    conn.execute(
        sql.SQL(
            "create temporary table moving on commit drop as select {} from verdict group by hub_id"
        ).format(sql.SQL(", ").join(parts))
    )


def values(fields: Sequence[FieldSpec]) -> sql.Composable:
    """Join: the fields of a record `m` of `moving`, one row each, as v (field, take, value, hub, reason)."""
    rows = sql.SQL(", ").join(
        sql.SQL("({}, {}, {}, {}, {})").format(
            sql.Literal(spec.name),
            *(ident("m", f"{spec.name}_{p}") for p in ("take", "value", "hub", "reason")),
        )
        for spec in fields
    )
    return sql.SQL("cross join lateral (values {}) as v (field, take, value, hub, reason)").format(rows)


def assigned(fields: Sequence[FieldSpec], when: str) -> sql.Composable:
    """Assignments: of a hub row h those of these fields of which w has `<name>_<when>` get its `<name>_value`."""
    return sql.SQL(", ").join(
        sql.SQL("{0} = case when {1} then {2} else {3} end").format(
            ident(spec.name),
            ident("w", f"{spec.name}_{when}"),
            from_text(spec, ident("w", f"{spec.name}_value")),
            ident("h", spec.name),
        )
        for spec in fields
    )


def _update_hub(conn: Connection, stream: StreamSpec, fields: Sequence[FieldSpec], *, waits: bool) -> None:
    """Hub rows are locked in the order of their ids, as an application can do it too: then nobody waits in a circle."""
    conn.execute(
        sql.SQL(
            "with held as materialized (select h.id from {hub} h join moving w on w.hub_id = h.id"
            " where w.takes and h.xmin::text = w.version order by h.id for no key update of h {skip}),"
            " done as (update {hub} h set {assignments} from held join moving w on w.hub_id = held.id"
            " where h.id = held.id returning h.id)"
            " insert into moved select id from done"
        ).format(
            hub=hub_table(stream.entity),
            assignments=assigned(fields, "take"),
            skip=sql.SQL("" if waits else "skip locked"),
        )
    )


def _move_base(conn: Connection, stream: StreamSpec, fields: Sequence[FieldSpec]) -> None:
    """Both halves to what was agreed: ours as it stands in the row we hold, the CRM's as it was read.

    A computed field is taken as it was read too: what it is computed from may have been taken just now, and the CRM
    has not heard of that yet.
    """
    assignments = sql.SQL(", ").join(
        sql.SQL("{hub_half} = case when {moves} then {now} else {b_hub} end,"
                " {crm_half} = case when {moves} then {crm} else {b_crm} end,"
                " {agreed} = {moves} or {b_agreed}").format(
            hub_half=ident(f"{spec.name}_hub"),
            crm_half=ident(f"{spec.name}_crm"),
            agreed=ident(f"{spec.name}_agreed"),
            moves=ident("w", f"{spec.name}_moves"),
            now=hub_now(spec) if spec.computed is None else ident("w", f"{spec.name}_hub"),
            crm=ident("w", f"{spec.name}_crm"),
            b_hub=ident("b", f"{spec.name}_hub"),
            b_crm=ident("b", f"{spec.name}_crm"),
            b_agreed=ident("b", f"{spec.name}_agreed"),
        )
        for spec in fields
    )  # fmt: skip
    conn.execute(
        sql.SQL(
            "with done as (update {base} b set {assignments} from {hub} h, moving w"
            " where b.hub_id = h.id and h.id = w.hub_id and case when w.takes"
            " then w.hub_id in (select hub_id from moved) else h.xmin::text = w.version end"
            " returning b.hub_id, w.takes)"
            " insert into moved select hub_id from done where not takes"
        ).format(base=base_table(stream), assignments=assignments, hub=hub_table(stream.entity))
    )


def _note(conn: Connection, stream: StreamSpec, taken: Sequence[FieldSpec], run_id: str | None) -> None:
    """Provenance (with the CRM's time) and journal of the values that were taken."""
    rows = sql.SQL(
        "from moving m {} where v.take and m.hub_id in (select hub_id from moved) order by m.hub_id, v.field"
    ).format(values(taken))
    conn.execute(
        sql.SQL(
            "insert into sync.provenance (entity, hub_id, field, changed_at, changed_by)"
            " select %s, m.hub_id, v.field, coalesce(m.crm_at, now()), %s {}"
            " on conflict (entity, hub_id, field) do update"
            " set changed_at = excluded.changed_at, changed_by = excluded.changed_by"
        ).format(rows),
        [stream.entity, stream.connection],
    )
    conn.execute(
        sql.SQL(
            "insert into sync.change (run_id, connection, entity, hub_id, crm_id, field, side, kind, old_value, new_value,"
            " reason) select %s, %s, %s, m.hub_id, m.crm_id, v.field, 'hub', 'update', v.hub, v.value,"
            " v.reason || coalesce(current_setting('crm_sync.note', true), '') {}"
        ).format(rows),
        [run_id, stream.connection, stream.entity],
    )
