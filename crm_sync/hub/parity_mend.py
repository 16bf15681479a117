"""What a repair after a comparison writes: the mirror's stamps, what was never agreed on, the queue. The sync decides."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.spec import StreamSpec
from crm_sync.hub.sql import base_table, ident, mirror_table


def distrust(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> None:
    """Whatever is merged into the mirror next about these records counts as newer, in the caller's transaction."""
    conn.execute(
        sql.SQL("update {} set modified_at = null where crm_id = any(%s)").format(mirror_table(stream)),
        [list(crm_ids)],
    )


def gone(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> int:
    """The CRM does not have these records any more, not even as deleted ones: so says the mirror of those that are
    linked from now on, and they are marked, as if the CRM had told. Returns how many it did not know about."""
    return conn.execute(
        sql.SQL(
            "with said as (insert into {mirror} as m (crm_id, deleted) select b.crm_id, true from {base} b"
            " where b.crm_id = any(%s) order by 1 on conflict (crm_id) do update"
            " set deleted = true, seen_at = clock_timestamp() where not m.deleted returning crm_id)"
            " insert into sync.mark (stream, by_hub, crm_id) select s.id, false, said.crm_id from said"
            " cross join sync.stream s where s.connection = %s and s.entity = %s"
        ).format(mirror=mirror_table(stream), base=base_table(stream)),
        [list(crm_ids), stream.connection, stream.entity],
    ).rowcount


def mark_crm(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> None:
    """Ask for these CRM records to be looked at, those that the mirror has."""
    conn.execute(
        sql.SQL(
            "insert into sync.mark (stream, by_hub, crm_id) select s.id, false, m.crm_id from sync.stream s"
            " cross join {} m where s.connection = %s and s.entity = %s and m.crm_id = any(%s) and not m.deleted"
        ).format(mirror_table(stream)),
        [stream.connection, stream.entity, list(crm_ids)],
    )


def disagree(conn: Connection, stream: StreamSpec, field: str, hub_ids: Sequence[UUID]) -> None:
    """The sides never agreed on this field of these records: its policy decides, or a person."""
    conn.execute(
        sql.SQL("update {} set {} = false where hub_id = any(%s)").format(
            base_table(stream), ident(f"{field}_agreed")
        ),
        [list(hub_ids)],
    )
