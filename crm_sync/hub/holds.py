"""Holds: the runs that the guard stopped, what they would have done, and what a person said about it.

A hold never changes its content: if there is more to hold back, it is withdrawn and another takes its place, so that a
number stands for what was shown with it. Confirmed, it lets its records through once, and no others: those that have
gone through are struck off, until none is left. What nobody used for a while is confirmed no longer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from crm_sync.core.spec import StreamSpec

Cause = Literal["limits", "empty", "account", "database"]
"""limits: more than the guard lets pass. empty: a full read brought far too little. account: the connection reaches
another account. database: the hub's database is not the one it was."""

ALL = "*"
"""As an entity: the whole connection. As a connection: all of them."""

SAMPLE = 20

GOOD_FOR = timedelta(days=7)
"""So long a confirmation counts after it was given or last used."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One run that was held back. would: what it would have done, records by `kind` or `kind field`; or what was there
    before and is now. sample: some of the records' ids. Times are UTC."""

    id: int
    connection: str
    entity: str
    cause: Cause
    side: str
    status: str
    sentence: str
    would: Mapping[str, Any]
    sample: Sequence[str]
    run_id: str | None
    opened_at: datetime
    seen_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    ended_at: datetime | None

    @property
    def stream(self) -> str:
        """What is held, in a word."""
        if self.connection == ALL:
            return "everything"
        return self.connection if self.entity == ALL else f"{self.connection}/{self.entity}"


@dataclass(frozen=True, slots=True)
class Place:
    """What a hold is about; at most one is open of each."""

    connection: str
    entity: str
    cause: Cause
    side: str

    @classmethod
    def of(cls, stream: StreamSpec, cause: Cause, side: str) -> "Place":
        return cls(stream.connection, stream.entity, cause, side)

    def row(self) -> list[str]:
        return [self.connection, self.entity, self.cause, self.side]


_COLUMNS = (
    "id, connection, entity, cause, side, status, sentence, would, sample, run_id, opened_at, seen_at, decided_by,"
    " decided_at, ended_at"
)
_HERE = "connection = %s and entity = %s and cause = %s and side = %s"


def find(
    conn: Connection,
    *,
    connection: str = "",
    entity: str = "",
    statuses: Sequence[str] = ("open", "confirmed"),
    limit: int = 100,
) -> list[Hold]:
    """Holds by number; those of the whole connection are among an entity's, those of the database among all."""
    with conn.cursor(row_factory=class_row(Hold)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from sync.hold where status = any(%(statuses)s)"
            " and (%(connection)s = '' or connection in (%(connection)s, '*'))"
            " and (%(entity)s = '' or entity in (%(entity)s, '*')) order by id limit %(limit)s",
            {"statuses": list(statuses), "connection": connection, "entity": entity, "limit": limit},
        ).fetchall()


def of_stream(conn: Connection, stream: StreamSpec) -> list[Hold]:
    """The open holds that concern this stream."""
    return find(conn, connection=stream.connection, entity=stream.entity, statuses=("open",))


def confirmed(conn: Connection, place: Place) -> list[Hold]:
    """What a person let through and has not gone through yet. What was let through so long ago that by now it would be
    about something else is withdrawn."""
    with conn.cursor(row_factory=class_row(Hold)) as cursor:
        found = cursor.execute(
            f"select {_COLUMNS} from sync.hold where {_HERE} and status = 'confirmed' order by id",
            place.row(),
        ).fetchall()
    if not found:
        return []
    lapsed = "greatest(decided_at, seen_at) < clock_timestamp() - %s::interval"
    ended = _end(
        conn, f"{_HERE} and status = 'confirmed' and {lapsed}", [*place.row(), GOOD_FOR], "withdrawn"
    )
    return [hold for hold in found if hold.id not in ended]


def kinds(conn: Connection, holds: Sequence[int]) -> set[tuple[str, str]]:
    """Kinds and fields of the records that these holds still let through."""
    rows = conn.execute(
        "select distinct kind, field from sync.hold_record where hold = any(%s)", [list(holds)]
    )
    return {(kind, name) for kind, name in rows}


def strike_off(conn: Connection, holds: Sequence[int]) -> None:
    """Strike off what has gone through: all but the records that are in the temporary table `would`, which wait still.
    A hold that lets nothing through any more has ended."""
    conn.execute("analyze would")
    gone = conn.execute(
        "with gone as (delete from sync.hold_record r where r.hold = any(%s) and not exists (select from would w"
        " where w.kind = r.kind and w.field = r.field and (w.hub_id = r.hub_id"
        " or r.hub_id is null and w.hub_id is null and w.crm_id = r.crm_id)) returning r.hold)"
        " update sync.hold set seen_at = clock_timestamp() where id in (select hold from gone)",
        [list(holds)],
    ).rowcount
    if gone:
        ended = "id = any(%s) and not exists (select from sync.hold_record r where r.hold = hold.id)"
        _end(conn, ended, [list(holds)], "done")


def open_(
    conn: Connection,
    place: Place,
    sentence: str,
    would: Mapping[str, Any],
    run_id: str | None,
    *,
    selected: bool = False,
) -> int:
    """Hold back; returns the hold's number. `selected`: the records are in the temporary table `would`
    (`hub/guard.py`). An open hold that says the same stays as it is."""
    before = conn.execute(
        f"select id, would from sync.hold where {_HERE} and status = 'open' for update", place.row()
    ).fetchone()
    if before is not None and before[1] == dict(would):
        conn.execute("update sync.hold set seen_at = clock_timestamp() where id = %s", [before[0]])
        return int(before[0])
    withdraw(conn, place)
    row = conn.execute(
        "insert into sync.hold (connection, entity, cause, side, sentence, would, run_id)"
        " values (%s, %s, %s, %s, %s, %s, %s) returning id",
        [*place.row(), sentence, Jsonb(dict(would)), run_id],
    ).fetchone()
    number = int(row[0]) if row else 0
    if selected:
        conn.execute(
            "insert into sync.hold_record (hold, kind, field, hub_id, crm_id)"
            " select %s, kind, field, hub_id, crm_id from would",
            [number],
        )
        conn.execute(
            "update sync.hold set sample = coalesce((select jsonb_agg(id) from (select coalesce(hub_id::text, crm_id) as id"
            " from sync.hold_record where hold = %(id)s limit %(limit)s) s), '[]') where id = %(id)s",
            {"id": number, "limit": SAMPLE},
        )
    return number


def stage(conn: Connection, rows: Iterable[tuple[str, str, UUID]]) -> None:
    """These records (kind, field, hub id) into the temporary table `would`."""
    conn.execute("drop table if exists pg_temp.would")
    conn.execute(
        "create temporary table would (kind text, field text, hub_id uuid, crm_id text) on commit drop"
    )
    kinds, names, ids = zip(*rows, strict=True)
    conn.execute(
        "insert into would (kind, field, hub_id) select * from unnest(%s::text[], %s::text[], %s::uuid[])",
        [list(kinds), list(names), list(ids)],
    )


def allowed(
    conn: Connection, holds: Sequence[int], kind: str, field: str, hub_ids: Sequence[UUID]
) -> set[UUID]:
    """Those of these hub records that confirmed holds let through."""
    rows = conn.execute(
        "select hub_id from sync.hold_record where hold = any(%s) and kind = %s and field = %s and hub_id = any(%s)",
        [list(holds), kind, field, list(hub_ids)],
    ).fetchall()
    return {row[0] for row in rows}


def waiting(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these hub records that open holds of the guard's limits are about, to whichever side."""
    rows = conn.execute(
        "select distinct r.hub_id from sync.hold_record r join sync.hold h on h.id = r.hold where h.connection = %s"
        " and h.entity = %s and h.cause = 'limits' and h.status = 'open' and r.hub_id = any(%s)",
        [stream.connection, stream.entity, list(hub_ids)],
    ).fetchall()
    return {row[0] for row in rows}


def withdraw(conn: Connection, place: Place) -> None:
    """Nothing is held back there any more, or something else."""
    _end(conn, f"{_HERE} and status = 'open'", place.row(), "withdrawn")


def done(conn: Connection, holds: Sequence[int]) -> None:
    """What they let through has gone through."""
    if holds:
        _end(conn, "id = any(%s)", [list(holds)], "done")


def _end(conn: Connection, where: str, values: Sequence[object], status: str) -> list[int]:
    """Returns the numbers of the holds that have ended."""
    ended = [
        row[0]
        for row in conn.execute(
            f"update sync.hold set status = %s, ended_at = clock_timestamp() where {where} returning id",
            [status, *values],
        )
    ]
    if ended:
        conn.execute("delete from sync.hold_record where hold = any(%s)", [ended])
    return ended


def confirm(conn: Connection, number: int, person: str) -> Hold | None:
    """Let through what this hold is about; None if it is not open (any more)."""
    with conn.cursor(row_factory=class_row(Hold)) as cursor:
        return cursor.execute(
            "update sync.hold set status = 'confirmed', decided_by = %s, decided_at = clock_timestamp()"
            f" where id = %s and status = 'open' returning {_COLUMNS}",
            [person, number],
        ).fetchone()
