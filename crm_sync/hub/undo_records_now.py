"""Undo of whole records: pulling apart and deleting what `undo_records.py` has found, in the caller's transaction.

A pair that was pulled apart is kept in `sync.unlinked`, so that matching does not link it again; the CRM record of a hub
record that was deleted in `sync.kept_out`, so that it makes no new one until somebody edits it there.
"""

from collections.abc import Sequence

from psycopg import Connection, sql

from crm_sync.core.spec import StreamSpec
from crm_sync.core.undo import Fate
from crm_sync.hub.sql import base_table, hub_table, mirror_table


def lock(conn: Connection, entity: str, ids: Sequence[int]) -> None:
    """Nobody changes these hub records, or refers to them, before the caller's transaction ends."""
    conn.execute(
        sql.SQL(
            "select 1 from {} where id in (select hub_id from undo_record where id = any(%s)) order by id for update"
        ).format(hub_table(entity)),
        [list(ids)],
    )


def unlink(
    conn: Connection, stream: StreamSpec, ids: Sequence[int], person: str, run_id: str, reason: str
) -> int:
    """Pull these apart, as far as their fate still is to be undone; returns how many. Both sides are looked at anew."""
    key = [stream.connection, stream.entity]
    gone = conn.execute(
        sql.SQL(
            "with gone as (delete from {base} b using undo_record r where r.id = any(%s) and r.fate = 'undo'"
            " and b.hub_id = r.hub_id and b.crm_id = r.crm_id returning b.hub_id, b.crm_id),"
            " apart as (insert into sync.unlinked (connection, entity, crm_id, hub_id, unlinked_by, run_id)"
            " select %s, %s, crm_id, hub_id, %s, %s from gone on conflict do nothing),"
            " closed as (update review.conflict c set status = 'superseded' from gone g where c.connection = %s"
            " and c.entity = %s and c.hub_id = g.hub_id and c.status in ('open', 'decided', 'skipped')),"
            " marked as (insert into sync.mark (stream, by_hub, hub_id, crm_id) select s.id, w.by_hub, w.hub_id, w.crm_id"
            " from gone g cross join lateral (values (true, g.hub_id, null), (false, null::uuid, g.crm_id))"
            " as w (by_hub, hub_id, crm_id) cross join sync.stream s where s.connection = %s and s.entity = %s)"
            " insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, reason)"
            " select %s, %s, %s, hub_id, crm_id, 'hub', 'unlink', %s from gone order by hub_id"
        ).format(base=base_table(stream)),
        [list(ids), *key, person, run_id, *key, *key, run_id, *key, reason],
    ).rowcount
    _done(conn, ids)
    return gone


def delete(
    conn: Connection, stream: StreamSpec, ids: Sequence[int], person: str, run_id: str, reason: str
) -> int:
    """Delete these hub records and their links, as far as their fate still is to be undone; returns how many.

    Raises psycopg.IntegrityError if a table of the user's still needs one."""
    key = [stream.connection, stream.entity]
    conn.execute(
        sql.SQL(
            "with gone as (delete from {base} b using undo_record r where r.id = any(%s) and r.fate = 'undo'"
            " and b.hub_id = r.hub_id and b.crm_id = r.crm_id returning b.hub_id, b.crm_id)"
            " insert into sync.kept_out (connection, entity, crm_id, modified_at, kept_out_by, run_id)"
            " select %s, %s, g.crm_id, m.modified_at, %s, %s from gone g left join {mirror} m on m.crm_id = g.crm_id"
            " on conflict (connection, entity, crm_id) do update set modified_at = excluded.modified_at,"
            " kept_out_by = excluded.kept_out_by, run_id = excluded.run_id, at = clock_timestamp()"
        ).format(base=base_table(stream), mirror=mirror_table(stream)),
        [list(ids), *key, person, run_id],
    )
    gone = conn.execute(
        sql.SQL(
            "with gone as (delete from {hub} h using undo_record r where r.id = any(%s) and r.fate = 'undo'"
            " and h.id = r.hub_id returning h.id, r.crm_id, to_jsonb(h) as was)"
            " insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, old_value, reason)"
            " select %s, %s, %s, id, crm_id, 'hub', 'delete', jsonb_strip_nulls(was)::text, %s from gone order by id"
        ).format(hub=hub_table(stream.entity)),
        [list(ids), run_id, *key, reason],
    ).rowcount
    _done(conn, ids)
    return gone


def _done(conn: Connection, ids: Sequence[int]) -> None:
    conn.execute("update undo_record set fate = 'done' where id = any(%s) and fate = 'undo'", [list(ids)])


def refuse(conn: Connection, ids: Sequence[int], about: str) -> None:
    """These stay, because the hub refuses it."""
    conn.execute(
        "update undo_record set fate = %s, about = %s where id = any(%s)", [str(Fate.LEFT), about, list(ids)]
    )
