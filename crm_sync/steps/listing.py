"""The sweep by itself: list the ids of a stream and nothing else, then look for what is missing.

A full read sweeps anyway. This is for who wants to know of hard deletes oftener than he reads everything: Salesforce
gives ids alone ten times as fast as whole records, HubSpot makes as many calls as for whole records.
"""

import logging
from dataclasses import replace

from crm_sync.connectors.crm import Crm, ReadRequest, Window
from crm_sync.core.errors import HeldBackError
from crm_sync.core.spec import StreamSpec
from crm_sync.core.window import Reading
from crm_sync.hub import history, mirror, staging
from crm_sync.hub.store import Store
from crm_sync.steps import guard
from crm_sync.steps.identity import unchanged
from crm_sync.steps.options import Options, Report, calls_since
from crm_sync.steps.reached import Reached
from crm_sync.steps.sweep import sweep

log = logging.getLogger(__name__)


def sweep_ids(store: Store, crm: Crm, stream: StreamSpec, options: Options) -> Report:
    """List what `stream` has and settle what the mirror has beside it. A listing that was interrupted is gone on with.

    Raises BusyError if another process reads the stream, CrmError if the CRM cannot be read, HeldBackError if it is
    another account than before, or the listing brings next to nothing.
    """
    report = Report(dict.fromkeys(("read", "updated", "deleted", "left"), 0))
    configuration = {**options.as_configuration(), "direction": "inbound"}
    before = dict(crm.calls)
    with (
        store.exclusive(stream.name),
        history.running(store, stream.connection, stream.entity, "sweep", configuration) as progress,
        unchanged(store, stream, options, report, crm),
    ):
        job, listing = _list(store, crm, stream)
        try:
            guard.full_read(store, stream, job.read, options, report)
        except HeldBackError:
            job.finish()
            raise
        for name, number in sweep(store, crm, stream, listing).items():
            report.add(name, number)
        job.finish()
        report.counts["read"] = job.read
        report.calls = calls_since(before, crm.calls)
        progress.processed = job.read
        progress.updated = sum(report.counts[name] for name in ("updated", "deleted", "left"))
        progress.metrics["calls"] = report.calls
    log.info("%s sweep: %s", stream.name, report.counts)
    return report


_EVERYTHING = Reading(None, None, full=True, moves=False)


def _list(store: Store, crm: Crm, stream: StreamSpec) -> tuple[Reached, int]:
    """Note every id, and come to the end; how far that came, and the listing."""
    thin = replace(stream, fields=())
    job = Reached(store, crm, thin, "sweep")
    state = job.begin(_EVERYTHING)
    if job.listing is None:  # of the part before this one nothing is known any more
        job.finish()
        job = Reached(store, crm, thin, "sweep")
        state = job.begin(_EVERYTHING)
    assert job.listing is not None
    for page in crm.changed(ReadRequest(thin, Window(), job=state), job):
        with store.transaction() as conn:
            staging.load(conn, page)
            row = conn.execute("select count(*) from staging").fetchone()
            job.shown(conn, page)
            job.merged(page.progress, mirror.Merged(read=row[0] if row else 0))
    return job, job.listing
