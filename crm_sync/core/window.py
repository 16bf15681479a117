"""Which part of the CRM's modification time a run reads, and how far the watermark may move after it.

Pure: every moment is passed in. Times are UTC; "now" is always the vendor's clock.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

QUIET = timedelta(hours=1)
"""A change is taken to be visible at the latest so long after its stamp, even if nothing newer was ever seen, unless a
connector knows better."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read: start <= modification time < end (None: unbounded). full: everything there is. moves: the
    watermark may move afterwards, because nothing between it and now is left out."""

    start: datetime | None
    end: datetime | None
    full: bool
    moves: bool


def reading(
    *,
    now: datetime,
    watermark: datetime | None,
    overlap: timedelta,
    partition: tuple[datetime, datetime] | None = None,
    backfill: bool = False,
    full: bool = False,
    start_date: datetime | None = None,
) -> Reading:
    """The window of a run.

    A backfill, and a run over past day partitions, reads its partitions whole. A run whose partitions reach
    the present goes on from the watermark minus the overlap, wherever in the partitions that lies, so that
    nothing is lost at midnight; before the first sync it reads everything, and so does a run with `full` that is no
    backfill, whatever its partitions. `start_date` replaces the lower bound; the watermark then only moves if nothing
    before it was left out. now: when the run began, for a partition may be over when a stream's turn comes.
    """
    if partition is not None and (backfill or not (full or partition[1] > now)):
        first, end = partition
        return Reading(_later(first, start_date), None if end > now else end, full=False, moves=False)
    start = None if full or watermark is None else watermark - overlap
    if start_date is not None:
        gapless = watermark is not None and start_date <= watermark
        return Reading(start_date, None, full=False, moves=gapless)
    return Reading(start, None, full=start is None, moves=True)


def _later(start: datetime | None, start_date: datetime | None) -> datetime | None:
    if start is None or start_date is None:
        return start or start_date
    return max(start, start_date)


def next_watermark(*, started: datetime, newest: datetime | None, quiet: timedelta = QUIET) -> datetime:
    """Where the watermark stands after everything modified up to the newest record seen was read.

    `started` is the vendor's clock when reading began. The watermark follows what was seen, not the clock, so that
    a CRM whose index lags is not outrun; only after silence for as long as `quiet` it follows the clock.
    """
    settled = started - quiet
    return settled if newest is None else min(started, max(newest, settled))


def days(watermark: datetime | None, now: datetime, first: datetime) -> tuple[datetime, datetime]:
    """First and last UTC day whose partitions a scheduled run asks for: all that touch [watermark, now]."""
    start = max(first, watermark) if watermark is not None else now
    return _midnight(start), _midnight(now)


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
