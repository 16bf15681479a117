"""Records that could not go on, with the field, the class of the value and the reason; never the value itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import Connection

from crm_sync.core.spec import StreamSpec


@dataclass(frozen=True, slots=True)
class Parked:
    """Why a record waits. side: where it was read from ("crm": it could not enter the hub; "hub": it could not
    leave for the CRM); record_id: its id on that side."""

    side: str
    record_id: str
    field: str
    error_class: str
    code: str
    reason: str
    value_class: str | None = None
    hub_id: UUID | None = None
    crm_id: str | None = None


def park(conn: Connection, stream: StreamSpec, items: Iterable[Parked], run_id: str | None) -> None:
    """Note the reasons; the same reason again only counts its attempts."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into sync.parked (connection, entity, side, record_id, hub_id, crm_id, field, error_class, code,"
            " value_class, reason, run_id) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " on conflict (connection, entity, side, record_id, field) do update set attempts = sync.parked.attempts + 1,"
            " last_at = clock_timestamp(), error_class = excluded.error_class, code = excluded.code,"
            " value_class = excluded.value_class, reason = excluded.reason, run_id = excluded.run_id",
            [
                (stream.connection, stream.entity, p.side, p.record_id, p.hub_id, p.crm_id, p.field, p.error_class,
                 p.code, p.value_class, p.reason[:2000], run_id)
                for p in items
            ],
        )  # fmt: skip


def replace(
    conn: Connection,
    stream: StreamSpec,
    side: str,
    looked_at: Iterable[str],
    items: Sequence[Parked],
    run_id: str | None,
) -> None:
    """These records were looked at anew: only `items` still hold; every other earlier reason is forgotten."""
    conn.execute(
        "delete from sync.parked where connection = %s and entity = %s and side = %s and record_id = any(%s)"
        " and (record_id, field) not in (select * from unnest(%s::text[], %s::text[]))",
        [
            stream.connection,
            stream.entity,
            side,
            sorted(set(looked_at)),
            [p.record_id for p in items],
            [p.field for p in items],
        ],
    )
    park(conn, stream, items, run_id)


def count(conn: Connection, stream: StreamSpec) -> int:
    row = conn.execute(
        "select count(distinct (side, record_id)) from sync.parked where connection = %s and entity = %s",
        [stream.connection, stream.entity],
    ).fetchone()
    return row[0] if row else 0
