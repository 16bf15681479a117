"""The table of error classes: complete, consistent, and the one in the documentation."""

from pathlib import Path

import pytest

from crm_sync.core.errors import (
    NO_SUCCESS,
    RULES,
    ConnectionState,
    CrmError,
    ErrorClass,
    RecordState,
    reference,
)

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"


def test_the_page_is_that_of_the_code():
    assert PAGE.read_text("utf-8") == reference(), "run: make docs"


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
