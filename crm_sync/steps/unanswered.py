"""Writes without an answer, in the hub step: what the mirror shows of them is confirmed before anything is decided."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.spec import StreamSpec
from crm_sync.hub import confirm, frozen, halfway, intents, life_sent
from crm_sync.hub.sql import base_table
from crm_sync.steps.work import Work

_ANSWER = {"settled": "seen in the mirror"}


def settle_seen(work: Work, hub_ids: Sequence[UUID]) -> set[UUID]:
    """Writes of ours without an answer whose effect the mirror shows are confirmed: else our own values would look like
    somebody's edit. Returns the records that stay in doubt; outbound looks at them."""
    conn, stream, run_id = work.conn, work.stream, work.store.run_id
    pending = intents.locked(conn, stream, hub_ids)
    if not pending:
        return set()
    links = _links(conn, stream, [i.hub_id for i in pending])
    linked = [(i, links[i.hub_id]) for i in pending if i.hub_id in links]
    # A deleted record that is created once more is linked with the old one until the answer is known.
    creates = [(i, crm_id) for i, crm_id in linked if i.kind == "create" and i.crm_id != crm_id]
    accepted = halfway.created(conn, stream, creates, _ANSWER)
    updates = [one for one in linked if one[0].kind == "update"]
    accepted += confirm.arrived(conn, stream, updates, _ANSWER, set(frozen.fields(conn, stream)))
    confirm.confirm(conn, stream, accepted, run_id)
    deletes = [i for i in pending if i.kind == "delete" and i.crm_id is not None]
    there = (
        life_sent.gone_of(conn, stream, [i.crm_id for i in deletes if i.crm_id is not None])
        if deletes
        else set()
    )
    gone = [i for i in deletes if i.crm_id in there]
    life_sent.confirm(conn, stream, gone, "seen in the mirror", run_id)
    return {i.hub_id for i in pending} - {a.intent.hub_id for a in accepted} - {i.hub_id for i in gone}


def _links(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> dict[UUID, str]:
    rows = conn.execute(
        sql.SQL("select hub_id, crm_id from {} where hub_id = any(%s)").format(base_table(stream)),
        [list(hub_ids)],
    ).fetchall()
    return dict(rows)
