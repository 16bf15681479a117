"""What Salesforce says when it refuses, in the forms of its interfaces; examples are made up in the vendor's shape."""

import httpx
import pytest

from crm_sync.connectors.salesforce import errors
from crm_sync.core.errors import ErrorClass

TABLE = {
    ErrorClass.AUTH: [
        "INVALID_SESSION_ID",
    ],
    ErrorClass.RATE_LIMIT: [
        "REQUEST_LIMIT_EXCEEDED",
        "SOME_NEW_LIMIT_EXCEEDED",
    ],
    ErrorClass.PERMISSION: [
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "API_DISABLED_FOR_ORG",
        "API_CURRENTLY_DISABLED",
        "TRANSFER_REQUIRES_READ",
        "INVALID_FIELD",
        "INSUFFICIENT_SOMETHING_ACCESS",
    ],
    ErrorClass.TRANSIENT: [
        "UNABLE_TO_LOCK_ROW",
        "SERVER_UNAVAILABLE",
    ],
    ErrorClass.VALIDATION: [
        "DUPLICATES_DETECTED",
        "DUPLICATE_VALUE",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "REQUIRED_FIELD_MISSING",
        "STRING_TOO_LONG",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "INVALID_CROSS_REFERENCE_KEY",
        "MALFORMED_ID",
        "INVALID_EMAIL_ADDRESS",
        "JSON_PARSER_ERROR",
        "NUMBER_OUTSIDE_VALID_RANGE",
        "CANNOT_UPDATE_CONVERTED_LEAD",
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "FIELD_INTEGRITY_EXCEPTION",
    ],
    ErrorClass.GONE: [
        "ENTITY_IS_DELETED",
        "NOT_FOUND",
    ],
    ErrorClass.PERMANENT: [
        "METHOD_NOT_ALLOWED",
        "MALFORMED_QUERY",
        "SOMETHING_NEW",
    ],
    ErrorClass.UNKNOWN_OUTCOME: [
        "UNKNOWN_EXCEPTION",
    ],
}


@pytest.mark.parametrize(
    ("code", "expected"), [(code, kind) for kind, codes in TABLE.items() for code in codes]
)
def test_every_code_has_a_class(code, expected):
    assert errors.classify_code(code) is expected


def answer(status: int, body) -> httpx.Response:
    return httpx.Response(status, json=body)


def test_an_answers_first_error_is_told_without_its_text():
    body = [
        {
            "message": "No such column 'Jane@example.com' on entity",
            "errorCode": "INVALID_FIELD",
            "fields": ["A__c"],
        }
    ]
    error = errors.classify(answer(400, body))
    assert (error.error_class, error.code, error.status) == (ErrorClass.PERMISSION, "INVALID_FIELD", 400)
    assert "A__c" in str(error)
    assert "Jane" not in str(error)


def test_a_used_up_day_is_not_asked_again_soon_but_crowding_is():
    day = [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
    crowd = [{"message": "ConcurrentPerOrgLongTxn Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
    assert errors.classify(answer(403, day)).retry_after >= 600
    assert errors.classify(answer(403, crowd)).retry_after is None


@pytest.mark.parametrize("body", [["/services/data/v62.0/sobjects/A/1"], {}, [], "text", None])
def test_an_answer_that_is_no_error_of_salesforces_is_left_to_its_status(body):
    assert errors.classify(answer(500, body)) is None


@pytest.mark.parametrize(
    ("cell", "code", "message", "fields"),
    [
        (
            "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --",
            "REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]", ("Name",),
        ),
        (
            "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 2 records: 001,002:--",
            "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record or 2 records: 001,002", (),
        ),
        (
            "STRING_TOO_LONG:Last Name: data value too large: Jane Doe the Second (max length=80):LastName --",
            "STRING_TOO_LONG", "data value too large (max length=80)", ("LastName",),
        ),
        (
            "INVALID_EMAIL_ADDRESS:Email: invalid email address: jane@:Email --",
            "INVALID_EMAIL_ADDRESS", "Email: invalid email address: …", ("Email",),
        ),
        ("ODD", "ODD", "", ()),
    ],
)  # fmt: skip
def test_a_bulk_row_tells_code_text_and_fields_but_no_value(cell, code, message, fields):
    error = errors.from_bulk(cell, ["jane@", None, "Jane Doe the Second"])
    assert (error.code, error.message, error.fields) == (code, message, fields)


def test_a_collections_error_speaks_of_status_codes():
    told = {
        "statusCode": "DUPLICATE_VALUE",
        "fields": [],
        "message": "duplicate value found: E__c duplicates value on record with id: 001A",
    }
    error = errors.from_collections(told, [])
    assert (error.error_class, error.code) == (ErrorClass.VALIDATION, "DUPLICATE_VALUE")


def test_a_job_that_failed_names_the_column():
    error = errors.job_error("InvalidBatch : InvalidBatch : Field name not found : Email")
    assert (error.error_class, error.fields) == (ErrorClass.PERMISSION, ("Email",))
    error = errors.job_error("ClientInputError : LineEnding is invalid on user data.")
    assert error.error_class is ErrorClass.PERMANENT
