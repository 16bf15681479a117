"""Merges in a CRM: what becomes of the links of records that were merged into another one.

    loser linked, survivor not          the link moves to the survivor
    both linked, with two hub records   the loser's hub record loses its link, and a person decides about the two
    loser not linked                    nothing: the alias is enough

A link that moves keeps what both sides agreed on (the base): what the merge changed is a change made in the CRM, and
hub edits that were not sent yet are still hub edits. The rows of `review.merge` are the decisions that wait; how two
hub records become one is in `merges_join.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import class_row

from crm_sync.core.spec import StreamSpec
from crm_sync.hub import dirty, review, survivors
from crm_sync.hub.sql import base_table, hub_table, mirror_table

Decision = Literal["merge", "apart"]

LINKED_BY = "merge"


@dataclass(frozen=True, slots=True)
class Settled:
    """moved: hub records that are linked with the survivor now, by hub id. lost: hub records without a link now."""

    moved: dict[UUID, str] = field(default_factory=dict)
    lost: set[UUID] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of `review.merge`: hub_id was linked with crm_id, which is a part of survivor now, which is linked with
    kept_id. note: why what was decided could not be done."""

    id: int
    connection: str
    entity: str
    crm_id: str
    survivor: str
    hub_id: UUID
    kept_id: UUID
    status: str
    decision: str | None
    decided_by: str | None
    opened_at: datetime
    note: str = ""


def settle(conn: Connection, stream: StreamSpec, run_id: str | None) -> Settled:
    """Give the links of merged records their place, as far as the mirror holds the survivors as they are since the merge.
    One index probe if there is nothing to settle."""
    key = {"connection": stream.connection, "entity": stream.entity}
    row = conn.execute(
        "select exists (select from sync.alias where connection = %(connection)s and entity = %(entity)s"
        " and settled_at is null)",
        key,
    ).fetchone()
    if row is None or not row[0]:
        return Settled()
    _stage(conn, stream, key)
    _move(conn, stream, key, run_id)
    _part(conn, stream, key, run_id)
    conn.execute(
        sql.SQL(
            "update sync.alias a set settled_at = clock_timestamp(),"
            " hub_id = coalesce((select w.hub_id from merging w where w.crm_id = a.crm_id), a.hub_id)"
            " where a.connection = %(connection)s and a.entity = %(entity)s and a.settled_at is null"
            " and not exists (select from {} b where b.crm_id = a.crm_id)"
        ).format(base_table(stream)),
        key,
    )
    rows = conn.execute("select hub_id, survivor, moves, kept from merging").fetchall()
    dirty.mark_hub(
        conn, stream, {hub_id for row in rows for hub_id in (row[0], row[3]) if hub_id is not None}
    )
    return Settled(
        {hub_id: survivor for hub_id, survivor, moves, _ in rows if moves},
        {hub_id for hub_id, _, moves, _ in rows if not moves},
    )


def _stage(conn: Connection, stream: StreamSpec, key: dict[str, str]) -> None:
    """The temporary table `merging`: linked losers, each with its survivor. kept: the hub record that has the survivor,
    or is to have it: of several losers of a new record, the one whose id it carries, else the one that was linked
    first. A link whose hub record is gone moves nowhere: a deletion was meant for the loser alone. Who is linked with
    nothing must have been looked up since (`survivors.py`): what a listing shows may be older than the merge; and if it
    is our create of another hub record, whose answer is missing, it is that one's as soon as outbound has found it."""
    conn.execute("drop table if exists pg_temp.merging")
    conn.execute(
        sql.SQL(
            "create temporary table merging on commit drop as select w.crm_id, w.survivor, w.hub_id, w.there,"
            " coalesce(w.taken, first_value(case when w.there then w.hub_id end) over by_place) as kept,"
            " w.taken is null and w.there and row_number() over by_place = 1 as moves"
            " from (select a.crm_id, a.survivor, b.hub_id, b.linked_at, h.id is not null as there,"
            " lower(m.hub_id) is distinct from b.hub_id::text as other,"
            " (select k.hub_id from {base} k where k.crm_id = a.survivor) as taken"
            " from sync.alias a join {base} b on b.crm_id = a.crm_id join {mirror} m on m.crm_id = a.survivor"
            " left join {hub} h on h.id = b.hub_id where a.connection = %(connection)s and a.entity = %(entity)s"
            " and a.settled_at is null and a.reason = 'merged'"
            f" and {survivors.READY}) w"
            " window by_place as (partition by w.survivor order by not w.there, w.other, w.linked_at, w.hub_id)"
        ).format(base=base_table(stream), mirror=mirror_table(stream), hub=hub_table(stream.entity)),
        key,
    )


def _move(conn: Connection, stream: StreamSpec, key: dict[str, str], run_id: str | None) -> None:
    conn.execute(
        sql.SQL(
            "update {} b set crm_id = w.survivor, linked_by = %s from merging w"
            " where w.moves and b.hub_id = w.hub_id"
        ).format(base_table(stream)),
        [LINKED_BY],
    )
    conn.execute(
        "update review.conflict c set crm_id = w.survivor from merging w where w.moves and c.hub_id = w.hub_id"
        " and c.connection = %(connection)s and c.entity = %(entity)s and c.status in ('open', 'decided', 'skipped')",
        key,
    )
    conn.execute(
        "insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, reason)"
        " select %(run_id)s, %(connection)s, %(entity)s, hub_id, survivor, 'hub', 'merge', 'merged: ' || crm_id || ' is '"
        " || survivor || ' now' from merging where moves",
        {**key, "run_id": run_id},
    )


def _part(conn: Connection, stream: StreamSpec, key: dict[str, str], run_id: str | None) -> None:
    """Take the link from losers whose survivor another hub record has."""
    rows = conn.execute(
        sql.SQL(
            "delete from {} b using merging w where not w.moves and b.hub_id = w.hub_id returning b.hub_id"
        ).format(base_table(stream))
    ).fetchall()
    if not rows:
        return
    review.close(conn, stream, [row[0] for row in rows], [])
    conn.execute(
        "insert into review.merge as r (connection, entity, crm_id, survivor, hub_id, kept_id, run_id)"
        " select %(connection)s, %(entity)s, crm_id, survivor, hub_id, kept, %(run_id)s from merging"
        " where not moves and there and kept is not null and kept <> hub_id"
        " on conflict (connection, entity, hub_id) where status in ('open', 'decided') do update set"
        " crm_id = excluded.crm_id, survivor = excluded.survivor, kept_id = excluded.kept_id, run_id = excluded.run_id,"
        " status = 'open', decision = null, decided_by = null, decided_at = null",
        {**key, "run_id": run_id},
    )
    conn.execute(
        "insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, reason)"
        " select %(run_id)s, %(connection)s, %(entity)s, hub_id, crm_id, 'hub', 'merge', 'merged: ' || crm_id || ' is '"
        " || survivor || ' now, which is linked with ' || kept from merging where not moves and there",
        {**key, "run_id": run_id},
    )
    # The hub record was deleted meanwhile: who survived is looked at as a record of its own.
    conn.execute(
        "insert into sync.mark (stream, by_hub, crm_id) select s.id, false, w.survivor from merging w join sync.stream s"
        " on s.connection = %(connection)s and s.entity = %(entity)s where not w.there",
        key,
    )


def waiting(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Those of these hub records about which a merge is to be decided, with the survivor's id: until then they must not
    be created in the CRM anew. Also those that were deleted before it was decided, and are back (`ask_again`); not those
    that are gone."""
    rows = conn.execute(
        sql.SQL(
            "select r.hub_id, coalesce(a.survivor, r.survivor) from review.merge r left join sync.alias a on {back}"
            " where r.connection = %s and r.entity = %s and r.hub_id = any(%s)"
            " and exists (select from {hub} h where h.id = r.hub_id)"
            " and (r.status in ('open', 'decided') or a.crm_id is not null)"
        ).format(back=_back(stream), hub=hub_table(stream.entity)),
        [stream.connection, stream.entity, list(hub_ids)],
    ).fetchall()
    return dict(rows)


def ask_again(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID], run_id: str | None) -> None:
    """Open what was withdrawn because these hub records were deleted: they are back, and the CRM still has them merged."""
    conn.execute(
        sql.SQL(
            "update review.merge r set status = 'open', decision = null, decided_by = null, decided_at = null, note = '',"
            " survivor = a.survivor, run_id = %s,"
            " kept_id = coalesce((select k.hub_id from {base} k where k.crm_id = a.survivor), r.kept_id)"
            " from sync.alias a where {back} and r.connection = %s and r.entity = %s and r.hub_id = any(%s)"
        ).format(base=base_table(stream), back=_back(stream)),
        [run_id, stream.connection, stream.entity, list(hub_ids)],
    )


def _back(stream: StreamSpec) -> sql.Composed:
    """Condition over r (the last word about its hub record) and a: it was withdrawn, the CRM did not take the merge back,
    and the hub has the record again, without a link."""
    return sql.SQL(
        "(r.status = 'superseded' and a.connection = r.connection and a.entity = r.entity and a.crm_id = r.crm_id"
        " and a.reason = 'merged' and not exists (select from review.merge l where l.connection = r.connection"
        " and l.entity = r.entity and l.hub_id = r.hub_id and l.id > r.id)"
        " and exists (select from {hub} h where h.id = r.hub_id and h.archived_at is null)"
        " and not exists (select from {base} b where b.hub_id = r.hub_id))"
    ).format(hub=hub_table(stream.entity), base=base_table(stream))


_COLUMNS = (
    "id, connection, entity, crm_id, survivor, hub_id, kept_id, status, decision, decided_by, opened_at, note"
)


def find(conn: Connection, *, ids: Sequence[int] | None = None, limit: int | None = None) -> list[Waiting]:
    """The merges to settle, oldest first; with `ids`, these, decided ones too."""
    with conn.cursor(row_factory=class_row(Waiting)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from review.merge where case when %(ids)s::bigint[] is null then status = 'open'"
            " else id = any(%(ids)s) and status in ('open', 'decided') end order by id limit %(limit)s",
            {"ids": None if ids is None else list(ids), "limit": limit},
        ).fetchall()


def decide(conn: Connection, merge: Waiting, decision: Decision, person: str) -> None:
    """Note what becomes of the two hub records, and ask for both to be looked at: the next hub step follows."""
    conn.execute(
        "update review.merge set status = 'decided', decision = %s, decided_by = %s, decided_at = clock_timestamp(),"
        " note = '' where id = %s and status in ('open', 'decided')",
        [decision, person, merge.id],
    )
    conn.execute(
        "insert into sync.mark (stream, by_hub, hub_id) select s.id, true, unnest(%s::uuid[]) from sync.stream s"
        " where s.connection = %s and s.entity = %s",
        [[merge.hub_id, merge.kept_id], merge.connection, merge.entity],
    )


def decided(conn: Connection, stream: StreamSpec) -> list[Waiting]:
    """The decisions about merges of this stream that are to be followed. What is not needed any more is closed: the hub
    record is linked again, because the CRM has its record back. What cannot be followed any more is open again: the hub
    record that was to stay is gone."""
    row = conn.execute(
        "select exists (select from review.merge where connection = %s and entity = %s and status in ('open', 'decided'))",
        [stream.connection, stream.entity],
    ).fetchone()
    if row is None or not row[0]:
        return []
    conn.execute(
        sql.SQL(
            "update review.merge r set status = 'superseded' where r.connection = %s and r.entity = %s"
            " and r.status in ('open', 'decided') and (exists (select from {base} b where b.hub_id = r.hub_id)"
            " or not exists (select from {hub} h where h.id = r.hub_id))"
        ).format(base=base_table(stream), hub=hub_table(stream.entity)),
        [stream.connection, stream.entity],
    )
    conn.execute(
        sql.SQL(
            "update review.merge r set status = 'open', decision = null, decided_by = null, decided_at = null"
            " where r.connection = %s and r.entity = %s and r.status = 'decided' and r.decision = 'merge'"
            " and not exists (select from {} h where h.id = r.kept_id)"
        ).format(hub_table(stream.entity)),
        [stream.connection, stream.entity],
    )
    with conn.cursor(row_factory=class_row(Waiting)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from review.merge where connection = %s and entity = %s and status = 'decided' order by id",
            [stream.connection, stream.entity],
        ).fetchall()


def withdraw(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> None:
    """Nothing is to be settled about these records any more: the CRM has them back."""
    if crm_ids:
        conn.execute(
            "update review.merge set status = 'superseded' where connection = %s and entity = %s and crm_id = any(%s)"
            " and status in ('open', 'decided')",
            [stream.connection, stream.entity, list(crm_ids)],
        )


def reopen(conn: Connection, merge: Waiting, note: str) -> None:
    """What was decided cannot be done: it is shown again, with the reason."""
    conn.execute(
        "update review.merge set status = 'open', decision = null, decided_by = null, decided_at = null, note = %s"
        " where id = %s",
        [note, merge.id],
    )


def close(conn: Connection, merge: Waiting) -> None:
    """The decision has been followed."""
    conn.execute("update review.merge set status = 'applied' where id = %s", [merge.id])
