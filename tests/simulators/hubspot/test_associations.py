"""Associations over plain HTTP: directions, primaries, labels, limits, and the shapes of recorded answers."""

import uuid

import pytest


@pytest.fixture
def pair(api):
    contact = api.post(
        "/crm/v3/objects/contacts", json={"properties": {"email": f"{uuid.uuid4().hex}@a.example"}}
    ).json()["id"]
    company = api.post("/crm/v3/objects/companies", json={"properties": {"name": "C"}}).json()["id"]
    return contact, company


def link(api, contact, company, number=1, version="crm/v4/associations"):
    return api.post(f"/{version}/contacts/companies/batch/create", json={"inputs": [{
        "from": {"id": contact}, "to": {"id": company},
        "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": number}],
    }]})  # fmt: skip


def types_of(api, left, one, right):
    return {
        str(each["toObjectId"]): {t["typeId"] for t in each["associationTypes"]}
        for each in api.get(f"/crm/v4/objects/{left}/{one}/associations/{right}").json()["results"]
    }


def test_shape_of_a_created_association(api, pair):
    answer = link(api, *pair)
    assert answer.status_code == 201
    assert answer.json()["results"] == [
        {
            "fromObjectTypeId": "0-1",
            "fromObjectId": int(pair[0]),
            "toObjectTypeId": "0-2",
            "toObjectId": int(pair[1]),
            "labels": ["Primary"],
        }
    ]


def test_primary_brings_its_plain_twin_and_the_way_back(api, pair):
    contact, company = pair
    link(api, contact, company)
    assert types_of(api, "contacts", contact, "companies") == {company: {1, 279}}
    assert types_of(api, "companies", company, "contacts") == {contact: {2, 280}}


def test_only_one_company_is_primary(api, pair):
    contact, company = pair
    other = api.post("/crm/v3/objects/companies", json={"properties": {"name": "D"}}).json()["id"]
    link(api, contact, company)
    link(api, contact, other)
    assert types_of(api, "contacts", contact, "companies") == {company: {279}, other: {1, 279}}
    shown = api.get(
        f"/crm/v3/objects/contacts/{contact}", params={"properties": "associatedcompanyid"}
    ).json()
    assert shown["properties"]["associatedcompanyid"] == other


def test_primary_set_from_the_company(api, pair):
    contact, company = pair
    other = api.post("/crm/v3/objects/companies", json={"properties": {"name": "D"}}).json()["id"]
    for each in (company, other):
        api.put(f"/crm/v4/objects/companies/{each}/associations/contacts/{contact}",
                json=[{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 2}])  # fmt: skip
    assert types_of(api, "contacts", contact, "companies") == {company: {279}, other: {1, 279}}


def test_a_type_of_the_other_direction_is_refused(api, pair):
    assert link(api, *pair, number=280).status_code == 400


def test_an_unknown_record_is_a_207_like_the_recorded_one(api, pair):
    answer = link(api, pair[0], "1234")
    assert answer.status_code == 207
    document = answer.json()
    assert (document["status"], document["results"], document["numErrors"]) == ("COMPLETE", [], 1)
    assert document["errors"] == [
        {"status": "error", "category": "VALIDATION_ERROR", "message": "COMPANY=1234 is not valid"}
    ]


def test_reading_a_record_without_associations(api, pair):
    answer = api.post(
        "/crm/v4/associations/contacts/companies/batch/read", json={"inputs": [{"id": pair[0]}]}
    )
    assert answer.status_code == 207
    assert answer.json()["errors"][0]["subCategory"].endswith("NO_ASSOCIATIONS_FOUND")


def test_dated_paths(api, pair):
    contact, company = pair
    assert link(api, contact, company, version="crm/associations/2026-09").status_code == 200
    read = api.post(
        "/crm/associations/2026-03/contacts/companies/batch/read", json={"inputs": [{"id": contact}]}
    ).json()
    assert read["results"][0]["to"][0]["toObjectId"] == int(company)
    archived = api.post(
        "/crm/associations/2026-03/contacts/companies/batch/archive",
        json={"inputs": [{"from": {"id": contact}, "to": [{"id": company}]}]},
    )
    assert (archived.status_code, archived.json()["status"]) == (200, "COMPLETE")
    put = api.put(f"/crm/objects/2026-09/contacts/{contact}/associations/default/companies/{company}")
    assert put.status_code == 200
    assert (
        api.delete(f"/crm/objects/2026-09/contacts/{contact}/associations/companies/{company}").status_code
        == 204
    )
    assert types_of(api, "contacts", contact, "companies") == {}


def test_v4_archive_is_204(api, pair):
    link(api, *pair)
    answer = api.post(
        "/crm/v4/associations/contacts/companies/batch/archive",
        json={"inputs": [{"from": {"id": pair[0]}, "to": [{"id": pair[1]}]}]},
    )
    assert answer.status_code == 204


def test_putting_labels_replaces_them(api, pair):
    contact, company = pair
    made = api.post(
        "/crm/v4/associations/contacts/companies/labels",
        json={"label": uuid.uuid4().hex, "name": uuid.uuid4().hex},
    ).json()
    number = made["results"][0]["typeId"]
    path = f"/crm/v4/objects/contacts/{contact}/associations/companies/{company}"
    api.put(path, json=[{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}])
    assert (
        api.put(path, json=[{"associationCategory": "USER_DEFINED", "associationTypeId": number}]).status_code
        == 201
    )
    assert types_of(api, "contacts", contact, "companies") == {company: {279, number}}
    api.post("/crm/v4/associations/contacts/companies/batch/labels/archive", json={"inputs": [
        {"from": {"id": contact}, "to": {"id": company}, "types": [{"associationCategory": "USER_DEFINED", "associationTypeId": number}]},
    ]})  # fmt: skip
    assert types_of(api, "contacts", contact, "companies") == {company: {279}}


def test_limits_of_batches(api):
    base, many = "/crm/v4/associations/contacts/companies/batch", [{"id": "1"}] * 1001
    assert api.post(f"{base}/read", json={"inputs": many}).status_code == 400
    one = {
        "from": {"id": "1"},
        "to": {"id": "1"},
        "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}],
    }
    assert api.post(f"{base}/create", json={"inputs": [one] * 2001}).status_code == 400


def test_linking_counts_as_a_change_of_both(api, pair):
    before = [
        api.get(f"/crm/v3/objects/{k}/{n}").json()["updatedAt"]
        for k, n in zip(("contacts", "companies"), pair, strict=True)
    ]
    link(api, *pair)
    after = [
        api.get(f"/crm/v3/objects/{k}/{n}").json()["updatedAt"]
        for k, n in zip(("contacts", "companies"), pair, strict=True)
    ]
    assert all(a > b for a, b in zip(after, before, strict=True))


def test_a_company_with_many_contacts_pages(api, pair):
    _, company = pair
    made = api.post("/crm/v3/objects/contacts/batch/create", json={"inputs": [
        {"properties": {"email": f"{uuid.uuid4().hex}@m.example"},
         "associations": [{"to": {"id": company}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}]}]}
        for _ in range(100)
    ]}).json()  # fmt: skip
    link(api, pair[0], company)
    first = api.get(f"/crm/v4/objects/companies/{company}/associations/contacts", params={"limit": 60}).json()
    rest = api.get(
        f"/crm/v4/objects/companies/{company}/associations/contacts",
        params={"after": first["paging"]["next"]["after"]},
    ).json()
    assert len(made["results"]) == 100
    assert len(first["results"]) + len(rest["results"]) == 101
    shown = api.get(f"/crm/v3/objects/companies/{company}", params={"associations": "contacts"}).json()[
        "associations"
    ]["contacts"]
    assert len(shown["results"]) == 100
    assert shown["paging"]["next"]["after"]
