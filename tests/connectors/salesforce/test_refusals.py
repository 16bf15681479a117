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
