"""The proof's own idea of sameness, and that the proof notices what is wrong."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from crm_sync.core.spec import FieldSpec, FieldType, System, VendorField
from crm_sync.demo.compare import same
from crm_sync.demo.edits import Expected
from crm_sync.demo.readback import Books
from crm_sync.demo.verify import verify
from crm_sync.hub.migrate import upgrade
from crm_sync.mapping.load import load_texts

EXAMPLES = Path(__file__).parents[2] / "examples"


def field(kind: FieldType, **more: object) -> FieldSpec:
    return FieldSpec("x", VendorField("X", kind), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "ours", "theirs", "equal"),
    [
        (field(FieldType.STRING), "é", "e\u0301 ", True),
        (field(FieldType.STRING), "a\nb", "a\r\nb", True),
        (field(FieldType.STRING), "a", "b", False),
        (field(FieldType.STRING), None, "", True),
        (field(FieldType.STRING), None, "a", False),
        (field(FieldType.EMAIL), "ana@a.example", "Ana@A.example", True),
        (field(FieldType.PHONE), "+14155550100", "(415) 555-0100", True),
        (field(FieldType.PHONE), "+14155550100", "(415) 555-0101", False),
        (field(FieldType.DATE), date(2026, 3, 29), "2026-03-29T00:00:00Z", True),
        (
            field(FieldType.DATETIME),
            datetime(2026, 3, 29, 1, tzinfo=UTC),
            "2026-03-29T01:00:00.000+0000",
            True,
        ),
        (field(FieldType.DATETIME), datetime(2026, 3, 29, 1, tzinfo=UTC), "2026-03-29T02:00:00Z", False),
        (field(FieldType.NUMBER, scale=0), Decimal("12.4"), 12, True),
        (field(FieldType.NUMBER, scale=2), Decimal("12.4"), "12.40", True),
        (field(FieldType.NUMBER, scale=2), Decimal("12.4"), "12.41", False),
        (field(FieldType.BOOLEAN), True, "true", True),
        (field(FieldType.BOOLEAN), False, None, False),
        (field(FieldType.PICKLIST, to_hub={"T": "t"}), "t", "T", True),
        (field(FieldType.PICKLIST, to_hub={"T": "t"}), "t", "U", False),
        (field(FieldType.MULTIPICKLIST, to_hub={"A": "a", "B": "b"}), ["a", "b"], "B;A", True),
        (field(FieldType.MULTIPICKLIST, to_hub={"A": "a", "B": "b"}), ["a"], "B;A", False),
        (field(FieldType.REFERENCE, entity="company"), UUID(int=1), "001", True),
        (field(FieldType.REFERENCE, entity="company"), UUID(int=2), "001", False),
        (field(FieldType.REFERENCE, entity="company"), None, "001", False),
    ],
)
def test_same(spec: FieldSpec, ours: object, theirs: object, equal: bool) -> None:
    assert same(spec, ours, theirs, {"001": str(UUID(int=1))}) is equal


@pytest.fixture(scope="module")
def system() -> System:
    return load_texts({"hubspot.yaml": (EXAMPLES / "hubspot.yaml").read_text()})


@pytest.fixture
def migrated(fresh_database_url: str) -> psycopg.Connection:
    upgrade(fresh_database_url)
    with psycopg.connect(fresh_database_url, autocommit=True) as conn:
        yield conn


HUB_ID = str(uuid4())


def books(system: System) -> Books:
    """A hub with one contact, and a HubSpot with the same."""
    blank = {spec.name: None for spec in system.stream("hubspot", "contact").columns}
    return Books(
        hub={
            "company": {},
            "contact": {HUB_ID: {**blank, "last_name": "Ny", "phone": "+14155550100"}},
            "deal": {},
        },
        crm={
            "hubspot/company": {},
            "hubspot/contact": {"7": {**blank, "last_name": "Ny", "phone": "415 555 0100"}},
            "hubspot/deal": {},
        },
        links={"hubspot/company": {}, "hubspot/contact": {HUB_ID: "7"}, "hubspot/deal": {}},
    )


def test_agreement_is_no_complaint(migrated: psycopg.Connection, system: System) -> None:
    proof = verify(migrated, system, books(system), Expected())
    assert proof.complaints == []
    assert proof.compared["hubspot/contact"] == 12


def test_a_difference_is_a_complaint_unless_it_is_an_open_conflict(
    migrated: psycopg.Connection, system: System
) -> None:
    changed = books(system)
    changed.crm["hubspot/contact"]["7"]["title"] = "Buyer"  # type: ignore[index]
    assert verify(migrated, system, changed, Expected()).complaints == [
        f"hubspot/contact: title of {HUB_ID} (7) differs"
    ]
    migrated.execute(
        "insert into review.conflict (connection, entity, hub_id, crm_id, field, suggestion, reason)"
        " values ('hubspot', 'contact', %s, '7', 'title', 'use_crm', 'manual')",
        [HUB_ID],
    )
    meant = Expected(disputes={("hubspot", "contact", UUID(HUB_ID), "title")})
    assert verify(migrated, system, changed, meant).complaints == []
    assert "a conflict that nobody made" in verify(migrated, system, changed, Expected()).complaints[0]


def test_records_without_a_partner_are_complaints(migrated: psycopg.Connection, system: System) -> None:
    unlinked = replace(
        books(system), links={"hubspot/company": {}, "hubspot/contact": {}, "hubspot/deal": {}}
    )
    assert verify(migrated, system, unlinked, Expected()).complaints == [
        f"hubspot/contact: hub record {HUB_ID} is not in the CRM",
        "hubspot/contact: CRM record 7 is not in the hub",
    ]


def test_parked_without_reason_and_invalid_without_parking(
    migrated: psycopg.Connection, system: System
) -> None:
    meant = Expected(parked={("hubspot", "contact", UUID(HUB_ID), "notes")})
    assert "is invalid, but not parked" in verify(migrated, system, books(system), meant).complaints[0]
    migrated.execute(
        "insert into sync.parked (connection, entity, side, record_id, hub_id, field, error_class, code, reason)"
        " values ('hubspot', 'contact', 'hub', %s, %s, 'notes', 'validation', 'X', 'x')",
        [HUB_ID, HUB_ID],
    )
    assert verify(migrated, system, books(system), meant).complaints == []
    assert "its value is valid" in verify(migrated, system, books(system), Expected()).complaints[0]


def test_a_record_that_must_be_refused_as_a_whole_needs_no_partner(
    migrated: psycopg.Connection, system: System
) -> None:
    read = books(system)
    nowhere = replace(
        read,
        links={"hubspot/company": {}, "hubspot/contact": {}, "hubspot/deal": {}},
        crm={**read.crm, "hubspot/contact": {}},
    )
    migrated.execute(
        "insert into sync.parked (connection, entity, side, record_id, hub_id, field, error_class, code, reason)"
        " values ('hubspot', 'contact', 'hub', %s, %s, '', 'validation', 'CONFLICT', 'x')",
        [HUB_ID, HUB_ID],
    )
    meant = Expected(parked={("hubspot", "contact", UUID(HUB_ID), "")})
    assert verify(migrated, system, nowhere, meant).complaints == []


def test_the_wrong_winner_is_a_complaint(migrated: psycopg.Connection, system: System) -> None:
    meant = Expected(settled=[("contact", UUID(HUB_ID), "last_name", "Neu")])
    assert "changed last to another value" in verify(migrated, system, books(system), meant).complaints[0]
