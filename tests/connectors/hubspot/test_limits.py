"""What HubSpot's headers tell, and how calls are spread over what it allows."""

from itertools import pairwise

import httpx

from crm_sync.connectors.hubspot.limits import QUOTAS, hear
from crm_sync.connectors.limiter import LocalLimiter
from crm_sync.core.quota import Heard


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
    return time, LocalLimiter(QUOTAS, sleep=time.sleep, clock=time.clock)


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


def test_headers_tell_of_the_burst_and_the_day():
    response = told(Max=190, Remaining=189, Daily=250000, Daily_Remaining=248628)
    assert list(hear(response)) == [Heard("burst", 190, 189), Heard("daily", 250000, 248628)]


def test_an_app_without_a_day_and_a_search_tell_less():
    assert list(hear(told(Max=110, Remaining=0))) == [Heard("burst", 110, 0)]
    assert list(hear(told())) == []
    assert list(hear(told(Max="x", Remaining=3, Daily=0, Daily_Remaining=0))) == []


def test_a_hundred_calls_in_any_ten_seconds():
    time, limit = limiter()
    found = moments(time, limit, "list", 350)
    assert all(later - earlier >= 10 for earlier, later in zip(found, found[100:], strict=False))
    assert 349 / found[-1] >= 0.95 * 10


def test_calls_are_spread_evenly():
    time, limit = limiter()
    found = moments(time, limit, "list", 50)
    gaps = [later - earlier for earlier, later in pairwise(found)]
    assert max(gaps) - min(gaps) < 1e-9


def test_four_searches_a_second_which_are_not_counted_with_the_others():
    time, limit = limiter()
    found = moments(time, limit, "search", 41)
    assert all(later - earlier >= 1 - 1e-9 for earlier, later in zip(found, found[4:], strict=False))
    assert found[-1] < 10.1
    limit.acquire("list")
    assert time.now == found[-1]


def test_a_larger_account_says_so():
    time, limit = limiter()
    limit.heard([Heard("burst", 190, 189)], 0.0)
    assert moments(time, limit, "list", 185)[-1] < 10


def test_a_smaller_limit_is_obeyed():
    time, limit = limiter()
    limit.heard([Heard("burst", 10, 9)], 0.0)
    assert moments(time, limit, "list", 11)[-1] >= 10


def test_a_pause_holds_everybody():
    time, limit = limiter()
    limit.pause("search", 7)
    limit.acquire("search")
    assert time.now == 7
