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


def apply(conn: Connection, stream: StreamSpec, verdicts: Sequence[Verdict], run_id: str | None) -> set[UUID]:
    """Apply the TAKE and CONVERGED among `verdicts`; returns the hub ids that went through.

    Raises psycopg.IntegrityError or DataError if the hub table itself refuses a value (a constraint of the
    user's): the caller narrows it down to the record.
    """
    moving = [v for v in verdicts if v.kind in (Kind.TAKE, Kind.CONVERGED)]
    if not moving:
        return set()
    _stage(conn, moving)
    taken = {v.difference.field for v in moving if v.kind is Kind.TAKE}
    touched = {v.difference.field for v in moving}
    conn.execute("select set_config('crm_sync.actor', %s, true)", [stream.connection])
    done: set[UUID] = set()
    if taken:
        done |= _update_hub(conn, stream, [stream.field(name) for name in sorted(taken)])
    done |= _move_base(conn, stream, [stream.field(name) for name in sorted(touched)], done)
    _note(conn, stream, done, run_id)
    conn.execute("select set_config('crm_sync.actor', '', true)")
    return done


def _stage(conn: Connection, moving: Sequence[Verdict]) -> None:
    conn.execute("drop table if exists moving")
    conn.execute(
        "create temporary table moving (hub_id uuid, crm_id text, version text, field text, take boolean, value text,"
        " crm_now text, hub_now text, crm_at timestamptz, reason text) on commit drop"
    )
    with conn.cursor() as cursor, cursor.copy("copy moving from stdin") as copy:
        for verdict in moving:
            d = verdict.difference
            copy.write_row(
                (d.hub_id, d.crm_id, d.hub_version, d.field, verdict.kind is Kind.TAKE, verdict.value,
                 d.crm_now, d.hub_now, d.crm_at, verdict.reason)
            )  # fmt: skip


def _wide(fields: Sequence[FieldSpec], *, only_takes: bool) -> sql.Composable:
    """Subquery: one row per record, for each field its value, the CRM's value and whether it moves."""
    parts: list[sql.Composable] = [sql.SQL("hub_id, min(version) as version, bool_or(take) as takes")]
    for spec in fields:
        condition = sql.SQL("field = {}{}").format(
            sql.Literal(spec.name), sql.SQL(" and take") if only_takes else sql.SQL("")
        )
        parts.append(
            sql.SQL("coalesce(bool_or({0}), false) as {1}, max(value) filter (where {0}) as {2},"
                    " max(crm_now) filter (where {0}) as {3}, max(hub_now) filter (where {0}) as {4}").format(
                condition, *(ident(f"{spec.name}_{part}") for part in ("moves", "value", "crm", "hub"))
            )
        )  # fmt: skip
    return sql.SQL("(select {} from moving group by hub_id)").format(sql.SQL(", ").join(parts))


def _update_hub(conn: Connection, stream: StreamSpec, fields: Sequence[FieldSpec]) -> set[UUID]:
    assignments = sql.SQL(", ").join(
        sql.SQL("{0} = case when {1} then {2} else {3} end").format(
            ident(spec.name),
            ident("w", f"{spec.name}_moves"),
            from_text(spec, ident("w", f"{spec.name}_value")),
            ident("h", spec.name),
        )
        for spec in fields
    )
    rows = conn.execute(
        sql.SQL(
            "update {hub} h set {assignments} from {wide} w"
            " where h.id = w.hub_id and w.takes and h.xmin::text = w.version returning h.id"
        ).format(hub=hub_table(stream.entity), assignments=assignments, wide=_wide(fields, only_takes=True))
    ).fetchall()
    return {row[0] for row in rows}


def _move_base(
    conn: Connection, stream: StreamSpec, fields: Sequence[FieldSpec], taken: set[UUID]
) -> set[UUID]:
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
    rows = conn.execute(
        sql.SQL(
            "update {base} b set {assignments} from {hub} h, {wide} w"
            " where b.hub_id = h.id and h.id = w.hub_id"
            " and ((not w.takes and h.xmin::text = w.version) or h.id = any(%s)) returning b.hub_id"
        ).format(
            base=base_table(stream),
            assignments=assignments,
            hub=hub_table(stream.entity),
            wide=_wide(fields, only_takes=False),
        ),
        [list(taken)],
    ).fetchall()
    return {row[0] for row in rows}


def _note(conn: Connection, stream: StreamSpec, done: set[UUID], run_id: str | None) -> None:
    """Provenance (with the CRM's time) and journal of the values that were taken."""
    conn.execute(
        "insert into sync.provenance (entity, hub_id, field, changed_at, changed_by)"
        " select %s, hub_id, field, coalesce(crm_at, now()), %s from moving where take and hub_id = any(%s)"
        " order by hub_id, field"
        " on conflict (entity, hub_id, field) do update set changed_at = excluded.changed_at, changed_by = excluded.changed_by",
        [stream.entity, stream.connection, list(done)],
    )
    conn.execute(
        "insert into sync.change (run_id, connection, entity, hub_id, crm_id, field, side, kind, old_value, new_value, reason)"
        " select %s, %s, %s, hub_id, crm_id, field, 'hub', 'update', hub_now, value, reason from moving"
        " where take and hub_id = any(%s) order by hub_id, field",
        [run_id, stream.connection, stream.entity, list(done)],
    )
