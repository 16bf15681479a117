"""Candidates: which hub record each record of the temporary table `unlinked` (see `incoming.py`) is, by the mapping.

The external id first, then the match rules in order, then what is alike (`similar.py`). What is found is noted in the table: found (the hub record) and
rule (its place in `rules`) or, where that does not say it, how; or candidates, how many hub records match where it is
more than one. Nothing is linked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.spec import FieldSpec, StreamSpec
from crm_sync.hub import conversion_partners, match_conflicts, similar
from crm_sync.hub.apart import not_apart
from crm_sync.hub.similar import Review
from crm_sync.hub.sql import base_table, hub_table, ident, match_key, mirror_table

EXTERNAL_ID = "external id"
SCORE = "score"
DECISION = "decision"


def rules(stream: StreamSpec) -> list[str]:
    """What records are matched by, in order, in words: the external id, then the match rules; last a person's decision,
    which goes before them but for the external id."""
    return [
        EXTERNAL_ID,
        *(" + ".join(rule) for rule in stream.match),
        *([SCORE] if stream.similar else []),
        DECISION,
    ]


def find(conn: Connection, stream: StreamSpec) -> dict[str, Review]:
    """Look for the partner of each record that has none yet; returns those about which a person decides, by CRM id."""
    _by_external_id(conn, stream)
    conversion_partners.match(conn, stream)
    reviews = match_conflicts.follow(conn, stream)
    for number, rule in enumerate(stream.match, 1):
        _by_rule(conn, stream, [stream.field(name) for name in rule], number)
    reviews |= similar.find(conn, stream)
    _keep_out(conn, stream)
    return reviews


def _keep_out(conn: Connection, stream: StreamSpec) -> None:
    """What an undo has taken out of the hub may be found to be a record of it, but makes no new one (`undo_records.py`)."""
    conn.execute(
        "update unlinked u set candidates = -1 from sync.kept_out k where k.connection = %s and k.entity = %s"
        " and k.crm_id = u.crm_id and u.found is null and u.candidates = 0 and u.how is null"
        " and k.modified_at is not distinct from u.modified_at",
        [stream.connection, stream.entity],
    )


def _by_external_id(conn: Connection, stream: StreamSpec) -> None:
    """A hub record whose CRM record is deleted is free, unless it is archived: what carries its id now was created in the
    place of the deleted one, by us or by a person. Its link moves (`life_sent.move`)."""
    is_id = "'^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'"
    conn.execute(
        sql.SQL(
            "with given as materialized (select n, lower(hub_id)::uuid as id from unlinked"
            " where case when hub_id ~* {is_id} then true else false end),"
            " free as (select distinct on (g.id) g.n, g.id from given g"
            " cross join lateral (select h.id, h.archived_at from {hub} h where h.id = g.id offset 0) h"
            " left join lateral (select b.hub_id, b.crm_id from {base} b where b.hub_id = g.id offset 0) b on true"
            " left join lateral (select m.crm_id from {mirror} m where m.crm_id = b.crm_id and m.deleted"
            " and m.merged_into is null and not m.lead_converted offset 0) gone on true"
            " where b.hub_id is null or h.archived_at is null and gone.crm_id is not null order by g.id, g.n)"
            " update unlinked u set found = f.id, rule = 0 from free f where f.n = u.n"
        ).format(
            hub=hub_table(stream.entity),
            base=base_table(stream),
            mirror=mirror_table(stream),
            is_id=sql.SQL(is_id),
        )
    )


def _by_rule(conn: Connection, stream: StreamSpec, rule: Sequence[FieldSpec], number: int) -> None:
    """Exact keys: one free hub record and one CRM record of this chunk on either side, or nothing."""
    mine = [
        sql.SQL("{} as {}").format(match_key(spec, ident("u", spec.name), typed=False), ident(f"key{i}"))
        for i, spec in enumerate(rule)
    ]
    matched = sql.SQL(" and ").join(
        sql.SQL("{} = {}").format(match_key(spec, ident("h", spec.name), typed=True), ident("k", f"key{i}"))
        for i, spec in enumerate(rule)
    )
    # The fences (`offset 0`, `materialized`) keep the planner, which knows nothing of the temporary table, from
    # reading the hub as a whole for each record: records are looked up by their key, and little is left to join.
    conn.execute(
        sql.SQL(
            "with wanted as materialized (select u.n, u.crm_id, {mine} from unlinked u"
            " where u.found is null and u.candidates = 0 and u.how is null),"
            " keyed as materialized (select k.n, k.crm_id, h.id from wanted k"
            " cross join lateral (select h.id from {hub} h where {matched} and h.archived_at is null offset 0) h),"
            " pairs as (select k.n, k.id from keyed k"
            " left join lateral (select b.hub_id from {base} b where b.hub_id = k.id offset 0) b on true"
            " where b.hub_id is null and {together} and k.id not in (select found from unlinked where found is not null)),"
            " counted as (select n, id, count(*) over (partition by n) as hubs,"
            " row_number() over (partition by id order by n) as place from pairs)"
            " update unlinked u set found = case when c.hubs = 1 then c.id end, candidates = c.hubs,"
            " rule = {number}"
            " from counted c where c.n = u.n and (c.hubs > 1 or c.place = 1)"
        ).format(
            mine=sql.SQL(", ").join(mine),
            hub=hub_table(stream.entity),
            matched=matched,
            base=base_table(stream),
            number=sql.Literal(number),
            together=not_apart(stream, ident("k", "crm_id"), ident("k", "id")),
        )
    )


def set_aside_in_doubt(conn: Connection, stream: StreamSpec) -> list[str]:
    """A match by rule with a hub record that we may just have created in the CRM: which CRM record is ours, the
    outbound step finds out first. (The external id would have said so.)"""
    rows = conn.execute(
        "update unlinked u set found = null, candidates = -1 from sync.intent i"
        " where i.connection = %s and i.entity = %s and i.kind = 'create' and i.hub_id = u.found"
        " and lower(u.hub_id) is distinct from u.found::text returning u.crm_id",
        [stream.connection, stream.entity],
    ).fetchall()
    # One that says that it is ours, though its hub record was not found: an application has deleted that one, and it would
    # come back as somebody new. And one that may have been created in the place of a deleted record, with which its hub
    # record is linked until then.
    rows += conn.execute(
        "update unlinked u set found = null, candidates = -1 from sync.intent i"
        " where i.connection = %s and i.entity = %s and i.kind = 'create'"
        " and (lower(u.hub_id) = i.hub_id::text and u.found is distinct from i.hub_id"
        " or i.crm_id is not null and (lower(u.hub_id) = i.hub_id::text or %s)) returning u.crm_id",
        [stream.connection, stream.entity, stream.external_id is None],
    ).fetchall()
    return [row[0] for row in rows]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for one record. outcome: "link", "ambiguous", "review" or "create" (nothing matches); values: of the fields
    that are looked at, as canonical text; hub_ids: the hub record, or some of those that match."""

    crm_id: str
    outcome: str
    rule: str
    values: Mapping[str, str | None]
    hub_ids: tuple[UUID, ...]


def fields_of(stream: StreamSpec) -> list[str]:
    """The fields that the match rules look at, each once; without rules, the first columns."""
    names = dict.fromkeys(name for rule in stream.match for name in rule)
    names |= dict.fromkeys(stream.similar.fields if stream.similar is not None else ())
    return list(names) or [spec.name for spec in stream.columns[:3]]


_OUTCOME = "case when found is not null then 'link' when candidates > 1 then 'ambiguous' when candidates = -2 then 'review' when candidates = 0 then 'create' end"


def examples(conn: Connection, stream: StreamSpec, most: int) -> list[Found]:
    """Of the records in `unlinked` at most `most` of each outcome and rule; right after `link.link`."""
    names = fields_of(stream)
    rows = conn.execute(
        sql.SQL(
            "select crm_id, outcome, rule, how, found, {names} from (select *, row_number() over (partition by outcome, rule, left(how, 5)"
            " order by n) as place from (select u.*, {outcome} as outcome from unlinked u) o"
            " where outcome is not null) p where place <= %s order by n"
        ).format(names=sql.SQL(", ").join(map(ident, names)), outcome=sql.SQL(_OUTCOME)),
        [most],
    ).fetchall()
    found = []
    for crm_id, outcome, rule, how, hub_id, *values in rows:
        hub_ids: tuple[UUID, ...] = () if hub_id is None else (hub_id,)
        if outcome == "ambiguous":
            hub_ids = _matching(conn, stream, stream.match[rule - 1], crm_id)
        by = how or ("" if rule is None else rules(stream)[rule])
        found.append(Found(crm_id, outcome, by, dict(zip(names, values, strict=True)), hub_ids))
    return found


def _matching(conn: Connection, stream: StreamSpec, rule: Sequence[str], crm_id: str) -> tuple[UUID, ...]:
    """Some hub records without a link that match a record of `unlinked` by a rule."""
    specs = [stream.field(name) for name in rule]
    matched = sql.SQL(" and ").join(
        sql.SQL("{} = (select {} from unlinked u where u.crm_id = {})").format(
            match_key(spec, ident("h", spec.name), typed=True),
            match_key(spec, ident("u", spec.name), typed=False),
            sql.Literal(crm_id),
        )
        for spec in specs
    )
    rows = conn.execute(
        sql.SQL(
            "select h.id from {hub} h where {matched}"
            " and not exists (select from {base} b where b.hub_id = h.id) order by h.id limit 5"
        ).format(hub=hub_table(stream.entity), base=base_table(stream), matched=matched)
    ).fetchall()
    return tuple(row[0] for row in rows)
