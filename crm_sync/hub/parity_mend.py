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
