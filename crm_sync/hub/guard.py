"""What a run would do to the records that are marked, counted before it begins: one query over these records alone.

The conditions say in SQL what `core.decide` would make of a field, for the two questions that the guard has: does a
value get lost, and does a key get another value. Where they are not sure (which of two changes is newer) they say
yes. tests/hub/test_guard.py holds them against `decide`. Nothing here decides what happens to a record.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

from psycopg import Connection, sql

from crm_sync.core.deletes import PRESENCE, DeletePolicy
from crm_sync.core.guard import ARCHIVED, Counts, Guard, What
from crm_sync.core.spec import Direction, FieldSpec, FieldType, Policy, StreamSpec
from crm_sync.hub import frozen
from crm_sync.hub.differences import differs
from crm_sync.hub.life import CONCERNED
from crm_sync.hub.references_gone import crm_changed
from crm_sync.hub.sql import alive, base_table, hub_changed, hub_now, hub_table, ident, mirror_table, to_text

Side = Literal["hub", "crm"]
"""Where would be written: `hub` is the hub step, `crm` the outbound step."""

FEW = 5_000
"""So many marks are looked up one by one by their keys; of more, Postgres may read the tables as a whole."""

Key = tuple[What, str]


@dataclass(frozen=True, slots=True)
class Marked:
    """The marks of a stream as they stand: its number in the queue, the newest version, how many there are (not counted
    beyond `enough`)."""

    stream: int
    top: int
    number: int


def marked(conn: Connection, stream: StreamSpec, enough: int) -> Marked:
    """How many marks wait, counted up to `enough`; nothing but the queue is read."""
    row = conn.execute(
        "select s.id, q.last_value, (select count(*) from sync.marks(s.id, 0, q.last_value, %s))"
        " from sync.stream s cross join sync.dirty_version q where s.connection = %s and s.entity = %s",
        [enough, stream.connection, stream.entity],
    ).fetchone()
    return Marked(*row) if row is not None else Marked(0, 0, 0)


def linked(conn: Connection, stream: StreamSpec, *, before: bool = False) -> int:
    """How many records have a partner that is not deleted (before: and of how many nobody has settled yet what becomes of
    them, now that it is); reads the links as a whole."""
    there = sql.SQL("({} or m.deleted and b.crm_state = 'present')" if before else "{}").format(alive("m"))
    row = conn.execute(
        sql.SQL(
            "select count(*) from {} b where exists (select from {} m where m.crm_id = b.crm_id and {})"
        ).format(base_table(stream), mirror_table(stream), there)
    ).fetchone()
    return row[0] if row else 0


def count(
    conn: Connection, stream: StreamSpec, side: Side, marks: Marked, guard: Guard, *, force: bool = False
) -> Counts:
    """What would happen to the marked records, for what the guard has limits on; zeros are left out."""
    wanted = _conditions(conn, stream, side, guard, force=force)
    found: dict[Key, int] = {}
    with _by_index(conn) if marks.number <= FEW else nullcontext():
        if wanted:
            counted = sql.SQL(", ").join(
                sql.SQL("count(*) filter (where {})").format(condition) for condition in wanted.values()
            )
            row = conn.execute(_linked(stream, counted), _marks(marks)).fetchone() or ()
            found |= dict(zip(wanted, row, strict=True))
        if What.CREATES in guard.on:
            row = conn.execute(_fresh(stream, side, sql.SQL("count(*)")), _marks(marks)).fetchone() or (0,)
            found[What.CREATES, ""] = row[0]
    return {key: number for key, number in found.items() if number}


def select(
    conn: Connection,
    stream: StreamSpec,
    side: Side,
    marks: Marked,
    guard: Guard,
    keys: Sequence[Key],
    *,
    force: bool = False,
    except_holds: Sequence[int] = (),
) -> Counts:
    """The records that are behind these counts, into the temporary table `would (kind, field, hub_id, crm_id)`, those
    apart that are among the records of `except_holds`. Returns how many there are of each."""
    wanted = _conditions(conn, stream, side, guard, force=force)
    conn.execute("drop table if exists pg_temp.would")
    conn.execute(
        "create temporary table would (kind text, field text, hub_id uuid, crm_id text) on commit drop"
    )
    for what, name in keys:
        about = [sql.Literal(str(what)), sql.Literal(name)]
        if what is What.CREATES:
            mine = "k.hub_id, null" if side == "crm" else "null, k.crm_id"
            rows = _fresh(stream, side, sql.SQL("{}, {}, " + mine).format(*about))
        elif (what, name) not in wanted:  # a limit that was taken away, a field that is frozen by now
            continue
        else:
            rows = sql.SQL("{} where {}").format(
                _linked(stream, sql.SQL("{}, {}, b.hub_id, b.crm_id").format(*about)), wanted[what, name]
            )
        conn.execute(sql.SQL("insert into would {}").format(rows), _marks(marks))
    if except_holds:
        conn.execute(
            "delete from would w where exists (select from sync.hold_record r where r.hold = any(%s)"
            " and r.kind = w.kind and r.field = w.field and (r.hub_id = w.hub_id"
            " or w.hub_id is null and r.hub_id is null and r.crm_id = w.crm_id))",
            [list(except_holds)],
        )
    counted = conn.execute("select kind, field, count(*) from would group by 1, 2").fetchall()
    return {(What(kind), name): number for kind, name, number in counted}


def _marks(marks: Marked) -> dict[str, int]:
    return {"stream": marks.stream, "top": marks.top}


def _linked(stream: StreamSpec, columns: sql.Composable) -> sql.Composed:
    """Query: `columns` over the marked records that have a partner, with h, b and m as in the differences, and d.by_crm:
    the CRM's side was marked."""
    return sql.SQL(
        "select {columns} from (select hub_id, bool_or(by_crm) as by_crm from (select k.hub_id, false as by_crm"
        " from sync.mark k where k.stream = %(stream)s and k.by_hub and k.version <= %(top)s"
        " union all select l.hub_id, true from sync.mark k join {base} l on l.crm_id = k.crm_id"
        " where k.stream = %(stream)s and not k.by_hub and k.version <= %(top)s) k group by hub_id) d"
        " join {base} b on b.hub_id = d.hub_id left join {hub} h on h.id = b.hub_id"
        " left join {mirror} m on m.crm_id = b.crm_id"
    ).format(
        columns=columns, base=base_table(stream), hub=hub_table(stream.entity), mirror=mirror_table(stream)
    )


def _fresh(stream: StreamSpec, side: Side, columns: sql.Composable) -> sql.Composed:
    """Query: `columns` over the marked records of the other side that have no partner; some of them may find one."""
    if side == "crm":
        source, key, there = hub_table(stream.entity), "hub_id", "x.id = k.hub_id"
    else:
        source, key, there = (
            mirror_table(stream),
            "crm_id",
            "x.crm_id = k.crm_id and not x.deleted and not x.outside",
        )
    return sql.SQL(
        "select {columns} from (select distinct k.{key} from sync.mark k where k.stream = %(stream)s and k.by_hub = {by_hub}"
        " and k.version <= %(top)s) k where exists (select from {source} x where " + there + ")"
        " and not exists (select from {base} b where b.{key} = k.{key})"
    ).format(
        columns=columns,
        key=sql.SQL(key),
        by_hub=sql.Literal(side == "crm"),
        source=source,
        base=base_table(stream),
    )


def _conditions(
    conn: Connection, stream: StreamSpec, side: Side, guard: Guard, *, force: bool
) -> dict[Key, sql.Composable]:
    """Of each kind and field that has a limit: the condition over h, b and m under which it happens to a record."""
    seen = frozen.fields(conn, stream)
    moves = [
        (spec, moved)
        for spec in stream.fields
        if spec.name not in seen and (moved := _moves(stream, spec, side, force=force)) is not None
    ]
    there = sql.SQL("h.archived_at is null and h.id is not null and m.crm_id is not null and {}").format(
        alive("m")
    )
    found: dict[Key, sql.Composable] = {}
    keys = {name for rule in stream.match for name in rule}
    for spec, moved in moves:
        if What.BLANKS in guard.on:
            lost = sql.SQL("{} and {} and {}").format(there, _lost(spec, side), moved)
            found[What.BLANKS, spec.name] = lost
        if What.KEYS in guard.on and spec.name in keys and spec.type is not FieldType.REFERENCE:
            found[What.KEYS, spec.name] = sql.SQL("{} and {} and {}").format(there, _other(spec), moved)
    if What.DELETIONS in guard.on and (gone := _deletions(stream, side)) is not None:
        archives = side == "hub" and stream.deletes.inbound is DeletePolicy.ARCHIVE
        found[What.DELETIONS, ARCHIVED if archives else ""] = gone
    if What.CHANGES in guard.on and moves:
        any_moves = sql.SQL(" or ").join(sql.SQL("({})").format(moved) for _, moved in moves)
        found[What.CHANGES, ""] = sql.SQL("{} and ({})").format(there, any_moves)
    return found


def _deletions(stream: StreamSpec, side: Side) -> sql.Composable | None:
    """Condition: the record is deleted, or archived, on `side` because the other side does not have it any more; None if
    that never happens. What a person has decided is not counted."""
    if side == "hub":
        able = stream.direction is not Direction.OUTBOUND
        policies = {DeletePolicy.ARCHIVE, DeletePolicy.PROPAGATE}
        if not able or stream.deletes.inbound not in policies:
            return None
        happens = "b.crm_state = 'present' and m.deleted and h.id is not null and h.archived_at is null"
    else:
        able = stream.direction is not Direction.INBOUND
        if not able or stream.deletes.outbound is not DeletePolicy.PROPAGATE:
            return None
        happens = "b.hub_state = 'present' and not m.deleted and (h.id is null or h.archived_at is not null)"
    return sql.SQL(
        "({concerned} and "
        + happens
        + " and not exists (select from review.conflict c where c.connection = {connection}"
        " and c.entity = {entity} and c.hub_id = b.hub_id and c.field = {field} and c.status = 'decided'"
        " and not starts_with(c.decided_by, 'auto_resolve ')))"
    ).format(
        concerned=CONCERNED,
        connection=sql.Literal(stream.connection),
        entity=sql.Literal(stream.entity),
        field=sql.Literal(PRESENCE),
    )


def _moves(stream: StreamSpec, spec: FieldSpec, side: Side, *, force: bool) -> sql.Composable | None:
    """Condition: the field's value is written to `side`; None if it never is."""
    ours, theirs = hub_changed(spec), crm_changed(stream, spec)
    agreed = ident("b", f"{spec.name}_agreed")
    parts = {"ours": ours, "theirs": theirs, "agreed": agreed, "differs": differs(stream, spec)}
    parts |= {"mine": hub_now(spec), "crm": ident("m", spec.name)}
    winners = {
        "hub": {Policy.CRM_WINS, Policy.MOST_RECENT_WINS},
        "crm": {Policy.HUB_WINS, Policy.MOST_RECENT_WINS},
    }
    wins = spec.policy in winners[side]
    if side == "hub":
        if spec.direction is Direction.OUTBOUND:
            return None
        if force or spec.direction is Direction.INBOUND:
            return sql.SQL("{differs}").format(**parts)
        other = spec.policy is Policy.PREFER_CRM_UNLESS_BLANK  # then only what the CRM has wins
        unless = "true" if wins else "{crm} is not null" if other else "not {ours}"
        return sql.SQL(
            "case when {agreed} then {theirs} and (not {ours} or " + unless + ")"
            " else {crm} is not null and ({mine} is null or "
            + ("true" if wins or other else "false")
            + ") end"
        ).format(**parts)
    if spec.direction is Direction.INBOUND or (force and spec.direction is Direction.TWO_WAY):
        return None
    if spec.direction is Direction.OUTBOUND:
        return sql.SQL("{differs}").format(**parts)
    other = spec.policy is Policy.PREFER_CRM_UNLESS_BLANK  # what is blank in the CRM is filled
    unless = "true" if wins else "{crm} is null" if other else "not {theirs}"
    return sql.SQL(
        "case when {agreed} then {ours} and (not {theirs} or " + unless + ")"
        " else {mine} is not null and ({crm} is null or " + ("true" if wins else "false") + ") end"
    ).format(**parts)


def _lost(spec: FieldSpec, side: Side) -> sql.Composable:
    """Condition: the side that would be written has a value, and the other has none."""
    mine, crm = _text(spec), ident("m", spec.name)
    to, source = (mine, crm) if side == "hub" else (crm, mine)
    return sql.SQL("{} is null and {} is not null").format(source, to)


def _other(spec: FieldSpec) -> sql.Composable:
    """Condition: both sides have a value, and not the same."""
    return sql.SQL("lower({}) <> lower({})").format(to_text(spec, hub_now(spec)), ident("m", spec.name))


_TEXT = frozenset(
    {FieldType.STRING, FieldType.EMAIL, FieldType.PHONE, FieldType.URL, FieldType.PICKLIST, FieldType.ID}
)


def _text(spec: FieldSpec) -> sql.Composable:
    """Our value, null where it means nothing: blanks, and lists without choices."""
    now = hub_now(spec)
    if spec.computed is None and spec.type in _TEXT:
        return sql.SQL("nullif(btrim({}::text), '')").format(now)
    return to_text(spec, now) if spec.type is FieldType.MULTIPICKLIST else now


@contextmanager
def _by_index(conn: Connection) -> Iterator[None]:
    """Few records are looked up by their keys, whatever the planner believes about the queue."""
    with conn.transaction():
        conn.execute(
            "set local enable_hashjoin = off; set local enable_mergejoin = off; set local enable_seqscan = off"
        )
        yield
        conn.execute(
            "set local enable_hashjoin to default; set local enable_mergejoin to default; set local enable_seqscan to default"
        )
