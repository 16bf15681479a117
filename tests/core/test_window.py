"""Windows: nothing is lost over midnight, nothing that is late within the overlap, nothing that was not read."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from crm_sync.core.window import QUIET, Reading, days, next_watermark, reading

NOW = datetime(2026, 3, 2, 0, 5, tzinfo=UTC)
TODAY = (datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
YESTERDAY = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
BEFORE = datetime(2026, 3, 1, 23, 50, tzinfo=UTC)
TEN = timedelta(minutes=10)

moments = st.integers(0, 10 * 24 * 3600).map(
    lambda s: datetime(2026, 2, 25, tzinfo=UTC) + timedelta(seconds=s)
)
spans = st.integers(0, 3600).map(lambda s: timedelta(seconds=s))


def test_the_first_read_is_of_everything() -> None:
    assert reading(now=NOW, watermark=None, overlap=TEN) == Reading(None, None, full=True, moves=True)


def test_a_read_goes_on_from_the_watermark_minus_the_overlap() -> None:
    assert reading(now=NOW, watermark=BEFORE, overlap=TEN) == Reading(
        BEFORE - TEN, None, full=False, moves=True
    )


def test_the_days_partition_alone_does_not_cut_off_what_came_before_midnight() -> None:
    found = reading(now=NOW, watermark=BEFORE, overlap=TEN, partition=TODAY)
    assert found == Reading(BEFORE - TEN, None, full=False, moves=True)


def test_a_day_that_is_over_is_read_whole_and_moves_nothing() -> None:
    found = reading(now=NOW, watermark=BEFORE, overlap=TEN, partition=YESTERDAY)
    assert found == Reading(*YESTERDAY, full=False, moves=False)


def test_a_backfill_of_the_present_is_open_at_its_end_and_moves_nothing() -> None:
    found = reading(now=NOW, watermark=BEFORE, overlap=TEN, partition=TODAY, backfill=True)
    assert found == Reading(TODAY[0], None, full=False, moves=False)


def test_full_ignores_the_watermark() -> None:
    assert reading(now=NOW, watermark=BEFORE, overlap=TEN, full=True) == Reading(
        None, None, full=True, moves=True
    )


def test_full_reads_everything_whatever_the_partition_unless_it_is_a_backfill() -> None:
    everything = Reading(None, None, full=True, moves=True)
    for partition in (YESTERDAY, TODAY):
        assert reading(now=NOW, watermark=BEFORE, overlap=TEN, partition=partition, full=True) == everything
    backfill = reading(now=NOW, watermark=None, overlap=TEN, partition=YESTERDAY, full=True, backfill=True)
    assert backfill == Reading(*YESTERDAY, full=False, moves=False)


def test_a_start_date_moves_the_watermark_only_if_it_leaves_no_gap() -> None:
    early, late = BEFORE - TEN, NOW
    assert reading(now=NOW, watermark=BEFORE, overlap=TEN, start_date=early).moves
    assert not reading(now=NOW, watermark=BEFORE, overlap=TEN, start_date=late).moves
    assert not reading(now=NOW, watermark=None, overlap=TEN, start_date=early).moves
    inside = reading(now=NOW, watermark=BEFORE, overlap=TEN, partition=YESTERDAY, start_date=BEFORE)
    assert (inside.start, inside.end) == (BEFORE, YESTERDAY[1])


def test_the_watermark_follows_what_was_seen_and_never_the_clock_alone() -> None:
    assert next_watermark(started=NOW, newest=BEFORE) == BEFORE
    assert next_watermark(started=NOW, newest=None) == NOW - QUIET
    assert next_watermark(started=NOW, newest=NOW - 2 * QUIET) == NOW - QUIET
    assert next_watermark(started=NOW, newest=NOW - 2 * QUIET, quiet=TEN) == NOW - TEN


def test_a_stamp_of_the_future_does_not_take_the_watermark_there() -> None:
    assert next_watermark(started=NOW, newest=NOW + TEN) == NOW


def test_a_tick_asks_for_every_day_since_the_watermark() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    assert days(BEFORE, NOW, first) == (YESTERDAY[0], TODAY[0])
    assert days(NOW, NOW, first) == (TODAY[0], TODAY[0])
    assert days(None, NOW, first) == (TODAY[0], TODAY[0])
    assert days(datetime(2020, 1, 1, tzinfo=UTC), NOW, first) == (first, TODAY[0])


@given(moments, moments, spans)
def test_a_window_that_moves_the_watermark_leaves_no_gap_behind_it(
    now: datetime, watermark: datetime, overlap: timedelta
) -> None:
    for partition in (None, YESTERDAY, TODAY):
        for backfill in (False, True):
            found = reading(
                now=now, watermark=watermark, overlap=overlap, partition=partition, backfill=backfill
            )
            if found.moves:
                assert found.start is not None
                assert found.start <= watermark - overlap
                assert found.end is None


@given(moments, st.none() | moments, moments)
def test_the_watermark_is_never_beyond_the_start_of_the_read_nor_what_may_still_come(
    started: datetime, newest: datetime | None, stamp: datetime
) -> None:
    position = next_watermark(started=started, newest=newest)
    assert position <= started
    if newest is not None and stamp <= started:  # a change of an index that stands still since `newest`
        assert position <= max(newest, started - QUIET)


@given(
    st.lists(st.tuples(st.integers(1, 7200), st.integers(0, 600)), min_size=1, max_size=30),
    st.integers(1, 900),
)
def test_every_change_is_read_if_it_shows_up_within_the_overlap(
    changes: list[tuple[int, int]], every: int
) -> None:
    """Changes come `gap` seconds after the last and show up `lag` later; a read happens every so often."""
    start = datetime(2026, 3, 1, 22, tzinfo=UTC)
    stamps: list[tuple[datetime, datetime]] = []
    moment = start
    for gap, lag in changes:
        moment += timedelta(seconds=gap)
        stamps.append((moment, moment + timedelta(seconds=lag)))
    seen: set[datetime] = set()
    watermark: datetime | None = None
    now = start
    while now <= moment + timedelta(seconds=1500):
        window = reading(now=now, watermark=watermark, overlap=TEN)
        page = [s for s, visible in stamps if visible <= now and (window.start is None or s >= window.start)]
        seen.update(page)
        position = next_watermark(started=now, newest=max(page, default=None))
        watermark = position if watermark is None else max(watermark, position)
        now += timedelta(seconds=every)
    assert seen == {s for s, _ in stamps}
