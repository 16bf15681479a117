"""Repair: what `verify` could not explain is looked at by the ordinary sync again.

Nothing is decided here. The mirror gets what the CRM says now of these records, by their ids (also that it does not
have them any more), and they are put into the queue: the next sync takes, sends, deletes, or asks a person, by the
rules it always has, and the guard holds back what would be too much.
"""

from dataclasses import dataclass

from crm_sync.connectors.crm import CRM_ID, Crm
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import dirty, mirror, parity_mend
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
                with store.transaction() as conn:
                    told = [crm_id for crm_id in page.batch.column(CRM_ID).to_pylist() if crm_id]
                    parity_mend.distrust(conn, stream, told)
                    merged = mirror.merge(conn, stream, page, looked_up=True)
                refreshed += merged.created + merged.updated + merged.deleted
                there.update(told)
            with store.transaction() as conn:
                refreshed += parity_mend.gone(conn, stream, sorted(set(some) - there))
        with store.transaction() as conn:
            for name, hub_ids in found.apart.items():
                parity_mend.disagree(conn, stream, name, sorted(hub_ids))
            dirty.mark_hub(conn, stream, found.hub_ids)
            parity_mend.mark_crm(conn, stream, crm_ids)
    return Repaired(len(found.crm_ids) + len(found.hub_ids), refreshed)
