"""Setting up: the external id field is made where it is missing, and a person is told what only a person can do."""

import json
from dataclasses import replace

import pytest

from crm_sync.connectors.build import Options
from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.connectors.salesforce.crm import connect
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import StreamSpec
from tests.connectors.server import Answer, Asked

STREAM = StreamSpec("acme", "salesforce", "contact", "Contact", (), external_id="crm_sync_id__c")
FIELD = {
    "name": "crm_sync_id__c", "label": "crm_sync id", "type": "string", "length": 36, "externalId": True, "unique": True,
    "createable": True, "updateable": True, "nillable": True,
}  # fmt: skip
REFUSED = Answer(403, [{"errorCode": "INSUFFICIENT_ACCESS", "message": "no"}])


class Organisation:
    """Describes Contact with the fields it has, and answers the Tooling API as it is told."""

    def __init__(self, *fields: dict, tooling: Answer | None = None) -> None:
        self.fields = list(fields)
        self.tooling = tooling
        self.created: list[dict] = []

    def __call__(self, asked: Asked) -> Answer:
        if asked.path.endswith("/sobjects/Contact/describe"):
            return Answer(200, {"name": "Contact", "fields": self.fields})
        assert asked.path == "/services/data/v62.0/tooling/sobjects/CustomField"
        if self.tooling is not None:
            return self.tooling
        self.created.append(json.loads(asked.body))
        self.fields.append(FIELD)
        return Answer(201, {"id": "00Nxx0000000001", "success": True, "errors": []})


@pytest.fixture
def crm(server, settings):
    auth = {"grant": "access_token", "access_token": "x"}
    made = connect(
        "acme", Options("acme.yaml", {"host": server.url, "auth": auth}), MemoryTokenStore(), settings
    )
    yield made
    made.close()


def test_a_missing_field_is_created_once(server, crm):
    server.answer = organisation = Organisation()
    done = crm.setup([STREAM, replace(STREAM, entity="lead_contact")], dry_run=False)
    assert len(done) == 1
    assert "Contact: unique external id field crm_sync_id__c" in done[0]
    [created] = organisation.created
    assert created["FullName"] == "Contact.crm_sync_id__c"
    assert (created["Metadata"]["unique"], created["Metadata"]["externalId"]) == (True, True)
    assert crm.setup([STREAM], dry_run=False) == []


def test_a_dry_run_creates_nothing(server, crm):
    server.answer = organisation = Organisation()
    assert len(crm.setup([STREAM], dry_run=True)) == 1
    assert organisation.created == []


def test_a_refusal_says_what_to_do_by_hand(server, crm):
    server.answer = Organisation(tooling=REFUSED)
    with pytest.raises(CrmError, match="create a custom field of type Text, length 36") as caught:
        crm.setup([STREAM], dry_run=False)
    assert caught.value.error_class is ErrorClass.PERMISSION


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"unique": False}, "Unique and External ID"),
        ({"externalId": False}, "Unique and External ID"),
        ({"length": 18}, "length of 36"),
        ({"type": "double"}, "type Text"),
        ({"updateable": False}, "editable"),
    ],
)
def test_a_field_that_cannot_hold_our_ids_is_told(server, crm, wrong, said):
    server.answer = Organisation(FIELD | wrong)
    with pytest.raises(CrmError, match=said):
        crm.setup([STREAM], dry_run=True)
