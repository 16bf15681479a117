"""Search over plain HTTP: operators, sorting, paging, the cap, the lag."""

import uuid

import pytest

from crm_sync.simulators.serve import running

SEARCH = "/crm/objects/2026-09/contacts/search"


@pytest.fixture(scope="module")
def tag(api):
    """Six contacts that only this module knows."""
    tag = uuid.uuid4().hex[:10]
    rows = [
        ("Ann", "mobile", "2026-01-01", "+1 415-555-2671"), ("bob", "mobile;security", "2026-02-01", "(415) 555-2672"),
        ("Cy", "security", "2026-03-01", ""), ("dan", "", "2026-04-01", ""), ("Eve", "", "", ""), ("", "billing", "2026-06-01", ""),
    ]  # fmt: skip
    inputs = [
        {
            "properties": {
                "email": f"{n}@{tag}.example",
                "company": tag,
                "firstname": first,
                "interests": interests,
                "birth_date": born,
                "phone": phone,
            }
        }
        for n, (first, interests, born, phone) in enumerate(rows)
    ]
    assert api.post("/crm/v3/objects/contacts/batch/create", json={"inputs": inputs}).status_code == 201
    return tag


def found(api, tag, *filters, **more):
    """Numbers of the contacts found among the six."""
    body = {
        "filterGroups": [
            {"filters": [{"propertyName": "company", "operator": "EQ", "value": tag}, *filters]}
        ],
        "limit": 200,
        **more,
    }
    answer = api.post(SEARCH, json=body)
    assert answer.status_code == 200, answer.text
    return [int(r["properties"]["email"][0]) for r in answer.json()["results"]]


def where(name, operator, value=None, **more):
    return {"propertyName": name, "operator": operator, **({} if value is None else {"value": value}), **more}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (where("firstname", "EQ", "ANN"), [0]),
        (where("firstname", "NEQ", "ann"), [1, 2, 3, 4, 5]),
        (where("firstname", "IN", values=["ann", "BOB"]), [0]),
        (where("firstname", "NOT_IN", values=["ann", "bob"]), [2, 3, 4, 5]),
        (where("firstname", "HAS_PROPERTY"), [0, 1, 2, 3, 4]),
        (where("firstname", "NOT_HAS_PROPERTY"), [5]),
        (where("interests", "EQ", "mobile"), [0, 1]),
        (where("interests", "EQ", "Mobile"), []),
        (where("interests", "IN", values=["security", "billing"]), [1, 2, 5]),
        (where("birth_date", "GTE", "2026-03-01"), [2, 3, 5]),
        (where("birth_date", "LT", "1772323200000"), [0, 1]),
        (where("birth_date", "BETWEEN", "2026-02-01", highValue="2026-03-01"), [1, 2]),
        (where("email", "CONTAINS_TOKEN", "3@*"), [3]),
        (where("email", "NOT_CONTAINS_TOKEN", "3@*"), [0, 1, 2, 4, 5]),
        (where("hs_searchable_calculated_phone_number", "EQ", "4155552671"), [0]),
    ],
)
def test_operators(api, tag, condition, expected):
    assert sorted(found(api, tag, condition)) == expected


def test_groups_are_alternatives(api, tag):
    groups = [
        {"filters": [where("company", "EQ", tag), where("firstname", "EQ", name)]} for name in ("ann", "eve")
    ]
    assert api.post(SEARCH, json={"filterGroups": groups}).json()["total"] == 2


def test_sorting(api, tag):
    by_name = [{"propertyName": "firstname", "direction": "DESCENDING"}]
    assert found(api, tag, sorts=by_name) == [4, 3, 2, 1, 0, 5]
    assert found(api, tag, sorts=["birth_date"]) == [0, 1, 2, 3, 5, 4]


def test_query_and_pages(api, tag):
    first = api.post(SEARCH, json={"query": tag, "limit": 4}).json()
    assert (first["total"], first["paging"]["next"]["after"]) == (6, "4")
    second = api.post(SEARCH, json={"query": tag, "limit": 4, "after": "4"}).json()
    assert len(second["results"]) == 2
    assert "paging" not in second


def test_associations_as_a_filter(api, tag):
    contact = api.get(f"/crm/v3/objects/contacts/0@{tag}.example", params={"idProperty": "email"}).json()[
        "id"
    ]
    deal = api.post("/crm/v3/objects/deals", json={
        "properties": {"dealname": "x", "dealstage": "qualifiedtobuy"},
        "associations": [{"to": {"id": contact}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}]}],
    }).json()["id"]  # fmt: skip
    body = {"filterGroups": [{"filters": [where("associations.contact", "EQ", contact)]}]}
    assert [r["id"] for r in api.post("/crm/v3/objects/deals/search", json=body).json()["results"]] == [deal]


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 201},
        {"after": "10000"},
        {"after": "x"},
        {"sorts": [{"propertyName": "email"}, {"propertyName": "city"}]},
        {"filterGroups": [{"filters": [where("email", "HAS_PROPERTY")]}] * 6},
        {"filterGroups": [{"filters": [where("email", "HAS_PROPERTY")] * 7}]},
        {"filterGroups": [{"filters": [where("email", "HAS_PROPERTY")] * 4}] * 5},
        {"filterGroups": [{"filters": [where("hs_lastmodifieddate", "GT", "1")]}]},
        {"filterGroups": [{"filters": [where("email", "LIKE", "1")]}]},
        {"filterGroups": [{"filters": [where("email", "EQ")]}]},
        {"query": "x" * 3000},
    ],
)
def test_refused(api, body):
    answer = api.post(SEARCH, json=body)
    assert answer.status_code == 400
    assert answer.json()["category"] == "VALIDATION_ERROR"


def test_windows_of_modification(api, tag):
    one = api.get(f"/crm/v3/objects/contacts/0@{tag}.example", params={"idProperty": "email"}).json()
    stamp = one["properties"]["lastmodifieddate"]
    body = {
        "filterGroups": [{"filters": [where("lastmodifieddate", "GTE", stamp)]}],
        "sorts": [{"propertyName": "lastmodifieddate", "direction": "ASCENDING"}],
        "limit": 200,
    }
    stamps = [r["properties"]["lastmodifieddate"] for r in api.post(SEARCH, json=body).json()["results"]]
    assert stamps == sorted(stamps)
    assert stamps[0] == stamp


def test_the_index_lags_and_forgets_archived_and_merged(sim, api, tag, settings):
    settings(index_lag=5_000)
    address = f"late@{tag}.example"
    made = api.post("/crm/v3/objects/contacts", json={"properties": {"email": address}}).json()["id"]
    body = {"filterGroups": [{"filters": [where("email", "EQ", address)]}]}
    assert api.post(SEARCH, json=body).json()["total"] == 0
    sim.control("clock", {"advance": 5})
    assert api.post(SEARCH, json=body).json()["total"] == 1
    api.delete(f"/crm/v3/objects/contacts/{made}")
    assert api.post(SEARCH, json=body).json()["total"] == 1
    sim.control("clock", {"advance": 5})
    assert api.post(SEARCH, json=body).json()["total"] == 0


def test_ten_thousand_is_the_end(connect):
    with running("hubspot", records=10_050) as sim, connect(sim) as api:
        body = {
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "limit": 200,
            "after": "9900",
        }
        page = api.post(SEARCH, json=body).json()
        assert page["total"] == 10_050
        assert len(page["results"]) == 100
        assert page["paging"]["next"]["after"] == "10000"
        assert api.post(SEARCH, json={**body, "after": "10000"}).status_code == 400
        last = page["results"][-1]["id"]
        more = api.post(
            SEARCH, json={"filterGroups": [{"filters": [where("hs_object_id", "GT", last)]}], "limit": 200}
        ).json()
        assert more["total"] == 50
