"""Plans in Postgres: made, found, decided about, and ended; their rows are in `plan_rows.py`.

A plan never changes its content: if there is something else to write, another one takes its place, so that a number
stands for what was shown with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from crm_sync.core.errors import BusyError
from crm_sync.hub import lease

Status = Literal["proposed", "approved", "applied", "rejected", "expired"]
Origin = Literal["person", "run"]

WAITS = timedelta(days=7)
"""So long a plan waits for a decision, or an approved one to be applied; then it has expired."""

KEPT = timedelta(days=30)
"""So long the rows of a plan that has ended are kept: they are personal data. What was written stays in the journal."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan. streams: what the mapping of each said (a digest). figures: counts by stream: writes by `<target>
    <action>`, and what stays: disputes, waiting, parked. calls: by connection and family. guard: what the guard says,
    by `<stream> <target>`. rows, records: how many. Times are UTC."""

    id: int
    hash: str
    status: Status
    origin: Origin
    made_at: datetime
    made_by: str
    seen_at: datetime
    streams: Mapping[str, str]
    figures: Mapping[str, Mapping[str, int]]
    calls: Mapping[str, Mapping[str, int]]
    guard: Mapping[str, str]
    rows: int
    records: int
    run_id: str | None
    decided_by: str | None
    decided_at: datetime | None
    journal_from: int | None
    ended_at: datetime | None

    @property
    def note(self) -> str:
        """What the journal says behind the reason of each write."""
        return f" ({self.said})"

    @property
    def said(self) -> str:
        return f"plan {self.id}, approved by {self.decided_by}"


_COLUMNS = (
    "id, hash, status, origin, made_at, made_by, seen_at, streams, figures, calls, guard, rows, records, run_id,"
    " decided_by, decided_at, journal_from, ended_at"
)


def get(conn: Connection, number: int) -> Plan | None:
    """The plan with this number."""
    with conn.cursor(row_factory=class_row(Plan)) as cursor:
        return cursor.execute(f"select {_COLUMNS} from sync.plan where id = %s", [number]).fetchone()


def find(
    conn: Connection,
    *,
    statuses: Sequence[Status] = ("proposed", "approved"),
    stream: str = "",
    origin: str = "",
    limit: int = 100,
) -> list[Plan]:
    """Plans with one of these statuses, the newest last; those that a stream (connection/entity) is in, if given."""
    with conn.cursor(row_factory=class_row(Plan)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from (select {_COLUMNS} from sync.plan where status = any(%(statuses)s)"
            " and (%(stream)s = '' or streams ? %(stream)s) and (%(origin)s = '' or origin = %(origin)s)"
            " order by id desc limit %(limit)s) p order by id",
            {"statuses": list(statuses), "stream": stream, "origin": origin, "limit": limit},
        ).fetchall()


def make(
    conn: Connection,
    *,
    origin: Origin,
    made_by: str,
    streams: Mapping[str, str],
    figures: Mapping[str, Mapping[str, int]],
    calls: Mapping[str, Mapping[str, int]],
    guard: Mapping[str, str],
    run_id: str | None,
) -> int:
    """A new plan without rows yet (`plan_rows.keep`); returns its number."""
    row = conn.execute(
        "insert into sync.plan (hash, origin, made_by, streams, figures, calls, guard, rows, records, run_id)"
        " values ('', %s, %s, %s, %s, %s, %s, 0, 0, %s) returning id",
        [origin, made_by, *(Jsonb(dict(value)) for value in (streams, figures, calls, guard)), run_id],
    ).fetchone()
    return int(row[0]) if row else 0


def complete(conn: Connection, number: int, content: str) -> None:
    """The rows are there, and this is their hash."""
    conn.execute(
        "update sync.plan p set hash = %(hash)s, rows = r.rows, records = r.records from (select count(*) as rows,"
        " count(distinct (stream, key)) as records from sync.plan_row where plan = %(id)s) r"
        " where p.id = %(id)s",
        {"id": number, "hash": content},
    )


def drop(conn: Connection, number: int) -> None:
    """A plan that nobody has seen is none."""
    conn.execute("delete from sync.plan where id = %s", [number])


def seen(conn: Connection, number: int) -> None:
    """It is what would be written still."""
    conn.execute("update sync.plan set seen_at = clock_timestamp() where id = %s", [number])


def decide(
    conn: Connection, number: int, status: Literal["approved", "rejected"], person: str
) -> Plan | None:
    """Approve or reject a plan; None if that is not possible (any more). An approved one can still be rejected.

    Raises BusyError while it is being applied.
    """
    if not lease.lock(conn, lease_of(number)):
        raise BusyError(f"plan {number} is being applied just now; try again when that is done")
    try:
        expire(conn)
        possible = ["proposed"] if status == "approved" else ["proposed", "approved"]
        with conn.cursor(row_factory=class_row(Plan)) as cursor:
            return cursor.execute(
                "update sync.plan set status = %s, decided_by = %s, decided_at = clock_timestamp(),"
                " ended_at = case when %s = 'rejected' then clock_timestamp() end"
                f" where id = %s and status = any(%s) returning {_COLUMNS}",
                [status, person, status, number, possible],
            ).fetchone()
    finally:
        lease.unlock(conn, lease_of(number))


def lease_of(number: int) -> str:
    """What is held by whoever applies the plan, or decides about it."""
    return f"plan {number}"


def begin(conn: Connection, number: int) -> None:
    """It is applied from now on: what it writes comes behind the journal's last row."""
    conn.execute(
        "update sync.plan set journal_from = coalesce(journal_from, (select coalesce(max(id), 0) from sync.change))"
        " where id = %s",
        [number],
    )


def end(conn: Connection, numbers: Sequence[int], status: Literal["applied", "expired"]) -> None:
    """Nothing of these plans is written any more."""
    conn.execute(
        "update sync.plan set status = %s, ended_at = clock_timestamp()"
        " where id = any(%s) and status in ('proposed', 'approved')",
        [status, list(numbers)],
    )


def expire(conn: Connection) -> None:
    """Plans that waited too long are over."""
    conn.execute(
        "update sync.plan set status = 'expired', ended_at = clock_timestamp() where status in ('proposed', 'approved')"
        " and greatest(seen_at, decided_at) < clock_timestamp() - %s::interval",
        [WAITS],
    )


def tidy(conn: Connection) -> None:
    """Plans that waited too long expire; the rows of those that ended long ago are removed."""
    expire(conn)
    conn.execute(
        "delete from sync.plan_row r using sync.plan p where p.id = r.plan and p.ended_at < clock_timestamp() - %s::interval",
        [KEPT],
    )


def waiting(conn: Connection, number: int) -> dict[str, Any]:
    """What became of the plan's rows: written, refused, and those that wait; and the records that were refused."""
    row = conn.execute(
        "select count(*) filter (where outcome = 'written'), count(*) filter (where outcome = 'refused'),"
        " count(*) filter (where outcome is null),"
        " count(distinct (stream, key)) filter (where outcome = 'refused')"
        " from sync.plan_row where plan = %s",
        [number],
    ).fetchone() or (0, 0, 0, 0)
    return dict(zip(("written", "refused", "waiting", "records_refused"), row, strict=True))
