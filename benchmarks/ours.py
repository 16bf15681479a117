"""Our side: the product's steps, on one connection to the database and one to the CRM."""

from benchmarks.place import Place
from crm_sync.hub import watermark
from crm_sync.hub.store import Store
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound

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

    def close(self) -> None:
        self._crm.close()
        self._store.close()
