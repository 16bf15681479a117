"""The review table: disputes that no policy may decide, and what people decided about them.

A conflict row holds the two values it is about. If a side changes again, the row is brought up to date (and a
decision about the old values no longer counts); if the dispute is gone, the row is closed as superseded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import class_row

from crm_sync.core.decide import LANDED_OR_TYPED, Verdict
from crm_sync.core.deletes import PRESENCE
from crm_sync.core.spec import StreamSpec

Decision = Literal["use_hub", "use_crm", "skip"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """One row of `review.conflict`; values are text in each side's own terms, times UTC. evidence: what the two times
    tell; values_at: since when the row has had these two values."""

    id: int
    connection: str
    entity: str
    hub_id: UUID
    crm_id: str
    field: str
    hub_value: str | None
    crm_value: str | None
    crm_value_as_hub: str | None
    hub_changed_at: datetime | None
    hub_changed_by: str | None
    crm_changed_at: datetime | None
    suggestion: str
    reason: str
    status: str
    decision: str | None
    decided_by: str | None
    decided_at: datetime | None
    opened_at: datetime
    evidence: str | None
    values_at: datetime

    @property
    def newer(self) -> Literal["hub", "crm"] | None:
        """The side of the later change; None if the times are equal or unknown. What may be a late write of our own is older
        than the hub's value, whenever it came."""
        if self.reason == LANDED_OR_TYPED:
            return "hub"
        ours, theirs = self.hub_changed_at, self.crm_changed_at
        if ours is None or theirs is None or ours == theirs:
            return None
        return "crm" if theirs > ours else "hub"


_COLUMNS = sql.SQL(
    "id, connection, entity, hub_id, crm_id, field, hub_value, crm_value, crm_value_as_hub, hub_changed_at,"
    " hub_changed_by, crm_changed_at, suggestion, reason, status, decision, decided_by, decided_at, opened_at,"
    " evidence, values_at"
)


def record(conn: Connection, stream: StreamSpec, disputes: Iterable[Verdict], run_id: str | None) -> None:
    """Open a conflict for each dispute, or bring the one that is there up to date. A skipped conflict stays
    skipped, and a decision stays made, as long as neither value changed. A conflict about being there is about the rest
    of the record too: it is asked anew when that was edited meanwhile."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into review.conflict as c (connection, entity, hub_id, crm_id, field, hub_value, crm_value,"
            " crm_value_as_hub, hub_then, crm_then, hub_changed_at, hub_changed_by, crm_changed_at, suggestion, reason, run_id,"
            " evidence) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " on conflict (connection, entity, hub_id, field) where status in ('open', 'decided', 'skipped')"
            " do update set crm_id = excluded.crm_id, hub_value = excluded.hub_value, crm_value = excluded.crm_value,"
            " crm_value_as_hub = excluded.crm_value_as_hub, hub_then = excluded.hub_then, crm_then = excluded.crm_then,"
            " hub_changed_at = excluded.hub_changed_at, hub_changed_by = excluded.hub_changed_by,"
            " crm_changed_at = excluded.crm_changed_at, suggestion = excluded.suggestion, reason = excluded.reason,"
            " run_id = excluded.run_id, evidence = excluded.evidence, values_at = clock_timestamp(), status = 'open', decision = null, decided_by = null, decided_at = null"
            " where (c.hub_value, c.crm_value) is distinct from (excluded.hub_value, excluded.crm_value)"
            f" or c.field = '{PRESENCE}' and c.status <> 'skipped'"
            " and (c.reason, c.suggestion, c.hub_changed_at, c.crm_changed_at) is distinct from"
            " (excluded.reason, excluded.suggestion, excluded.hub_changed_at, excluded.crm_changed_at)",
            [
                (stream.connection, stream.entity, d.hub_id, d.crm_id, d.field, d.hub_now, d.crm_now, v.value,
                 d.hub_then, d.crm_then, d.hub_at, d.hub_by, d.crm_at, v.suggestion, v.reason, run_id, d.evidence)
                for v in disputes
                for d in (v.difference,)
            ],
        )  # fmt: skip


def recorded(
    conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]
) -> dict[tuple[UUID, str], tuple[str | None, str | None]]:
    """Conflicts of these records that wait (open or skipped): (hub id, field) → (hub value, CRM value)."""
    rows = conn.execute(
        "select hub_id, field, hub_value, crm_value from review.conflict where connection = %s and entity = %s"
        " and hub_id = any(%s) and status in ('open', 'skipped')",
        [stream.connection, stream.entity, list(hub_ids)],
    ).fetchall()
    return {(hub_id, field): (hub, crm) for hub_id, field, hub, crm in rows}


_CLOSE = (
    "update review.conflict c set status = case when status = 'decided' then 'applied' else 'superseded' end {}"
    " where c.connection = %s and c.entity = %s and c.status in ('open', 'decided', 'skipped') and {}"
)
"""A conflict is closed as applied if it was decided, else as superseded."""


def close(
    conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID], still: Iterable[tuple[UUID, str]]
) -> None:
    """Close the conflicts of these records that are not disputes any more."""
    keys = list(still)
    gone = "c.hub_id = any(%s) and (c.hub_id, c.field) not in (select * from unnest(%s::uuid[], %s::text[]))"
    conn.execute(
        _CLOSE.format("", gone),
        [stream.connection, stream.entity, list(hub_ids), [k[0] for k in keys], [k[1] for k in keys]],
    )


def close_written(conn: Connection, stream: StreamSpec) -> None:
    """Close the conflicts about what was written: the fields sent, in the temporary table `accepted` (confirm.py)."""
    written = f"c.hub_id = a.hub_id and (a.sent ? c.field or c.field = '{PRESENCE}' and a.kind = 'create')"
    conn.execute(_CLOSE.format("from accepted a", written), [stream.connection, stream.entity])


def find(
    conn: Connection,
    *,
    entity: str | None = None,
    connection: str | None = None,
    field: str | None = None,
    ids: Sequence[int] | None = None,
    status: str = "open",
    until: datetime | None = None,
    newer: str = "",
    blank: str = "",
    limit: int | None = None,
) -> list[Conflict]:
    """Conflicts that match every given condition, oldest first. until: they have had their values since then or longer;
    newer, blank: on which side ("hub" or "crm") the later change is, or nothing."""
    query = sql.SQL(
        "select {} from review.conflict where status = %(status)s"
        " and (%(entity)s::text is null or entity = %(entity)s)"
        " and (%(connection)s::text is null or connection = %(connection)s)"
        " and (%(field)s::text is null or field = %(field)s)"
        " and (%(until)s::timestamptz is null or values_at <= %(until)s)"
        " and case %(newer)s when 'hub' then reason = %(landed)s or hub_changed_at > crm_changed_at"
        " when 'crm' then reason <> %(landed)s and crm_changed_at > hub_changed_at else true end"
        " and case %(blank)s when 'hub' then hub_value is null when 'crm' then crm_value is null else true end"
        " and (%(ids)s::bigint[] is null or id = any(%(ids)s)) order by id limit %(limit)s"
    ).format(_COLUMNS)
    with conn.cursor(row_factory=class_row(Conflict)) as cursor:
        return cursor.execute(
            query,
            {
                "status": status,
                "entity": entity,
                "connection": connection,
                "field": field,
                "until": until,
                "newer": newer,
                "landed": LANDED_OR_TYPED,
                "blank": blank,
                "ids": None if ids is None else list(ids),
                "limit": limit,
            },
        ).fetchall()


def count(conn: Connection, entity: str, status: str = "open") -> int:
    row = conn.execute(
        "select count(*) from review.conflict where entity = %s and status = %s", [entity, status]
    ).fetchone()
    return row[0] if row else 0


def of(conn: Connection, ids: Sequence[int]) -> list[Conflict]:
    """The conflicts with these ids, whatever became of them."""
    query = sql.SQL("select {} from review.conflict where id = any(%s) order by id").format(_COLUMNS)
    with conn.cursor(row_factory=class_row(Conflict)) as cursor:
        return cursor.execute(query, [list(ids)]).fetchall()


def decide(conn: Connection, conflicts: Sequence[Conflict], decision: Decision, person: str) -> set[int]:
    """Note the decision about these conflicts and mark their records dirty; applying it is the hub step's and the
    outbound step's work, which look at the decision as at every other fact. Returns the ids of those decided: a conflict
    that is not open any more, or got other values after it was read, is none that the person has seen."""
    status, chosen = ("skipped", None) if decision == "skip" else ("decided", decision)
    done = conn.execute(
        "update review.conflict c set status = %s, decision = %s, decided_by = %s, decided_at = clock_timestamp()"
        " from unnest(%s::bigint[], %s::timestamptz[]) as seen (id, values_at)"
        " where c.id = seen.id and c.status = 'open' and c.values_at = seen.values_at returning c.id",
        [status, chosen, person, [c.id for c in conflicts], [c.values_at for c in conflicts]],
    ).fetchall()
    ids = {number for (number,) in done}
    if chosen is not None:
        mark(conn, sorted(ids))
    return ids


def mark(conn: Connection, ids: Sequence[int]) -> None:
    """Let the next steps look at the records of these conflicts."""
    conn.execute(
        "insert into sync.mark (stream, by_hub, hub_id) select distinct s.id, true, c.hub_id"
        " from review.conflict c join sync.stream s using (connection, entity) where c.id = any(%s)",
        [list(ids)],
    )


def reopen(conn: Connection, number: int) -> bool:
    """Withdraw the decision about a conflict (or its skipping), unless it is applied or a write that may carry it has
    left. Returns whether that was possible."""
    done = conn.execute(
        "update review.conflict c set status = 'open', decision = null, decided_by = null, decided_at = null"
        " where c.id = %s and c.status in ('decided', 'skipped') and not exists (select from sync.intent i"
        " where i.connection = c.connection and i.entity = c.entity and i.hub_id = c.hub_id and (i.sent ? c.field"
        f" or c.field = '{PRESENCE}' and i.kind <> 'update'))",
        [number],
    )
    return done.rowcount == 1
