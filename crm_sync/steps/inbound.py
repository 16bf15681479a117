"""Inbound: ask a CRM what changed in a window, merge it into the mirror, mark the changed records, move the watermark.

One transaction per page, which holds how far reading has come as well: a run that was killed, or that had a limit, is
gone on with by the next one. The watermark and the end of the vendor's job move together in the last one. Nothing here
knows what a change means: that is the hub step's business.
"""

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from crm_sync.connectors.crm import Crm, Page, ReadRequest, Window
from crm_sync.core.spec import StreamSpec
from crm_sync.core.window import Reading, next_watermark, reading
from crm_sync.hub import frozen, history, mirror, parked, watermark
from crm_sync.hub.store import Store
from crm_sync.steps.options import Options, Report, calls_since

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
) -> Report:
    """Bring the mirror of `stream` up to date; `partition` is the run's range of days (UTC), None for "up to now".

    Raises BusyError if the stream is being read by another process, CrmError if the CRM cannot be read.
    """
    configuration = {**options.as_configuration(), "direction": "inbound", "backfill": backfill}
    with (
        store.exclusive(stream.name),  # while outbound sends, the mirror it decided on must not move
        history.running(
            store, stream.connection, stream.entity, _sync_type(options, backfill), configuration
        ) as progress,
    ):
        before = dict(crm.calls)
        report = Report()
        job = _ReadJob(watermark.Job(store, stream, "inbound"), _Start(crm))
        window = reading(
            now=datetime.now(UTC),
            watermark=watermark.position(store, stream),
            overlap=crm.overlap,
            partition=partition,
            backfill=backfill,
            full=options.full,
            start_date=options.start_date,
        )
        lost = frozen.fields(store.conn, stream)
        window, back = _with_lost(window, lost, crm, stream)
        resumed = job.begin(stream, window)
        for name in ("read", "created", "updated", "deleted"):
            report.add(name, 0)
        request = ReadRequest(stream, Window(window.start, window.end), options.max_records, resumed)
        absent = _read(store, stream, crm.changed(request, job), report, job, since=window.start)
        truncated = options.max_records is not None and report.counts["read"] >= options.max_records
        deletions = None if truncated else _deletions(store, crm, stream, window, job.started)
        if deletions is not None:
            _read(store, stream, crm.deleted(stream, deletions), report)
        with store.transaction() as conn:
            if options.skip_validation:
                parked.requeue(conn, stream)
            if window.moves and not truncated:
                watermark.advance(
                    store,
                    stream,
                    next_watermark(started=job.started, newest=job.newest, quiet=crm.quiet),
                    full=window.full,
                    deletions=job.started if deletions is not None else None,
                )
            if resumed is None and not truncated:
                frozen.thaw(conn, stream, back - absent)
            if truncated:
                report.notes.append("stopped at max_records; the next run goes on there")
            else:
                job.clear()
        if still := sorted(frozen.fields(store.conn, stream)):
            report.notes.append(f"frozen, because they cannot be read: {', '.join(still)}")
        report.calls = calls_since(before, crm.calls)
        progress.processed = report.counts["read"]
        progress.created = report.counts["created"]
        progress.updated = report.counts["updated"] + report.counts["deleted"]
        progress.metrics = {"calls": report.calls, "window": [str(window.start), str(window.end)]}
    log.info("%s inbound: %s", stream.name, report.counts)
    return report


def _read(
    store: Store,
    stream: StreamSpec,
    pages: Iterable[Page],
    report: Report,
    job: "_ReadJob | None" = None,
    *,
    since: datetime | None = None,
) -> set[str]:
    """Merge the pages, each together with how far reading has come behind it. Returns our fields that were absent from
    any page of values; they are frozen as of `since`."""
    absent: set[str] = set()
    for page in pages:
        with store.transaction() as conn:
            merged = mirror.merge(conn, stream, page)
            frozen.freeze(conn, stream, merged.absent, since)
            if job is not None:
                job.merged(page.progress, merged.newest)
        report.add("read", merged.read)
        report.add("created", merged.created)
        report.add("updated", merged.updated)
        report.add("deleted", merged.deleted)
        absent |= merged.absent
        log.debug("%s inbound page: %s", stream.name, merged)
    return absent


def _with_lost(
    window: Reading, lost: Mapping[str, datetime | None], crm: Crm, stream: StreamSpec
) -> tuple[Reading, set[str]]:
    """Which of the frozen fields can be seen again, and the window with all that was modified since the first of these
    was lost."""
    if not lost or not window.moves:
        return window, set()
    crm.forget(stream.object)
    shown = crm.describe(stream.object).fields
    back = {field for field in lost if all(name in shown for name in stream.read_from(field))}
    if not back:
        return window, back
    since = [window.start, *(lost[field] for field in back)]
    start = None if None in since else min(moment for moment in since if moment is not None)
    return replace(window, start=start, full=start is None), back


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


class _Start:
    """The moment a read begins, on the vendor's clock, without a call for it: the clock is heard with the first
    answer, and what passed since the beginning is taken off."""

    def __init__(self, crm: Crm) -> None:
        self._crm = crm
        self._begun = time.monotonic()

    def at(self) -> datetime:
        return self._crm.now() - timedelta(seconds=time.monotonic() - self._begun)


class _ReadJob:
    """Where the reading of a window stands: the vendor's own words for it, and what the watermark needs. Only a read of
    the same window and the same fields may go on with it, whatever its limit."""

    def __init__(self, job: watermark.Job, start: _Start) -> None:
        self._job = job
        self._start = start
        self._resumed: datetime | None = None
        self._request: dict[str, Any] = {}
        self.newest: datetime | None = None
        """The newest modification time that was read, by the runs before this one as well."""

    def begin(self, stream: StreamSpec, window: Reading) -> Mapping[str, Any] | None:
        """State of an unfinished read of the same records, or None."""
        self._request = {"start": str(window.start), "end": str(window.end), "what": _what(stream)}
        state = self._job.load()
        if state is None or state.get("request") != self._request:
            return None
        self._resumed = datetime.fromisoformat(state["started"])
        self.newest = datetime.fromisoformat(state["newest"]) if state["newest"] else None
        vendor: Mapping[str, Any] = state["vendor"]
        return vendor

    @property
    def started(self) -> datetime:
        """The vendor's clock when the read began; if an unfinished read is being finished, when that one did."""
        return self._resumed or self._start.at()

    def merged(self, progress: Mapping[str, Any] | None, newest: datetime | None) -> None:
        """A page has been merged in the present transaction; `newest` is its newest modification time."""
        self.newest = max(filter(None, (self.newest, newest)), default=None)
        if progress is not None:
            self.save(progress)

    def save(self, state: Mapping[str, Any]) -> None:
        newest = self.newest.isoformat() if self.newest is not None else None
        self._job.save(
            {
                "request": self._request,
                "started": self.started.isoformat(),
                "newest": newest,
                "vendor": dict(state),
            }
        )

    def clear(self) -> None:
        self._job.clear()


def _what(stream: StreamSpec) -> str:
    """A short name for what is read of a stream: after a change of the mapping it is another one."""
    read = (
        stream.object,
        sorted(stream.vendor_fields),
        stream.filters,
        stream.record_type,
        stream.external_id,
    )
    return hashlib.sha256(repr(read).encode()).hexdigest()[:16]
