"""Inbound: ask a CRM what changed in a window, merge it into the mirror, mark the changed records, move the watermark.

One transaction per page, which holds how far reading has come as well: a run that was killed, or that had a limit, is
gone on with by the next one. The watermark and the end of the vendor's job move together in the last one. Nothing here
knows what a change means: that is the hub step's business.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from psycopg import Connection

from crm_sync.connectors.crm import BatchPage, Crm, Page, ReadRequest, Window
from crm_sync.core.errors import HeldBackError
from crm_sync.core.spec import StreamSpec
from crm_sync.core.window import Reading, next_watermark, reading
from crm_sync.hub import dirty, frozen, history, mirror, watermark
from crm_sync.hub.store import Store
from crm_sync.steps import guard, references, schema, survivors
from crm_sync.steps.identity import unchanged
from crm_sync.steps.options import Options, Report, calls_since
from crm_sync.steps.reached import Reached
from crm_sync.steps.sweep import left, sweep

log = logging.getLogger(__name__)

DELETIONS_EVERY = timedelta(hours=1)


def inbound(
    store: Store,
    crm: Crm,
    stream: StreamSpec,
    options: Options,
    *,
    partition: tuple[datetime, datetime] | None = None,
    backfill: bool = False,
    begun: datetime | None = None,
) -> Report:
    """Bring the mirror of `stream` up to date; `partition` is the run's range of days (UTC), None for "up to now";
    `begun` is when the run began, None for now.

    Raises BusyError if the stream is being read by another process, CrmError if the CRM cannot be read, HeldBackError if
    it is another account than before, or a full read brings next to nothing.
    """
    configuration = {**options.as_configuration(), "direction": "inbound", "backfill": backfill}
    with (
        store.exclusive(stream.name),  # while outbound sends, the mirror it decided on must not move
        history.running(
            store, stream.connection, stream.entity, _sync_type(options, backfill), configuration
        ) as progress,
        _counted(crm, progress) as report,
        unchanged(store, stream, options, report, crm),
    ):
        work = _Inbound(store, crm, stream, options, report)
        window = reading(
            now=begun or datetime.now(UTC),
            watermark=work.position,
            overlap=crm.overlap,
            partition=partition,
            backfill=backfill,
            full=options.full,
            start_date=options.start_date,
        )
        window = work.begin(window)
        progress.metrics["window"] = [str(window.start), str(window.end)]
        work.read(window)
        work.end(window)
    log.info("%s inbound: %s", stream.name, report.counts)
    return report


@contextmanager
def _counted(crm: Crm, progress: history.Progress) -> Iterator[Report]:
    """A report, of which the history gets the figures however the run ends."""
    before = dict(crm.calls)
    report = Report(dict.fromkeys(("read", "created", "updated", "deleted", "left"), 0))
    try:
        yield report
    finally:
        report.calls = calls_since(before, crm.calls)
        progress.processed = report.counts["read"]
        progress.created = report.counts["created"]
        progress.updated = sum(report.counts[name] for name in ("updated", "deleted", "left"))
        progress.metrics["calls"] = report.calls


class _Inbound:
    """One reading of a window: what is known before it, its pages, and what holds when it has come to its end."""

    def __init__(self, store: Store, crm: Crm, stream: StreamSpec, options: Options, report: Report) -> None:
        self.store = store
        self.crm = crm
        self.stream = stream
        self.options = options
        self.report = report
        self.position = watermark.position(store, stream)
        self.job = Reached(store, crm, stream)
        self.resumed: Mapping[str, Any] | None = None
        self.back: set[str] = set()
        """Frozen fields that can be seen again; after `read` those that were in every page."""
        self.deletions: Window | None = None
        self.truncated = False
        """Whether the limit ended the reading of what was modified."""

    def begin(self, window: Reading) -> Reading:
        """The window that is to be read, which frozen fields may have made longer; perhaps it was begun before."""
        window, self.back = schema.begin(self.store, self.crm, self.stream, window)
        self.resumed = self.job.begin(window)
        return window

    def read(self, window: Reading) -> None:
        """Read what was modified in the window and, if it is time for that, what was deleted."""
        asked = Window(window.start, window.end)
        request = ReadRequest(self.stream, asked, self.options.max_records, self.resumed)
        absent = self._merge(self.crm.changed(request, self.job), window.start)
        self.back -= absent
        most = self.options.max_records
        self.truncated = most is not None and self.report.counts["read"] >= most
        if window.full and not self.truncated:
            self._not_empty()
        if not self.truncated:
            self.deletions = _deletions(self.store, self.crm, self.stream, window, self.job.started)
        if self.deletions is not None:
            for page in self.crm.deleted(self.stream, self.deletions):
                self._count(self.store.committed(partial(mirror.merge, stream=self.stream, page=page)))
        if not self.truncated:
            self._take_part(window)

    def _take_part(self, window: Reading) -> None:
        """What does not take part any more, what refers to something else without a trace, and who is left of merges."""
        if self.job.listing is not None:
            found = sweep(self.store, self.crm, self.stream, self.job.listing)
        elif window.start is not None:
            found = left(self.store, self.crm, self.stream, Window(window.start, window.end))
        else:
            found = {}
        if window.moves:
            looked = references.refresh(
                self.store, self.crm, self.stream, self.job.started, all_read=window.full
            )
            found = {**found, "updated": found.get("updated", 0) + looked}
        for name, number in found.items():
            self.report.add(name, number)
        for merged in survivors.look_up(self.store, self.crm, self.stream):
            self._count(merged)

    def _not_empty(self) -> None:
        """What a full read did not bring must not be taken for deleted if that is nearly everything."""
        try:
            guard.full_read(self.store, self.stream, self.job.read, self.options, self.report)
        except HeldBackError:
            # The next one reads everything again, not only what follows.
            self.store.committed(lambda _: self.job.finish())
            raise

    def end(self, window: Reading) -> None:
        """In one transaction: the watermark, the fields that thaw, the end of the vendor's job."""
        self.store.committed(partial(self._end, window))
        report = self.report
        if self.truncated:
            report.notes.append("stopped at max_records; the next run goes on there")
        if still := sorted(frozen.fields(self.store.conn, self.stream)):
            report.notes.append(f"frozen, because they cannot be read: {', '.join(still)}")

    def _end(self, window: Reading, conn: Connection) -> None:
        if self.options.skip_validation:
            dirty.mark_parked(conn, self.stream)
        if self.truncated:
            return
        if window.moves:
            self._advance(window)
        if self.resumed is None:
            frozen.thaw(conn, self.stream, self.back)
        self.job.finish()

    def _advance(self, window: Reading) -> None:
        job = self.job
        watermark.advance(
            self.store,
            self.stream,
            next_watermark(started=job.started, newest=job.newest, quiet=self.crm.quiet),
            full=window.full,
            deletions=job.started if self.deletions is not None else None,
        )

    def _merge(self, pages: Iterable[Page], since: datetime | None) -> set[str]:
        """Merge the pages, each together with how far reading has come behind it. Returns our fields that were absent
        from any page of values; they are frozen as of `since`."""
        absent: set[str] = set()
        for page in pages:
            take = partial(self._take, page, since, self.job.told)
            if isinstance(page, BatchPage):
                merged = self.store.committed(take)
            else:  # CSV goes by and cannot be read twice: the run ends, and the next one goes on with this page
                with self.store.transaction() as conn:
                    merged = take(conn)
            self._count(merged)
            if merged.unsure:
                self._ask(merged.unsure)
                with self.store.transaction():  # until then the page would be read again, and asked about
                    self.job.merged(page.progress, merged)
            absent |= merged.absent
        return absent

    def _take(
        self, page: Page, since: datetime | None, told: tuple[datetime | None, int], conn: Connection
    ) -> mirror.Merged:
        """One page, in a transaction that may have to be begun again, from what was `told` before it."""
        self.job.told = told
        merged = mirror.merge(conn, self.stream, page, listed=True, unsure_from=self._unsure_from())
        self.job.shown(conn, page)
        frozen.freeze(conn, self.stream, merged.absent, since)
        if not merged.unsure:
            self.job.merged(page.progress, merged)
        return merged

    def _unsure_from(self) -> datetime:
        """From here on the listing may lag: it may show what a record said before it was changed again, by us or
        others, within the same moment of the vendor's clock. What was modified earlier has been read to its end."""
        return (self.position or self.job.started - self.crm.quiet) - self.crm.overlap

    def _ask(self, crm_ids: Sequence[str]) -> None:
        """Look up records of which the listing says something else than the mirror, both as of the same moment."""
        for page in self.crm.by_ids(self.stream, crm_ids):
            merge = partial(mirror.merge, stream=self.stream, page=page, looked_up=True)
            self.report.add("updated", self.store.committed(merge).updated)

    def _count(self, merged: mirror.Merged) -> None:
        for name in ("read", "created", "updated", "deleted"):
            self.report.add(name, getattr(merged, name))
        log.debug("%s inbound page: %s", self.stream.name, merged)


def _deletions(store: Store, crm: Crm, stream: StreamSpec, window: Reading, now: datetime) -> Window | None:
    """The window of deletions to ask for separately; None if not now.

    After a full read always: what was purged is in no listing. Between full reads only where the vendor lists
    deletions apart, and once an hour: such a list can neither be filtered nor sorted, its cost is its length.
    """
    if window.full:
        return Window()
    seen = watermark.deletions_seen(store, stream)
    if not (window.moves and crm.deletions_apart) or (seen is not None and now - seen < DELETIONS_EVERY):
        return None
    return Window(seen - crm.overlap if seen is not None else window.start)


def _sync_type(options: Options, backfill: bool) -> str:
    if backfill:
        return "backfill"
    return "full" if options.full else "incremental"
