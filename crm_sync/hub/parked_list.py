"""What people read of parked records, by the view `review.parked`, and how they have them tried again.

A person says that something has changed which the sync does not see: a rule of the CRM, a permission, a merge. What is
noted and when it is tried by itself is in `parked.py`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from crm_sync.core.spec import StreamSpec


@dataclass(frozen=True, slots=True)
class Which:
    """Which reasons: those that match everything given; all, if nothing is."""

    ids: tuple[int, ...] = ()
    connection: str = ""
    entity: str = ""
    code: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """One reason why a record, or one of its fields, does not go on. Times are UTC; next_try: None if it is not tried by
    itself. What to do is None for a connection that no file describes any more and a class that nobody knows."""

    id: int
    connection: str
    entity: str
    side: str
    record_id: str
    hub_id: UUID | None
    crm_id: str | None
    field: str
    error_class: str
    code: str
    value_class: str | None
    reason: str
    cause: str | None
    fix: str | None
    owner: str | None
    retryable: str | None
    state: str
    attempts: int
    next_try: datetime | None
    first_at: datetime
    last_at: datetime
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """How many records wait for one reason. reasons: rows of the list, for a record may have several. parked: records that
    nothing but a person or a change sets going."""

    connection: str
    entity: str
    code: str
    owner: str | None
    cause: str | None
    fix: str | None
    retryable: str | None
    reasons: int
    records: int
    parked: int


_WHICH = (
    "(%(ids)s::bigint[] = '{}' or id = any(%(ids)s)) and (%(connection)s = '' or connection = %(connection)s)"
    " and (%(entity)s = '' or entity = %(entity)s) and (%(code)s = '' or code = %(code)s)"
    " and (%(owner)s = '' or owner = %(owner)s)"
)


def find(conn: Connection, which: Which, *, limit: int | None = None) -> list[Listed]:
    """The reasons, those that need somebody first, oldest first."""
    with conn.cursor(row_factory=class_row(Listed)) as cursor:
        return cursor.execute(
            f"select * from review.parked where {_WHICH} order by next_try is not null, id limit %(limit)s",
            {**_values(which), "limit": limit},
        ).fetchall()


def groups(conn: Connection, which: Which) -> list[Group]:
    """The reasons by stream and code, most records first."""
    with conn.cursor(row_factory=class_row(Group)) as cursor:
        return cursor.execute(
            "select connection, entity, code, min(owner) as owner, min(cause) as cause, min(fix) as fix,"
            " min(retryable) as retryable, count(*) as reasons, count(distinct (side, record_id)) as records,"
            " count(distinct (side, record_id)) filter (where state = 'parked') as parked"
            f" from review.parked where {_WHICH} group by connection, entity, code"
            " order by records desc, connection, entity, code",
            _values(which),
        ).fetchall()


def by_owner(conn: Connection, stream: StreamSpec) -> dict[str, int]:
    """How many records of the stream are parked, by who can do something about them."""
    rows = conn.execute(
        "select coalesce(owner, ''), count(distinct (side, record_id)) from review.parked"
        " where connection = %s and entity = %s and state = 'parked' group by 1 order by 2 desc, 1",
        [stream.connection, stream.entity],
    ).fetchall()
    return dict(rows)


def requeue(conn: Connection, which: Which) -> int:
    """Ask for these records to be tried again by the next sync, with all their tries before them; returns how many
    records that is. Those whose connection or entity is in no connection file are left alone."""
    row = conn.execute(
        f"with chosen as (select id from review.parked where {_WHICH}),"
        " again as (update sync.parked p set attempts = 0, next_try = clock_timestamp() from chosen c, sync.stream s"
        " where p.id = c.id and s.connection = p.connection and s.entity = p.entity"
        " returning s.id as stream, p.side, p.record_id),"
        " marked as (insert into sync.mark (stream, by_hub, hub_id, crm_id)"
        " select distinct stream, side = 'hub', case side when 'hub' then record_id::uuid end,"
        " case side when 'crm' then record_id end from again returning 1) select count(*) from marked",
        _values(which),
    ).fetchone()
    return row[0] if row else 0


def _values(which: Which) -> Mapping[str, Any]:
    return {**asdict(which), "ids": list(which.ids)}
