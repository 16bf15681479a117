"""The rows of plans: staged while a plan is made, kept in canonical order, compared, and marked as written or refused.

All set-based: a plan may have millions of rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import class_row

from crm_sync.core.approval import PlanRow
from crm_sync.core.guard import Counts, What
from crm_sync.core.spec import StreamSpec, template_fields
from crm_sync.hub.plans import Plan
from crm_sync.hub.sql import ident

_NAMES = "stream, target, action, record, field, old, new, reason, hub_id, crm_id, hub_then, crm_then, verdict, policy"
_READ = _NAMES.replace("hub_id,", "hub_id::text as hub_id,")
_ORDER = 'stream collate "C", target collate "C", record collate "C", field collate "C", action collate "C"'
_BATCH = 5_000


def stage(conn: Connection) -> None:
    """An empty temporary table `planned` for `note`; it lasts as long as the session."""
    conn.execute("drop table if exists pg_temp.planned")
    conn.execute(
        "create temporary table planned (stream text, target text, action text, record text, field text, old text,"
        " new text, reason text, hub_id uuid, crm_id text, hub_then text, crm_then text, verdict text, policy text)"
    )


def note(conn: Connection, rows: Sequence[PlanRow]) -> None:
    """Stage these rows."""
    if not rows:
        return
    with conn.cursor() as cursor, cursor.copy(f"copy planned ({_NAMES}) from stdin") as copy:
        for r in rows:
            copy.write_row(
                (r.stream, r.target, r.action, r.record, r.field, r.old, r.new, r.reason, r.hub_id, r.crm_id,
                 r.hub_then, r.crm_then, r.verdict, r.policy)
            )  # fmt: skip


def linked(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these records that get their link from what is staged."""
    rows = conn.execute(
        "select hub_id from planned where stream = %s and action = 'link' and hub_id = any(%s)",
        [stream.name, list(hub_ids)],
    )
    return {row[0] for row in rows}


def drop_computed(conn: Connection, stream: StreamSpec) -> None:
    """Without what is computed from values that are to be taken: it will be something else when they are."""
    parts = [(s.name, part) for s in stream.fields for part in template_fields(s.computed or "")]
    if parts:
        conn.execute(
            "delete from planned p using planned t, unnest(%s::text[], %s::text[]) as c (field, part)"
            " where p.stream = %s and p.target = 'crm' and p.action = 'update' and p.field = c.field"
            " and t.target = 'hub' and t.hub_id = p.hub_id and t.field = c.part",
            [*map(list, zip(*parts, strict=True)), stream.name],
        )


def keep(conn: Connection, number: int) -> None:
    """What is staged becomes the rows of this plan. A record that was marked twice was planned twice: once is enough."""
    conn.execute(
        f"insert into sync.plan_row (plan, n, {_NAMES}, key) select %s, row_number() over (order by {_ORDER}), {_NAMES},"
        " coalesce(hub_id::text, record)"
        f" from (select distinct {_NAMES} from planned) p",
        [number],
    )
    conn.execute("analyze sync.plan_row")  # else nothing would be known about so many new rows


def read(conn: Connection, number: int, *, limit: int | None = None) -> Iterator[PlanRow]:
    """The rows in canonical order."""
    with conn.transaction(), conn.cursor(name="plan_rows", row_factory=class_row(PlanRow)) as cursor:
        cursor.itersize = _BATCH
        yield from cursor.execute(
            f"select {_READ} from sync.plan_row where plan = %s order by n limit %s", [number, limit]
        )


def figures(conn: Connection) -> dict[str, dict[str, int]]:
    """Writes of what is staged, by stream and `<target> <action>`."""
    found: dict[str, dict[str, int]] = {}
    for stream, target, action, number in conn.execute(
        f"select stream, target, action, count(*) from (select distinct {_NAMES} from planned) p"
        " group by 1, 2, 3 order by 1, 2, 3"
    ):
        found.setdefault(stream, {})[f"{target} {action}"] = number
    return found


def counts(conn: Connection, stream: StreamSpec, target: str) -> Counts:
    """What is staged, as the guard counts it."""
    keys = sorted({name for rule in stream.match for name in rule})
    rows = conn.execute(
        "select 'blanks', field, count(distinct record) from planned where stream = %(stream)s and target = %(target)s"
        " and action = 'update' and new is null and old is not null and not (starts_with(reason, 'decided by ')"
        " and not starts_with(reason, 'decided by auto_resolve ')) group by field"
        " union all select 'keys', field, count(distinct record) from planned where stream = %(stream)s"
        " and target = %(target)s and action = 'update' and field = any(%(keys)s) and lower(old) <> lower(new) group by field"
        " union all select 'changes', '', count(distinct record) from planned where stream = %(stream)s"
        " and target = %(target)s and action = 'update'"
        " union all select 'creates', '', count(distinct record) from planned where stream = %(stream)s"
        " and target = %(target)s and action = 'create'"
        " union all select 'deletions', '', count(distinct record) from planned where stream = %(stream)s"
        " and target = %(target)s and action in ('delete', 'archive')",
        {"stream": stream.name, "target": target, "keys": keys},
    )
    return {(What(kind), name): number for kind, name, number in rows if number}


class Refused(NamedTuple):
    """A record of a plan that was not written, and what has moved."""

    stream: str
    record: str
    crm_id: str | None
    moved: str


def refused(conn: Connection, number: int, limit: int) -> list[Refused]:
    """Records that were refused."""
    rows = conn.execute(
        "select stream, key, max(crm_id), string_agg(distinct moved, '; ') from sync.plan_row"
        " where plan = %s and outcome = 'refused' group by 1, 2 order by 1, 2 limit %s",
        [number, limit],
    )
    return [Refused(*row) for row in rows]


def of_records(
    conn: Connection, number: int, stream: StreamSpec, target: str, keys: Sequence[str]
) -> dict[str, list[PlanRow]]:
    """The rows of these records that are still to be written to `target`."""
    found: dict[str, list[PlanRow]] = {key: [] for key in keys}
    with conn.cursor(row_factory=class_row(PlanRow)) as cursor:
        for row in cursor.execute(
            f"select {_READ} from unnest(%s::text[]) k cross join lateral (select * from sync.plan_row p where p.plan = %s"
            " and p.stream = %s and p.key = k and p.target = %s and p.outcome is null offset 0) p",
            [list(keys), number, stream.name, target],
        ):
            found[row.key].append(row)
    return found


def of_unlinked(conn: Connection, number: int, stream: StreamSpec, crm_ids: Sequence[str]) -> list[PlanRow]:
    """The links and new hub records among what is still to be done for these CRM records."""
    with conn.cursor(row_factory=class_row(PlanRow)) as cursor:
        return cursor.execute(
            f"select {_READ} from sync.plan_row where plan = %s and stream = %s and target = 'hub'"
            " and action in ('link', 'create') and outcome is null"
            " and (key = any(%s) or record <> key and record = any(%s))",
            [number, stream.name, *[list(crm_ids)] * 2],
        ).fetchall()


def waiting(
    conn: Connection, number: int, stream: StreamSpec, keys: Sequence[str], crm_ids: Sequence[str]
) -> set[str]:
    """Those of these records about which something is still to be written. crm_ids: of records without a link."""
    of_row = "exists (select from sync.plan_row r where r.plan = %(id)s and r.stream = %(stream)s and r.outcome is null"
    rows = conn.execute(  # one look into an index for each, whatever the planner believes about the plan
        f"select k from unnest(%(keys)s::text[]) k where {of_row} and r.key = k)"
        f" union select k from unnest(%(crm_ids)s::text[]) k where {of_row} and r.record <> r.key and r.record = k)",
        {"id": number, "stream": stream.name, "keys": [*keys, *crm_ids], "crm_ids": list(crm_ids)},
    )
    return {row[0] for row in rows}


def refuse(conn: Connection, number: int, stream: str, why: Mapping[str, str]) -> None:
    """These records are not written, in neither direction; why, by key."""
    if why:
        conn.execute(
            "update sync.plan_row r set outcome = 'refused', moved = w.why from unnest(%s::text[], %s::text[]) w (key, why)"
            " where r.plan = %s and r.stream = %s and r.outcome is null and r.key = w.key",
            [list(why), list(why.values()), number, stream],
        )


def refuse_stream(conn: Connection, number: int, stream: str, why: str) -> None:
    """Nothing more of this stream is written."""
    conn.execute(
        "update sync.plan_row set outcome = 'refused', moved = %s where plan = %s and stream = %s and outcome is null",
        [why, number, stream],
    )


def differing(
    conn: Connection, number: int, streams: Sequence[str]
) -> Iterator[tuple[str, str, list[PlanRow], list[PlanRow]]]:
    """Records of these streams whose staged rows (decided anew) are not those that are still to be written: stream, key,
    and both."""
    left = (
        f"select {_NAMES}, key from sync.plan_row where plan = %(id)s and stream = any(%(streams)s)"
        " and outcome is null"
    )
    now = f"select {_NAMES}, coalesce(hub_id::text, record) as key from planned"
    both = f"(({left}) except ({now})) union all (({now}) except ({left}))"
    row = sql.SQL(", ").join(sql.SQL("{}, r.{}").format(sql.Literal(n), ident(n)) for n in _NAMES.split(", "))
    of_odd = "coalesce((select jsonb_agg(r.row) from {} r where r.stream = o.stream and r.key = o.key), '[]')"
    with conn.transaction(), conn.cursor(name="differing") as cursor:
        conn.execute(
            f"create temporary table odd on commit drop as select distinct stream, key from ({both}) o",
            {"id": number, "streams": list(streams)},
        )
        for name, query in (("odd_left", left), ("odd_now", now)):
            conn.execute(
                sql.SQL(
                    "create temporary table {name} on commit drop as select r.stream, r.key, jsonb_build_object({row}) as row"
                    " from (" + query + ") r join odd o on o.stream = r.stream and o.key = r.key"
                ).format(name=ident(name), row=row),
                {"id": number, "streams": list(streams)},
            )
            conn.execute(sql.SQL("create index on {} (key)").format(ident(name)))
            conn.execute(sql.SQL("analyze {}").format(ident(name)))
        cursor.itersize = _BATCH
        cursor.execute(
            f"select o.stream, o.key, {of_odd.format('odd_left')}, {of_odd.format('odd_now')} from odd o"
        )
        for stream, key, planned, found in cursor:
            yield stream, key, [PlanRow(**r) for r in planned], [PlanRow(**r) for r in found]


def mark_written(conn: Connection, plan: Plan, stream: StreamSpec) -> int:
    """What the journal says was written for the plan; returns how many rows are marked now."""
    written = (
        "c.id > %(after)s and c.connection = %(connection)s and c.entity = %(entity)s and c.side = r.target"
        " and right(c.reason, length(%(note)s)) = %(note)s"
    )
    query = (
        "update sync.plan_row r set outcome = 'written' from sync.change c where r.plan = %(id)s and r.stream = %(stream)s"
        f" and r.outcome is null and {written} and "
    )
    values = {
        "after": plan.journal_from or 0,
        "connection": stream.connection,
        "entity": stream.entity,
        "note": plan.note,
        "id": plan.id,
        "stream": stream.name,
    }
    return sum(
        conn.execute(query + matching, values).rowcount
        for matching in (
            "c.kind = r.action and c.hub_id = r.hub_id and c.field = r.field",
            "c.kind = r.action and c.field is null and c.hub_id = r.hub_id",
            "c.kind = r.action and c.field is null and r.target = 'hub' and c.crm_id = r.record",
        )
    )


def parked(conn: Connection, number: int, stream: StreamSpec) -> None:
    """What is parked is not written by this plan; what is tried again after a pause is still to be."""
    conn.execute(
        "update sync.plan_row r set outcome = 'refused', moved = 'parked: ' || p.code from sync.parked p"
        " where r.plan = %s and r.stream = %s and r.outcome is null and p.connection = %s and p.entity = %s"
        " and p.next_try is null and r.key = coalesce(p.hub_id::text, p.record_id)",
        [number, stream.name, stream.connection, stream.entity],
    )


def pausing(conn: Connection, stream: StreamSpec, keys: Sequence[str]) -> set[str]:
    """Those of these records that the CRM has refused for now: nothing marks them until their pause is over."""
    rows = conn.execute(
        "select distinct record_id from sync.parked where connection = %s and entity = %s and side = 'hub'"
        " and record_id = any(%s) and next_try is not null",
        [stream.connection, stream.entity, list(keys)],
    ).fetchall()
    return {row[0] for row in rows}


def left(conn: Connection, number: int, stream: StreamSpec, target: str) -> bool:
    """Whether something is still to be written to this side."""
    row = conn.execute(
        "select exists (select from sync.plan_row where plan = %s and stream = %s and target = %s and outcome is null)",
        [number, stream.name, target],
    ).fetchone()
    return bool(row and row[0])
