"""Doubts: values that a write of ours was to set whose answer never came and which nobody has seen arrive.

Looking showed that they were not there, so the records were decided anew. But a request that was lost on its way can
still take effect minutes later, over what was written since. What a CRM then says is our own old value and nobody's
edit: `differences` knows it by these rows, and `core.decide` sends the hub's value again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from psycopg import Connection, sql

from crm_sync.core.spec import StreamSpec
from crm_sync.hub.intents import Intent, as_json

MAY_LAND = "15 minutes"
"""So long after the look, on the CRM's clock, such a value is taken for ours: vendors end a request after 10 minutes at
most."""

_KEPT = "7 days"  # a sync may be paused for that long and still tell


def note(
    conn: Connection, stream: StreamSpec, unseen: Sequence[Intent], looked_at: datetime, run_id: str | None
) -> None:
    """Remember what these writes were to set; `looked_at` is the CRM's time when it was not there."""
    conn.execute(
        f"delete from sync.doubt where connection = %s and entity = %s and noted_at < now() - interval '{_KEPT}'",
        [stream.connection, stream.entity],
    )
    if unseen:
        conn.execute(
            "insert into sync.doubt (connection, entity, hub_id, field, sent, looked_at, run_id)"
            " select %s, %s, i.hub_id, s.key, s.value, %s, %s from unnest(%s::uuid[], %s::jsonb[]) as i (hub_id, sent)"
            " cross join lateral jsonb_each_text(i.sent) s",
            [
                stream.connection,
                stream.entity,
                looked_at,
                run_id,
                [i.hub_id for i in unseen],
                [as_json(_sent(i)) for i in unseen],
            ],
        )


def _sent(intent: Intent) -> Mapping[str, str | None]:
    """A create sends no blanks."""
    if intent.kind == "update":
        return intent.sent
    return {name: value for name, value in intent.sent.items() if value is not None}


def landed(stream: StreamSpec) -> sql.Composable:
    """Condition over a row d of the differences view: what the CRM says is such a value."""
    return sql.SQL(
        "(d.crm_changed and exists (select from sync.doubt u where u.connection = {connection} and u.entity = {entity}"
        " and u.hub_id = d.hub_id and u.field = d.field and u.sent is not distinct from d.crm_now"
        " and d.crm_at <= u.looked_at + interval {window}))"
    ).format(
        connection=sql.Literal(stream.connection),
        entity=sql.Literal(stream.entity),
        window=sql.Literal(MAY_LAND),
    )


def of_record(stream: StreamSpec) -> sql.Composable:
    """Condition over a row b of the base: there is a doubt about the record."""
    return sql.SQL(
        "exists (select from sync.doubt u where u.connection = {} and u.entity = {} and u.hub_id = b.hub_id)"
    ).format(sql.Literal(stream.connection), sql.Literal(stream.entity))
