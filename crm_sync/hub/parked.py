"""Records that could not go on, with the field, the class of the value and the reason; never the value itself.

A refusal that may pass has a time at which the record is tried again; without one the record is parked. Here is what the
sync writes; what people read of it, and how they have it tried again, is in `parked_list.py`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.catalogue import BACKOFF
from crm_sync.core.spec import StreamSpec
from crm_sync.hub.sql import hub_table


@dataclass(frozen=True, slots=True)
class Parked:
    """Why a record waits. side: where it was read from ("crm": it could not enter the hub; "hub": it could not
    leave for the CRM); record_id: its id on that side. passes: the reason may pass by itself, so that the record is tried
    again, after growing pauses, before it is parked. looks: the CRM record stands in its way, and is looked at again, unless
    it was parked since the hub record last changed."""

    side: str
    record_id: str
    field: str
    error_class: str
    code: str
    reason: str
    value_class: str | None = None
    hub_id: UUID | None = None
    crm_id: str | None = None
    passes: bool = False
    looks: bool = False


_PAUSES = [BACKOFF.pause(attempts) for attempts in range(1, BACKOFF.tries)]

# What may pass is counted by record, whatever the code or the field is this time: of two reasons in turn each would be a
# first one for ever. Behind the last pause of the array comes null: the record is parked.
_PARK = """
insert into sync.parked as p (connection, entity, side, record_id, hub_id, crm_id, field, error_class, code, value_class,
  reason, run_id, attempts, first_at, next_try)
select %(connection)s, %(entity)s, %(side)s, %(record_id)s, %(hub_id)s, %(crm_id)s, %(field)s, %(error_class)s, %(code)s,
  %(value_class)s, %(reason)s, %(run_id)s, b.attempts + 1, coalesce(b.first_at, clock_timestamp()),
  case when %(passes)s then clock_timestamp() + (%(pauses)s::interval[])[b.attempts + 1] end
from (select coalesce(max(q.attempts), 0) as attempts, min(q.first_at) as first_at from sync.parked q
  where q.connection = %(connection)s and q.entity = %(entity)s and q.side = %(side)s and q.record_id = %(record_id)s
    and (q.field = %(field)s and q.code = %(code)s or %(passes)s and q.next_try is not null)) b
on conflict (connection, entity, side, record_id, field) do update
set crm_id = excluded.crm_id, attempts = excluded.attempts, first_at = excluded.first_at, next_try = excluded.next_try,
  last_at = clock_timestamp(), error_class = excluded.error_class, code = excluded.code,
  value_class = excluded.value_class, reason = excluded.reason, run_id = excluded.run_id
"""


def park(conn: Connection, stream: StreamSpec, items: Iterable[Parked], run_id: str | None) -> None:
    """Note the reasons; the same code again, or what may pass again, only counts its attempts."""
    noted = list(items)
    with conn.cursor() as cursor:
        cursor.executemany(
            _PARK,
            [
                asdict(p)
                | {"connection": stream.connection, "entity": stream.entity, "reason": p.reason[:2000],
                   "run_id": run_id, "pauses": _PAUSES}
                for p in noted
            ],
        )  # fmt: skip
    look = [(p.hub_id, p.crm_id) for p in noted if p.looks and p.crm_id is not None]
    if look:
        conn.execute(
            sql.SQL(
                "insert into sync.mark (stream, by_hub, crm_id) select distinct s.id, false, w.crm_id"
                " from unnest(%s::uuid[], %s::text[]) w (hub_id, crm_id) join {hub} h on h.id = w.hub_id"
                " join sync.stream s on s.connection = %s and s.entity = %s where not exists (select from sync.parked p"
                " where p.connection = s.connection and p.entity = s.entity and p.side = 'crm' and p.record_id = w.crm_id"
                " and p.last_at > h.updated_at)"
            ).format(hub=hub_table(stream.entity)),
            [[h for h, _ in look], [c for _, c in look], stream.connection, stream.entity],
        )


def known(conn: Connection, stream: StreamSpec, side: str, record_ids: Collection[str]) -> set[str]:
    """Those of these records of a side that are noted as waiting."""
    if not record_ids:
        return set()
    rows = conn.execute(
        "select distinct record_id from sync.parked where connection = %s and entity = %s and side = %s"
        " and record_id = any(%s)",
        [stream.connection, stream.entity, side, list(record_ids)],
    ).fetchall()
    return {row[0] for row in rows}


def waiting_for(conn: Connection, stream: StreamSpec, code: str, crm_ids: Sequence[str]) -> set[UUID]:
    """The hub records that are parked with this code for one of these CRM records."""
    rows = conn.execute(
        "select hub_id from sync.parked where connection = %s and entity = %s and side = 'hub' and code = %s"
        " and crm_id = any(%s) and hub_id is not null",
        [stream.connection, stream.entity, code, list(crm_ids)],
    ).fetchall()
    return {row[0] for row in rows}


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


def answered(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> None:
    """The CRM has answered what was sent of these hub records, whose intents are still there: reasons from before the
    intents are over. Those that were noted since, with the answers, stay."""
    conn.execute(
        "delete from sync.parked p using sync.intent i where p.connection = %(connection)s and p.entity = %(entity)s"
        " and p.side = 'hub' and p.record_id = i.hub_id::text and p.last_at < i.created_at"
        " and i.connection = %(connection)s and i.entity = %(entity)s and i.hub_id = any(%(ids)s)",
        {"connection": stream.connection, "entity": stream.entity, "ids": list(hub_ids)},
    )


def mark_due(conn: Connection, stream: StreamSpec) -> None:
    """Ask for the hub records to be looked at whose pause is over. Until one of them was tried it is not marked again for
    an hour, however often a run begins and is held back."""
    conn.execute(
        "with due as (update sync.parked set next_try = clock_timestamp() + interval '1 hour'"
        " where connection = %(connection)s and entity = %(entity)s and side = 'hub' and next_try <= clock_timestamp()"
        " returning record_id)"
        " insert into sync.mark (stream, by_hub, hub_id) select distinct s.id, true, d.record_id::uuid"
        " from due d join sync.stream s on s.connection = %(connection)s and s.entity = %(entity)s",
        {"connection": stream.connection, "entity": stream.entity},
    )


def count(conn: Connection, stream: StreamSpec) -> int:
    """How many records of the stream are parked; those that are tried again by themselves are not."""
    row = conn.execute(
        "select count(distinct (side, record_id)) from sync.parked where connection = %s and entity = %s"
        " and next_try is null",
        [stream.connection, stream.entity],
    ).fetchone()
    return row[0] if row else 0
