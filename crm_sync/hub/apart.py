"""Pairs of records that a person pulled apart (`sync.unlinked`): matching leaves them so."""

from psycopg import sql

from crm_sync.core.spec import StreamSpec


def not_apart(stream: StreamSpec, crm_id: sql.Composable, hub_id: sql.Composable) -> sql.Composed:
    """Condition: nobody pulled this CRM record and this hub record apart."""
    return sql.SQL(
        "not exists (select from sync.unlinked q where q.connection = {} and q.entity = {} and q.crm_id = {}"
        " and q.hub_id = {})"
    ).format(sql.Literal(stream.connection), sql.Literal(stream.entity), crm_id, hub_id)
