"""Values and records: HubSpot's spelling and the port's."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_sync.connectors.crm import CRM_ID, DELETED, MERGED_INTO, MODIFIED_AT
from crm_sync.connectors.hubspot.values import (
    from_hubspot,
    instant,
    losers,
    milliseconds,
    modified,
    page,
    stamp,
    to_hubspot,
    tombstones,
)
from crm_sync.core.spec import FieldType

T = FieldType


@pytest.mark.parametrize(
    ("kind", "theirs", "ours"),
    [
        (T.STRING, "", None),
        (T.STRING, None, None),
        (T.STRING, " kept ", " kept "),
        (T.NUMBER, "1000", "1000"),
        (T.NUMBER, "1000.50", "1000.5"),
        (T.NUMBER, "1E+3", "1000"),
        (T.NUMBER, "-0", "0"),
        (T.NUMBER, 1000.5, "1000.5"),
        (T.NUMBER, "0", "0"),
        (T.NUMBER, "many", "many"),
        (T.NUMBER, "NaN", "NaN"),
        (T.BOOLEAN, "true", "true"),
        (T.BOOLEAN, "False", "false"),
        (T.BOOLEAN, True, "true"),
        (T.DATE, "2026-02-28", "2026-02-28"),
        (T.DATE, "1772236800000", "2026-02-28"),
        (T.DATE, "-86400000", "1969-12-31"),
        (T.DATE, "2026-02-28T00:00:00Z", "2026-02-28"),
        (T.DATETIME, "2022-10-26T14:45:00Z", "2022-10-26T14:45:00.000Z"),
        (T.DATETIME, "2022-10-26T14:45:00.1Z", "2022-10-26T14:45:00.100Z"),
        (T.DATETIME, "2026-03-29T02:30:00+02:00", "2026-03-29T00:30:00.000Z"),
        (T.DATETIME, "1564113600001", "2019-07-26T04:00:00.001Z"),
        (T.DATETIME, "soon", "soon"),
        (T.DATETIME, "9" * 30, "9" * 30),
        (T.MULTIPICKLIST, "b;a;;b; c", "a;b;c"),
        (T.MULTIPICKLIST, ";", None),
        (T.PICKLIST, "lead", "lead"),
        (T.JSON, '{"a":1}', '{"a":1}'),
    ],
)
def test_what_hubspot_sends(kind, theirs, ours):
    assert from_hubspot(theirs, kind) == ours


@pytest.mark.parametrize("kind", list(FieldType))
def test_none_clears(kind):
    assert to_hubspot(None, kind) == ""


def test_a_selection_never_begins_with_the_sign_that_appends():
    assert to_hubspot(";b;a", T.MULTIPICKLIST) == "a;b"


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))
def test_times_survive_to_the_millisecond(naive):
    moment = naive.replace(tzinfo=UTC)
    assert milliseconds(instant(stamp(moment))) == milliseconds(moment)


@given(st.text(), st.sampled_from(list(FieldType)))
def test_no_text_breaks_the_reading_and_reading_twice_changes_nothing(text, kind):
    once = from_hubspot(text, kind)
    assert once != ""
    assert from_hubspot(once, kind) == once


def test_the_time_that_search_filters_by_goes_before_updated_at():
    record = {"properties": {"lastmodifieddate": "2026-01-01T00:00:00Z"}, "updatedAt": "2026-01-01T00:00:09Z"}
    assert modified(record, "lastmodifieddate") == datetime(2026, 1, 1, tzinfo=UTC)
    assert modified(record, "hs_lastmodifieddate") == datetime(2026, 1, 1, 0, 0, 9, tzinfo=UTC)
    assert modified({"updatedAt": "x"}, "lastmodifieddate") is None
    assert modified({}, "lastmodifieddate") is None


def test_losers_of_merges_are_named_once_and_never_the_survivor():
    properties = {
        "hs_merged_object_ids": "7;3;9",
        "hs_calculated_merged_vids": "3:1764000000000;4:1764000000001",
    }
    assert losers({"id": "9", "properties": properties}) == ("7", "3", "4")
    assert losers({"id": "9", "properties": {"hs_merged_object_ids": None}}) == ()
    assert tombstones({"id": 9, "properties": {"hs_merged_object_ids": "3"}}, "t") == [
        {CRM_ID: "3", MODIFIED_AT: "t", DELETED: "true", MERGED_INTO: "9"}
    ]


def test_a_page_has_strings_only():
    batch = page([{CRM_ID: "1", "email": "a@example.com"}], ["email", "phone"]).batch
    assert batch.schema.names == [CRM_ID, MODIFIED_AT, DELETED, MERGED_INTO, "email", "phone"]
    assert {str(kind) for kind in batch.schema.types} == {"string"}
    assert batch.to_pylist()[0]["phone"] is None
