"""Stages and pipelines by name."""

import pytest

from crm_sync.connectors.hubspot.pipelines import stage_names
from crm_sync.core.errors import ErrorClass, RecordError


def stage(number, label, **more):
    return {"id": number, "label": label, "archived": False, **more}


PIPELINES = [
    {
        "id": "77",
        "label": "Partner",
        "displayOrder": 0,
        "stages": [stage("771", "Open"), stage("772", "Closed Won")],
    },
    {
        "id": "default",
        "label": "Sales",
        "displayOrder": 1,
        "stages": [
            stage("open", "Open"),
            stage("closedwon", "Closed Won"),
            stage("old", "Old", archived=True),
        ],
    },
    {"id": "88", "label": "Past", "archived": True, "stages": [stage("881", "Open")]},
    {"id": "99", "label": "Twins", "displayOrder": 2, "stages": [stage("991", "A"), stage("992", "A")]},
]
NAMES = stage_names("deals", PIPELINES)


@pytest.mark.parametrize(
    ("stage_id", "name"),
    [
        ("closedwon", "Closed Won"),
        ("772", "Partner/Closed Won"),
        ("991", "991"),  # two stages of that name: the id stays
        ("881", "881"),  # of an archived pipeline
        (None, None),
    ],
)
def test_a_stage_has_a_name(stage_id, name):
    assert NAMES.from_hubspot("dealstage", stage_id) == name


def test_every_name_leads_back_to_its_id():
    for stage_id, name in NAMES.stages.items():
        assert NAMES.to_id("dealstage", name) == stage_id
    assert NAMES.to_id("pipeline", "Partner") == "77"
    assert NAMES.to_id("dealname", "x") is None


def test_other_properties_pass():
    assert NAMES.from_hubspot("dealname", "Open") == "Open"
    assert NAMES.to_hubspot({"dealname": "Open", "amount": None}) == {"dealname": "Open", "amount": None}


def test_a_stage_brings_its_pipeline():
    assert NAMES.to_hubspot({"dealstage": "Partner/Open"}) == {"dealstage": "771", "pipeline": "77"}
    assert NAMES.to_hubspot({"dealstage": "Open", "pipeline": "Sales"}) == {
        "dealstage": "open",
        "pipeline": "default",
    }
    assert NAMES.to_hubspot({"dealstage": None}) == {"dealstage": None}


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"dealstage": "Never"}, "INVALID_OPTION"),
        ({"dealstage": "closedwon"}, "INVALID_OPTION"),
        ({"pipeline": "Never"}, "INVALID_OPTION"),
        ({"dealstage": "Open", "pipeline": "Partner"}, "STAGE_OF_OTHER_PIPELINE"),
    ],
)
def test_what_this_account_does_not_have_is_refused(values, code):
    error = NAMES.to_hubspot(values)
    assert isinstance(error, RecordError)
    assert (error.error_class, error.code) == (ErrorClass.VALIDATION, code)
    assert "Never" not in error.message


def test_without_a_pipeline_called_default_the_first_is_it():
    names = stage_names("tickets", [PIPELINES[3], PIPELINES[0]])
    assert names.from_hubspot("hs_pipeline_stage", "771") == "Open"
    assert names.from_hubspot("hs_pipeline", "99") == "Twins"


def test_no_pipelines():
    assert stage_names("deals", []).from_hubspot("dealstage", "x") == "x"
