"""HubSpot's refusals: the class, the code, the fields, and never a value."""

import httpx
import pytest

from crm_sync.connectors.hubspot.errors import classify, details, record_error
from crm_sync.core.errors import ErrorClass as E

VALUES = (
    'Property values were not valid: [{"isValid":false,"message":"Ann Secret was not one of the allowed options: '
    '[a, b]","error":"INVALID_OPTION","name":"color","localizedErrorMessage":"Ann Secret"},'
    '{"isValid":false,"message":"x","error":"PROPERTY_DOESNT_EXIST","name":"missing"}]'
)


def answer(status, body=None, headers=None, text=None):
    content = {"text": text} if text is not None else {"json": body if body is not None else {}}
    return httpx.Response(
        status, headers=headers, request=httpx.Request("POST", "https://x.example/a?b"), **content
    )


@pytest.mark.parametrize(
    ("status", "body", "error_class"),
    [
        (401, {"category": "EXPIRED_AUTHENTICATION"}, E.AUTH),
        (401, {}, E.AUTH),
        (400, {"error": "invalid_grant", "status": "BAD_REFRESH_TOKEN"}, E.AUTH),
        (403, {"category": "MISSING_SCOPES"}, E.PERMISSION),
        (400, {"category": "VALIDATION_ERROR"}, E.VALIDATION),
        (400, {}, E.VALIDATION),
        (400, {"code": "MISSING_CONDITIONAL_REQUIRED_PROPERTY"}, E.VALIDATION),
        (404, {"message": "resource not found"}, E.PERMISSION),
        (409, {"category": "CONFLICT"}, E.VALIDATION),
        (414, {}, E.PERMANENT),
        (423, {}, E.CONCURRENCY),
        (429, {"policyName": "DAILY"}, E.RATE_LIMIT),
        (477, {}, E.TRANSIENT),
        (500, {}, E.UNKNOWN_OUTCOME),
        (502, {}, E.UNKNOWN_OUTCOME),
        (503, {}, E.TRANSIENT),
        (521, {}, E.TRANSIENT),
        (524, {}, E.UNKNOWN_OUTCOME),
    ],
)
def test_the_class_of_a_refused_request(status, body, error_class):
    error = classify(answer(status, body))
    assert error is not None
    assert error.error_class is error_class
    assert error.status == status


def test_what_is_unknown_is_left_to_the_transport():
    assert classify(answer(418)) is None


@pytest.mark.parametrize(
    ("body", "headers", "wait"),
    [
        ({"policyName": "TEN_SECONDLY_ROLLING"}, {}, 10.0),
        ({"policyName": "SECONDLY"}, {}, 1.0),
        ({"policyName": "DAILY"}, {}, 3600.0),
        ({"message": "You have reached your secondly limit."}, {}, 1.0),
        ({"message": "You have reached your ten_secondly_rolling limit."}, {}, 10.0),
        ({"policyName": "DAILY"}, {"Retry-After": "3"}, None),
        ({}, {}, None),
    ],
)
def test_how_long_to_wait(body, headers, wait):
    assert classify(answer(429, body, headers)).retry_after == wait


def test_a_locked_record_is_left_alone_for_two_seconds():
    assert classify(answer(423)).retry_after == 2.0


def test_bodies_that_are_no_error_bodies():
    assert classify(answer(403, text="<html>no</html>")).error_class is E.PERMISSION
    assert classify(answer(403, [1])).error_class is E.PERMISSION
    assert details({}) == details({"message": None, "errors": None, "context": None})


def test_fields_and_codes_come_out_of_the_text_and_values_do_not():
    error = record_error({"category": "VALIDATION_ERROR", "message": VALUES})
    assert (error.error_class, error.code, error.fields) == (
        E.VALIDATION,
        "INVALID_OPTION",
        ("color", "missing"),
    )
    assert "Secret" not in error.message
    assert "color" in error.message
    whole = classify(answer(400, {"category": "VALIDATION_ERROR", "message": VALUES}))
    assert "Secret" not in str(whole)
    assert whole.record.fields == ("color", "missing")


def test_a_text_that_is_cut_off_still_has_its_category():
    error = record_error({"category": "VALIDATION_ERROR", "message": VALUES[:60]})
    assert (error.error_class, error.code, error.fields) == (E.VALIDATION, "VALIDATION_ERROR", ())


def test_fields_named_by_the_context():
    body = {
        "category": "VALIDATION_ERROR",
        "errors": [{"context": {"propertyName": ["discount"]}, "code": "INVALID_LONG"}],
    }
    error = record_error(body)
    assert (error.code, error.fields) == ("INVALID_LONG", ("discount",))


@pytest.mark.parametrize(
    "body",
    [
        {"category": "CONFLICT", "message": "Contact already exists. Existing ID: 12345"},
        {
            "category": "VALIDATION_ERROR",
            "message": 'Property values were not valid: [{"isValid":false,"message":"Cannot set value secret on 9. '
            '12345 already has that value.","error":"CONFLICTING_UNIQUE_VALUE","name":"crm_sync_id"}]',
        },
    ],
)
def test_a_conflict_names_the_record_that_was_there_before(body):
    error = record_error(body)
    assert (error.error_class, error.code) == (E.VALIDATION, "CONFLICT")
    assert "12345" in error.message
    assert "secret" not in error.message


def test_a_record_that_is_gone():
    error = record_error({"category": "OBJECT_NOT_FOUND", "context": {"ids": ["7"]}})
    assert error.error_class is E.GONE


def test_an_unknown_refusal_is_permanent():
    assert record_error({"category": "MOON_PHASE"}).error_class is E.PERMANENT
