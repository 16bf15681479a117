"""Match conflicts: CRM records that are alike one or several hub records, and about which a person decides.

A row of `review.match` holds the candidates with their scores. A decision marks the CRM record, and the next hub step
follows it; until then the record is parked (MATCH_REVIEW), and its candidates are not created in the CRM, nor is the hub
record that was chosen. A decision that cannot be followed goes back to the person, with the reason. A row that is not
needed any more is closed: applied if what was decided came about, else superseded. All of this holds whether or not the
connection file compares likeness (still). What people see of it and say to it is in `match_decisions.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection, sql
from psycopg.types.json import Jsonb

from crm_sync.core.match import Score
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import dirty
from crm_sync.hub.similar import NEW, REVIEW, Candidate, Review
from crm_sync.hub.sql import base_table, hub_table


def record(conn: Connection, stream: StreamSpec, found: Mapping[str, Review], run_id: str | None) -> None:
    """Open a conflict for each of these CRM records, or bring the one that is there up to date. A decision is no more
    than an open conflict's: one that led here again could not be followed, which the journal notes. Who was a candidate
    and is none any more waits for nothing."""
    rows = conn.execute(
        "select crm_id, candidates, hub_id, decision, decided_by from review.match where connection = %s and entity = %s"
        " and crm_id = any(%s) and status in ('open', 'decided')",
        [stream.connection, stream.entity, list(found)],
    ).fetchall()
    before = {UUID(one["hub_id"]) for row in rows for one in row[1]} | {row[2] for row in rows if row[2]}
    now = {one.hub_id for review in found.values() for one in review.candidates}
    dirty.mark_hub(conn, stream, sorted(before - now))
    for crm_id, _, hub_id, decision, person in rows:
        if decision is not None:
            why = found[crm_id].note or "who it may be has changed"
            withdrawn(conn, stream, crm_id, hub_id, decision, person, why, run_id)
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into review.match as m (connection, entity, crm_id, candidates, note, run_id)"
            " values (%s, %s, %s, %s, %s, %s)"
            " on conflict (connection, entity, crm_id) where status in ('open', 'decided') do update set status = 'open',"
            " candidates = excluded.candidates, note = excluded.note, run_id = excluded.run_id, decision = null,"
            " hub_id = null, decided_by = null, decided_at = null",
            [
                (
                    stream.connection,
                    stream.entity,
                    crm_id,
                    Jsonb([_as_json(one) for one in review.candidates]),
                    review.note,
                    run_id,
                )
                for crm_id, review in found.items()
            ],
        )


def withdrawn(
    conn: Connection,
    stream: StreamSpec,
    crm_id: str,
    hub_id: UUID | None,
    decision: str,
    person: str,
    why: str,
    run_id: str | None,
) -> None:
    """Note in the journal that a person's word does not count any more."""
    said = "it is this hub record" if decision == "link" else "it is a new one"
    conn.execute(
        "insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, reason)"
        " values (%s, %s, %s, %s, %s, 'hub', 'review', %s)",
        [
            run_id,
            stream.connection,
            stream.entity,
            hub_id,
            crm_id,
            f"decision of {person} ({said}) withdrawn: {why}",
        ],
    )


def _as_json(one: Candidate) -> dict[str, Any]:
    return {"hub_id": str(one.hub_id), "score": one.score.total, "alike": dict(one.score.parts)}


def follow(conn: Connection, stream: StreamSpec) -> dict[str, Review]:
    """Note people's decisions in `unlinked`. A hub record that is gone or linked meanwhile is not taken: returns what
    goes back to a person because of that, by CRM id."""
    about: dict[str, sql.Composable] = {
        "new": sql.Literal(NEW),
        "review": sql.Literal(REVIEW),
        "entity": sql.Literal(stream.entity),
        "stream": sql.Literal(stream.name),
        "hub": hub_table(stream.entity),
        "base": base_table(stream),
    }
    key = [stream.connection, stream.entity]
    conn.execute(
        sql.SQL(
            "with free as (select distinct on (coalesce(d.hub_id::text, d.crm_id)) d.* from review.match d"
            " join unlinked u on u.crm_id = d.crm_id"
            " where d.connection = %s and d.entity = %s and d.status = 'decided' and u.found is null"
            " and (d.decision = 'new' or exists (select from {hub} h where h.id = d.hub_id)"
            " and not exists (select from {base} b where b.hub_id = d.hub_id)"
            " and d.hub_id not in (select found from unlinked where found is not null))"
            " order by coalesce(d.hub_id::text, d.crm_id), d.decided_at, d.id)"
            " update unlinked u set found = f.hub_id, how = case when f.decision = 'link'"
            " then 'decision of ' || f.decided_by else {new} end from free f where f.crm_id = u.crm_id"
        ).format(**about),
        key,
    )
    rows = conn.execute(
        sql.SQL(
            "update unlinked u set candidates = {review} from review.match d where d.connection = %s and d.entity = %s"
            " and d.status = 'decided' and d.decision = 'link' and d.crm_id = u.crm_id and u.found is null"
            " returning u.crm_id, d.candidates, d.hub_id, case"
            " when not exists (select from {hub} h where h.id = d.hub_id)"
            " then 'hub.' || {entity} || ' has no record ' || d.hub_id || ' any more'"
            " else 'the hub record ' || d.hub_id || ' is linked with ' || {stream} || ' '"
            " || coalesce((select b.crm_id from {base} b where b.hub_id = d.hub_id),"
            " (select o.crm_id from unlinked o where o.found = d.hub_id)) || ' by now' end"
        ).format(**about),
        key,
    ).fetchall()
    return {
        crm_id: Review([_candidate(one) for one in candidates if one["hub_id"] != str(hub_id)], why)
        for crm_id, candidates, hub_id, why in rows
    }


def _candidate(one: Mapping[str, Any]) -> Candidate:
    return Candidate(UUID(one["hub_id"]), Score(one["score"], one["alike"]))


def close(
    conn: Connection, stream: StreamSpec, crm_ids: Iterable[str], still: Iterable[str], run_id: str | None
) -> None:
    """Close the conflicts of these CRM records but for those that are `still` open. The hub records that waited for
    them are looked at again."""
    rows = conn.execute(
        sql.SQL(
            "update review.match m set status = case when m.status = 'decided' and (m.decision = 'new' or exists"
            " (select from {base} b where b.crm_id = m.crm_id and b.hub_id = m.hub_id)) then 'applied' else 'superseded' end"
            " where m.connection = %s and m.entity = %s and m.crm_id = any(%s) and m.crm_id <> all(%s)"
            " and m.status in ('open', 'decided')"
            " returning m.crm_id, m.candidates, m.hub_id, m.decision, m.decided_by, m.status"
        ).format(base=base_table(stream)),
        [stream.connection, stream.entity, list(crm_ids), list(still)],
    ).fetchall()
    waited = {UUID(one["hub_id"]) for row in rows for one in row[1]} | {row[2] for row in rows if row[2]}
    dirty.mark_hub(conn, stream, sorted(waited))
    for crm_id, _, hub_id, decision, person, status in rows:
        if decision is not None and status == "superseded":
            why = "the record is gone, or its external id says who it is"
            withdrawn(conn, stream, crm_id, hub_id, decision, person, why, run_id)


def waiting(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these hub records that a CRM record may be, or is by a person's decision that no sync has followed yet."""
    rows = conn.execute(
        "select w.id from review.match m cross join lateral (select (c ->> 'hub_id')::uuid as id"
        " from jsonb_array_elements(m.candidates) c union select m.hub_id) w"
        " where m.connection = %s and m.entity = %s and m.status in ('open', 'decided') and w.id = any(%s)",
        [stream.connection, stream.entity, list(hub_ids)],
    ).fetchall()
    return {row[0] for row in rows}
