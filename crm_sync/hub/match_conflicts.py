"""Match conflicts: CRM records that are alike one or several hub records, and about which a person decides.

A row of `review.match` holds the candidates with their scores. A decision marks the CRM record, and the next hub step
follows it; until then the record is parked (MATCH_REVIEW), and its candidates are not created in the CRM. A row
that is not needed any more is closed: applied if it was decided, else superseded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from crm_sync.core.spec import StreamSpec
from crm_sync.hub import dirty
from crm_sync.hub.similar import NEW, Candidate
from crm_sync.hub.sql import base_table, hub_table, ident, mirror_table, to_text


@dataclass(frozen=True, slots=True)
class MatchConflict:
    """A row of `review.match`. candidates: dicts of hub_id, score (0 to 1) and alike (how alike, by what is compared),
    the best first."""

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


def record(
    conn: Connection, stream: StreamSpec, found: Mapping[str, Sequence[Candidate]], run_id: str | None
) -> None:
    """Open a conflict for each of these CRM records, or bring the one that is there up to date. A decision is no more
    than an open conflict's: one that led here again could not be followed. Who was a candidate and is none any more
    waits for nothing."""
    rows = conn.execute(
        "select crm_id, candidates from review.match where connection = %s and entity = %s and crm_id = any(%s)"
        " and status in ('open', 'decided')",
        [stream.connection, stream.entity, list(found)],
    ).fetchall()
    dropped = {UUID(one["hub_id"]) for crm_id, before in rows for one in before} - {
        one.hub_id for candidates in found.values() for one in candidates
    }
    dirty.mark_hub(conn, stream, sorted(dropped))
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into review.match as m (connection, entity, crm_id, candidates, run_id) values (%s, %s, %s, %s, %s)"
            " on conflict (connection, entity, crm_id) where status in ('open', 'decided') do update set status = 'open',"
            " candidates = excluded.candidates, run_id = excluded.run_id, decision = null, hub_id = null,"
            " decided_by = null, decided_at = null",
            [
                (
                    stream.connection,
                    stream.entity,
                    crm_id,
                    Jsonb([_as_json(one) for one in candidates]),
                    run_id,
                )
                for crm_id, candidates in found.items()
            ],
        )


def _as_json(one: Candidate) -> dict[str, Any]:
    return {"hub_id": str(one.hub_id), "score": one.score.total, "alike": dict(one.score.parts)}


def follow(conn: Connection, stream: StreamSpec) -> None:
    """Note people's decisions in `unlinked`. A hub record that is gone or linked meanwhile is not taken."""
    conn.execute(
        sql.SQL(
            "update unlinked u set found = d.hub_id, how = case when d.decision = 'link'"
            " then 'decision of ' || d.decided_by else {new} end from review.match d"
            " where d.connection = %s and d.entity = %s and d.status = 'decided' and d.crm_id = u.crm_id"
            " and u.found is null and (d.decision = 'new' or exists (select from {hub} h where h.id = d.hub_id)"
            " and not exists (select from {base} b where b.hub_id = d.hub_id)"
            " and d.hub_id not in (select found from unlinked where found is not null))"
        ).format(new=sql.Literal(NEW), hub=hub_table(stream.entity), base=base_table(stream)),
        [stream.connection, stream.entity],
    )


def close(conn: Connection, stream: StreamSpec, crm_ids: Iterable[str], still: Iterable[str]) -> None:
    """Close the conflicts of these CRM records but for those that are `still` open. Their candidates, which waited, are
    looked at again."""
    rows = conn.execute(
        "update review.match set status = case when status = 'decided' then 'applied' else 'superseded' end"
        " where connection = %s and entity = %s and crm_id = any(%s) and crm_id <> all(%s)"
        " and status in ('open', 'decided') returning candidates",
        [stream.connection, stream.entity, list(crm_ids), list(still)],
    ).fetchall()
    dirty.mark_hub(conn, stream, [UUID(one["hub_id"]) for row in rows for one in row[0]])


def waiting(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these hub records that are candidates of an undecided CRM record."""
    rows = conn.execute(
        "select distinct (c ->> 'hub_id')::uuid from review.match m cross join jsonb_array_elements(m.candidates) c"
        " where m.connection = %s and m.entity = %s and m.status in ('open', 'decided') and (c ->> 'hub_id')::uuid = any(%s)",
        [stream.connection, stream.entity, list(hub_ids)],
    ).fetchall()
    return {row[0] for row in rows}


_COLUMNS = "id, connection, entity, crm_id, candidates, status, decision, hub_id, decided_by, opened_at"


def find(
    conn: Connection, *, ids: Sequence[int] | None = None, limit: int | None = None
) -> list[MatchConflict]:
    """The open match conflicts, oldest first; with `ids`, these, decided ones too."""
    with conn.cursor(row_factory=class_row(MatchConflict)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from review.match where case when %(ids)s::bigint[] is null then status = 'open'"
            " else id = any(%(ids)s) and status in ('open', 'decided') end order by id limit %(limit)s",
            {"ids": None if ids is None else list(ids), "limit": limit},
        ).fetchall()


def values(
    conn: Connection, stream: StreamSpec, conflict: MatchConflict
) -> tuple[dict[str, str | None], dict[str, dict[str, str | None]]]:
    """What is compared, as it is now: of the CRM record in the CRM's own values, and of the candidates by hub id."""
    names = stream.similar.fields if stream.similar is not None else ()
    if not names:
        return {}, {}
    row = conn.execute(
        sql.SQL("select {} from {} m where m.crm_id = %s").format(
            sql.SQL(", ").join(ident("m", name) for name in names), mirror_table(stream)
        ),
        [conflict.crm_id],
    ).fetchone()
    rows = conn.execute(
        sql.SQL("select h.id::text, {} from {} h where h.id = any(%s::uuid[])").format(
            sql.SQL(", ").join(to_text(stream.field(name), ident("h", name)) for name in names),
            hub_table(stream.entity),
        ),
        [[one["hub_id"] for one in conflict.candidates]],
    ).fetchall()
    theirs = dict(zip(names, row, strict=True)) if row is not None else {}
    return theirs, {one[0]: dict(zip(names, one[1:], strict=True)) for one in rows}


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
