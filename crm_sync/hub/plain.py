"""Plain takes: linked records of which every difference is a clean change in the CRM. They go from the differences
into the hub without leaving Postgres, which is what most changes of a CRM are, and a third of what they would cost.

`core.decide` stays the one place that decides: what is plain here is what it would take, with the same value and the
same reason, and whatever this module is not sure of is left to it, the whole record. tests/hub/test_plain.py holds
each condition against `decide` itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.spec import Direction, FieldSpec, FieldType, StreamSpec
from crm_sync.hub import doubts, frozen, merge
from crm_sync.hub.differences import differs, is_whole, linked
from crm_sync.hub.normal import as_normal, unlike
from crm_sync.hub.sql import hub_now, ident, to_text

_TYPES = frozenset(
    {
        FieldType.STRING,
        FieldType.EMAIL,
        FieldType.PICKLIST,
        FieldType.ID,
        FieldType.DATE,
        FieldType.DATETIME,
        FieldType.NUMBER,
        FieldType.BOOLEAN,
    }
)
"""Types with values that SQL can tell to be normal."""


@dataclass(slots=True)
class Taken:
    """found: the plain records. done: those whose values went through; the others were changed meanwhile. shown: hub
    id, field and reason of some of the values."""

    found: set[UUID] = field(default_factory=set)
    done: set[UUID] = field(default_factory=set)
    shown: list[tuple[UUID, str, str]] = field(default_factory=list)


def take(
    conn: Connection,
    stream: StreamSpec,
    hub_ids: Sequence[UUID],
    run_id: str | None,
    *,
    show: int = 0,
    blanks: Callable[[Sequence[tuple[str, UUID]]], None] | None = None,
) -> Taken:
    """Apply the takes of those of these records that are plain; at most `show` values are told. `blanks` is told before
    which fields of which records are about to lose their value; what it raises ends everything.

    Raises one of `refusals.REFUSED` if the hub table itself refuses a value.
    """
    fields = _stage(conn, stream, hub_ids)
    if not fields:
        return Taken()
    found = {row[0] for row in conn.execute("select hub_id from moving")}
    if blanks is not None:
        blanks(
            conn.execute(
                sql.SQL(
                    "select v.field, m.hub_id from moving m {} where v.take and v.value is null and v.hub is not null"
                ).format(merge.values(fields))
            ).fetchall()
        )
    done = merge.move(conn, stream, fields, fields, run_id)
    shown: list[tuple[UUID, str, str]] = []
    if show:
        rows = conn.execute(
            sql.SQL("select m.hub_id, v.field, v.reason from moving m {} where v.take limit {}").format(
                merge.values(fields), sql.Literal(show)
            )
        ).fetchall()
        shown = [(hub_id, name, reason) for hub_id, name, reason in rows if hub_id in done]
    return Taken(found, done, shown)


def _stage(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> list[FieldSpec]:
    """The plain records into the temporary table `moving`, as `merge.move` wants it; returns the fields that move."""
    seen = frozen.fields(conn, stream)
    fields = [spec for spec in stream.fields if spec.name not in seen]
    able = [spec for spec in fields if is_able(spec)]
    if not able:
        return []
    selected = [part for spec in able for part in _columns(stream, spec)]
    conn.execute("drop table if exists pg_temp.moving")
    conn.execute(
        sql.SQL(
            "create temporary table moving on commit drop as select b.hub_id, b.crm_id, h.xmin::text as version,"
            " m.modified_at as crm_at, true as takes, {selected} from {linked} where b.hub_id = any(%s) and {whole} and {plain}"
        ).format(
            selected=sql.SQL(", ").join(selected),
            linked=linked(stream),
            whole=is_whole(),
            plain=_of_record(stream, fields, able),
        ),
        [list(hub_ids)],
    )
    moves = conn.execute(
        sql.SQL("select {} from moving").format(
            sql.SQL(", ").join(
                sql.SQL("coalesce(bool_or({}), false)").format(ident(f"{s.name}_moves")) for s in able
            )
        )
    ).fetchone()
    return [spec for spec, does in zip(able, moves or (), strict=True) if does]


def _of_record(stream: StreamSpec, fields: Sequence[FieldSpec], able: Sequence[FieldSpec]) -> sql.Composable:
    """Condition over h, b and m: something differs, all that differs is plain, and nothing is to be heard about it."""
    return sql.SQL(
        "({some}) and {all} and not exists (select from review.conflict c where c.connection = {connection}"
        " and c.entity = {entity} and c.hub_id = b.hub_id and c.status in ('open', 'decided', 'skipped')) and not {doubted}"
    ).format(
        some=sql.SQL(" or ").join(differs(stream, spec) for spec in able),
        all=sql.SQL(" and ").join(
            sql.SQL("case when {} then {} else true end").format(
                differs(stream, spec), _is_plain(spec) if spec in able else sql.SQL("false")
            )
            for spec in fields
        ),
        doubted=doubts.of_record(stream),
        connection=sql.Literal(stream.connection),
        entity=sql.Literal(stream.entity),
    )


def is_able(spec: FieldSpec) -> bool:
    """Whether a difference of this field can be plain at all: no map, no template, no rounding, not ours alone, and
    no other connection goes before."""
    rounds = spec.type is FieldType.NUMBER and spec.scale is not None
    maps = spec.to_hub is not None or spec.to_crm is not None
    ours = spec.computed is not None or spec.direction is Direction.OUTBOUND
    return spec.type in _TYPES and not (rounds or maps or ours or spec.masters)


def _is_plain(spec: FieldSpec) -> sql.Composable:
    """Condition: `decide` takes what differs. The two values are normal, so that neither side's meaning is in
    question, and they are not the same; and it is the CRM's turn."""
    ours = sql.SQL("{}::text").format(to_text(spec, hub_now(spec)))
    other = unlike(spec, ours, ident("m", spec.name), lost=sql.SQL("true"))
    if spec.direction is Direction.INBOUND:
        return sql.SQL("({})").format(other)
    return sql.SQL(
        "(case when {agreed} then {now} is not distinct from {then} else {now} is null end and {other})"
    ).format(
        agreed=ident("b", f"{spec.name}_agreed"),
        now=hub_now(spec),
        then=ident("b", f"{spec.name}_hub"),
        other=other,
    )


def _columns(stream: StreamSpec, spec: FieldSpec) -> list[sql.Composable]:
    moves = differs(stream, spec)
    reason: sql.Composable = sql.SQL("case when {} then {} else {} end").format(
        ident("b", f"{spec.name}_agreed"),
        sql.Literal("changed in the CRM"),
        sql.Literal("first agreement: blank in the hub"),
    )
    if spec.direction is Direction.INBOUND:
        reason = sql.Literal("inbound field: the CRM is the authority")
    theirs = ident("m", spec.name)
    values: dict[str, sql.Composable] = {
        "value": as_normal(spec, theirs),
        "crm": theirs,
        "hub": sql.SQL("{}::text").format(to_text(spec, hub_now(spec))),
        "reason": reason,
    }
    parts: list[sql.Composable] = [
        sql.SQL("{} as {}").format(moves, ident(f"{spec.name}_{part}")) for part in ("moves", "take")
    ]
    parts += [
        sql.SQL("case when {} then {} end as {}").format(moves, value, ident(f"{spec.name}_{part}"))
        for part, value in values.items()
    ]
    return parts
