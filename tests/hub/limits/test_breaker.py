"""The circuit breaker on a real Postgres, as the processes of a connection share it."""

import pytest

from crm_sync.core.errors import ConnectionState, CrmError, ErrorClass, HeldError
from crm_sync.core.quota import Quotas
from crm_sync.hub import breaker
from crm_sync.hub.budget import PostgresLimiter

NO_ANSWER = CrmError(ErrorClass.TRANSIENT, "acme: no answer")
NO_LOGIN = CrmError(ErrorClass.AUTH, "acme: the token is not accepted")


@pytest.fixture
def process(url, conn):
    made = []

    def make(**more):
        made.append(PostgresLimiter(url, "acme", Quotas(), **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def fail(process, error=NO_ANSWER, times=1):
    for _ in range(times):
        process.acquire("read")
        process.failed(error)


def held(process):
    with pytest.raises(HeldError) as caught:
        process.acquire("read")
    return caught.value


def later(conn):
    """The pause is over."""
    conn.execute("update sync.health set probe_at = clock_timestamp() - interval '1 second'")


def state(conn):
    return breaker.health(conn, "acme").state


def test_it_opens_after_five_failures_in_a_row_of_all_processes(conn, process):
    one, two = process(), process()
    fail(one, times=2)
    fail(two, times=2)
    assert state(conn) is ConnectionState.HEALTHY
    fail(one)
    error = held(two)
    assert (error.error_class, error.code) == (ErrorClass.TRANSIENT, "BREAKER_OPEN")
    assert 24 <= error.retry_after <= 36
    assert "acme: no answer" in str(error)
    found = breaker.health(conn, "acme")
    assert found.state is ConnectionState.DEGRADED
    assert found.since is not None
    assert found.open_until is not None
    assert "acme is not called before" in (breaker.open_now(conn, "acme") or "")


def test_an_answer_in_between_begins_the_count_anew(conn, process):
    one, two = process(), process()
    fail(one, times=4)
    two.acquire("read")
    two.succeeded()
    fail(one, times=4)
    assert breaker.open_now(conn, "acme") is None


def test_a_refused_login_opens_it_at_once(conn, process):
    fail(process(), NO_LOGIN)
    assert held(process()).error_class is ErrorClass.AUTH
    assert state(conn) is ConnectionState.FAILED
    assert "crm-sync check" in breaker.health(conn, "acme").reason


def test_after_the_pause_one_call_of_all_is_tried(conn, process):
    one, two = process(), process()
    fail(one, NO_LOGIN)
    later(conn)
    one.acquire("read")
    one.acquire("read")  # the one that tries may go on until it knows
    assert held(two).code == "BREAKER_OPEN"
    one.succeeded()
    two.acquire("read")
    assert state(conn) is ConnectionState.HEALTHY
    assert breaker.open_now(conn, "acme") is None


def test_each_failed_try_makes_the_pause_longer_up_to_a_quarter_of_an_hour(conn, process):
    one = process()
    fail(one, times=5)
    pauses = [held(one).retry_after]
    for _ in range(7):
        later(conn)
        fail(one)
        pauses.append(held(one).retry_after)
    for number, pause in enumerate(pauses):
        expected = min(30 * 2**number, 900)
        assert 0.75 * expected <= pause <= 1.21 * expected


def test_if_the_one_that_tries_dies_another_tries(conn, process):
    fail(process(), NO_LOGIN)
    later(conn)
    process().acquire("read")
    assert held(process()).code == "BREAKER_OPEN"
    later(conn)
    process().acquire("read")


def test_failures_of_calls_that_were_under_way_do_not_make_the_pause_longer(conn, process):
    one, two = process(), process()
    two.acquire("read")
    fail(one, NO_LOGIN)
    two.failed(NO_LOGIN)
    assert held(one).retry_after <= 36


def test_a_person_may_try_at_any_time(conn, process):
    fail(process(), NO_LOGIN)
    person = process(force=True)
    person.acquire("check")
    person.succeeded()
    process().acquire("read")


def test_other_connections_go_on(url, conn, process):
    fail(process(), NO_LOGIN)
    other = PostgresLimiter(url, "other", Quotas())
    other.acquire("read")
    other.close()


def test_a_connection_is_degraded_by_what_is_parked_and_by_used_up_limits(conn):
    assert state(conn) is ConnectionState.HEALTHY
    conn.execute(
        "insert into sync.parked (connection, entity, side, record_id, error_class, code, reason) values"
        " ('acme', 'contact', 'hub', '1', 'permission', 'X', 'phone may not be written'),"
        " ('acme', 'contact', 'hub', '2', 'validation', 'X', 'too long')"
    )
    found = breaker.health(conn, "acme")
    assert found.state is ConnectionState.DEGRADED
    assert found.reason == "1 records are parked (permission), for example: phone may not be written"
    conn.execute(
        "insert into sync.budget (connection, name, allowed, left_over) values ('acme', 'daily', 9, 0)"
    )
    assert "limit is used up" in breaker.health(conn, "acme").reason
