"""Drift: what is told of two looks at an object, what is expected afterwards, and what a person may accept."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_sync.core import drift
from crm_sync.core.drift import Change, Kind
from crm_sync.core.looks import Look, looks
from crm_sync.core.spec import Condition, Direction, FieldSpec, FieldType, Operator, StreamSpec, VendorField


def field(name, vendor, kind=FieldType.STRING, **more):
    return FieldSpec(name, VendorField(vendor, kind), **more)


STREAM = StreamSpec(
    "acme", "salesforce", "contact", "Contact",
    (
        field("title", "Title"),
        field("stage", "Stage", FieldType.PICKLIST, to_crm={"new": "New", "old": "Old"}),
        field("score", "Score", FieldType.NUMBER, direction=Direction.INBOUND),
        FieldSpec("name", VendorField("computed:name", FieldType.STRING, template="{First} {Title}"),
                  direction=Direction.INBOUND),
    ),
    filters=(Condition("Kind__c", Operator.EQ, ("person",)),),
    external_id="Hub_Id__c",
    constants={"Source": "hub"},
    record_type="Partner",
)  # fmt: skip
NOW = {
    "Title": Look("string", "Title", length=80),
    "Stage": Look("picklist", "Stage", options=("New", "Old")),
    "Score": Look("double", "Score"),
    "First": Look("string"),
    "Kind__c": Look("string"),
    "Hub_Id__c": Look("string"),
    "Source": Look("string"),
    "Other": Look("string", "Other"),
    "record type Partner": Look("record type"),
}


def changed(name, **what):
    return {**NOW, name: replace(NOW[name], **what)}


def without(*names):
    return {name: look for name, look in NOW.items() if name not in names}


def the_one(now, stream=STREAM, before=NOW):
    (change,) = drift.changes(before, now, stream)
    return change


CASES = [
    (without("Title"), Change("Title", Kind.REMOVED, ("string",), held=True, freezes=("title", "name"))),
    (without("Hub_Id__c"), Change("Hub_Id__c", Kind.REMOVED, ("string",), held=True, fatal=True)),
    (without("Kind__c"), Change("Kind__c", Kind.REMOVED, ("string",), held=True, fatal=True)),
    (without("Source"), Change("Source", Kind.REMOVED, ("string",), held=True, fatal=True)),
    (without("record type Partner"),
     Change("record type Partner", Kind.REMOVED, ("record type",), held=True, fatal=True)),
    ({**NOW, "New__c": Look("string")}, Change("New__c", Kind.ADDED, after=("string",))),
    ({**NOW, "New__c": Look("string", required=True)}, Change("New__c", Kind.REQUIRED, held=True, fatal=True)),
    (changed("Other", required=True), Change("Other", Kind.REQUIRED, held=True, fatal=True)),
    (changed("Title", required=True), Change("Title", Kind.REQUIRED, held=True)),
    (changed("Title", length=100), Change("Title", Kind.LONGER, ("80",), ("100",))),
    (changed("Title", length=None), Change("Title", Kind.LONGER, ("80",), ())),
    (changed("Title", length=40), Change("Title", Kind.SHORTER, ("80",), ("40",), held=True)),
    (changed("Title", updates=False), Change("Title", Kind.READ_ONLY, held=True)),
    (changed("Title", type="textarea"), Change("Title", Kind.RETYPED, ("string",), ("textarea",))),
    (changed("Title", type="double"),
     Change("Title", Kind.RETYPED, ("string",), ("double",), held=True, freezes=("title",))),
    (changed("Title", type="picklist", options=("CEO",)),
     Change("Title", Kind.RETYPED, ("string",), ("picklist",), held=True, freezes=("title",))),
    (changed("Stage", type="string", options=None), Change("Stage", Kind.RETYPED, ("picklist",), ("string",))),
    (changed("Score", type="date"),
     Change("Score", Kind.RETYPED, ("double",), ("date",), held=True, freezes=("score",))),
    (changed("Score", type="int"), Change("Score", Kind.RETYPED, ("double",), ("int",))),
    (changed("Stage", options=("New", "Old", "Won")), Change("Stage", Kind.OPTIONS_ADDED, after=("Won",))),
    (changed("Stage", options=("New",)), Change("Stage", Kind.OPTIONS_REMOVED, ("Old",), held=True)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("now", "change"), CASES, ids=lambda v: f"{v.kind} {v.field}" if isinstance(v, Change) else ""
)
def test_each_kind(now, change):
    found = drift.changes(NOW, now, STREAM)
    assert found == [change]
    expected = drift.expected(NOW, now, found)
    again = drift.changes(expected, now, STREAM)
    assert again == ([change] if change.held else [])  # told as long as it is so; what was applied only once
    assert drift.changes(expected, NOW, STREAM) == [] or not change.held  # back as it was: nothing to tell


@pytest.mark.parametrize(
    "now",
    [
        without("Other"),
        changed("Other", type="double", updates=False, options=("A",), length=1),
        changed("Title", label="Job"),
        changed("Score", updates=False, required=True),  # only read
        {**NOW, "Sum": Look("double", calculated=True)},
    ],
)
def test_what_the_stream_does_not_need_is_no_drift(now):
    assert drift.changes(NOW, now, STREAM) == []


def test_a_rename_is_guessed_from_the_label():
    now = {**without("Title"), "Job__c": Look("string", "Title", length=80)}
    added, removed = drift.changes(NOW, now, STREAM)
    assert (added.field, added.kind) == ("Job__c", Kind.ADDED)
    assert (removed.kind, removed.after) == (Kind.REMOVED, ("Job__c",))


def test_a_value_that_was_renamed_is_one_gone_and_one_come():
    now = changed("Stage", options=("New", "Past"))
    found = drift.changes(NOW, now, STREAM)
    assert [(c.kind, c.before, c.after) for c in found] == [
        (Kind.OPTIONS_REMOVED, ("Old",), ()),
        (Kind.OPTIONS_ADDED, (), ("Past",)),
    ]
    assert drift.expected(NOW, now, found)["Stage"].options == ("New", "Past", "Old")


def test_what_a_person_accepts_is_expected_from_then_on():
    for now, change in CASES:
        expected = drift.expected(NOW, now, [change], [change])
        left = drift.changes(expected, now, STREAM)
        assert left == ([change] if change.kind is Kind.REMOVED else [])


def test_an_acceptance_is_of_that_change_and_no_other():
    number = the_one(changed("Title", type="double"))
    now = changed("Title", type="boolean")
    assert drift.expected(NOW, now, drift.changes(NOW, now, STREAM), [number])["Title"].type == "string"


def test_a_mapping_that_names_the_new_type_takes_it():
    now = changed("Title", type="picklist", options=("CEO",))
    named = replace(STREAM, fields=(field("title", "Title", FieldType.PICKLIST),))
    change = the_one(now, named)
    assert (change.kind, change.held, change.freezes) == (Kind.RETYPED, False, ())
    assert drift.digest(now, named) != drift.digest(now, STREAM)


def test_an_inbound_stream_does_not_mind_what_may_be_written():
    stream = replace(STREAM, direction=Direction.INBOUND)
    now = {
        **changed("Title", updates=False, length=1, required=True),
        "New__c": Look("string", required=True),
    }
    assert [c.kind for c in drift.changes(NOW, now, stream)] == [Kind.ADDED]


def test_looks_leave_associations_out_and_know_the_record_type():
    assert looks({}, ["Partner", "Other"], STREAM) == {"record type Partner": Look("record type")}
    assert looks({}, [], STREAM) == {}


_TEXT = st.text(max_size=5)
LOOKS = st.builds(
    Look,
    st.sampled_from(["string", "textarea", "double", "picklist", "multipicklist", "boolean", "date", "odd"]),
    _TEXT, st.booleans(), st.booleans(), st.booleans(), st.none() | st.integers(0, 300),
    st.none() | st.lists(_TEXT, max_size=4, unique=True).map(tuple), st.booleans(),
)  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from([*NOW, "A", "B"]), LOOKS, max_size=8)


@given(OBJECTS)
def test_no_change_is_nothing(look):
    assert drift.changes(look, look, STREAM) == []
    assert drift.expected(look, look, []) == look
    assert {name: Look.from_json(one.as_json()) for name, one in look.items()} == look


@given(OBJECTS, OBJECTS)
def test_what_is_held_stays_told_and_what_is_applied_is_told_once(before, now):
    found = drift.changes(before, now, STREAM)
    expected = drift.expected(before, now, found)
    again = drift.changes(expected, now, STREAM)
    assert {(c.field, c.kind) for c in again} == {(c.field, c.kind) for c in found if c.held}
    assert drift.expected(expected, now, again) == expected


@given(OBJECTS, OBJECTS)
def test_a_stranger_change_never_freezes_what_did_not_change(before, now):
    for change in drift.changes(before, now, STREAM):
        assert before.get(change.field) != now.get(change.field)
        assert all(change.field in STREAM.read_from(name) for name in change.freezes)
