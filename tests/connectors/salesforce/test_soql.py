"""Query text: no value becomes syntax, every statement fits a URL, and the conditions mean what the stream says."""

import re
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_sync.connectors.crm import CRM_ID, DELETED, HUB_ID, MERGED_INTO, MODIFIED_AT, Window
from crm_sync.connectors.salesforce import describe, soql
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import Condition, FieldSpec, FieldType, Operator, StreamSpec, VendorField

ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}


def sobject(**types: str) -> describe.SObject:
    system = {"Id": "id", "SystemModstamp": "datetime", "IsDeleted": "boolean", "MasterRecordId": "reference"}
    fields = [
        {
            "name": name,
            "label": name,
            "type": kind,
            "createable": True,
            "updateable": True,
            "filterable": True,
        }
        for name, kind in (system | types).items()
    ]
    return describe.parse({"name": "Contact", "fields": fields})


CONTACT = sobject(
    LastName="string", Score__c="double", Active__c="boolean", Born__c="date", Seen__c="datetime",
    MailingAddress="address", hub__c="string",
)  # fmt: skip


def stream(*names: str, **more) -> StreamSpec:
    fields = tuple(FieldSpec(name.lower(), VendorField(name, FieldType.STRING)) for name in names)
    return StreamSpec("acme", "salesforce", "contact", "Contact", fields, external_id="hub__c", **more)


def unquoted(literal: str) -> str:
    """Reads a SOQL string as its grammar says; fails where the string would end early."""
    assert literal[0] == literal[-1] == "'"
    found, chars = "", iter(literal[1:-1])
    for char in chars:
        assert char != "'", "the string ends early"
        assert char not in "\n\r", "a string holds no bare line end"
        found += ESCAPES[next(chars)] if char == "\\" else char
    return found


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.text("'\"\\\n\r\t %_a;)("))
def test_a_string_is_one_literal_that_means_itself(value):
    assert unquoted(soql.text(value)) == value


@given(
    st.text(
        st.characters(
            categories=["Cc"], exclude_characters="\n\r\t\b\f\x7f\x85" + "".join(map(chr, range(0x80, 0xA0)))
        ),
        min_size=1,
    )
)
def test_control_characters_are_refused(value):
    with pytest.raises(CrmError):
        soql.text(value)


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))])))
def test_moments_are_utc_with_milliseconds(value):
    text = soql.moment(value)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert timedelta(0) <= value - datetime.fromisoformat(text) < timedelta(milliseconds=1)


def test_a_naive_moment_is_refused():
    with pytest.raises(ValueError):
        soql.moment(datetime(2026, 1, 1))


def test_a_read_asks_for_the_system_fields_and_the_mapped_ones_once():
    chosen = soql.selection(stream("LastName", "Id", "hub__c"), CONTACT)
    assert chosen.fields == ("Id", "SystemModstamp", "IsDeleted", "MasterRecordId", "hub__c", "LastName")
    assert chosen.roles == {
        CRM_ID: "Id", MODIFIED_AT: "SystemModstamp", DELETED: "IsDeleted", MERGED_INTO: "MasterRecordId", HUB_ID: "hub__c",
    }  # fmt: skip
    assert chosen.query(["a = 1", "b = 2"], ordered=True, limit=5) == (
        "SELECT Id, SystemModstamp, IsDeleted, MasterRecordId, hub__c, LastName FROM Contact "
        "WHERE a = 1 AND b = 2 ORDER BY SystemModstamp, Id LIMIT 5"
    )


def test_an_object_without_the_usual_fields_is_read_by_what_it_has():
    fields = [{"name": "Id", "type": "id"}, {"name": "CreatedDate", "type": "datetime"}]
    chosen = soql.selection(stream(), describe.parse({"name": "ContactHistory", "fields": fields}))
    assert chosen.fields == ("Id", "CreatedDate")


def test_what_cannot_be_read_is_left_out_and_explained():
    chosen = soql.selection(stream("LastName", "lastname", "Secret__c", "MailingAddress"), CONTACT)
    assert "LastName" in chosen.fields
    assert set(chosen.missing) == {"lastname", "Secret__c", "MailingAddress"}
    assert "LastName" in chosen.missing["lastname"]
    assert "field-level security" in chosen.missing["Secret__c"]
    assert "consists of" in chosen.missing["MailingAddress"]


def test_a_window_is_half_open():
    window = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert soql.conditions(stream(), CONTACT, window) == [
        "SystemModstamp >= 2026-01-01T00:00:00.000Z",
        "SystemModstamp < 2026-01-02T00:00:00.000Z",
    ]


def test_the_record_type_is_a_condition():
    assert soql.conditions(stream(record_type="O'Hara"), CONTACT) == [r"RecordType.DeveloperName = 'O\'Hara'"]


@pytest.mark.parametrize(
    ("field", "operator", "values", "expected"),
    [
        ("LastName", Operator.EQ, ("x' OR Name != '",), r"LastName = 'x\' OR Name != \''"),
        ("LastName", Operator.NOT_IN, ("a", "b'"), r"LastName NOT IN ('a','b\'')"),
        ("LastName", Operator.IS_BLANK, (), "LastName = null"),
        ("LastName", Operator.IS_NOT_BLANK, (), "LastName != null"),
        ("Score__c", Operator.GTE, ("1e3",), "Score__c >= 1000"),
        ("Active__c", Operator.NEQ, ("true",), "Active__c != TRUE"),
        ("Born__c", Operator.LT, ("2026-01-02",), "Born__c < 2026-01-02"),
        ("Seen__c", Operator.GT, ("2026-01-02T03:00:00+01:00",), "Seen__c > 2026-01-02T02:00:00.000Z"),
    ],
)
def test_conditions_are_written_for_the_fields_type(field, operator, values, expected):
    filters = (Condition(field, operator, values),)
    assert soql.conditions(stream(filters=filters), CONTACT) == [expected]


@pytest.mark.parametrize(
    ("field", "operator", "values"),
    [
        ("Score__c", Operator.EQ, ("1 OR 1=1",)),
        ("Score__c", Operator.EQ, ("NaN",)),
        ("Active__c", Operator.EQ, ("TRUE OR x = y",)),
        ("Born__c", Operator.EQ, ("TODAY",)),
        ("Seen__c", Operator.EQ, ("2026-01-02T03:00:00",)),
        ("Nothing__c", Operator.EQ, ("a",)),
        ("LastName = '' OR Id", Operator.EQ, ("a",)),
        ("MailingAddress", Operator.EQ, ("a",)),
        ("LastName", Operator.EQ, ("a", "b")),
        ("LastName", Operator.IN, ()),
    ],
)
def test_what_cannot_be_asked_is_refused_without_repeating_the_value(field, operator, values):
    filters = (Condition(field, operator, values),)
    with pytest.raises(CrmError) as caught:
        soql.conditions(stream(filters=filters), CONTACT)
    assert caught.value.error_class is ErrorClass.VALIDATION
    assert all(value not in str(caught.value) for value in values if len(value) > 1)


def test_reading_goes_on_after_the_last_record():
    assert soql.after("SystemModstamp", "2026-01-02T03:04:05.000Z", "003000000000001AAA") == (
        "((SystemModstamp = 2026-01-02T03:04:05.000Z AND Id > '003000000000001AAA')"
        " OR SystemModstamp > 2026-01-02T03:04:05.000Z)"
    )


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=400), max_size=300))
def test_long_lists_are_cut_to_fit_a_url_and_lose_nothing(wanted):
    chosen = soql.selection(stream("LastName"), CONTACT)
    statements = list(soql.chunks_of("LastName", wanted, chosen))
    assert all(len(quote(statement)) <= 16_000 for statement in statements)
    inside = [statement.partition(" IN (")[2].removesuffix(")") for statement in statements]
    literals = [found for text in inside for found in re.findall(r"'(?:[^'\\]|\\.)*'", text)]
    assert [unquoted(literal) for literal in literals] == list(dict.fromkeys(wanted))
