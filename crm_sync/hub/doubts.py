"""Doubts: values that a write of ours was to set whose answer never came and which nobody has seen arrive.

Looking showed that they were not there, so the records were decided anew. But a request that was lost on its way can
still take effect minutes later, over what was written since. What a CRM then says is our own old value and nobody's
edit: `differences` knows it by these rows, and `core.decide` sends the hub's value again. A CRM tells only when a record
was last written to, be it in another field: until everything is read that may have landed, nobody can tell (`over`).
A CRM may spell what it gets in its own way, such as phone numbers: `alike` knows it in any spelling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from psycopg import Connection, sql

from crm_sync.core.difference import Difference
from crm_sync.core.normalise import to_hub
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from crm_sync.hub import frozen
from crm_sync.hub.intents import Intent, as_json
from crm_sync.hub.sql import base_table, ident, mirror_table

MAY_LAND = "15 minutes"
"""So long after the look, on the CRM's clock, such a value is taken for ours: vendors end a request after 10 minutes at
most."""

_KEPT = "7 days"  # a sync may be paused for that long and still tell


def note(
    conn: Connection, stream: StreamSpec, unseen: Sequence[Intent], looked_at: datetime, run_id: str | None
) -> None:
    """Remember what these writes were to set; `looked_at` is the CRM's time when it was not there."""
    conn.execute(
        f"delete from sync.doubt where connection = %s and entity = %s and noted_at < now() - interval '{_KEPT}'",
        [stream.connection, stream.entity],
    )
    if unseen:
        conn.execute(
            "insert into sync.doubt (connection, entity, hub_id, field, sent, looked_at, run_id)"
            " select %s, %s, i.hub_id, s.key, s.value, %s, %s from unnest(%s::uuid[], %s::jsonb[]) as i (hub_id, sent)"
            " cross join lateral jsonb_each_text(i.sent) s",
            [
                stream.connection,
                stream.entity,
                looked_at,
                run_id,
                [i.hub_id for i in unseen],
                [as_json(_sent(i)) for i in unseen],
            ],
        )


def _sent(intent: Intent) -> Mapping[str, str | None]:
    """A create sends no blanks."""
    if intent.kind == "update":
        return intent.sent
    return {name: value for name, value in intent.sent.items() if value is not None}


def over(conn: Connection, stream: StreamSpec, read_to: datetime) -> None:
    """Everything modified before `read_to` is in the mirror: of the values that would have landed by then, forget those
    that are not there, or are agreed on. Who says so later is somebody else."""
    rows = conn.execute(
        "select distinct field from sync.doubt where connection = %s and entity = %s"
        f" and looked_at + interval '{MAY_LAND}' <= %s",
        [stream.connection, stream.entity, read_to],
    ).fetchall()
    unseen = set(frozen.fields(conn, stream)) if rows else set()
    for spec in stream.fields:
        if spec.name in {row[0] for row in rows} - unseen:
            _over(conn, stream, spec, read_to)


def _over(conn: Connection, stream: StreamSpec, spec: FieldSpec, read_to: datetime) -> None:
    found = conn.execute(
        sql.SQL(
            "select u.ctid::text, u.sent, case when m.said is distinct from b.known then m.said end from sync.doubt u"
            " cross join lateral (select b.crm_id, b.{known} as known from {base} b where b.hub_id = u.hub_id offset 0) b"
            " cross join lateral (select m.{field} as said from {mirror} m where m.crm_id = b.crm_id offset 0) m"
            " where u.connection = %s and u.entity = %s and u.field = %s and u.looked_at + interval {window} <= %s"
            " and (m.said is distinct from u.sent or m.said is not distinct from b.known) for update of u"
        ).format(
            base=base_table(stream),
            mirror=mirror_table(stream),
            field=ident(spec.name),
            known=ident(f"{spec.name}_crm"),
            window=sql.Literal(MAY_LAND),
        ),
        [stream.connection, stream.entity, spec.name, read_to],
    ).fetchall()
    if not found:
        return
    places, were, said = zip(*found, strict=True)
    there = _alike(spec, were, said)
    gone = [place for place, is_there in zip(places, there, strict=True) if not is_there]
    conn.execute("delete from sync.doubt where ctid = any(%s::tid[])", [gone])


def alike(conn: Connection, stream: StreamSpec, found: Sequence[Difference]) -> list[Difference]:
    """The differences, told which values are what a lost write of ours was to set, as the CRM spells it."""
    asked = [d.hub_id for d in found if d.crm_changed and d.crm_now is not None and not d.landed]
    if not asked:
        return list(found)
    rows = conn.execute(
        "select hub_id, field, sent, looked_at + %s::interval from sync.doubt"
        " where connection = %s and entity = %s and hub_id = any(%s) and sent is not null",
        [MAY_LAND, stream.connection, stream.entity, asked],
    ).fetchall()
    by_key = {(d.hub_id, d.field): d for d in found if d.crm_changed}
    specs = {spec.name: spec for spec in stream.fields}
    told: dict[int, Difference] = {}
    for hub_id, name, was, until in rows:
        d = by_key.get((hub_id, name))
        if d is None or not _alike(specs[name], [was], [d.crm_now])[0]:
            continue
        in_time = d.crm_at is not None and d.crm_at <= until
        known = told.get(id(d), d)
        told[id(d)] = replace(known, landed=known.landed or in_time, maybe_landed=True)
    return [told.get(id(d), d) for d in found]


def _alike(spec: FieldSpec, sent: Sequence[str | None], said: Sequence[str | None]) -> list[bool]:
    """Whether what the CRM says is what was sent, be it spelled in another way. Options are compared as they are: two of
    the CRM's may mean the same in the hub, and yet be different ones."""
    if spec.type is FieldType.REFERENCE or spec.computed is not None:
        return [was is not None and now == was for now, was in zip(said, sent, strict=True)]
    plain = replace(spec, to_hub=None)
    means = zip(to_hub(plain, sent), to_hub(plain, said), strict=True)
    return [isinstance(was, str) and was == now for was, now in means]


def sent(stream: StreamSpec, *more: sql.Composable) -> sql.Composable:
    """Condition over a row d of the differences view: what the CRM says is such a value, whenever it came."""
    return sql.SQL(
        "exists (select from sync.doubt u where u.connection = {connection} and u.entity = {entity}"
        " and u.hub_id = d.hub_id and u.field = d.field and u.sent is not distinct from d.crm_now{more})"
    ).format(
        connection=sql.Literal(stream.connection),
        entity=sql.Literal(stream.entity),
        more=sql.SQL("").join(more),
    )


def landed(stream: StreamSpec) -> sql.Composable:
    """Condition over a row d of the differences view: what the CRM says is such a value, and came in time to be ours."""
    in_time = sql.SQL(" and d.crm_at <= u.looked_at + interval {}").format(sql.Literal(MAY_LAND))
    return sql.SQL("(d.crm_changed and {})").format(sent(stream, in_time))


def of_record(stream: StreamSpec) -> sql.Composable:
    """Condition over a row b of the base: there is a doubt about the record."""
    return sql.SQL(
        "exists (select from sync.doubt u where u.connection = {} and u.entity = {} and u.hub_id = b.hub_id)"
    ).format(sql.Literal(stream.connection), sql.Literal(stream.entity))
