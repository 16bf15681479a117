"""Hinted: read the records that webhook events point at, by their ids.

Faster than a listing by modification time, whose index may lag behind the event; the listing still runs and finds
what no event told.
"""

import logging
from collections.abc import Sequence
from functools import partial

from psycopg import sql

from crm_sync.connectors.crm import Crm
from crm_sync.connectors.taking_part import is_filtered
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import inbox, mirror
from crm_sync.hub.sql import mirror_table
from crm_sync.hub.store import Store
from crm_sync.steps import survivors
from crm_sync.steps.options import Report
from crm_sync.steps.sweep import taking_part

log = logging.getLogger(__name__)


def hinted(store: Store, crm: Crm, stream: StreamSpec) -> Report:
    """Bring the mirror up to date for the waiting events of `stream`, and mark them done.

    An id that the CRM does not know is left to the listing. Raises BusyError if the stream is being read by another
    process, CrmError if the CRM cannot be read; the events then wait on.
    """
    report = Report()
    found = inbox.hinted(store.conn, stream)
    if found is None:
        return report
    before = dict(crm.calls)
    with store.exclusive(stream.name):  # as inbound and outbound do: no page is older than what is known
        for page in crm.by_ids(stream, _ours(store, stream, found.crm_ids)):
            ours = taking_part(crm, stream, page) if is_filtered(stream) else page
            merged = store.committed(partial(mirror.merge, stream=stream, page=ours, looked_up=True))
            for name in ("created", "updated", "deleted"):
                report.add(name, getattr(merged, name))
        survivors.look_up(store, crm, stream)
        report.add("events", inbox.done(store.conn, found.events))
    report.calls = {family: count - before.get(family, 0) for family, count in crm.calls.items()}
    log.info("%s inbox: %s", stream.name, report.counts)
    return report


def _ours(store: Store, stream: StreamSpec, crm_ids: Sequence[str]) -> Sequence[str]:
    """The records that belong to the stream: a look-up by id does not obey its filter, so that with one only those
    count that the listing has brought before."""
    if not is_filtered(stream):
        return crm_ids
    rows = store.conn.execute(
        sql.SQL("select crm_id from {} where crm_id = any(%s)").format(mirror_table(stream)), [list(crm_ids)]
    ).fetchall()
    return [row[0] for row in rows]
