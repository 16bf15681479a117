"""Repair: what `verify` could not explain is looked at by the ordinary sync again.

Nothing is decided here. The mirror gets what the CRM says now of these records, by their ids (also that it does not
have them any more), and they are put into the queue: the next sync takes, sends, deletes, or asks a person, by the
rules it always has, and the guard holds back what would be too much.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from psycopg import Connection

from crm_sync.connectors.crm import CRM_ID, BatchPage, Crm
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import dirty, mirror, parity_mend
from crm_sync.hub.mirror import Merged
from crm_sync.hub.store import Store
from crm_sync.steps.verify import CHUNK, Parity, parts


@dataclass(frozen=True, slots=True)
class Repaired:
    """Records that the next sync looks at, and those of them whose mirror row was wrong."""

    marked: int
    refreshed: int


def repair(store: Store, crm: Crm, stream: StreamSpec, found: Parity) -> Repaired:
    """Look the unexplained records of a comparison up again, and mark them.

    Raises BusyError if a sync is working on the stream, CrmError if the CRM cannot be reached; repeating it does no
    harm.
    """
    refreshed = 0
    crm_ids = sorted(found.crm_ids)
    with store.exclusive(stream.name):  # what a sync reads meanwhile may be newer, and must not be overtaken
        for some in parts(crm_ids, CHUNK):
            there: set[str] = set()
            for page in crm.by_ids(stream, some):
                told = [crm_id for crm_id in page.batch.column(CRM_ID).to_pylist() if crm_id]
                merged = store.committed(partial(_refresh, stream, page, told))
                refreshed += merged.created + merged.updated + merged.deleted
                there.update(told)
            lost = sorted(set(some) - there)
            refreshed += store.committed(partial(parity_mend.gone, stream=stream, crm_ids=lost))
        store.committed(partial(_mark, stream, found))
    return Repaired(len(found.crm_ids) + len(found.hub_ids), refreshed)


def _refresh(stream: StreamSpec, page: BatchPage, told: Sequence[str], conn: Connection) -> Merged:
    parity_mend.distrust(conn, stream, told)
    return mirror.merge(conn, stream, page, looked_up=True)


def _mark(stream: StreamSpec, found: Parity, conn: Connection) -> None:
    for name, hub_ids in found.apart.items():
        parity_mend.disagree(conn, stream, name, sorted(hub_ids))
    dirty.mark_hub(conn, stream, found.hub_ids)
    parity_mend.mark_crm(conn, stream, sorted(found.crm_ids))
