"""One code, two meanings: the record is gone, or one that it refers to."""

import pytest

from crm_sync.connectors.crm import Operation
from crm_sync.connectors.salesforce import collections
from crm_sync.core.errors import ErrorClass, RecordError

GONE, DATA = ErrorClass.GONE, ErrorClass.VALIDATION
PARENT = {"AccountId": "001xx000003DGb1AAG"}


@pytest.mark.parametrize(
    ("kind", "values", "code", "fields", "expected"),
    [
        ("update", {"LastName": "A"}, "ENTITY_IS_DELETED", (), GONE),
        ("update", PARENT, "ENTITY_IS_DELETED", (), GONE),
        ("update", PARENT, "ENTITY_IS_DELETED", ("AccountId",), DATA),
        ("create", PARENT, "ENTITY_IS_DELETED", (), DATA),
        ("update", {"LastName": "A"}, "INVALID_CROSS_REFERENCE_KEY", (), GONE),
        ("update", {"LastName": "A"}, "INVALID_CROSS_REFERENCE_KEY", ("Id",), GONE),
        ("update", PARENT, "INVALID_CROSS_REFERENCE_KEY", (), DATA),
        ("update", PARENT, "STRING_TOO_LONG", ("LastName",), DATA),
    ],
)
def test_what_is_gone(kind, values, code, fields, expected):
    operation = Operation("key", kind, "003xx000004TmiQAAS", values)
    result = collections.refusal(operation, RecordError(DATA, code, "text", fields))
    assert result.error is not None
    assert result.error.error_class is expected


@pytest.mark.parametrize("code", ["ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"])
def test_to_delete_what_is_gone_is_done(code):
    operation = Operation("key", "delete", "003xx000004TmiQAAS", {})
    assert collections.refusal(operation, RecordError(DATA, code, "text")).ok


@pytest.mark.parametrize(
    ("alone", "expected"), [(False, ErrorClass.TRANSIENT), (True, ErrorClass.VALIDATION)]
)
def test_what_is_too_much_for_the_organisations_code_even_alone_is_parked(alone, expected):
    operation = Operation("key", "update", "003xx000004TmiQAAS", {"LastName": "A"})
    told = {
        "success": False,
        "errors": [
            {
                "statusCode": "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                "message": "Busy: System.LimitException: Apex CPU time limit exceeded",
                "fields": [],
            }
        ],
    }
    error = collections.result(operation, told, alone=alone).error
    assert error is not None
    assert error.error_class is expected
