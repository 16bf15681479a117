"""What an account's answers tell of others' calls, and how much is left to them: told answers, no vendor, no waiting.

The answers are of the last half minute: `hear_calls` is told how long ago their requests left.
"""

import time
from itertools import count, takewhile

import pytest

TOLD, WINDOW, EVEN = 100, 10.0, 0.97
HISTORY = 30.0
EVERY = 0.2
"""Seconds between two answers."""


class Account:
    """An account that lets a hundred calls through in ten seconds. Times are seconds, 0 to 30, up to now."""

    def __init__(self, conn):
        self.conn = conn
        conn.execute("insert into sync.budget (connection, name) values ('acme', 'burst')")
        since = "select extract(epoch from clock_timestamp() - timestamptz '2026-01-01Z')::float8"
        self._begun = time.monotonic()
        self._origin = conn.execute(since).fetchone()[0] - HISTORY
        self.ours, self.theirs = [], []

    def used(self, at):
        return sum(at - WINDOW < moment <= at for moment in self.ours + self.theirs)

    def tell(self, at, more=0):
        """An answer to a request of that time; more: so many calls more than were used. Returns what is left to others."""
        counts, ticks = [0] * 128, [int(4 * (self._origin + moment)) for moment in self.ours]
        for tick in ticks:
            counts[tick % 128] += 1
        self.conn.execute("update sync.budget set counts = %s, tick = %s", [counts, max(ticks, default=0)])
        age = HISTORY - at + time.monotonic() - self._begun
        rest = TOLD - self.used(at) - more
        self.conn.execute("select sync.hear_calls('acme', 'burst', %s, %s, 10, %s)", [TOLD, rest, age])
        return self.conn.execute("select others from sync.budget").fetchone()[0]

    def until(self, start, end):
        """Answers from one time to another: {time: what is left to others}."""
        return {at: self.tell(at) for at in times(start, end, EVERY)}


@pytest.fixture
def account(conn):
    return Account(conn)


def times(start, end, gap):
    return takewhile(lambda at: at < end, (start + number * gap for number in count()))


def test_of_a_young_window_the_whole_is_expected(account):
    account.theirs = list(times(0, 30, 0.2))
    left = account.until(0.5, 25)
    assert max(value for at, value in left.items() if at < 3) > 30, "of which 15 have been made"
    assert all(value > 40 for at, value in left.items() if at > 4)
    assert max(left.values()) < 65
    assert all(value == pytest.approx(50, abs=3) for at, value in left.items() if at > 14)


def test_a_burst_is_not_taken_for_a_habit(account):
    account.theirs = [2 + number * 0.01 for number in range(20)]
    left = account.until(0, 28)
    assert max(left.values()) < 65
    assert all(value < 40 for at, value in left.items() if at > 6)
    assert all(value == pytest.approx(20, abs=2) for at, value in left.items() if 8.7 < at < 12)
    assert all(value == 0 for at, value in left.items() if at > 15)


def test_a_burst_before_the_first_answer_is_never_more_than_it_was(account):
    account.theirs = [0.5 + number * 0.01 for number in range(20)]
    left = account.until(1, 28)
    assert max(left.values()) < 23
    assert all(value < 1 for at, value in left.items() if at > 12.5)


def test_others_who_begin_in_the_middle_are_seen_within_seconds(account):
    account.ours = list(times(0, 12, 0.2))
    account.theirs = list(times(12, 30, 0.2))
    left = account.until(0, 16)
    assert all(value < 1 for at, value in left.items() if at < 12)
    assert left[max(left)] > 35


def test_others_who_stop_leave_their_room_as_their_calls_leave_the_window(account):
    account.theirs = list(times(0, 14, 0.2))
    left = account.until(0.5, 28)
    for at in (16, 18, 20, 22):
        assert left[min(left, key=lambda moment, at=at: abs(moment - at))] == pytest.approx(
            5 * (24 - at), abs=6
        )
    assert all(value < 1 for at, value in left.items() if at > 25.5)


def test_alone_everything_is_ours_though_answers_differ_by_a_call(account):
    account.ours = list(times(0, 30, 10 / 97))
    left = [account.tell(at, more=(-1, 0, 1, 2)[i % 4]) for i, at in enumerate(times(0.1, 28, EVERY))]
    assert max(left) < 2


@pytest.mark.parametrize("begun", [0.5, 1.0, 2.0, 4.0])
def test_nobody_is_refused_after_a_cold_start_beside_others(account, begun):
    """What was used too much in the first seconds, before anything was known, is made up for before it matters."""
    theirs = iter(list(times(0, 30, 0.2)))
    their_next, our_next, others, heard = next(theirs), begun, 0.0, 0.0
    while (at := min(their_next, our_next)) < 29:
        if at == their_next:
            account.theirs.append(at)
            their_next = next(theirs)
        else:
            account.ours.append(at)
            if at - heard >= EVERY:
                others, heard = account.tell(at + 0.01), at
            our_next = at + WINDOW / max(EVEN * TOLD - others, TOLD / 10)
        assert account.used(at) <= TOLD
    late = sum(at >= 14 for at in account.ours + account.theirs)
    assert 0.94 <= late / 15 / (TOLD / WINDOW) <= EVEN + 0.02


def test_an_answer_to_an_older_request_tells_nothing_new(account):
    account.theirs = list(times(0, 30, 0.2))
    before = account.until(0.5, 20)
    assert account.tell(5) == before[max(before)]


def test_after_a_pause_nothing_is_known_any_more(account):
    account.theirs = list(times(0, 10, 0.2))
    assert account.until(0.5, 10)
    assert account.tell(25) == 0
