"""The table `review.rule`: decisions that hold until somebody ends them, and the open conflicts that they cover.

A rule is read with the differences (differences.py) and ends disputes before they are recorded. The records of the
conflicts that are open when it is made are looked at again, and what the rule decided is noted in their rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import class_row

from crm_sync.core.decide import Kind, Verdict
from crm_sync.core.errors import SyncError
from crm_sync.core.rules import Rule, When
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import review


@dataclass(frozen=True, slots=True)
class Row:
    """One row of `review.rule`; times UTC."""

    id: int
    connection: str
    entity: str
    field: str
    decision: str
    only_when: str
    made_by: str
    made_at: datetime
    from_conflict: int | None
    ended_by: str | None
    ended_at: datetime | None


_COLUMNS = (
    "id, connection, entity, field, decision, only_when, made_by, made_at, from_conflict, ended_by, ended_at"
)


def active(conn: Connection, entity: str) -> Mapping[tuple[str, str], tuple[Rule, ...]]:
    """The rules in force about the fields of an entity, by connection and field."""
    found: dict[tuple[str, str], tuple[Rule, ...]] = {}
    rows = conn.execute(
        "select connection, field, id, decision, made_by, only_when from review.rule"
        " where entity = %s and ended_at is null order by id",
        [entity],
    )
    for connection, field, number, decision, by, when in rows:
        key = (connection, field)
        found[key] = (*found.get(key, ()), Rule(number, decision, by, When(when)))
    return found


def find(conn: Connection, *, ended: bool = False) -> list[Row]:
    """The rules in force, oldest first; `ended`: those that were ended too."""
    with conn.cursor(row_factory=class_row(Row)) as cursor:
        return cursor.execute(
            sql.SQL("select {} from review.rule where ended_at is null or %s order by id").format(
                sql.SQL(_COLUMNS)
            ),
            [ended],
        ).fetchall()


def make(
    conn: Connection,
    connection: str,
    entity: str,
    field: str,
    decision: str,
    when: When,
    person: str,
    *,
    conflict: int | None = None,
) -> Rule:
    """Put a rule in force, in the caller's transaction; one that there was about the same disputes ends. The records of
    the open conflicts that it covers are marked to be looked at. `conflict` is the one that it was made from."""
    # A run that read the rules before records its disputes before this one is seen, or asks for the rules again after it.
    conn.execute("lock table review.conflict in share row exclusive mode")
    conn.execute(
        "update review.rule set ended_by = %s, ended_at = clock_timestamp() where connection = %s and entity = %s"
        " and field = %s and only_when = %s and ended_at is null",
        [person, connection, entity, field, when],
    )
    row = conn.execute(
        "insert into review.rule (connection, entity, field, decision, only_when, made_by, from_conflict)"
        " values (%s, %s, %s, %s, %s, %s, %s) returning id",
        [connection, entity, field, decision, when, person, conflict],
    ).fetchone()
    review.mark(conn, [c.id for c in covered(conn, connection, entity, field, when)])
    return Rule(row[0] if row else 0, decision, person, when)


def covered(conn: Connection, connection: str, entity: str, field: str, when: When) -> list[review.Conflict]:
    """The open conflicts that such a rule is about, oldest first."""
    blank = {When.ANY: "", When.HUB_BLANK: "hub", When.CRM_BLANK: "crm"}[when]
    return review.find(conn, connection=connection, entity=entity, field=field, blank=blank)


def note(conn: Connection, stream: StreamSpec, verdicts: Iterable[Verdict]) -> None:
    """Note in the rows of open conflicts what a rule decided about them."""
    ruled = [v for v in verdicts if v.rule is not None and v.kind in (Kind.TAKE, Kind.PUSH)]
    if not ruled:
        return
    with conn.cursor() as cursor:
        cursor.executemany(
            "update review.conflict set status = 'decided', decision = %s, decided_by = %s,"
            " decided_at = clock_timestamp() where connection = %s and entity = %s and hub_id = %s and field = %s"
            " and status = 'open' and hub_value is not distinct from %s and crm_value is not distinct from %s",
            [
                ("use_crm" if v.kind is Kind.TAKE else "use_hub", v.rule.name if v.rule else "",
                 stream.connection, stream.entity, d.hub_id, d.field, d.hub_now, d.crm_now)
                for v in ruled
                for d in (v.difference,)
            ],
        )  # fmt: skip


def overtaken(conn: Connection, stream: StreamSpec, disputes: Sequence[Verdict]) -> set[UUID]:
    """The records of disputes that were decided about without the rules that are in force by now."""
    if not disputes:
        return set()
    held = active(conn, stream.entity)
    return {
        v.difference.hub_id
        for v in disputes
        for d in (v.difference,)
        if held.get((stream.connection, d.field), ()) != d.rules
        or held.get((d.hub_by or "", d.field), ()) != d.hub_rules
    }


def end(conn: Connection, number: int, person: str) -> None:
    """End a rule. What it has decided stays decided. Raises SyncError if it is not in force."""
    done = conn.execute(
        "update review.rule set ended_by = %s, ended_at = clock_timestamp() where id = %s and ended_at is null",
        [person, number],
    )
    if done.rowcount == 0:
        raise SyncError(f"there is no rule #{number} in force; see `crm-sync conflicts rules`")
