"""The answers have the fields that recorded answers of the real service have (examples of our own making)."""

import uuid

import pytest

RECORD = {"id", "properties", "createdAt", "updatedAt", "archived"}


def shape(value):
    """Names and types, without the values."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_a_created_meeting(api):
    body = {"properties": {"hs_timestamp": "1659970341857", "hubspot_owner_id": 71000101, "hs_meeting_title": "T",
                           "hs_meeting_start_time": "1651568400000", "hs_meeting_end_time": "1651569300123"}}  # fmt: skip
    made = api.post("/crm/v3/objects/meetings", json=body).json()
    assert made.keys() == RECORD
    assert (
        made["properties"].items()
        >= {
            "hs_meeting_start_time": "2022-05-03T09:00:00Z",
            "hs_meeting_end_time": "2022-05-03T09:15:00.123Z",
            "hs_timestamp": "2022-08-08T14:52:21.857Z",
            "hubspot_owner_id": "71000101",
            "hs_object_id": made["id"],
            "hs_createdate": made["createdAt"],
        }.items()
    )


def test_a_refused_meeting(api):
    body = {"properties": {"hs_timestamp": "1659970342808", "hs_meeting_start_time": "invalid"}}
    document = api.post("/crm/v3/objects/meetings", json=body).json()
    assert document.keys() >= {"status", "message", "correlationId", "category"}
    assert '"message":"invalid was not a valid long.' in document["message"]
    assert '"error":"INVALID_LONG","name":"hs_meeting_start_time"' in document["message"]


def test_a_search_with_bare_filters(api):
    title = uuid.uuid4().hex
    api.post(
        "/crm/v3/objects/meetings",
        json={"properties": {"hs_timestamp": "1659970342808", "hs_meeting_title": title}},
    )
    document = api.post("/crm/v3/objects/meetings/search", json={
        "limit": 100, "properties": ["hs_meeting_title"],
        "filters": [{"propertyName": "hs_meeting_title", "operator": "EQ", "value": title}],
        "sorts": [{"propertyName": "hs_lastmodifieddate", "direction": "DESCENDING"}],
    }).json()  # fmt: skip
    assert shape(document) == {
        "total": "int",
        "results": [
            {
                "id": "str",
                "properties": dict.fromkeys(("hs_createdate", "hs_lastmodifieddate", "hs_meeting_title", "hs_object_id"), "str"),
                "createdAt": "str", "updatedAt": "str", "archived": "bool",
            }
        ],
    }  # fmt: skip


def test_associations_of_a_record(api):
    deal = api.get("/crm/v3/objects/deals", params={"limit": 100, "associations": "contacts"}).json()[
        "results"
    ]
    number = next(each["id"] for each in deal if "contacts" in each.get("associations", {}))
    document = api.get(f"/crm/v4/objects/Deal/{number}/associations/Contact").json()
    types = [{"category": "str", "typeId": "int", "label": "NoneType"}]
    assert shape(document) == {"results": [{"toObjectId": "int", "associationTypes": types}]}
    assert document["results"][0]["associationTypes"][0]["typeId"] == 3


def test_a_v3_association_answers_with_the_record(api):
    contact = api.get("/crm/v3/objects/contacts", params={"limit": 1}).json()["results"][0]["id"]
    note = api.post("/crm/v3/objects/notes", json={"properties": {"hs_timestamp": "1659970342808"}}).json()[
        "id"
    ]
    document = api.put(f"/crm/v3/objects/notes/{note}/associations/Contact/{contact}/note_to_contact").json()
    assert document.keys() == RECORD | {"associations"}
    assert document["associations"] == {"contacts": {"results": [{"id": contact, "type": "note_to_contact"}]}}


@pytest.mark.parametrize("name", ["email", "lifecyclestage", "hs_object_id"])
def test_a_property(api, name):
    document = api.get(f"/crm/v3/properties/contacts/{name}").json()
    assert document.keys() >= {
        "name", "label", "type", "fieldType", "description", "groupName", "options", "displayOrder", "calculated",
        "externalOptions", "hasUniqueValue", "hidden", "hubspotDefined", "modificationMetadata", "formField", "archived",
    }  # fmt: skip
    assert document["modificationMetadata"].keys() >= {"archivable", "readOnlyDefinition", "readOnlyValue"}
    assert document["modificationMetadata"]["readOnlyValue"] == (name == "hs_object_id")


def test_rate_headers_are_those_recorded(api):
    headers = api.get("/crm/v3/objects/contacts", params={"limit": 1}).headers
    assert {name for name in headers if name.startswith("x-hubspot-")} == {
        "x-hubspot-correlation-id", "x-hubspot-ratelimit-daily", "x-hubspot-ratelimit-daily-remaining",
        "x-hubspot-ratelimit-interval-milliseconds", "x-hubspot-ratelimit-max", "x-hubspot-ratelimit-remaining",
        "x-hubspot-ratelimit-secondly", "x-hubspot-ratelimit-secondly-remaining",
    }  # fmt: skip
    assert headers["content-type"] == "application/json;charset=utf-8"
