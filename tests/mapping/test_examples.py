"""The examples load together, and name what the simulated accounts have."""

from pathlib import Path

import pytest

from crm_sync.core.spec import Direction, FieldType, Policy
from crm_sync.mapping.load import load, load_text
from crm_sync.simulators import people
from crm_sync.simulators.hubspot import catalog, seed
from crm_sync.simulators.salesforce import objects

EXAMPLES = Path(__file__).parents[2] / "examples"
SALESFORCE_STREAMS = [
    (name, entity)
    for name in ("salesforce", "salesforce_sandbox")
    for entity in ("company", "contact", "deal")
]


@pytest.fixture(scope="module")
def system():
    return load(EXAMPLES)


def test_all_together(system):
    assert [connection.name for connection in system.connections] == [
        "hubspot",
        "salesforce",
        "salesforce_sandbox",
    ]
    assert system.entities == ("company", "contact", "deal")


@pytest.mark.parametrize("file", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_each_alone(file):
    assert load_text((EXAMPLES / file).read_bytes(), file).entities == ("company", "contact", "deal")


def test_people_decide_about_phones_titles_and_amounts(system):
    for connection in ("salesforce", "hubspot"):
        manual = [
            f"{stream.entity}.{spec.name}"
            for stream in system.connection(connection).streams
            for spec in stream.fields
            if spec.policy is Policy.MANUAL
        ]
        assert manual == ["contact.phone", "contact.title", "deal.amount"]


def test_the_sandbox_only_receives(system):
    specs = [spec for stream in system.connection("salesforce_sandbox").streams for spec in stream.fields]
    assert {spec.direction for spec in specs} == {Direction.OUTBOUND}


@pytest.mark.parametrize(("connection", "entity"), SALESFORCE_STREAMS)
def test_salesforce_has_these_fields(system, connection, entity):
    stream = system.stream(connection, entity)
    found = objects.build().find(stream.object)
    assert found is not None
    for spec in stream.fields:
        field = found.find(spec.vendor.name)
        assert field is not None, spec.name
        assert field.name == spec.vendor.name
        assert spec.direction is Direction.INBOUND or field.updateable, spec.name
        if spec.type is FieldType.REFERENCE:
            assert field.reference_to == (system.stream(connection, spec.entity).object,)
        if spec.to_crm is not None and field.restricted:
            assert set(spec.to_crm.values()) <= set(field.picklist), spec.name
        if spec.type is FieldType.NUMBER:
            assert spec.scale == field.scale, spec.name
        assert not field.required or spec.required, spec.name
    assert found.find(stream.external_id) is not None


@pytest.mark.parametrize("entity", ["company", "contact", "deal"])
def test_hubspot_has_these_properties(system, entity):
    stream = system.stream("hubspot", entity)
    kinds = {kind.name: kind for kind in catalog.kinds()}
    for spec in stream.fields:
        if spec.vendor.association is not None:
            assert spec.vendor.association in kinds
            continue
        found = kinds[stream.object].known(spec.vendor.name)
        assert found is not None, spec.name
        assert not found.document()["modificationMetadata"]["readOnlyValue"], spec.name
        if spec.to_crm is not None and spec.name != "stage":
            assert set(spec.to_crm.values()) <= {option.value for option in found.options}, spec.name


def test_every_value_of_the_accounts_is_known(system):
    """Stages, industries of HubSpot and interests are covered; the neutral values are exactly ours."""
    stage = system.stream("salesforce", "deal").field("stage")
    assert set(stage.to_hub) == set(objects.STAGES)
    assert len(set(stage.to_hub.values())) < len(stage.to_hub)  # lossy: ten to seven
    assert set(stage.to_crm) == set(people.STAGES)
    hubspot_stage = system.stream("hubspot", "deal").field("stage")
    assert list(hubspot_stage.to_hub) == [label for _, label, _ in catalog.DEAL_STAGES]
    assert set(hubspot_stage.to_crm) == set(people.STAGES)
    industry = system.stream("hubspot", "company").field("industry")
    assert set(industry.to_hub) == set(catalog.INDUSTRIES)
    for connection in ("salesforce", "hubspot"):
        assert set(system.stream(connection, "company").field("industry").to_crm) == set(people.INDUSTRIES)
        assert set(system.stream(connection, "contact").field("interests").to_crm) == set(people.INTERESTS)
        assert set(system.stream(connection, "deal").field("currency").to_crm) == set(people.CURRENCIES)


def test_both_accounts_mean_the_same(system):
    """What the simulated HubSpot says of a neutral record comes into the hub as just that."""
    labels = {stage: label for stage, label, _ in catalog.DEAL_STAGES}
    industry = system.stream("hubspot", "company").field("industry").to_crm
    assert industry == {name: seed.INDUSTRY[name] for name in industry}
    stage = system.stream("hubspot", "deal").field("stage").to_crm
    assert stage == {name: labels[seed.STAGE[name]] for name in stage}
