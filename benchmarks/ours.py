"""Our side: the product's steps, on one connection to the database and one to the CRM."""

from collections.abc import Mapping

from benchmarks.place import Place
from crm_sync.hub import watermark
from crm_sync.hub.store import Store
from crm_sync.steps.allowance import allot
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.listing import sweep_ids
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from crm_sync.steps.verify import known_records, verify

Counts = dict[str, int]
"""What a step reports: records by what became of them."""


class Ours:
    """The steps of one stream. Every method returns the step's counts."""

    def __init__(self, place: Place) -> None:
        self._store = Store(place.url, run_id="benchmark")
        self._crm = place.crm()
        self._stream = place.stream

    def inbound(self) -> Counts:
        """From the CRM into the mirror."""
        return dict(inbound(self._store, self._crm, self._stream, Options()).counts)

    def count_as_read(self) -> None:
        """Nothing is created in an account that was never read; here nobody reads what earlier turns have created."""
        watermark.advance(self._store, self._stream, self._crm.now(), full=True)

    def hub(self) -> Counts:
        """From the mirror into the hub, disputes into the review table."""
        report = hub(self._store, self._stream, Options())
        report.include(conflicts(self._store, self._stream))
        return dict(report.counts)

    def outbound(self) -> Counts:
        """From the hub to the CRM."""
        return dict(outbound(self._store, self._crm, self._stream, Options()).counts)

    def cycle(self) -> Counts:
        """What a scheduled run does: all steps in order. Records that the steps looked at are added up."""
        report = inbound(self._store, self._crm, self._stream, Options())
        for each in (
            hub(self._store, self._stream, Options()),
            conflicts(self._store, self._stream),
            outbound(self._store, self._crm, self._stream, Options()),
        ):
            report.include(each)
        return dict(report.counts)

    def sweep(self) -> Counts:
        """What a nightly run does to learn of deletions that the CRM does not tell: list all ids."""
        return _counted(sweep_ids(self._store, self._crm, self._stream, Options()).counts)

    def verify(self) -> Counts:
        """Compare everything. needed: the calls that were expected; open: differences that nothing explains."""
        known = {self._stream.name: known_records(self._store, self._stream)}
        share = allot([self._stream], known, None)[self._stream.name]
        found = verify(self._store, self._crm, self._stream, share)
        counts = {"read": found.crm_records, "needed": share.needed, "open": found.open}
        return _counted(counts | {"differences": sum(found.counts.values()), "linked": found.linked})

    def close(self) -> None:
        self._crm.close()
        self._store.close()


def _counted(counts: Mapping[str, int]) -> Counts:
    """With the two counts that every cycle has."""
    return {"read": 0, "records": 0, **counts}
