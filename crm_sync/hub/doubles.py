"""Doubles: records of one system that are the same by a match rule. They are found and shown, never merged.

A double in a CRM is two live records of the mirror with the same key; in the hub, two rows. Values are compared as
matching compares them (`sync.match_key`); in the mirror they are the CRM's own, so that two spellings of one telephone
number are found in the hub only. Everything here reads whole tables: it is for people who ask, not for a sync.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.spec import FieldSpec, StreamSpec, System
from crm_sync.hub.sql import base_table, hub_table, ident, match_key, mirror_table, to_text

HUB = "hub"
MEMBERS = 10
"""Records that are shown of a group."""


@dataclass(frozen=True, slots=True)
class Member:
    """One record of a group. links: what it is linked with: for a CRM's record its hub record, {"hub": id}; for a hub
    record its CRM records by connection."""

    record: str
    values: Mapping[str, str | None]
    links: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Records of one system (a connection, or "hub") that are the same by a rule: how many, and the first of them."""

    system: str
    entity: str
    rule: tuple[str, ...]
    records: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """How many groups there are by a rule, and how many records in them."""

    system: str
    entity: str
    rule: tuple[str, ...]
    groups: int
    records: int


def in_crm(conn: Connection, stream: StreamSpec, limit: int) -> Iterator[Group]:
    """Groups among the live records of a mirror, rule by rule, at most `limit` of each."""
    for rule in stream.match:
        specs = [stream.field(name) for name in rule]
        for ids, number in _groups(conn, _mirror(stream, specs), limit):
            yield Group(
                stream.connection, stream.entity, rule, number, _crm_members(conn, stream, specs, ids)
            )


def in_hub(conn: Connection, system: System, entity: str, limit: int) -> Iterator[Group]:
    """Groups among the rows of a hub table, by the rules of all its streams, at most `limit` of each."""
    fields = system.hub_fields(entity)
    for rule in _rules(system, entity):
        specs = [fields[name] for name in rule]
        for ids, number in _groups(conn, _hub(entity, specs), limit):
            yield Group(HUB, entity, rule, number, _hub_members(conn, system, entity, specs, ids))


def count_in_crm(conn: Connection, stream: StreamSpec) -> list[Count]:
    """One row per match rule."""
    found = []
    for rule in stream.match:
        grouped = _mirror(stream, [stream.field(name) for name in rule])
        found.append(Count(stream.connection, stream.entity, rule, *_count(conn, grouped)))
    return found


def count_in_hub(conn: Connection, system: System, entity: str) -> list[Count]:
    """One row per match rule of any stream."""
    fields = system.hub_fields(entity)
    return [
        Count(HUB, entity, rule, *_count(conn, _hub(entity, [fields[name] for name in rule])))
        for rule in _rules(system, entity)
    ]


def owners(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> dict[str, UUID]:
    """The hub records that these CRM records are linked with; those without a link are left out."""
    rows = conn.execute(
        sql.SQL("select crm_id, hub_id from {} where crm_id = any(%s)").format(base_table(stream)),
        [list(crm_ids)],
    ).fetchall()
    return dict(rows)


def _rules(system: System, entity: str) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(rule for stream in system.of_entity(entity) for rule in stream.match))


def _mirror(stream: StreamSpec, specs: Sequence[FieldSpec]) -> sql.Composed:
    return sql.SQL(
        "select array_agg(m.crm_id order by m.crm_id) as ids from {} m where not m.deleted and {}"
    ).format(mirror_table(stream), _same("m", specs, typed=False))


def _hub(entity: str, specs: Sequence[FieldSpec]) -> sql.Composed:
    return sql.SQL(
        "select array_agg(h.id::text order by h.id) as ids from {} h where h.archived_at is null and {}"
    ).format(hub_table(entity), _same("h", specs, typed=True))


def _same(alias: str, specs: Sequence[FieldSpec], *, typed: bool) -> sql.Composed:
    """The end of a query that groups by the rule's keys: no key may be blank, and there are several records."""
    keys = [match_key(spec, ident(alias, spec.name), typed=typed) for spec in specs]
    return sql.SQL("{} group by {} having count(*) > 1").format(
        sql.SQL(" and ").join(sql.SQL("{} is not null").format(key) for key in keys),
        sql.SQL(", ").join(keys),
    )


def _groups(conn: Connection, grouped: sql.Composed, limit: int) -> list[tuple[list[str], int]]:
    """The first records of each group and how many it has; the largest groups first."""
    return conn.execute(
        sql.SQL(
            "select ids[1:{}], cardinality(ids) from ({}) g order by cardinality(ids) desc, ids[1] limit {}"
        ).format(sql.Literal(MEMBERS), grouped, sql.Literal(limit))
    ).fetchall()


def _count(conn: Connection, grouped: sql.Composed) -> tuple[int, int]:
    row = conn.execute(
        sql.SQL("select count(*), coalesce(sum(cardinality(ids)), 0)::bigint from ({}) g").format(grouped)
    ).fetchone()
    return row or (0, 0)


def _crm_members(
    conn: Connection, stream: StreamSpec, specs: Sequence[FieldSpec], ids: Sequence[str]
) -> tuple[Member, ...]:
    rows = conn.execute(
        sql.SQL(
            "select m.crm_id, b.hub_id::text, {} from {} m left join {} b on b.crm_id = m.crm_id"
            " where m.crm_id = any(%s) order by m.crm_id"
        ).format(
            sql.SQL(", ").join(ident("m", spec.name) for spec in specs),
            mirror_table(stream),
            base_table(stream),
        ),
        [list(ids)],
    ).fetchall()
    return tuple(Member(row[0], _named(specs, row[2:]), {HUB: row[1]} if row[1] else {}) for row in rows)


def _hub_members(
    conn: Connection, system: System, entity: str, specs: Sequence[FieldSpec], ids: Sequence[str]
) -> tuple[Member, ...]:
    streams = system.of_entity(entity)
    links = [
        sql.SQL("(select b.crm_id from {} b where b.hub_id = h.id)").format(base_table(stream))
        for stream in streams
    ]
    rows = conn.execute(
        sql.SQL("select h.id::text, {} from {} h where h.id = any(%s::uuid[]) order by h.id").format(
            sql.SQL(", ").join([*links, *(to_text(spec, ident("h", spec.name)) for spec in specs)]),
            hub_table(entity),
        ),
        [list(ids)],
    ).fetchall()
    found = []
    for row in rows:
        linked = zip(streams, row[1 : len(streams) + 1], strict=True)
        named = _named(specs, row[len(streams) + 1 :])
        found.append(Member(row[0], named, {s.connection: crm_id for s, crm_id in linked if crm_id}))
    return tuple(found)


def _named(specs: Sequence[FieldSpec], values: Sequence[str | None]) -> dict[str, str | None]:
    return {spec.name: value for spec, value in zip(specs, values, strict=True)}
