"""Records over plain HTTP: paths of every version, values, refusals, batches, merging, archiving."""

import re
import uuid

import orjson
import pytest

from crm_sync.simulators.people import company_count, deal_count

DATED = "/crm/objects/2026-09/contacts"
CONTACTS = "/crm/v3/objects/contacts"


def email():
    return f"{uuid.uuid4().hex}@http.example"


def create(api, kind="contacts", **properties):
    if kind == "contacts":
        properties.setdefault("email", email())
    answer = api.post(f"/crm/v3/objects/{kind}", json={"properties": properties})
    assert answer.status_code == 201, answer.text
    return answer.json()


def issues(answer):
    """The details inside the message of a refused write."""
    assert answer.status_code == 400, answer.text
    document = answer.json()
    assert document["category"] == "VALIDATION_ERROR"
    return {each["name"]: each["error"] for each in orjson.loads(document["message"].partition(": ")[2])}


@pytest.mark.parametrize(
    "path",
    [CONTACTS, DATED, "/crm/objects/2026-03/0-1", "/crm/v3/objects/contact", "/crm/v3/objects/Contact"],
)
def test_every_path_leads_to_the_same_store(api, path):
    made = create(api)
    assert api.get(f"{path}/{made['id']}").json()["id"] == made["id"]


@pytest.mark.parametrize("path", ["/crm/objects/2031-01/contacts", "/crm/v3/nothing", "/nothing"])
def test_unknown_paths_are_404(api, path):
    assert api.get(path).status_code == 404


def test_unknown_object_type_is_400(api):
    assert (
        api.get("/crm/v3/objects/unicorns").json()["message"] == "Unable to infer object type from: unicorns"
    )


def test_seeded_portal(sim, api):
    records = sim.control("stats")["records"]
    assert records["companies"] >= company_count(300)
    assert records["deals"] >= deal_count(300)
    page = api.get(
        "/crm/v3/objects/deals", params={"limit": 100, "associations": "companies,contacts"}
    ).json()
    linked = [each["associations"] for each in page["results"] if "associations" in each]
    assert {t["type"] for a in linked for t in a.get("companies", {"results": []})["results"]} == {
        "deal_to_company",
        "deal_to_company_unlabeled",
    }
    assert any("contacts" in a for a in linked)


def test_default_properties_and_stamps_differ_by_object(api):
    contact = api.get(CONTACTS, params={"limit": 1}).json()["results"][0]["properties"]
    assert set(contact) == {
        "createdate",
        "email",
        "firstname",
        "hs_object_id",
        "lastmodifieddate",
        "lastname",
    }
    company = api.get("/crm/v3/objects/companies", params={"limit": 1}).json()["results"][0]["properties"]
    assert set(company) == {"createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"}


def test_paging_follows_ids_and_links(api):
    first = api.get(CONTACTS, params={"limit": 3, "properties": "email"}).json()
    after = first["paging"]["next"]["after"]
    second = api.get(first["paging"]["next"]["link"]).json()
    assert second["results"][0]["id"] == after
    assert [int(r["id"]) for r in first["results"]] == sorted(int(r["id"]) for r in first["results"])


@pytest.mark.parametrize(
    "parameters",
    [{"limit": 101}, {"limit": 0}, {"limit": 51, "propertiesWithHistory": "email"}, {"after": "x"}],
)
def test_bad_paging_is_400(api, parameters):
    assert api.get(CONTACTS, params=parameters).status_code == 400


def test_values_are_text_and_as_hubspot_keeps_them(api):
    made = create(
        api, email=f"  {email().upper()} ", firstname=" Ann\n", birth_date="1764028800000", next_call_at="2026-11-20T10:30:00+02:00",
        opted_out=True, interests="support;analytics;support",
    )["properties"]  # fmt: skip
    assert made["email"] == made["email"].lower().strip()
    assert made["firstname"] == "Ann"
    assert made["birth_date"] == "2025-11-25"
    assert made["next_call_at"] == "2026-11-20T08:30:00Z"
    assert made["opted_out"] == "true"
    assert made["interests"] == "support;analytics"


def test_semicolon_appends_empty_clears_null_is_ignored(api):
    made = create(api, interests="mobile", firstname="A")
    path = f"{CONTACTS}/{made['id']}"
    changed = api.patch(path, json={"properties": {"interests": ";billing", "firstname": None}}).json()[
        "properties"
    ]
    assert changed["interests"] == "mobile;billing"
    assert changed["firstname"] == "A"
    api.patch(path, json={"properties": {"interests": ""}})
    read = api.get(path, params={"properties": "interests,unheard_of,city"}).json()["properties"]
    assert read["interests"] is None
    assert read["city"] is None
    assert "unheard_of" not in read


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"unheard_of": "1"}, {"unheard_of": "PROPERTY_DOESNT_EXIST"}),
        ({"hs_object_id": "1"}, {"hs_object_id": "READ_ONLY_VALUE"}),
        ({"interests": "Mobile"}, {"interests": "INVALID_OPTION"}),
        ({"email": "not an address"}, {"email": "INVALID_EMAIL"}),
        ({"birth_date": "1764028800001"}, {"birth_date": "INVALID_DATE"}),
        ({"birth_date": "2026-02-29"}, {"birth_date": "INVALID_DATE"}),
        ({"next_call_at": "soon"}, {"next_call_at": "INVALID_LONG"}),
        ({"hubspot_owner_id": "71000104"}, {"hubspot_owner_id": "INVALID_OWNER_ID"}),
        ({"notes_text": "x" * 65_537}, {"notes_text": "PROPERTY_VALUE_TOO_LONG"}),
        (
            {"unheard_of": "1", "interests": "?"},
            {"unheard_of": "PROPERTY_DOESNT_EXIST", "interests": "INVALID_OPTION"},
        ),
    ],
)
def test_bad_values(api, properties, expected):
    made = create(api)
    answer = api.patch(f"{CONTACTS}/{made['id']}", json={"properties": properties})
    assert issues(answer) == expected


def test_amounts(api):
    made = create(
        api, "deals", dealname="x", dealstage="qualifiedtobuy", amount="1000.50", deal_currency_code="EUR"
    )
    assert made["properties"]["amount"] == "1000.50"
    assert float(made["properties"]["amount_in_home_currency"]) == pytest.approx(1100.55)
    assert issues(
        api.patch(f"/crm/v3/objects/deals/{made['id']}", json={"properties": {"amount": "1,000"}})
    ) == {"amount": "INVALID_NUMBER"}


def test_stage_must_belong_to_the_pipeline_and_closing_sets_the_date(api):
    made = create(api, "deals", dealname="x", dealstage="qualifiedtobuy")
    assert made["properties"]["pipeline"] == "default"
    path = f"/crm/v3/objects/deals/{made['id']}"
    assert issues(api.patch(path, json={"properties": {"dealstage": "nowhere"}})) == {
        "dealstage": "INVALID_OPTION"
    }
    closed = api.patch(path, json={"properties": {"dealstage": "closedwon"}}).json()
    assert closed["properties"]["closedate"]
    assert (
        api.get(path, params={"properties": "hs_is_closed_won"}).json()["properties"]["hs_is_closed_won"]
        == "true"
    )


def test_lifecycle_stage_never_goes_back_silently(api):
    made = create(api, lifecyclestage="customer")
    path = f"{CONTACTS}/{made['id']}"
    assert api.patch(path, json={"properties": {"lifecyclestage": "lead"}}).status_code == 200
    assert (
        api.get(path, params={"properties": "lifecyclestage"}).json()["properties"]["lifecyclestage"]
        == "customer"
    )
    api.patch(path, json={"properties": {"lifecyclestage": ""}})
    api.patch(path, json={"properties": {"lifecyclestage": "lead"}})
    assert (
        api.get(path, params={"properties": "lifecyclestage"}).json()["properties"]["lifecyclestage"]
        == "lead"
    )


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("contacts", {"city": "Bonn"}),
        ("deals", {"amount": "1"}),
        ("notes", {"hs_note_body": "x"}),
        ("companies", {"city": "Bonn"}),
    ],
)
def test_required_properties(api, kind, properties):
    answer = api.post(f"/crm/v3/objects/{kind}", json={"properties": properties})
    assert answer.status_code == 400
    assert "required" in answer.json()["message"]


def test_a_body_that_is_no_json(api):
    assert api.post(CONTACTS, content=b"{").json()["category"] == "VALIDATION_ERROR"


def test_unique_custom_property(api):
    api.post("/crm/v3/properties/contacts", json={
        "name": "their_id", "label": "Their id", "type": "string", "fieldType": "text", "groupName": "contactinformation",
        "hasUniqueValue": True,
    })  # fmt: skip
    value = uuid.uuid4().hex
    made = create(api, their_id=value)
    assert api.get(f"{CONTACTS}/{value}", params={"idProperty": "their_id"}).json()["id"] == made["id"]
    again = api.post(CONTACTS, json={"properties": {"email": email(), "their_id": value}})
    assert issues(again) == {"their_id": "CONFLICTING_UNIQUE_VALUE"}
    upserted = api.post(f"{DATED}/batch/upsert", json={"inputs": [
        {"id": value, "idProperty": "their_id", "properties": {"city": "Rom"}},
        {"id": value + "x", "idProperty": "their_id", "properties": {"email": email()}},
    ]}).json()  # fmt: skip
    assert {r["id"] == made["id"]: r["new"] for r in upserted["results"]} == {True: False, False: True}


def test_batch_without_trace_ids_is_all_or_nothing(sim, api):
    before = sim.control("stats")["records"]["contacts"]
    inputs = [{"properties": {"email": email()}}, {"properties": {"email": "bad"}}]
    assert issues(api.post(f"{CONTACTS}/batch/create", json={"inputs": inputs})) == {"email": "INVALID_EMAIL"}
    known = create(api)
    inputs = [{"properties": {"email": email()}}, {"properties": {"email": known["properties"]["email"]}}]
    answer = api.post(f"{CONTACTS}/batch/create", json={"inputs": inputs})
    assert (answer.status_code, answer.json()["message"]) == (
        409,
        f"Contact already exists. Existing ID: {known['id']}",
    )
    assert sim.control("stats")["records"]["contacts"] == before + 1


@pytest.mark.parametrize("base", [CONTACTS, DATED])
def test_batch_with_trace_ids_is_207(api, base):
    known = create(api)["properties"]["email"]
    inputs = [
        {"objectWriteTraceId": str(n), "properties": {"email": address}}
        for n, address in enumerate([email(), "bad", known, email()])
    ]
    answer = api.post(f"{base}/batch/create", json={"inputs": inputs})
    document = answer.json()
    assert answer.status_code == 207
    assert document["numErrors"] == 2
    assert {r["objectWriteTraceId"] for r in document["results"]} == {"0", "3"}
    by_trace = {e["context"]["objectWriteTraceId"][0]: e for e in document["errors"]}
    assert by_trace["1"]["category"] == "VALIDATION_ERROR"
    assert "INVALID_EMAIL" in by_trace["1"]["message"]
    assert by_trace["2"]["category"] == "CONFLICT"


def test_2026_09_can_be_told_not_to_answer_207(api, settings):
    settings(partial_answers_on_2026_09=False)
    inputs = [
        {"objectWriteTraceId": str(n), "properties": {"email": e}} for n, e in enumerate([email(), "bad"])
    ]
    assert api.post(f"{DATED}/batch/create", json={"inputs": inputs}).status_code == 400
    assert api.post(f"{CONTACTS}/batch/create", json={"inputs": inputs}).status_code == 207


def test_batch_update_of_a_record_that_is_gone(api):
    made = create(api)
    inputs = [{"id": made["id"], "properties": {"city": "X"}}, {"id": "7", "properties": {"city": "X"}}]
    document = api.post(f"{CONTACTS}/batch/update", json={"inputs": inputs}).json()
    assert [r["id"] for r in document["results"]] == [made["id"]]
    assert document["errors"][0]["context"] == {"ids": ["7"]}


@pytest.mark.parametrize("step", ["create", "read", "update", "upsert", "archive"])
def test_batches_hold_at_most_a_hundred(api, step):
    inputs = [{"id": str(n), "idProperty": "email", "properties": {"email": email()}} for n in range(101)]
    assert api.post(f"{CONTACTS}/batch/{step}", json={"inputs": inputs, "properties": []}).status_code == 400
    assert api.post(f"{CONTACTS}/batch/{step}", json={"inputs": [], "properties": []}).status_code == 400


def test_duplicate_ids_in_a_batch(api):
    made = create(api)
    inputs = [{"id": made["id"], "properties": {"city": str(n)}} for n in range(2)]
    assert "Duplicate IDs" in api.post(f"{CONTACTS}/batch/update", json={"inputs": inputs}).json()["message"]


def test_administrators_rules_hold_on_2026_09_only(api, settings):
    settings(required_on_write={"contacts": ["city"]})
    made = create(api)
    refused = api.patch(f"{DATED}/{made['id']}", json={"properties": {"firstname": "x"}})
    assert refused.json()["errors"][0]["code"] == "MISSING_REQUIRED_PROPERTY"
    assert api.patch(f"{CONTACTS}/{made['id']}", json={"properties": {"firstname": "x"}}).status_code == 200
    assert api.patch(f"{DATED}/{made['id']}", json={"properties": {"city": "x"}}).status_code == 200


def test_merge_keeps_the_primary_id(api):
    primary, loser = create(api, firstname="P"), create(api, firstname="L", city="Wien")
    survivor = api.post(
        f"{DATED}/merge", json={"primaryObjectId": primary["id"], "objectIdToMerge": loser["id"]}
    ).json()
    properties = survivor["properties"]
    assert survivor["id"] == primary["id"]
    assert (properties["firstname"], properties["city"]) == ("P", "Wien")
    assert properties["hs_merged_object_ids"] == loser["id"]
    assert re.fullmatch(rf"{loser['id']}:\d{{13}}", properties["hs_calculated_merged_vids"])
    # The loser's address still identifies the survivor, and nobody else may have it.
    old = loser["properties"]["email"]
    assert api.get(f"{CONTACTS}/{old}", params={"idProperty": "email"}).json()["id"] == primary["id"]
    assert (
        f"Existing ID: {primary['id']}"
        in api.post(CONTACTS, json={"properties": {"email": old}}).json()["message"]
    )
    # It is in no list, archived or not; asked for by id, the survivor answers.
    archived = api.get(CONTACTS, params={"archived": "true", "limit": 100}).json()["results"]
    assert loser["id"] not in [r["id"] for r in archived]
    assert api.get(f"{CONTACTS}/{loser['id']}").json()["id"] == primary["id"]


def test_merge_can_mint_a_new_id(api, settings):
    settings(merge_mints_new_id=True)
    one, two = (
        create(api, "companies", name="One", domain="one.example"),
        create(api, "companies", name="Two"),
    )
    contact = create(api)
    api.put(f"/crm/v4/objects/companies/{two['id']}/associations/default/contacts/{contact['id']}")
    survivor = api.post(
        "/crm/v3/objects/companies/merge", json={"primaryObjectId": one["id"], "objectIdToMerge": two["id"]}
    ).json()
    assert survivor["id"] not in {one["id"], two["id"]}
    assert survivor["properties"]["hs_merged_object_ids"] == f"{one['id']};{two['id']}"
    linked = api.get(f"/crm/v4/objects/companies/{survivor['id']}/associations/contacts").json()["results"]
    assert [str(each["toObjectId"]) for each in linked] == [contact["id"]]


def test_merging_with_itself_is_refused(api):
    one = create(api)
    assert (
        api.post(
            f"{CONTACTS}/merge", json={"primaryObjectId": one["id"], "objectIdToMerge": one["id"]}
        ).status_code
        == 400
    )


def test_archived_for_ninety_days(sim, api):
    made = create(api)
    assert api.delete(f"{CONTACTS}/{made['id']}").status_code == 204
    assert api.delete(f"{CONTACTS}/{made['id']}").status_code == 204
    assert api.get(f"{CONTACTS}/{made['id']}").status_code == 404
    archived = api.get(CONTACTS, params={"archived": "true", "limit": 100}).json()["results"]
    assert made["id"] in [r["id"] for r in archived]
    assert all(r["archived"] and r["archivedAt"] for r in archived)
    create(api, email=made["properties"]["email"])  # the address is free again
    sim.control("clock", {"advance": 91 * 86_400})
    assert api.get(CONTACTS, params={"archived": "true"}).json()["results"] == []


def test_a_person_restores(sim, api):
    made = create(api)
    api.delete(f"{CONTACTS}/{made['id']}")
    sim.control("do/restore", {"object": "contacts", "id": made["id"]})
    assert api.get(f"{CONTACTS}/{made['id']}").json()["archived"] is False


def test_erased_addresses_cannot_come_back(api):
    made = create(api)
    address = made["properties"]["email"]
    assert (
        api.post(f"{CONTACTS}/gdpr-delete", json={"objectId": address, "idProperty": "email"}).status_code
        == 204
    )
    assert api.post(CONTACTS, json={"properties": {"email": address}}).status_code == 400


def test_dump_shows_every_value_a_property_had(sim, api):
    made = create(api, firstname="one")
    sim.control(
        "edit", {"object": "contacts", "id": made["id"], "properties": {"firstname": "two"}, "user": 7}
    )
    record = sim.control(f"dump/contacts?id={made['id']}")["records"][0]
    assert [(c["value"], c["source"]) for c in record["history"]["firstname"]] == [
        ("one", "INTEGRATION"),
        ("two", "CRM_UI"),
    ]
    assert record["history"]["firstname"][1]["sourceId"] == "userId:7"


def test_a_touch_moves_only_the_stamp(sim, api):
    made = create(api)
    sim.control("touch", {"object": "contacts", "id": made["id"]})
    read = api.get(f"{CONTACTS}/{made['id']}").json()
    assert read["updatedAt"] >= made["updatedAt"]
    assert read["properties"]["email"] == made["properties"]["email"]


def test_long_property_lists_are_too_long_for_an_address(api):
    assert (
        api.get(
            CONTACTS, params={"properties": ",".join(f"property_number_{n}" for n in range(1500))}
        ).status_code
        == 414
    )


def test_exports(sim, api):
    asked = {"exportType": "VIEW", "exportName": "all", "format": "CSV", "language": "EN", "objectType": "COMPANY",
             "objectProperties": ["name", "industry"], "exportInternalValuesOptions": ["NAMES"], "associatedObjectType": ["CONTACT"]}  # fmt: skip
    started = api.post("/crm/v3/exports/export/async", json=asked)
    assert started.status_code == 202
    sim.control("clock", {"advance": 60})
    status = api.get(started.json()["links"]["status"]).json()
    assert status["status"] == "COMPLETE"
    content = api.get(status["result"], headers={"Authorization": ""})
    lines = content.content.decode("utf-8-sig").splitlines()
    assert lines[0] == "Record ID,name,industry,Associated Contact IDs"
    sim.control("clock", {"advance": 301})
    assert api.get(status["result"]).status_code == 403
