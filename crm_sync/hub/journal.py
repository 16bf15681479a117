"""Everything that is remembered about one record, read by index: for the time line, and for finding the record.

Here is only reading; what it means is told in `steps/why.py`. Values are canonical text or null, each in its side's
terms; times are UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import args_row, class_row

from crm_sync.core.spec import FieldSpec, StreamSpec
from crm_sync.hub import frozen
from crm_sync.hub.runs import Run, Seen, of_record
from crm_sync.hub.sql import base_table, hub_now, hub_table, ident, mirror_table, to_text


@dataclass(frozen=True, slots=True)
class Change:
    """One row of `sync.change`. side: where it was written. A `create` has no field, and its values as a JSON object."""

    id: int
    at: datetime
    run_id: str | None
    connection: str
    crm_id: str | None
    field: str | None
    side: str
    kind: str
    old_value: str | None
    new_value: str | None
    reason: str
    answer: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Dispute:
    """One row of `review.conflict`, closed ones too. values_at: since when it has had these values."""

    id: int
    connection: str
    field: str
    hub_value: str | None
    crm_value: str | None
    reason: str
    status: str
    decision: str | None
    decided_by: str | None
    decided_at: datetime | None
    run_id: str | None
    opened_at: datetime
    values_at: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """One row of `sync.parked`: why the record, or one field of it, does not go on."""

    side: str
    field: str
    code: str
    reason: str
    run_id: str | None
    attempts: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Unanswered:
    """One row of `sync.intent`: a write whose answer is not known."""

    kind: str
    sent: Mapping[str, str | None]
    old_values: Mapping[str, str | None]
    reasons: Mapping[str, str]
    run_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Value:
    """A field on one connection: hub and CRM now, and what each said when they last agreed (if they ever did)."""

    field: str
    hub: str | None
    hub_then: str | None
    crm: str | None
    crm_then: str | None
    agreed: bool


@dataclass(frozen=True, slots=True)
class Side:
    """The record on one connection. crm_id: None if that CRM does not have it. linked_at: None if it is not linked.
    read: whether the mirror holds it."""

    crm_id: str | None = None
    linked_at: datetime | None = None
    linked_by: str | None = None
    read: bool = False
    modified_at: datetime | None = None
    deleted: bool = False
    merged_into: str | None = None
    converted: bool = False
    outside: bool = False
    values: Sequence[Value] = ()
    parked: Sequence[Held] = ()
    unanswered: Unanswered | None = None
    frozen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Facts:
    """All about one record. there: whether the hub has it; archived: since when it takes no part in the sync. deleted: when it was deleted there, and by whom. older:
    whether the journal has older rows than those in `changes`. provenance: by field, when it was last changed in
    the hub and by whom; `*` is its creation."""

    entity: str
    hub_id: UUID | None
    there: bool = False
    archived: datetime | None = None
    deleted: tuple[datetime, str] | None = None
    changes: Sequence[Change] = ()
    older: bool = False
    provenance: Mapping[str, tuple[datetime, str]] = field(default_factory=dict)
    disputes: Sequence[Dispute] = ()
    sides: Mapping[str, Side] = field(default_factory=dict)
    runs: Sequence[Run] = ()


def read(
    conn: Connection,
    streams: Sequence[StreamSpec],
    hub_id: UUID | None,
    *,
    crm_ids: Mapping[str, str],
    field: str | None = None,
    limit: int,
) -> Facts:
    """What is remembered of a hub record, or of a CRM record that is not linked (then `crm_ids` has its id by
    connection); of `field` only, if given; at most the newest `limit` rows of the journal. `streams`: all of its
    entity."""
    entity = streams[0].entity
    sides = {s.connection: _side(conn, s, hub_id, crm_ids.get(s.connection)) for s in streams}
    if hub_id is None:
        return Facts(entity, None, sides=sides)
    changes = _changes(conn, entity, hub_id, field, limit + 1)
    tombstone = conn.execute(
        "select deleted_at, deleted_by from sync.tombstone where entity = %s and hub_id = %s",
        [entity, hub_id],
    ).fetchone()
    provenance = conn.execute(
        "select field, changed_at, changed_by from sync.provenance where entity = %s and hub_id = %s",
        [entity, hub_id],
    ).fetchall()
    disputes = _disputes(conn, entity, hub_id, field)
    return Facts(
        entity,
        hub_id,
        *_there(conn, entity, hub_id),
        tombstone,
        changes[-limit:],
        len(changes) > limit,
        {name: (at, by) for name, at, by in provenance},
        disputes,
        sides,
        of_record(conn, entity, _first_seen(changes[-limit:], disputes, sides)),
    )


def _there(conn: Connection, entity: str, hub_id: UUID) -> tuple[bool, datetime | None]:
    """Whether the hub has this record, and since when it is archived."""
    query = sql.SQL("select true, archived_at from {} where id = %s").format(hub_table(entity))
    return conn.execute(query, [hub_id]).fetchone() or (False, None)


def _changes(conn: Connection, entity: str, hub_id: UUID, name: str | None, most: int) -> list[Change]:
    with conn.cursor(row_factory=class_row(Change)) as cursor:
        found = cursor.execute(
            "select id, at, run_id, connection, crm_id, field, side, kind, old_value, new_value, reason, answer"
            " from sync.change where entity = %s and hub_id = %s and (%s::text is null or field is null or field = %s)"
            " order by id desc limit %s",
            [entity, hub_id, name, name, most],
        ).fetchall()
    return found[::-1]


def _disputes(conn: Connection, entity: str, hub_id: UUID, name: str | None) -> list[Dispute]:
    with conn.cursor(row_factory=class_row(Dispute)) as cursor:
        return cursor.execute(
            "select id, connection, field, hub_value, crm_value, reason, status, decision, decided_by, decided_at,"
            " run_id, opened_at, values_at from review.conflict where entity = %s and hub_id = %s"
            " and (%s::text is null or field = %s) order by id",
            [entity, hub_id, name, name],
        ).fetchall()


def _side(conn: Connection, stream: StreamSpec, hub_id: UUID | None, crm_id: str | None) -> Side:
    row = conn.execute(
        sql.SQL(
            "select coalesce(b.crm_id, one.crm_id), b.linked_at, b.linked_by, m.crm_id is not null, m.modified_at,"
            " coalesce(m.deleted, false), m.merged_into, coalesce(m.lead_converted, false),"
            " coalesce(m.outside, false) from (select %s::uuid as hub_id, %s::text as crm_id) one"
            " left join {base} b on b.hub_id = one.hub_id"
            " left join {mirror} m on m.crm_id = coalesce(b.crm_id, one.crm_id)"
        ).format(base=base_table(stream), mirror=mirror_table(stream)),
        [hub_id, crm_id],
    ).fetchone()
    if row is None:  # one row is always there
        return Side()
    crm_id, linked_at, linked_by, read_yet, modified_at, deleted, merged_into, converted, outside = row
    key = {"connection": stream.connection, "entity": stream.entity, "hub_id": hub_id, "crm_id": crm_id}
    with conn.cursor(row_factory=class_row(Held)) as cursor:
        parked = cursor.execute(
            "select side, field, code, reason, run_id, attempts, first_at, last_at from sync.parked"
            " where connection = %(connection)s and entity = %(entity)s and (side = 'hub' and record_id = %(hub_id)s::text"
            " or side = 'crm' and record_id = %(crm_id)s) order by first_at",
            key,
        ).fetchall()
    with conn.cursor(row_factory=class_row(Unanswered)) as cursor:
        unanswered = cursor.execute(
            "select kind, sent, old_values, reasons, run_id, created_at from sync.intent"
            " where connection = %(connection)s and entity = %(entity)s and hub_id = %(hub_id)s",
            key,
        ).fetchone()
    return Side(
        crm_id,
        linked_at,
        linked_by,
        read_yet,
        modified_at,
        deleted,
        merged_into,
        converted,
        outside,
        _values(conn, stream, hub_id, crm_id),
        parked,
        unanswered,
        frozenset(frozen.fields(conn, stream)),
    )


def _values(conn: Connection, stream: StreamSpec, hub_id: UUID | None, crm_id: str | None) -> list[Value]:
    """Now and then of each field. A row a field: a mapping may have more fields than a row has columns."""
    with conn.cursor(row_factory=args_row(Value)) as cursor:
        return cursor.execute(
            sql.SQL(
                "select v.* from (select %s::uuid as hub_id, %s::text as crm_id) one"
                " left join {hub} h on h.id = one.hub_id left join {base} b on b.hub_id = one.hub_id"
                " left join {mirror} m on m.crm_id = one.crm_id cross join lateral (values {rows}) as v"
            ).format(
                hub=hub_table(stream.entity),
                base=base_table(stream),
                mirror=mirror_table(stream),
                rows=sql.SQL(", ").join(map(_row, stream.fields)),
            ),
            [hub_id, crm_id],
        ).fetchall()


def _row(spec: FieldSpec) -> sql.Composable:
    return sql.SQL("({}, {}::text, {}::text, {}, {}, coalesce({}, false))").format(
        sql.Literal(spec.name),
        to_text(spec, hub_now(spec)),
        to_text(spec, ident("b", f"{spec.name}_hub")),
        ident("m", spec.name),
        ident("b", f"{spec.name}_crm"),
        ident("b", f"{spec.name}_agreed"),
    )


def _first_seen(changes: Sequence[Change], disputes: Sequence[Dispute], sides: Mapping[str, Side]) -> Seen:
    """When each run first touched the record on each connection."""
    seen: Seen = {}
    told = [(c.run_id, c.connection, c.at) for c in changes]
    told += [(d.run_id, d.connection, d.opened_at) for d in disputes]
    for connection, side in sides.items():
        told += [(p.run_id, connection, p.last_at) for p in side.parked]
        if side.unanswered:
            told.append((side.unanswered.run_id, connection, side.unanswered.created_at))
    for run_id, connection, at in told:
        if run_id is not None:
            seen[run_id, connection] = min(at, seen.get((run_id, connection), at))
    return seen
