"""How far the reading of a window has come: what is kept of it between runs, so that the next one goes on there."""

import hashlib
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection

from crm_sync.connectors.crm import Crm, Page
from crm_sync.core.spec import StreamSpec
from crm_sync.core.window import Reading
from crm_sync.hub import mirror, sweep, watermark
from crm_sync.hub.store import Store


class _Start:
    """The moment a read begins, on the vendor's clock, without a call for it: the clock is heard with the first
    answer, and what passed since the beginning is taken off. Told once and kept: a machine that sleeps afterwards would
    make it later than it was. A monotonic clock stands still meanwhile, and a clock that is set right goes back: the one
    that says that more has passed is believed, for who begins too early only reads again."""

    def __init__(self, crm: Crm) -> None:
        self._crm = crm
        self._begun = time.monotonic(), time.time()
        self._at: datetime | None = None

    def at(self) -> datetime:
        if self._at is None:
            passed = max(time.monotonic() - self._begun[0], time.time() - self._begun[1])
            self._at = self._crm.now() - timedelta(seconds=passed)
        return self._at


class Reached:
    """Where the reading of a window stands: the vendor's own words for it, and what the watermark needs. Only a read of
    the same window and the same fields may go on with it, whatever its limit."""

    def __init__(self, store: Store, crm: Crm, stream: StreamSpec, direction: sweep.Kind = "inbound") -> None:
        self._store = store
        self._stream = stream
        self._kind = direction
        self._job = watermark.Job(store, stream, direction)
        self._start = _Start(crm)
        self._resumed: datetime | None = None
        self._request: dict[str, Any] = {}
        self.newest: datetime | None = None
        """The newest modification time that was read, by the runs before this one as well."""
        self.read = 0
        """How many records, likewise."""
        self.listing: int | None = None
        """The listing that notes what is shown, if everything is read."""

    def begin(self, window: Reading) -> Mapping[str, Any] | None:
        """State of an unfinished read of the same records, or None."""
        self._request = {"start": str(window.start), "end": str(window.end), "what": _what(self._stream)}
        state = self._job.load()
        if state is None or state.get("request") != self._request:
            if window.full:
                with self._store.transaction() as conn:
                    self.listing = sweep.begin(conn, self._stream, self._kind)
            return None
        self._resumed = datetime.fromisoformat(state["started"])
        self.newest = datetime.fromisoformat(state["newest"]) if state["newest"] else None
        self.read = int(state.get("read", 0))
        listing = state.get("listing")
        if sweep.is_under_way(self._store.conn, self._stream, self._kind, listing):
            self.listing = listing
        vendor: Mapping[str, Any] = state["vendor"]
        return vendor

    @property
    def started(self) -> datetime:
        """The vendor's clock when the read began; if an unfinished read is being finished, when that one did."""
        return self._resumed or self._start.at()

    @property
    def told(self) -> tuple[datetime | None, int]:
        """What the pages have told so far, to be set back if a page's transaction is begun again."""
        return self.newest, self.read

    @told.setter
    def told(self, before: tuple[datetime | None, int]) -> None:
        self.newest, self.read = before

    def shown(self, conn: Connection, page: Page) -> None:
        """The page is in the temporary table `staging` of the present transaction."""
        if self.listing is not None:
            sweep.note(conn, self.listing, page)

    def merged(self, progress: Mapping[str, Any] | None, page: mirror.Merged) -> None:
        """A page has been merged in the present transaction. With the first one the vendor's clock was heard."""
        self._start.at()
        self.newest = max(filter(None, (self.newest, page.newest)), default=None)
        self.read += page.read
        if progress is not None:
            self.save(progress)

    def save(self, state: Mapping[str, Any]) -> None:
        newest = self.newest.isoformat() if self.newest is not None else None
        self._job.save(
            {
                "request": self._request,
                "started": self.started.isoformat(),
                "newest": newest,
                "read": self.read,
                "listing": self.listing,
                "vendor": dict(state),
            }
        )

    def clear(self) -> None:
        """The vendor's job is lost, and what follows is read from its beginning: nothing has been shown so far."""
        with self._store.transaction() as conn:
            self._job.clear()
            if self.listing is not None:
                self.listing = sweep.begin(conn, self._stream, self._kind)
        self.read = 0

    def finish(self) -> None:
        """The window has been read to its end, or is given up: the next read has nothing to go on with."""
        with self._store.transaction() as conn:
            self._job.clear()
            if self.listing is not None:
                sweep.end(conn, self._stream, self._kind)


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
