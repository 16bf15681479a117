"""The shared limiter on a real Postgres: turns, days, priorities, places, what others use."""

import threading
from contextlib import closing
from itertools import pairwise

import pytest

from crm_sync.core.errors import CrmError, ErrorClass, HeldError
from crm_sync.core.quota import Heard, Limits, Priority, Quotas, Rate
from crm_sync.hub import places
from crm_sync.hub.budget import PostgresLimiter

QUOTAS = Quotas(
    rates={"burst": Rate(100, 10.0), "search": Rate(4, 1.0, even=1.0)},
    families={"search": "search"},
    slots={"jobs": 2},
    renewal="tomorrow",
)
GAP = 10 / 97


@pytest.fixture
def limiter(url, conn):
    """Makes limiters of one connection, as its processes have them; what they sleep is only noted."""
    made = []

    def make(**more):
        slept = []
        one = PostgresLimiter(url, "acme", more.pop("quotas", QUOTAS), sleep=slept.append, **more)
        made.append(one)
        return one, slept

    yield make
    for one in made:
        one.close()


def free(conn):
    """When the next turn is free, in seconds."""
    row = conn.execute("select extract(epoch from free_at) from sync.budget where name = 'burst'").fetchone()
    return float(row[0])


def now(conn):
    return float(conn.execute("select extract(epoch from clock_timestamp())").fetchone()[0])


def held(limiter, family="read"):
    with pytest.raises(HeldError) as caught:
        limiter.acquire(family)
    return caught.value


def test_turns_lie_evenly_apart_over_all_processes(limiter, conn):
    one, two = limiter(priority=Priority.LIVE)[0], limiter(priority=Priority.LIVE)[0]
    ends = []
    for each in (one, two, one, two):
        assert each._turns.book("burst")[0] > 0
        ends.append(free(conn))
    gaps = [later - earlier for earlier, later in pairwise(ends)]
    assert min(gaps) >= GAP - 1e-5
    assert ends[-1] - now(conn) <= 4 * GAP


def test_a_call_waits_for_its_turn(limiter, conn):
    one, slept = limiter(quotas=Quotas(rates={"burst": Rate(1, 10.0)}))
    one.acquire("read")
    assert slept == []
    one.acquire("read")
    assert slept[-1] > 5


def test_nobody_books_further_ahead_than_his_priority_may(limiter, conn):
    for priority, most in ((Priority.BACKFILL, 0.3), (Priority.SCHEDULED, 0.6), (Priority.LIVE, 5.0)):
        one, _ = limiter(priority=priority)
        while (booked := one._turns.book("burst"))[0]:
            assert booked[1] <= most
        assert booked[1] > most


def test_a_pause_is_for_all_processes(limiter, conn):
    one, two = limiter()[0], limiter(priority=Priority.LIVE)[0]
    two.acquire("read")
    one.pause("read", 8)
    granted, wait, _ = two._turns.book("burst")
    assert granted == 0
    assert 7 < wait <= 8
    two.acquire("search")


def test_what_the_vendor_allows_is_taken_over(limiter, conn):
    one, _ = limiter()
    one.acquire("read")
    one.heard([Heard("burst", 1000, 999)], 0.0)
    assert one._turns.book("burst")[2] == pytest.approx(GAP / 10)


def test_a_file_may_ask_for_less_of_the_burst_and_for_more_searches(limiter, conn):
    one, _ = limiter(limits=Limits(burst=50, search=5))
    assert one._turns.book("burst")[2] == pytest.approx(2 * GAP)
    assert one._turns.book("search")[2] == pytest.approx(1 / 5)
    one.heard([Heard("burst", 190, 189)], 0.0)
    assert one._turns.book("burst")[2] == pytest.approx(2 * GAP)


def test_room_is_made_for_what_others_use(limiter, conn):
    one, _ = limiter()
    one.acquire("read")
    for _ in range(20):  # a smoothed figure
        one._note(Heard("burst", 100, 49), 0.0)
    assert one._turns.book("burst")[2] == pytest.approx(10 / (97 - 50), rel=0.1)


def test_our_own_calls_are_nobody_elses(url, conn):
    """Half a second of our own calls at full rate, of which the vendor has counted each."""
    one = PostgresLimiter(url, "acme", Quotas(rates={"burst": Rate(1000, 10.0)}))
    with closing(one):
        for number in range(1, 61):
            one.acquire("read")
            one._note(Heard("burst", 1000, 1000 - number), 0.0)
        row = conn.execute("select others from sync.budget where name = 'burst'").fetchone()
    assert row[0] < 10


def test_where_hardly_anything_is_left_turns_are_left_out_once_a_second(limiter, conn):
    one, _ = limiter(quotas=Quotas(rates={"burst": Rate(1000, 10.0)}))
    one.acquire("read")
    conn.execute("update sync.budget set free_at = clock_timestamp() + interval '1 hour'")
    before = free(conn)
    one._note(Heard("burst", 1000, 5), 0.0)
    assert free(conn) - before == pytest.approx(0.1, abs=1e-3)  # ten turns of a hundredth of a second
    conn.execute("update sync.budget set pause_until = clock_timestamp()")
    one._note(Heard("burst", 1000, 0), 0.0)
    assert free(conn) - before == pytest.approx(0.1, abs=1e-3)
    conn.execute("update sync.budget set pause_until = pause_until - interval '1 second'")
    one._note(Heard("burst", 1000, 0), 0.0)
    assert free(conn) - before == pytest.approx(0.25, abs=1e-3)


def day(conn, allowed, left):
    conn.execute(
        "insert into sync.budget (connection, name, allowed, left_over, heard_at) values"
        " ('acme', 'daily', %s, %s, clock_timestamp()) on conflict (connection, name) do update set"
        " allowed = excluded.allowed, left_over = excluded.left_over, heard_at = excluded.heard_at",
        [allowed, left],
    )


@pytest.mark.parametrize(
    ("priority", "stops"), [(Priority.LIVE, 200), (Priority.SCHEDULED, 280), (Priority.BACKFILL, 440)]
)
def test_less_urgent_work_stops_earlier(limiter, conn, priority, stops):
    day(conn, 1000, stops)
    error = held(limiter(priority=priority)[0])
    assert (error.error_class, error.code) == (ErrorClass.RATE_LIMIT, "DAILY_SHARE")
    assert f"{stops} of the account's 1000 calls of a day are left" in str(error)
    assert "Syncing goes on tomorrow; nothing is lost" in str(error)
    day(conn, 1000, stops + 1)
    limiter(priority=priority)[0].acquire("read")


def test_the_reserve_is_a_matter_of_the_file(limiter, conn):
    day(conn, 1000, 2)
    limiter(priority=Priority.LIVE, limits=Limits(reserve=0.0))[0].acquire("read")
    assert held(limiter(priority=Priority.LIVE, limits=Limits(reserve=0.5))[0]).code == "DAILY_SHARE"


def test_our_own_calls_of_a_day_are_counted_and_what_is_not_used_is_given_back(limiter, conn):
    limits = Limits(daily=10)
    one, _ = limiter(priority=Priority.LIVE, limits=limits)
    for _ in range(4):
        one.acquire("search")
    one.close()
    assert conn.execute("select used from sync.budget where name = 'daily'").fetchone() == (4,)
    two, _ = limiter(priority=Priority.LIVE, limits=limits)
    for _ in range(6):
        two.acquire("search")
    error = held(two)
    assert "at midnight UTC" in str(error)
    assert 0 < error.retry_after <= 86_400
    conn.execute("update sync.budget set day = day - 1")
    two.acquire("search")


def test_a_lease_of_better_times_is_given_back_when_the_end_is_near(limiter, conn):
    """Of four processes a slow one made the calls of its lease when the others had long stopped."""
    day(conn, 1000, 400)
    one, other = (limiter(priority=Priority.LIVE)[0] for _ in range(2))
    one.acquire("search")
    assert conn.execute("select used, left_over from sync.budget where name = 'daily'").fetchone() == (
        12,
        388,
    )
    one.heard([Heard("daily", 1000, 201)], 0.0)
    assert conn.execute("select used, left_over from sync.budget where name = 'daily'").fetchone() == (1, 201)
    other.acquire("search")
    assert held(one, "search").code == "DAILY_SHARE"


def test_an_old_word_about_the_day_is_tried_out_by_one_call(limiter, conn):
    day(conn, 1000, 0)
    conn.execute("update sync.budget set heard_at = heard_at - interval '16 minutes'")
    one, two = limiter()[0], limiter()[0]
    one.acquire("read")
    assert held(two).code == "DAILY_SHARE"
    one.heard([Heard("daily", 1000, 1000)], 0.0)
    two.acquire("read")


def test_a_refusal_for_the_rest_of_the_day_holds_everybody(limiter, conn):
    one, two = limiter()[0], limiter()[0]
    one.acquire("read")
    one.pause("read", 3600)
    assert held(two).code == "DAILY_SHARE"


def test_places_are_few_and_come_back(limiter, conn):
    one, two = limiter()[0], limiter()[0]
    order = []

    def third():
        with two.slot("jobs"):
            order.append("third")

    with one.slot("jobs"), one.slot("requests"):
        with one.slot("jobs"):  # two threads of one process have two places
            thread = threading.Thread(target=third)
            thread.start()
            thread.join(0.3)
            order.append("both taken")
        thread.join()
    assert order == ["both taken", "third"]


def locks(conn):
    row = conn.execute(
        "select count(*) from pg_locks l join pg_database d on d.oid = l.database"
        " where locktype = 'advisory' and d.datname = current_database()"
    ).fetchone()
    return row[0]


def test_a_place_is_kept_for_the_next_request_and_given_back_soon(limiter, conn):
    one = limiter()[0]
    with one.slot("jobs"):
        before = locks(conn)
    for _ in range(3):
        with one.slot("jobs"):
            assert locks(conn) == before
    while locks(conn):  # ends within a moment
        threading.Event().wait(0.02)
    with one.slot("jobs"):
        assert locks(conn) == before


def test_a_place_of_a_session_that_broke_is_not_used_again(limiter, conn):
    one, two = (limiter(limits=Limits(jobs=2))[0] for _ in range(2))
    with one.slot("jobs"):
        pass
    one._session._conn.close()
    one.acquire("read")  # in a new session
    with two.slot("jobs"), two.slot("jobs"):
        assert locks(conn) == 2
        thread = threading.Thread(target=lambda: one.slot("jobs").__enter__(), daemon=True)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "it waits for a place"
    thread.join()


def test_a_kept_place_is_not_used_after_the_server_has_ended_the_session(limiter, conn, monkeypatch):
    """No statement in between tells of it: the breaker's word is fresh, calls of the day and a turn are in stock."""
    monkeypatch.setattr(places, "KEEP", 60.0)
    one, two = (limiter(limits=Limits(jobs=1), priority=Priority.LIVE)[0] for _ in range(2))
    with one.slot("jobs"):
        one.acquire("read")
    before = one._session.opened
    ended = "select pg_terminate_backend(%s)", [one._session._conn.info.backend_pid]
    assert conn.execute(*ended).fetchone() == (True,)
    while locks(conn):  # ends within a moment
        threading.Event().wait(0.02)
    with two.slot("jobs"):
        thread = threading.Thread(target=lambda: one.slot("jobs").__enter__(), daemon=True)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "it waits for a place"
    two.close()
    thread.join()
    assert one._session.opened == before + 1, "and the run goes on in a new session"


def test_a_kept_place_is_used_though_the_server_has_said_something(limiter, conn):
    one = limiter()[0]
    with one.slot("jobs"):
        pass
    one._session._conn.execute("listen news")
    conn.execute("notify news")
    assert one._session.still(one._session.opened)


def test_a_process_that_dies_gives_its_place_back(limiter, conn, url):
    dead = PostgresLimiter(url, "acme", QUOTAS, limits=Limits(jobs=1))
    with closing(dead), dead.slot("jobs"):
        dead._session._conn.close()
        with limiter(limits=Limits(jobs=1))[0].slot("jobs"):
            pass


def test_without_the_database_no_call_is_made(conn):
    one = PostgresLimiter("postgresql://nobody@127.0.0.1:1/none", "acme", QUOTAS)
    error = held(one)
    assert (error.error_class, error.code) == (ErrorClass.TRANSIENT, "NO_BUDGET")
    # What a call came to is not changed by it.
    one.succeeded()
    one.failed(CrmError(ErrorClass.TRANSIENT, "no answer"))
    one.pause("read", 1)
    one.heard([Heard("burst", 100, 99)], 0.0)
    one.close()


def test_a_broken_session_is_opened_again(limiter, conn):
    one, _ = limiter()
    one.acquire("read")
    conn.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'crm_sync limits'"
        " and datname = current_database()"
    )
    held(one)
    one.acquire("read")


def test_threads_share_a_limiter(url, conn):
    """Eight threads, one session: each call has a turn of its own, and all turns are used."""
    with closing(PostgresLimiter(url, "acme", Quotas(rates={"burst": Rate(1000, 10.0)}))) as one:
        threads = [
            threading.Thread(target=lambda: [one.acquire("read") for _ in range(12)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    row = conn.execute("select (select sum(c) from unnest(counts) c) from sync.budget where name = 'burst'")
    assert row.fetchone()[0] >= 96
