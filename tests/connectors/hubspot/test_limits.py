"""The limiter: its windows, and what it learns from headers."""

import httpx

from crm_sync.connectors.hubspot.limits import HubSpotLimiter


class Time:
    def __init__(self):
        self.now = 0.0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


def limiter():
    time = Time()
    return time, HubSpotLimiter(sleep=time.sleep, clock=time.clock)


def told(**headers):
    return httpx.Response(
        200, headers={f"X-HubSpot-RateLimit-{k.replace('_', '-')}": str(v) for k, v in headers.items()}
    )


def moments(time, limiter, family, count):
    found = []
    for _ in range(count):
        limiter.acquire(family)
        found.append(time.now)
    return found


def test_a_hundred_calls_in_any_ten_seconds():
    time, limit = limiter()
    found = moments(time, limit, "list", 350)
    assert all(later - earlier >= 10 for earlier, later in zip(found, found[100:], strict=False))
    assert found[-1] < 31


def test_four_searches_a_second_which_are_not_counted_with_the_others():
    time, limit = limiter()
    found = moments(time, limit, "search", 41)
    assert all(later - earlier >= 1 for earlier, later in zip(found, found[4:], strict=False))
    assert found[-1] < 10.1
    assert moments(time, limit, "list", 100)[-1] == found[-1]


def test_a_larger_account_says_so():
    time, limit = limiter()
    limit.heard(told(Max=190, Remaining=189))
    assert moments(time, limit, "list", 189)[-1] == 0
    limit.acquire("list")
    assert time.now == 10


def test_what_others_use_is_counted():
    time, limit = limiter()
    limit.acquire("list")
    limit.heard(told(Max=100, Remaining=2))
    assert moments(time, limit, "list", 3)[1:] == [0, 10]


def test_a_smaller_limit_is_obeyed_at_once():
    time, limit = limiter()
    moments(time, limit, "list", 50)
    limit.heard(told(Max=10))
    assert moments(time, limit, "list", 1) == [10]


def test_a_pause_holds_everybody():
    time, limit = limiter()
    limit.pause(7)
    limit.acquire("search")
    assert time.now == 7


def test_the_daily_count_is_shown_to_people():
    _, limit = limiter()
    limit.heard(told(Daily=250000, Daily_Remaining=248628, Max="x"))
    assert limit.said == {"daily calls left": "248628 of 250000"}
