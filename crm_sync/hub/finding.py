"""Which records a text may mean: a hub id, a CRM's id, or a value that records are matched by. All by index."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from crm_sync.hub.sql import base_table, hub_table, ident, match_key, mirror_table


@dataclass(frozen=True, slots=True)
class Found:
    """A record. hub_id: None if a CRM has it and it is not linked: then connection and crm_id say which. by: how it
    was found, "hub id", "<connection> id" or a field."""

    hub_id: UUID | None
    by: str
    connection: str | None = None
    crm_id: str | None = None

    @property
    def name(self) -> str:
        """Text that finds this record only."""
        return str(self.hub_id) if self.hub_id else f"{self.connection}/{self.crm_id}"


def by_hub_id(conn: Connection, streams: Sequence[StreamSpec], hub_id: UUID) -> list[Found]:
    """The record with this id, if the hub has it, or had it at a time that we remember."""
    entity = streams[0].entity
    asked = [
        sql.SQL("exists (select from {} where id = %(id)s)").format(hub_table(entity)),
        *(
            sql.SQL("exists (select from {} where hub_id = %(id)s)").format(base_table(stream))
            for stream in streams
        ),
        sql.SQL("exists (select from sync.tombstone where entity = %(entity)s and hub_id = %(id)s)"),
        sql.SQL("exists (select from sync.change where entity = %(entity)s and hub_id = %(id)s)"),
    ]
    row = conn.execute(
        sql.SQL("select {}").format(sql.SQL(" or ").join(asked)), {"id": hub_id, "entity": entity}
    ).fetchone()
    return [Found(hub_id, "hub id")] if row and row[0] else []


def by_crm_id(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> list[Found]:
    """The records that the CRM of this stream has, or had, under one of these ids."""
    rows = conn.execute(
        sql.SQL(
            "select crm_id, hub_id from {base} where crm_id = any(%(ids)s) union all"
            " select m.crm_id, null from {mirror} m where m.crm_id = any(%(ids)s)"
            " and not exists (select from {base} b where b.crm_id = m.crm_id)"
        ).format(base=base_table(stream), mirror=mirror_table(stream)),
        {"ids": list(crm_ids)},
    ).fetchall()
    by = f"{stream.connection} id"
    return [Found(hub_id, by, stream.connection, crm_id) for crm_id, hub_id in rows]


def by_key(
    conn: Connection, streams: Sequence[StreamSpec], fields: dict[str, FieldSpec], text: str, most: int
) -> list[Found]:
    """The records of which a field that records are matched by has this value, in the hub or in a CRM; of each look at
    most `most`. Records without a link are left out unless there are no others. `fields`: those of the hub."""
    found: dict[str, Found] = {}
    names = {name for stream in streams for rule in stream.match for name in rule}
    for name in sorted(names):
        if fields[name].type is FieldType.REFERENCE:
            continue
        rows = conn.execute(
            sql.SQL("select h.id from {} h where {} = {} order by h.id limit {}").format(
                hub_table(streams[0].entity),
                match_key(fields[name], ident("h", name), typed=True),
                match_key(fields[name], sql.Placeholder(), typed=False),
                sql.Literal(most),
            ),
            [text],
        ).fetchall()
        for (hub_id,) in rows:
            found.setdefault(str(hub_id), Found(hub_id, name))
        for stream in streams:
            for hit in _by_key_of_crm(conn, stream, name, text, most):
                found.setdefault(hit.name, hit)
    linked = [hit for hit in found.values() if hit.hub_id is not None]
    return linked or list(found.values())


def _by_key_of_crm(conn: Connection, stream: StreamSpec, name: str, text: str, most: int) -> list[Found]:
    """In the mirror, which still holds what is gone from the hub, and what could not enter it."""
    if not any(name in rule for rule in stream.match):
        return []
    spec = stream.field(name)
    rows = conn.execute(
        sql.SQL(
            "select b.hub_id, m.crm_id from {mirror} m left join {base} b on b.crm_id = m.crm_id"
            " where {mine} = {theirs} order by m.crm_id limit {most}"
        ).format(
            mirror=mirror_table(stream),
            base=base_table(stream),
            mine=match_key(spec, ident("m", name), typed=False),
            theirs=match_key(spec, sql.Placeholder(), typed=False),
            most=sql.Literal(most),
        ),
        [text],
    ).fetchall()
    return [Found(hub_id, name, stream.connection, crm_id) for hub_id, crm_id in rows]
