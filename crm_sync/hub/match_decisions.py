"""Match conflicts as people see them, and what they decide; the sync's part is in `match_conflicts.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import class_row

from crm_sync.core.spec import StreamSpec
from crm_sync.hub import dirty
from crm_sync.hub.match_conflicts import withdrawn
from crm_sync.hub.sql import base_table, hub_table, ident, mirror_table, to_text


@dataclass(frozen=True, slots=True)
class MatchConflict:
    """A row of `review.match`. candidates: dicts of hub_id, score (0 to 1) and alike (how alike, by what is compared),
    the best first. note: what else there is to know."""

    id: int
    connection: str
    entity: str
    crm_id: str
    candidates: list[dict[str, Any]]
    status: str
    decision: str | None
    hub_id: UUID | None
    decided_by: str | None
    opened_at: datetime
    note: str


_COLUMNS = "id, connection, entity, crm_id, candidates, status, decision, hub_id, decided_by, opened_at, note"


def find(
    conn: Connection, *, ids: Sequence[int] | None = None, entity: str = "", limit: int | None = None
) -> list[MatchConflict]:
    """The open match conflicts, oldest first; with `ids`, these, decided ones too."""
    with conn.cursor(row_factory=class_row(MatchConflict)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from review.match where case when %(ids)s::bigint[] is null then status = 'open'"
            " else id = any(%(ids)s) and status in ('open', 'decided') end and (%(entity)s = '' or entity = %(entity)s)"
            " order by id limit %(limit)s",
            {"ids": None if ids is None else list(ids), "entity": entity, "limit": limit},
        ).fetchall()


def count(conn: Connection, entity: str) -> int:
    """How many match conflicts of an entity are open."""
    row = conn.execute(
        "select count(*) from review.match where entity = %s and status = 'open'", [entity]
    ).fetchone()
    return row[0] if row else 0


def values(
    conn: Connection, stream: StreamSpec, conflicts: Sequence[MatchConflict]
) -> tuple[dict[str, dict[str, str | None]], dict[str, dict[str, str | None]]]:
    """What is compared, as it is now: of the CRM records of these conflicts of a stream in the CRM's own values, by
    CRM id, and of their candidates, by hub id."""
    names = stream.similar.fields if stream.similar is not None else ()
    if not names:
        return {}, {}
    theirs = conn.execute(
        sql.SQL("select m.crm_id, {} from {} m where m.crm_id = any(%s)").format(
            sql.SQL(", ").join(ident("m", name) for name in names), mirror_table(stream)
        ),
        [[conflict.crm_id for conflict in conflicts]],
    ).fetchall()
    ours = conn.execute(
        sql.SQL("select h.id::text, {} from {} h where h.id = any(%s::uuid[])").format(
            sql.SQL(", ").join(to_text(stream.field(name), ident("h", name)) for name in names),
            hub_table(stream.entity),
        ),
        [[one["hub_id"] for conflict in conflicts for one in conflict.candidates]],
    ).fetchall()
    return _named(names, theirs), _named(names, ours)


def _named(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, dict[str, str | None]]:
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}


def free(conn: Connection, stream: StreamSpec, hub_id: UUID, conflict_id: int) -> str | None:
    """Why this conflict's CRM record cannot be linked with this hub record, or None."""
    row = conn.execute(
        sql.SQL(
            "select h.id, (select b.crm_id from {base} b where b.hub_id = h.id) from {hub} h where h.id = %s"
        ).format(base=base_table(stream), hub=hub_table(stream.entity)),
        [hub_id],
    ).fetchone()
    if row is None:
        return f"hub.{stream.entity} has no record {hub_id}"
    if row[1] is not None:
        return f"the hub record {hub_id} is linked with {stream.name} {row[1]} already"
    other = conn.execute(
        "select crm_id from review.match where connection = %s and entity = %s and status = 'decided' and hub_id = %s"
        " and id <> %s",
        [stream.connection, stream.entity, hub_id, conflict_id],
    ).fetchone()
    return (
        None
        if other is None
        else f"{stream.name} {other[0]} is to be linked with the hub record {hub_id} already"
    )


def decide(
    conn: Connection, stream: StreamSpec, conflict: MatchConflict, hub_id: UUID | None, person: str
) -> None:
    """Note that the CRM record is this hub record, or (None) a new one, and ask for it to be looked at."""
    _withdraw(conn, stream, conflict, f"{person} decided anew")
    conn.execute(
        "update review.match set status = 'decided', decision = %s, hub_id = %s, decided_by = %s,"
        " decided_at = clock_timestamp() where id = %s and status in ('open', 'decided')",
        ["new" if hub_id is None else "link", hub_id, person, conflict.id],
    )
    conn.execute(
        "insert into sync.mark (stream, by_hub, crm_id) select id, false, %s from sync.stream"
        " where connection = %s and entity = %s",
        [conflict.crm_id, stream.connection, stream.entity],
    )


def reopen(conn: Connection, stream: StreamSpec, conflict: MatchConflict, person: str) -> None:
    """Withdraw a decision that no sync has followed yet."""
    _withdraw(conn, stream, conflict, f"by {person}")
    conn.execute(
        "update review.match set status = 'open', decision = null, hub_id = null, decided_by = null, decided_at = null"
        " where id = %s and status = 'decided'",
        [conflict.id],
    )


def _withdraw(conn: Connection, stream: StreamSpec, conflict: MatchConflict, why: str) -> None:
    """What was decided counts no more; the hub record that was chosen waits for nothing, unless it is a candidate."""
    if conflict.decision is None:
        return
    person = conflict.decided_by or "somebody"
    withdrawn(conn, stream, conflict.crm_id, conflict.hub_id, conflict.decision, person, why, None)
    if conflict.hub_id is not None:
        dirty.mark_hub(conn, stream, [conflict.hub_id])
