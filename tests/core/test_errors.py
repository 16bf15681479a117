"""The table of error classes: complete and consistent."""

import pytest

from crm_sync.core.errors import (
    NO_SUCCESS,
    RULES,
    ConnectionState,
    CrmError,
    ErrorClass,
    HeldError,
    RecordState,
    afterwards,
    sentences,
)


def test_every_class_has_its_rule():
    assert set(RULES) == set(ErrorClass)


@pytest.mark.parametrize("error_class", ErrorClass)
def test_what_follows_does_not_contradict_itself(error_class):
    rule = RULES[error_class]
    assert rule.tries >= 1
    # What may be sent again waits for the next run; what is parked will not be helped by another try.
    assert rule.tries == 1 or rule.record is RecordState.WAITS
    assert not (rule.record is RecordState.PARKED and rule.next_run)
    assert rule.connection is not ConnectionState.FAILED or rule.alert
    assert rule.retry
    assert rule.advice.endswith(".")


def test_what_may_have_taken_effect_is_never_sent_again():
    rule = RULES[ErrorClass.UNKNOWN_OUTCOME]
    assert (rule.tries, rule.record) == (1, RecordState.INTENT)
    assert not CrmError(ErrorClass.UNKNOWN_OUTCOME, "no answer").retryable


def test_a_refusal_of_a_record_shows_that_the_connection_works():
    assert ErrorClass.VALIDATION not in NO_SUCCESS
    assert {ErrorClass.TRANSIENT, ErrorClass.AUTH, ErrorClass.RATE_LIMIT} <= NO_SUCCESS


HELD = HeldError(ErrorClass.RATE_LIMIT, "used up")
BREAKER = HeldError(ErrorClass.AUTH, "not called")
LIMIT = CrmError(ErrorClass.RATE_LIMIT, "too many")
AWAY = CrmError(ErrorClass.TRANSIENT, "no answer")
RIGHTS = CrmError(ErrorClass.PERMISSION, "not allowed")
LOGIN = CrmError(ErrorClass.AUTH, "not accepted")


def test_errors_have_an_order():
    assert sorted([LOGIN, LIMIT, RIGHTS, AWAY, BREAKER, HELD], key=lambda error: error.gravity) == [
        HELD, LIMIT, AWAY, RIGHTS, BREAKER, LOGIN,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (None, None, None),
        (None, HELD, HELD),
        (LOGIN, None, LOGIN),
        (LOGIN, HELD, LOGIN),
        (LOGIN, BREAKER, LOGIN),
        (HELD, RIGHTS, RIGHTS),
        (AWAY, AWAY, AWAY),
        (KeyError("a bug"), None, KeyError),
        (KeyError("a bug"), HELD, HELD),
        (HELD, KeyError("a bug"), KeyError),
    ],
)
def test_of_the_block_and_what_comes_after_it_the_graver_error_is_raised(first, second, told):
    def fail(error):
        done.append(error)
        if error is not None:
            raise error

    done, caught = [], None
    try:
        with afterwards(lambda: fail(second)):
            fail(first)
    except Exception as error:
        caught = error
    assert done == [first, second]
    assert isinstance(caught, told) if isinstance(told, type) else caught is told


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("run crm-sync setup", "Give access."), "run crm-sync setup. Give access."),
        (("Try again in a minute.", "Give access."), "Try again in a minute. Give access."),
        (("acme: who are you? ", "Connect again."), "acme: who are you? Connect again."),
        (("used up", ""), "used up"),
        (("", "Connect again."), "Connect again."),
    ],
)
def test_sentences_do_not_run_together(texts, said):
    assert sentences(*texts) == said
