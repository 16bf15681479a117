"""References that wait: a linked record refers to another one that is not linked yet, so that it cannot be said on the
other side who is meant.

Such a record stays in the queue and is looked at by every sync; when the other one is linked, the reference goes on by
itself. Here they are only shown, with what keeps them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import Connection, sql
from psycopg.rows import args_row

from crm_sync.core.spec import Direction, FieldSpec, StreamSpec
from crm_sync.hub.sql import base_of, base_table, hub_table, ident, mirror_table

SAMPLE = 5


@dataclass(frozen=True, slots=True)
class Waiting:
    """References of one field that wait for the same cause. side: who holds the reference, hub or crm; target: the
    entity referred to; because: why its records are not linked; since: the oldest (UTC). missing: some of the records
    waited for, by the ids of that side."""

    field: str
    side: str
    target: str
    because: str
    number: int
    since: datetime
    missing: Sequence[str]


def find(conn: Connection, stream: StreamSpec, streams: Mapping[str, StreamSpec]) -> list[Waiting]:
    """What waits in a stream, the oldest first. streams: those of the same connection, by entity."""
    parts = [part for spec in stream.columns for part in _parts(stream, spec, streams)]
    if not parts:
        return []
    query = sql.SQL(
        "select field, side, target, because, count(*)::int, min(since), (array_agg(distinct missing))[:{sample}]"
        " from ({parts}) w group by field, side, target, because order by 6, 1, 2"
    ).format(sample=sql.Literal(SAMPLE), parts=sql.SQL(" union all ").join(parts))
    with conn.cursor(row_factory=args_row(Waiting)) as cursor:
        return cursor.execute(query).fetchall()


def count(conn: Connection, stream: StreamSpec, streams: Mapping[str, StreamSpec]) -> int:
    """How many references wait."""
    return sum(one.number for one in find(conn, stream, streams))


def _parts(stream: StreamSpec, spec: FieldSpec, streams: Mapping[str, StreamSpec]) -> list[sql.Composed]:
    if spec.entity is None:
        return []
    parts = []
    if spec.direction is not Direction.INBOUND:
        parts.append(_part(stream, spec, "hub", _FROM_HUB, _why_hub(stream, spec, streams)))
    if spec.direction is not Direction.OUTBOUND:
        parts.append(_part(stream, spec, "crm", _FROM_CRM, _why_crm(stream, spec, streams)))
    return parts


# Never agreed on: since the record was linked. Else since the side that holds the reference changed.
_FROM_HUB = (
    "case when b.{agreed} then coalesce((select p.changed_at from sync.provenance p where p.entity = {entity}"
    " and p.hub_id = h.id and p.field = {name}), h.updated_at) else b.linked_at end as since, h.{ref}::text as missing"
    " from {base} b join {hub} h on h.id = b.hub_id join {mirror} m on m.crm_id = b.crm_id"
    " and not m.deleted and not m.outside where h.{ref} is not null"
    " and (h.{ref} is distinct from b.{ref_hub} or not b.{agreed})"
    " and not exists (select from {links} t where t.hub_id = h.{ref})"
)
_FROM_CRM = (
    "case when b.{agreed} then m.seen_at else b.linked_at end as since, m.{ref} as missing"
    " from {base} b join {hub} h on h.id = b.hub_id join {mirror} m on m.crm_id = b.crm_id"
    " and not m.deleted and not m.outside where m.{ref} is not null"
    " and (m.{ref} is distinct from b.{ref_crm} or not b.{agreed})"
    " and not exists (select from {links} t join {target} x on x.id = t.hub_id where t.crm_id = m.{ref})"
)


def _part(stream: StreamSpec, spec: FieldSpec, side: str, template: str, why: sql.Composable) -> sql.Composed:
    target = spec.entity or ""
    return sql.SQL(
        "select {name}::text as field, {side}::text as side, {to}::text as target, {why} as because, "
    ).format(name=sql.Literal(spec.name), side=sql.Literal(side), to=sql.Literal(target), why=why) + sql.SQL(
        template
    ).format(
        agreed=ident(f"{spec.name}_agreed"),
        entity=sql.Literal(stream.entity),
        name=sql.Literal(spec.name),
        ref=ident(spec.name),
        ref_hub=ident(f"{spec.name}_hub"),
        ref_crm=ident(f"{spec.name}_crm"),
        base=base_table(stream),
        hub=hub_table(stream.entity),
        mirror=mirror_table(stream),
        links=base_of(stream, target),
        target=hub_table(target),
    )


def _why_hub(stream: StreamSpec, spec: FieldSpec, streams: Mapping[str, StreamSpec]) -> sql.Composable:
    """Why the hub record referred to is not in the CRM."""
    target = spec.entity or ""
    if target in streams and streams[target].direction is Direction.INBOUND:
        return sql.SQL("'nothing is created there: the stream is inbound only'::text")
    return sql.SQL(
        "coalesce((select 'parked: ' || min(p.code) from sync.parked p where p.connection = {connection}"
        " and p.entity = {target} and p.side = 'hub' and p.record_id = h.{ref}::text), 'not created yet')"
    ).format(connection=sql.Literal(stream.connection), target=sql.Literal(target), ref=ident(spec.name))


def _why_crm(stream: StreamSpec, spec: FieldSpec, streams: Mapping[str, StreamSpec]) -> sql.Composable:
    """Why the CRM record referred to is not in the hub."""
    target = spec.entity or ""
    if target not in streams:
        return sql.SQL("'not synced'::text")
    return sql.SQL(
        "case when exists (select from {links} t where t.crm_id = m.{ref}) then 'deleted in the hub'"
        " else coalesce((select 'parked: ' || min(p.code) from sync.parked p where p.connection = {connection}"
        " and p.entity = {target} and p.side = 'crm' and p.record_id = m.{ref}),"
        " (select case when r.deleted then 'deleted in the CRM' when r.outside then 'outside the filter'"
        " else 'not linked yet' end from {mirror} r where r.crm_id = m.{ref}), 'not read from the CRM') end"
    ).format(
        mirror=mirror_table(streams[target]),
        links=base_of(stream, target),
        connection=sql.Literal(stream.connection),
        target=sql.Literal(target),
        ref=ident(spec.name),
    )
