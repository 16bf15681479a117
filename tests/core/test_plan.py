"""What a CRM would refuse is known before any call is made."""

from dataclasses import replace

import pytest

from crm_sync.connectors.crm import FieldInfo
from crm_sync.core.errors import ErrorClass
from crm_sync.core.plan import Checker, Refusal
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec, VendorField


def info(name: str, **more: object) -> FieldInfo:
    facts: dict[str, object] = {"createable": True, "updateable": True, "required": False, **more}
    return FieldInfo(name, name, "string", **facts)  # type: ignore[arg-type]


STREAM = StreamSpec(
    "acme", "memory", "contact", "Contact",
    (
        FieldSpec("name", VendorField("Name", FieldType.STRING)),
        FieldSpec("email", VendorField("Email", FieldType.EMAIL), required=True),
        FieldSpec("stage", VendorField("Stage", FieldType.PICKLIST)),
        FieldSpec("tags", VendorField("Tags", FieldType.MULTIPICKLIST)),
        FieldSpec("company", VendorField("AccountId", FieldType.REFERENCE), entity="company"),
        FieldSpec("firm", VendorField("association:companies", FieldType.REFERENCE, association="companies"), entity="company"),
    ),
    constants={"Source": "hub"},
)  # fmt: skip

DESCRIBED = {
    f.name: f
    for f in (
        info("Name", required=True, max_length=5),
        info("Email"),
        info("Stage", options=("New", "Won")),
        info("Tags", options=("a", "b")),
        info("AccountId", max_length=2),
        info("Source", required=True),
    )
}
GOOD = {"name": "Lee", "email": "lee@x.example"}


def check(
    stream: StreamSpec, kind: str, values: dict[str, str | None], described: dict[str, FieldInfo]
) -> Refusal | None:
    return Checker(stream, kind, described).refusal(values)


def refused(kind: str, values: dict[str, str | None], **changed: FieldInfo) -> Refusal:
    found = check(STREAM, kind, values, {**DESCRIBED, **changed})
    assert found is not None
    return found


@pytest.mark.parametrize("values", [
    GOOD, {**GOOD, "stage": "Won"}, {**GOOD, "tags": "a;b"}, {**GOOD, "company": "longer than two"},
    {**GOOD, "firm": "an association is not described"},
])  # fmt: skip
def test_what_the_crm_takes_is_let_through(values: dict[str, str | None]) -> None:
    assert check(STREAM, "create", values, DESCRIBED) is None
    assert check(STREAM, "update", values, DESCRIBED) is None


def test_columns_of_good_records_are_taken_at_a_glance() -> None:
    columns = {"name": ["Lee", "Kim"], "email": ["lee@x.example", "kim@x.example"], "stage": ["Won", None],
               "tags": ["a;b", None], "company": ["longer than two", None], "firm": ["anything", None]}  # fmt: skip
    for kind in ("create", "update"):
        assert Checker(STREAM, kind, DESCRIBED).takes(columns)
    assert Checker(STREAM, "update", DESCRIBED).takes({"stage": ["New", "Won"]})


@pytest.mark.parametrize("kind", ["create", "update"])
@pytest.mark.parametrize("bad", [
    {"name": "x" * 6}, {"name": None}, {"email": None}, {"stage": "Strange"}, {"tags": "a;c"}, {"unseen": "x"},
])  # fmt: skip
def test_a_glance_at_columns_never_misses_what_would_be_refused(
    kind: str, bad: dict[str, str | None]
) -> None:
    unseen = FieldSpec("unseen", VendorField("Unseen", FieldType.STRING))
    stream = replace(STREAM, fields=(*STREAM.fields, unseen))
    checker = Checker(stream, kind, DESCRIBED)
    assert checker.refusal({**GOOD, **bad}) is not None
    rows: list[dict[str, str | None]] = [{**dict.fromkeys(bad), **GOOD}, {**GOOD, **bad}]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert not checker.takes(columns)


@pytest.mark.parametrize("missing", ["email", "name"])
def test_a_glance_at_columns_misses_no_column_that_a_create_needs(missing: str) -> None:
    columns = {name: [value] for name, value in GOOD.items() if name != missing}
    assert not Checker(STREAM, "create", DESCRIBED).takes(columns)


@pytest.mark.parametrize(("values", "field", "code"), [
    ({**GOOD, "name": "x" * 6}, "name", "STRING_TOO_LONG"),
    ({**GOOD, "stage": "Strange"}, "stage", "INVALID_OPTION"),
    ({**GOOD, "tags": "a;c"}, "tags", "INVALID_OPTION"),
    ({**GOOD, "name": None}, "name", "REQUIRED_FIELD_MISSING"),
])  # fmt: skip
def test_what_it_would_refuse_is_found_with_its_reason(
    values: dict[str, str | None], field: str, code: str
) -> None:
    for kind in ("create", "update"):
        found = refused(kind, values)
        assert (found.field, found.error.code, found.error.error_class) == (
            field,
            code,
            ErrorClass.VALIDATION,
        )


def test_the_reason_never_holds_the_value() -> None:
    assert "secret" not in refused("update", {"name": "secretary"}).error.message
    assert "Odd one" not in refused("update", {"stage": "Odd one"}).error.message


def test_a_field_that_is_not_there_or_may_not_be_written_freezes_only_itself() -> None:
    hidden = {name: f for name, f in DESCRIBED.items() if name != "Stage"}
    found = check(STREAM, "update", {"stage": "Won"}, hidden)
    assert found is not None
    assert (found.field, found.error.code, found.error.error_class) == (
        "stage",
        "FIELD_MISSING",
        ErrorClass.PERMISSION,
    )
    fixed = info("Stage", updateable=False, options=("New", "Won"))
    assert refused("update", {"stage": "Won"}, Stage=fixed).error.code == "FIELD_READ_ONLY"
    assert check(STREAM, "create", {**GOOD, "stage": "Won"}, {**DESCRIBED, "Stage": fixed}) is None


def test_a_create_needs_what_the_crm_requires_a_constant_will_do() -> None:
    assert refused("create", {"email": "lee@x.example"}).field == "name"
    assert refused("create", GOOD, Other=info("Other", required=True)).field == ""
    assert check(STREAM, "update", {"email": "lee@x.example"}, DESCRIBED) is None


def test_the_mapping_can_require_more_than_the_crm() -> None:
    assert refused("create", {"name": "Lee"}).error.code == "REQUIRED_BY_MAPPING"
    assert refused("update", {"email": None}).error.code == "REQUIRED_BY_MAPPING"
    assert check(STREAM, "update", {"name": "Lee"}, DESCRIBED) is None
