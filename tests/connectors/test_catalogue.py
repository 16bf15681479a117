"""The catalogue of refusals: complete, consistent, without contradiction to the classes, and the one in the documentation."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from crm_sync.connectors.catalogue import DOCUMENTED, of_kind, of_system, reference
from crm_sync.core.catalogue import BACKOFF, BY_CLASS, OWN, Entry, Retryable
from crm_sync.core.errors import RULES, ErrorClass, RecordState
from crm_sync.mapping.load import load

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "reference" / "errors.md"
SOURCES = {"crm_sync": OWN, **{kind: of_kind(kind) for kind in DOCUMENTED}}
ENTRIES = [*BY_CLASS.values(), *(entry for rows in SOURCES.values() for entry in rows)]


def test_the_page_is_that_of_the_code() -> None:
    assert PAGE.read_text("utf-8") == reference(), "run: make docs"


def test_every_class_has_a_row_for_codes_that_nobody_knows() -> None:
    assert set(BY_CLASS) == set(ErrorClass)


@pytest.mark.parametrize("source", SOURCES)
def test_no_code_is_there_twice(source: str) -> None:
    counted = Counter(entry.code for entry in SOURCES[source])
    assert [code for code, number in counted.items() if number > 1] == []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)
def test_a_row_says_what_to_do_and_contradicts_nothing(entry: Entry) -> None:
    assert entry.cause.endswith(".")
    assert entry.cause[0].isupper()
    assert entry.fix.endswith(".")
    assert entry.fix[0].isupper()
    assert "|" not in entry.cause + entry.fix
    parked = RULES[entry.error_class].record is RecordState.PARKED
    assert parked == (entry.retryable is not Retryable.BACKOFF), (
        "what waits is tried again, what is parked is not"
    )


def test_the_codes_that_people_meet_are_there() -> None:
    assert {
        "DUPLICATE_VALUE", "DUPLICATES_DETECTED", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "REQUIRED_FIELD_MISSING",
        "STRING_TOO_LONG", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "UNABLE_TO_LOCK_ROW", "ENTITY_IS_DELETED", "STORAGE_LIMIT_EXCEEDED",
        "CANNOT_UPDATE_CONVERTED_LEAD",
    } <= {entry.code for entry in of_kind("salesforce")}  # fmt: skip
    assert {
        "VALIDATION_ERROR", "INVALID_OPTION", "PROPERTY_DOESNT_EXIST", "CONFLICT", "OBJECT_NOT_FOUND", "MISSING_SCOPES",
        "INVALID_EMAIL",
    } <= {entry.code for entry in of_kind("hubspot")}  # fmt: skip


def test_a_system_has_the_codes_of_its_kinds() -> None:
    assert set(of_system(load(PROJECT / "examples"))) == {"salesforce", "hubspot"}
    assert of_kind("memory") == ()
    assert of_kind("no_such_kind") == ()


def test_the_pauses_grow_and_end() -> None:
    pauses = [BACKOFF.pause(attempts) for attempts in range(1, BACKOFF.tries + 1)]
    assert pauses[0] == timedelta(), "once more in the next run"
    assert pauses[-1] is None
    waits = [pause for pause in pauses if pause is not None]
    assert waits == sorted(waits)
    assert timedelta(hours=1) < sum(waits, timedelta()) < timedelta(hours=24), (
        "parked before a reconcile tries it again"
    )
