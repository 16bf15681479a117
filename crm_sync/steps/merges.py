"""Merges, at the beginning of a chunk of the hub step: links move before anything is matched or decided."""

from collections.abc import Iterator, Sequence
from uuid import UUID

import psycopg
from psycopg import Connection

from crm_sync.core.errors import ErrorClass
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import aliases, dirty, match_conflicts, merges, merges_doubles, merges_join
from crm_sync.hub.dirty import Entry
from crm_sync.hub.merges import Settled, Waiting
from crm_sync.hub.merges_join import Joining
from crm_sync.hub.parked import Parked, waiting_for
from crm_sync.hub.refusals import REFUSED
from crm_sync.steps.reasons import why_refused
from crm_sync.steps.work import Work

MERGE_WAITS = "MERGE_WAITS"


def settle_merges(work: Work, entries: Sequence[Entry]) -> Sequence[Entry]:
    """Give the links of merged records their place and follow decisions about merges; returns the entries with the
    links as they are now. In the chunk's transaction: whoever survived a merge is in no chunk before its alias is
    known, so that it is never taken for a new record."""
    conn, stream = work.conn, work.stream
    settled = Settled()
    if aliases.known(conn, stream):
        unlinked = {e.crm_id for e in entries if e.hub_id is None and e.crm_id is not None}
        if unlinked:
            merges.withdraw(conn, stream, aliases.revive(conn, stream, sorted(unlinked)))
        settled = merges.settle(conn, stream, work.store.run_id)
        linked = {e.crm_id for e in entries if e.hub_id is not None and e.crm_id is not None}
        settled.moved.update(merges_doubles.step_in(conn, stream, linked, work.store.run_id))
        who_is_known = sorted(settled.moved.values())
        match_conflicts.close(conn, stream, who_is_known, [], work.store.run_id)
        dirty.mark_hub(conn, stream, waiting_for(conn, stream, "MATCH_WAITS", who_is_known))
        work.report.add("merged", len(settled.moved))
        work.report.add("merges_to_settle", len(settled.lost))
        _park_doubles(work, sorted(unlinked))
    joined = {hub_id for merge in merges.decided(conn, stream) for hub_id in _follow(work, merge)}
    if not (settled.moved or settled.lost or joined):
        return entries
    return list(_as_it_is_now(entries, settled, joined))


def held_by_merges(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> dict[UUID, Parked]:
    """Those of these hub records, which have no link, that must not be created in the CRM, each with the reason: a new
    record would undo what somebody did there."""
    found = {}
    for hub_id, survivor in merges.waiting(conn, stream, hub_ids).items():
        what = (
            f"{stream.connection} merged its record into {survivor}, which is linked with another hub record: a person"
            " decides whether the two become one (`crm-sync merges`)"
        )
        found[hub_id] = Parked("hub", str(hub_id), "", ErrorClass.VALIDATION, MERGE_WAITS, what, None, hub_id)
    return found


def _park_doubles(work: Work, unlinked: Sequence[str]) -> None:
    """Records that are doubles of another one are shown, and linked with nothing."""
    for crm_id, other in aliases.doubles(work.conn, work.stream, unlinked).items() if unlinked else ():
        what = (
            f"its hub record was merged with that of {other}: merge the two in {work.stream.connection} as well, or"
            " delete one there"
        )
        work.failed.append(Parked("crm", crm_id, "", ErrorClass.VALIDATION, "DOUBLE", what, crm_id=crm_id))


def _follow(work: Work, merge: Waiting) -> set[UUID]:
    """Do what was decided; returns the hub records that it concerned."""
    conn, stream = work.conn, work.stream
    if merge.decision == "apart":
        merges.close(conn, merge)
        dirty.mark_hub(conn, stream, [merge.hub_id])
        return {merge.hub_id}
    joining = Joining(stream, merge.hub_id, merge.kept_id, merge.decided_by or "", work.store.run_id)
    try:
        with conn.transaction() as joined:
            if not merges_join.possible(conn, joining):
                work.report.notes.append(
                    f"merge #{merge.id}: waits for the answer of a write to one of the two records"
                )
                dirty.mark_hub(conn, stream, [merge.hub_id])
                return set()
            merges_join.join(conn, joining)
            merges.close(conn, merge)
            if (
                work.options.dry_run
            ):  # it lasts, and an application must not wait for these rows until it ends
                raise psycopg.Rollback(joined)
    except REFUSED as error:
        what = f"the two hub records cannot become one: {why_refused(error)}"
        work.report.notes.append(f"merge #{merge.id}: {what}")
        merges.reopen(conn, merge, what)
        return set()
    work.report.add("joined", 1)
    work.report.show(record=str(merge.hub_id), action=f"made one with {merge.kept_id}: {joining.reason}")
    return set() if work.options.dry_run else {merge.hub_id, merge.kept_id}


def _as_it_is_now(entries: Sequence[Entry], settled: Settled, joined: set[UUID]) -> Iterator[Entry]:
    """The marks with their other side's id as it is after the links moved. Those of records that were made one are
    left to their new marks."""
    by_crm = {crm_id: hub_id for hub_id, crm_id in settled.moved.items()}
    for e in entries:
        if e.hub_id in joined:
            yield e._replace(crm_id=None) if e.side == "hub" else e._replace(hub_id=None)
        elif e.side == "hub" and e.hub_id in settled.moved:
            yield e._replace(crm_id=settled.moved[e.hub_id])
        elif e.side == "hub" and e.hub_id in settled.lost:
            yield e._replace(crm_id=None)
        elif e.crm_id in by_crm:
            yield e._replace(hub_id=by_crm[e.crm_id])
        elif e.hub_id in settled.lost or e.hub_id in settled.moved:  # of the loser
            yield e._replace(hub_id=None)
        else:
            yield e
