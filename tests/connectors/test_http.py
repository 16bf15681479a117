"""The transport against a real HTTPS server: what is tried again, what never is, what is counted and what is said."""

import gzip
import logging
import random
import threading
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from crm_sync.connectors import download, tls
from crm_sync.connectors.http import Transport
from crm_sync.connectors.limiter import LocalLimiter
from crm_sync.core.errors import ConfigError, CrmError, ErrorClass, HeldError
from crm_sync.core.quota import Heard
from tests.connectors.server import Answer


@pytest.fixture
def transport(server, settings):
    made = Transport("acme", server.url, settings)
    yield made
    made.close()


def get(transport, url="/thing", **more):
    return transport.request("GET", url, family="read", idempotent=True, **more)


def post(transport, **more):
    return transport.request("POST", "/thing", family="write", idempotent=False, json={"a": 1}, **more)


def failure(call) -> CrmError:
    with pytest.raises(CrmError) as caught:
        call()
    return caught.value


def test_an_answer_is_returned_and_counted(server, transport):
    server.answers(Answer(200, {"ok": True}))
    assert get(transport, params={"q": "1"}).json() == {"ok": True}
    assert post(transport).json() == {"ok": True}
    assert transport.calls == {"read": 1, "write": 1}
    assert server.asked[0].query == {"q": "1"}
    assert server.asked[0].headers["Accept-Encoding"] == "gzip"


def test_calls_of_many_threads_are_all_counted(server, transport):
    threads = [threading.Thread(target=lambda: [get(transport) for _ in range(10)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert transport.calls == {"read": 80}


def test_gzip_is_unpacked(server, transport):
    packed = gzip.compress(b"many words " * 1000)
    server.answers(Answer(200, packed, {"Content-Encoding": "gzip"}))
    assert get(transport).content == b"many words " * 1000


def test_a_transient_failure_is_tried_again(server, transport, slept):
    server.answers(Answer(503), Answer(502), Answer(silent=True), Answer(200, b"there"))
    assert get(transport).content == b"there"
    assert len(slept) == 3
    assert all(0 <= wait <= limit for wait, limit in zip(slept, (0.5, 1, 2), strict=True))


def test_waiting_grows_and_is_spread(server, transport, slept):
    random.seed(7)
    server.answers(Answer(503))
    for _ in range(20):
        failure(lambda: get(transport))
    last = slept[3::4]
    assert max(last) > 2
    assert len(set(last)) == 20
    assert max(last) <= 4


def test_there_is_an_end_to_trying(server, transport):
    server.answers(Answer(503))
    error = failure(lambda: get(transport))
    assert (error.error_class, error.status) == (ErrorClass.TRANSIENT, 503)
    assert len(server.asked) == 5


def test_retry_after_is_obeyed_in_seconds_and_as_a_date(server, settings, slept):
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    transport = Transport("acme", server.url, replace(settings, clock=now.timestamp))
    when = format_datetime(now + timedelta(seconds=9), usegmt=True)
    server.answers(
        Answer(429, headers={"Retry-After": "7"}), Answer(503, headers={"Retry-After": when}), Answer()
    )
    get(transport)
    assert [wait for wait in slept if wait in {7.0, 9.0}] == [7.0, 9.0]
    transport.close()


def test_too_long_a_wait_is_told_at_once(server, transport, slept):
    server.answers(Answer(429, headers={"Retry-After": "3600"}))
    error = failure(lambda: get(transport))
    assert (error.error_class, error.retry_after) == (ErrorClass.RATE_LIMIT, 3600)
    assert slept == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, ErrorClass.VALIDATION),
        (401, ErrorClass.AUTH),
        (403, ErrorClass.PERMISSION),
        (404, ErrorClass.GONE),
        (405, ErrorClass.PERMANENT),
    ],
)
def test_what_will_not_pass_is_not_tried_again(server, transport, status, expected):
    server.answers(Answer(status))
    assert failure(lambda: get(transport)).error_class is expected
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "answer", [Answer(500), Answer(504), Answer(silent=True), Answer(200, b"part", cut=2)]
)
def test_a_write_that_may_have_happened_is_not_repeated(server, transport, answer):
    server.answers(answer)
    assert failure(lambda: post(transport)).error_class is ErrorClass.UNKNOWN_OUTCOME
    assert len(server.asked) == 1


def test_a_write_without_an_answer_in_time_is_not_repeated(server, settings):
    transport = Transport("acme", server.url, replace(settings, timeout=0.2))
    server.answers(Answer(200, delay=0.6))
    assert failure(lambda: post(transport)).error_class is ErrorClass.UNKNOWN_OUTCOME
    assert len(server.asked) == 1
    transport.close()


def test_a_write_that_the_vendor_says_had_no_effect_is_repeated(server, settings):
    transport = Transport(
        "acme", server.url, settings, classify=lambda _: CrmError(ErrorClass.TRANSIENT, "locked")
    )
    server.answers(Answer(503), Answer(200, b"done"))
    assert post(transport).content == b"done"
    transport.close()


def test_a_write_that_cannot_be_sent_is_tried_again(settings, slept):
    transport = Transport("acme", "https://127.0.0.1:1", settings)
    assert failure(lambda: post(transport)).error_class is ErrorClass.TRANSIENT
    assert len(slept) == 4
    transport.close()


def test_an_unknown_certificate_is_refused_with_advice(server, settings):
    transport = Transport("acme", server.url, replace(settings, ca_bundle=None))
    error = failure(lambda: get(transport))
    assert error.error_class is ErrorClass.PERMANENT
    assert "ca_bundle" in str(error)
    assert server.asked == []
    transport.close()


def test_a_bundle_that_is_none_is_explained(tmp_path):
    broken = tmp_path / "ca.pem"
    broken.write_text("not a certificate")
    for path in (broken, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match="ca_bundle"):
            tls.context(path)


def test_redirects_are_not_followed(server, transport):
    server.answers(Answer(302, headers={"Location": "https://elsewhere.example/"}))
    error = failure(lambda: get(transport))
    assert error.error_class is ErrorClass.PERMANENT
    assert "host" in str(error)


def test_the_clock_is_the_vendors(server, settings):
    ours = datetime(2026, 11, 21, 12, tzinfo=UTC)
    theirs = ours - timedelta(hours=2)
    transport = Transport("acme", server.url, replace(settings, clock=ours.timestamp))
    assert not transport.heard_from_vendor
    server.answers(Answer(200))
    get(transport)
    transport._heard(
        type("R", (), {"headers": {"Date": format_datetime(theirs, usegmt=True)}, "request": None})()
    )
    assert transport.heard_from_vendor
    assert transport.now() == theirs
    transport.close()


def test_nothing_that_is_logged_holds_a_secret(server, settings, caplog):
    caplog.set_level(logging.DEBUG)
    transport = Transport("acme", server.url, settings, headers={"Authorization": "Bearer s3cret-token"})
    server.answers(Answer(503), Answer(200, b"s3cret-answer"))
    get(transport, params={"q": "SELECT s3cret-query"}, headers={"X-Other": "s3cret-header"})
    error = failure(
        lambda: post(transport, params={"key": "s3cret"}) if server.answers(Answer(500)) is None else None
    )
    assert "s3cret" not in caplog.text
    assert "s3cret" not in str(error)
    transport.close()


def test_a_download_goes_on_where_it_broke_off(server, transport):
    whole = bytes(random.Random(3).randbytes(300_000))
    server.answers(Answer(200, whole, cut=100_000), Answer(200, whole, cut=250_000), Answer(200, whole))
    chunks = download.chunks(lambda: get(transport, stream=True), transport.settings)
    assert b"".join(chunks) == whole
    assert len(server.asked) == 3


@pytest.mark.parametrize("other", [b"B" * 300_000, b"A" * 50_000])
def test_a_download_that_became_another_is_refused(server, transport, other):
    server.answers(Answer(200, b"A" * 300_000, cut=100_000), Answer(200, other))
    chunks = download.chunks(lambda: get(transport, stream=True), transport.settings)
    assert failure(lambda: b"".join(chunks)).error_class is ErrorClass.TRANSIENT


def test_a_download_that_always_breaks_off_ends(server, transport):
    server.answers(Answer(200, b"A" * 300_000, cut=1000))
    chunks = download.chunks(lambda: get(transport, stream=True), transport.settings)
    assert failure(lambda: b"".join(chunks)).error_class is ErrorClass.TRANSIENT
    assert len(server.asked) == 5


class Time:
    def __init__(self):
        self.now = 1000.0

    def sleep(self, seconds):
        self.now += seconds

    def __call__(self):
        return self.now


def test_a_refusal_pauses_everybody():
    time = Time()
    limiter = LocalLimiter(sleep=time.sleep, clock=time)
    limiter.acquire("read")
    assert time.now == 1000
    limiter.pause("read", 5)
    limiter.acquire("write")
    assert time.now == 1005


class Notes(LocalLimiter):
    """What a limiter is told."""

    def __init__(self):
        super().__init__()
        self.told = []

    def acquire(self, family):
        self.told.append(family)

    def heard(self, news, age):
        assert age >= 0
        self.told.extend(news)

    def pause(self, family, seconds):
        self.told.append((family, seconds))

    def succeeded(self):
        self.told.append("works")

    def failed(self, error):
        self.told.append(error.error_class)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([Answer(200)], ["read", "works"]),
        ([Answer(503)], ["read"] * 5 + [ErrorClass.TRANSIENT]),
        ([Answer(503), Answer(200)], ["read", "read", "works"]),
        ([Answer(401)], ["read", ErrorClass.AUTH]),
        ([Answer(422)], ["read", "works"]),
        ([Answer(409)], ["read"] * 3 + ["works"]),
        ([Answer(429, headers={"Retry-After": "900"})], ["read", ("read", 900)]),
    ],
)
def test_the_limiter_is_told_what_a_request_came_to(server, settings, answers, told):
    notes = Notes()
    transport = Transport("acme", server.url, settings, limiter=notes)
    server.answers(*answers)
    with closing(transport), suppress(CrmError):
        get(transport)
    assert notes.told == told


def test_what_is_held_back_is_neither_tried_again_nor_a_failure(server, settings):
    class Closed(Notes):
        def acquire(self, family):
            raise HeldError(ErrorClass.TRANSIENT, "not now", retry_after=20)

    notes = Closed()
    with closing(Transport("acme", server.url, settings, limiter=notes)) as transport:
        assert failure(lambda: get(transport)).retry_after == 20
    assert (server.asked, notes.told) == ([], [])


def test_what_answers_tell_of_limits_reaches_the_limiter_and_people(server, settings):
    notes = Notes()
    news = Heard("burst", 100, 7)
    with closing(Transport("acme", server.url, settings, limiter=notes, hear=lambda _: [news])) as transport:
        get(transport)
        assert news in notes.told
        assert transport.said == {"burst calls left": "7 of 100"}


def test_a_web_page_is_no_answer(server, transport):
    page = Answer(200, b"<html>Log in</html>", {"Content-Type": "text/html; charset=UTF-8"})
    server.answers(page, Answer(200, b"there"))
    assert get(transport).content == b"there"
    server.answers(page)
    assert failure(lambda: post(transport)).error_class is ErrorClass.UNKNOWN_OUTCOME
