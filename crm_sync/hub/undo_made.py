"""Undo of records that were created in a CRM, which a person has to ask for (`--created`): they are deleted there.

Conditions in SQL about `undo_record` (alias r), see `undo_records.py`; how it is done: `steps/undo_made.py`. Whatever
anybody may have put into the record in the CRM forbids it, also what no field of ours shows: the time of its last
modification tells.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.guard import What, judge, sentence
from crm_sync.core.spec import Direction, FieldSpec, FieldType, StreamSpec, System
from crm_sync.core.undo import Fate
from crm_sync.hub import frozen, guard
from crm_sync.hub.references_gone import crm_changed
from crm_sync.hub.sql import base_table, ident, mirror_table

_LATER = "1 minute"
"""So long a CRM's own automation may be at work after our last write. The CRM's clock is not ours: `behind`, of a record that
was looked at, says by how much it is late."""
_LATE = "15 minutes"
"""An answer that came so long after the call does not say when the CRM wrote, if it has no stamp: somebody may have written
to the record before we knew of it."""


def conditions(conn: Connection, stream: StreamSpec) -> list[tuple[Fate, str, sql.Composable]]:
    """What speaks against deleting a record of this stream in the CRM."""
    name = stream.connection
    hidden = frozen.fields(conn, stream)
    seen = [spec for spec in stream.fields if spec.name not in hidden]
    changed = [_changed(stream, spec) for spec in seen]
    unsettled = [
        sql.SQL("(not {} and {} is not null)").format(ident("b", f"{s.name}_agreed"), ident("m", s.name))
        for s in seen
        if s.direction is not Direction.INBOUND
    ]
    mirror = "exists (select from {mirror} m where m.crm_id = r.crm_id and {if})"
    both = (
        "exists (select from {base} b join {mirror} m on m.crm_id = b.crm_id where b.hub_id = r.hub_id"
        " and b.crm_id = r.crm_id and {if})"
    )
    ours = (
        "m.modified_at > (select max(coalesce((x.answer ->> 'modified_at')::timestamptz, x.at + r.behind))"
        " + interval {later} from sync.change x where x.entity = r.entity"
        " and x.hub_id = r.hub_id and x.connection = r.connection and x.crm_id = r.crm_id and x.side = 'crm')"
    )
    create = "exists (select from sync.change x where x.id = r.id and {if})"
    unanswered = sql.SQL("(x.answer ? 'settled' or x.at > (x.answer ->> 'sent')::timestamptz + interval {})")
    written = (
        "exists (select from sync.change x where x.entity = r.entity and x.hub_id = r.hub_id and x.connection = r.connection"
        " and x.crm_id = r.crm_id and x.side = 'crm' and x.kind in ('create', 'update') and x.at > r.at + interval {later})"
    )
    taken = (
        "exists (select from sync.change x where x.entity = r.entity and x.hub_id = r.hub_id and x.id > r.id"
        " and x.connection = r.connection and x.side = 'hub' and x.kind = 'update'"
        " and not (x.old_value is null and exists (select from sync.provenance p where p.entity = x.entity"
        " and p.hub_id = x.hub_id and p.field = x.field and p.changed_by = r.connection"
        " and p.changed_at <= r.at + r.behind + interval {later})))"
    )
    disputed = (
        "exists (select from review.conflict c where c.connection = r.connection and c.entity = r.entity"
        " and c.hub_id = r.hub_id and c.status in ('open', 'decided', 'skipped'))"
    )
    away = sql.SQL("m.merged_into is not null or m.outside or m.lead_converted")
    found: list[tuple[Fate, str, sql.Composable]] = [
        (Fate.LEFT, f"inbound stream: nothing is sent to {name}", _given(stream.direction is Direction.INBOUND)),
        (Fate.LEFT, f"{name} is written to by approved plans only: delete it there by hand", _given("crm" in stream.approval)),
        (Fate.ALREADY, "gone already", _of(stream, mirror, sql.SQL("m.deleted and m.merged_into is null"))),
        (Fate.LEFT, f"merged, converted or outside the filter in {name} by now", _of(stream, mirror, away)),
        (Fate.LEFT, f"not linked any more: delete it in {name} by hand", sql.SQL("not {}").format(
            _of(stream, both, sql.SQL("true")))),
        (Fate.LEFT, f"it was in {name} before: the create has found it there", _of(
            stream, create, sql.SQL("x.answer ->> 'created' = 'false'"))),
        (Fate.EDITED, f"another record of {name} was merged into it", sql.SQL(
            "exists (select from {} o where o.merged_into = r.crm_id)").format(mirror_table(stream))),
        (Fate.LEFT, "a conflict about it is not settled", sql.SQL(disputed)),
        (Fate.LEFT, f"{name} does not let us read all of it now", _given(bool(hidden))),
        (Fate.EDITED, f"edited since in {name}", _of(stream, both, _any(changed))),
        (Fate.EDITED, f"edited since in {name}", sql.SQL(taken).format(later=sql.Literal(_LATER))),
        (Fate.EDITED, f"modified since in {name}", _of(
            stream, both, sql.SQL(ours).format(later=sql.Literal(_LATER)))),
        (Fate.LEFT, f"written to since, so that nobody can tell who else did: delete it in {name} by hand", sql.SQL(
            written).format(later=sql.Literal(_LATER))),
        (Fate.LEFT, f"its create was answered late or never, and who wrote to it until then cannot be told: delete it in {name} by hand", _of(stream, create, unanswered.format(sql.Literal(_LATE)))),
        (Fate.LEFT, f"{name} does not say when it was modified: delete it there by hand", _of(
            stream, both, sql.SQL("m.modified_at is null"))),
        (Fate.LEFT, f"not settled with {name} yet: sync, then undo again", _of(stream, both, _any(unsettled))),
    ]  # fmt: skip
    return [(fate, why, sql.SQL("r.kind = 'made' and {}").format(text)) for fate, why, text in found]


def _changed(stream: StreamSpec, spec: FieldSpec) -> sql.Composable:
    """Condition over r, b and m. What the CRM makes of a blank when the record is created (an owner, a box that is not
    ticked) is no edit; somebody's edit has a later time, as long as we did not write after it."""
    return sql.SQL(
        "({} and ({} is not null or exists (select from sync.change x where x.entity = r.entity and x.hub_id = r.hub_id"
        " and x.connection = r.connection and x.side = 'crm' and x.kind = 'update' and x.id > r.id)))"
    ).format(crm_changed(stream, spec), ident("b", f"{spec.name}_crm"))


def _of(stream: StreamSpec, text: str, condition: sql.Composable) -> sql.Composed:
    return sql.SQL(text).format(
        **{
            "mirror": mirror_table(stream),
            "base": base_table(stream),
            "if": sql.SQL("({})").format(condition),
        }
    )


def _given(there: bool) -> sql.SQL:
    return sql.SQL("true" if there else "false")


def _any(parts: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL(" or ").join(parts) if parts else sql.SQL("false")


def referring(system: System, stream: StreamSpec) -> sql.Composable | None:
    """Condition: a record that the CRM has refers to it, and does not go itself. As far as the mapping shows it."""
    parts = [
        sql.SQL(
            "exists (select from {mirror} x where x.{field} = r.crm_id and not x.deleted and not exists (select"
            " from undo_record d where d.kind = 'made' and d.fate in ('undo', 'done') and d.connection = {connection}"
            " and d.entity = {entity} and d.crm_id = x.crm_id))"
        ).format(
            mirror=mirror_table(other),
            field=ident(spec.name),
            connection=sql.Literal(other.connection),
            entity=sql.Literal(other.entity),
        )
        for other in system.connection(stream.connection).streams
        for spec in other.fields
        if spec.type is FieldType.REFERENCE and spec.entity == stream.entity
    ]
    if not parts:
        return None
    return sql.SQL("r.kind = 'made' and ({})").format(sql.SQL(" or ").join(parts))


def too_many(conn: Connection, stream: StreamSpec) -> str:
    """Why the guard does not let so many records of the CRM be deleted; empty if it does."""
    row = conn.execute(
        "select count(distinct hub_id) from undo_record where kind = 'made' and fate = 'undo' and connection = %s"
        " and entity = %s",
        [stream.connection, stream.entity],
    ).fetchone()
    counts = {(What.DELETIONS, ""): row[0] if row else 0}
    if not judge(counts, 0, stream.guard):
        return ""
    linked = guard.linked(conn, stream)
    excess = judge(counts, linked, stream.guard)
    if not excess:
        return ""
    return f"too many for the guard of {stream.name}: {sentence(excess, linked)}; undo a part of it, or raise the limit"


def crm_ids(conn: Connection, stream: StreamSpec, ids: Sequence[int] | None = None) -> list[str]:
    """The records of this stream that are to be deleted in the CRM; of these rows of the journal, if given."""
    rows = conn.execute(
        "select distinct crm_id from undo_record where kind = 'made' and fate = 'undo' and connection = %s and entity = %s"
        " and (%s::bigint[] is null or id = any(%s)) order by 1",
        [stream.connection, stream.entity, ids, ids],
    ).fetchall()
    return [row[0] for row in rows]


def clock(conn: Connection, stream: StreamSpec, now: datetime) -> None:
    """What the CRM's clock says now. One that is ahead makes more records look edited than are: these stay."""
    conn.execute(
        "update undo_record set behind = least(%s - clock_timestamp(), interval '0') where kind = 'made' and fate = 'undo'"
        " and connection = %s and entity = %s",
        [now, stream.connection, stream.entity],
    )


def turn(conn: Connection, stream: StreamSpec, ids: Sequence[str], fate: str, about: str) -> None:
    """The fate of these CRM records."""
    conn.execute(
        "update undo_record set fate = %s, about = %s where kind = 'made' and fate = 'undo' and connection = %s"
        " and entity = %s and crm_id = any(%s)",
        [fate, about, stream.connection, stream.entity, list(ids)],
    )


def chosen(conn: Connection, ids: Sequence[int], hub: sql.Identifier) -> list[tuple[UUID, str, str]]:
    """Of these rows of the journal those that still are to be undone: hub id, CRM id, whether the hub has the record."""
    return conn.execute(
        sql.SQL(
            "select distinct on (r.hub_id) r.hub_id, r.crm_id, case when h.id is null then 'deleted'"
            " when h.archived_at is not null then 'archived' else 'present' end from undo_record r"
            " left join {} h on h.id = r.hub_id where r.id = any(%s) and r.fate = 'undo' order by r.hub_id"
        ).format(hub),
        [list(ids)],
    ).fetchall()
