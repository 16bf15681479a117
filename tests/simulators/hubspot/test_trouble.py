"""Each fault of a plan, seen by a client of the simulated portal, and counted."""

import time
from email.utils import parsedate_to_datetime
from itertools import count

import httpx
import pytest

from crm_sync.simulators.serve import running

CONTACTS = "/crm/v3/objects/contacts"
NUMBERS = count()


@pytest.fixture
def plan(sim):
    """Puts faults in force; says how often they struck."""

    def put(*faults):
        sim.control("faults", list(faults))
        return lambda: [fault["hits"] for fault in sim.control("faults")["faults"]]

    yield put
    sim.control("faults", [])


def create(api, **properties):
    email = f"trouble{next(NUMBERS)}@mail.example"
    return api.post(CONTACTS, json={"properties": {"email": email, **properties}})


def search(api, email):
    body = {"filters": [{"propertyName": "email", "operator": "EQ", "value": email}]}
    return api.post(f"{CONTACTS}/search", json=body).json()["total"]


def page(api, after="0"):
    return api.get(CONTACTS, params={"limit": 30, "after": after})


def test_pages_with_wrong_rows(api, plan):
    one, two = page(api).json(), page(api, page(api).json()["paging"]["next"]["after"]).json()
    first, second = [r["id"] for r in one["results"]], [r["id"] for r in two["results"]]
    after = one["paging"]["next"]["after"]
    hits = plan({"match": {"path": "/objects/"}, "effect": {"rows": "repeat"}, "after": 1})
    page(api)
    assert [r["id"] for r in page(api, after).json()["results"]] == first + second
    companies = [r["id"] for r in api.get("/crm/v3/objects/companies").json()["results"]]
    half = len(companies) // 2
    assert companies[:half] == companies[half:]  # never another list's rows
    assert hits() == [2]
    plan({"match": {"path": CONTACTS}, "effect": {"rows": "lose"}})
    assert [r["id"] for r in page(api, after).json()["results"]] == second[:20]
    plan({"match": {"path": CONTACTS}, "effect": {"rows": "shuffle"}})
    shuffled = [r["id"] for r in page(api, after).json()["results"]]
    assert (shuffled != second, sorted(shuffled)) == (True, sorted(second))


def test_another_charset_than_it_says(api, plan):
    number = create(api, firstname="Zoë").json()["id"]
    hits = plan({"match": {"path": number}, "effect": {"charset": "cp1252"}})
    assert "Zoë".encode("cp1252") in api.get(f"{CONTACTS}/{number}").content
    assert hits() == [1]


def test_writes_that_are_late_or_unheard(api, plan):
    hits = plan({"match": {"method": "POST", "path": "contacts$"}, "effect": {"late": 0.4}})
    with pytest.raises(httpx.RemoteProtocolError):
        api.post(CONTACTS, json={"properties": {"email": "late@mail.example"}})
    assert search(api, "late@mail.example") == 0
    time.sleep(0.6)
    assert search(api, "late@mail.example") == 1
    assert hits() == [1]
    plan({"match": {"method": "POST", "path": "contacts$"}, "effect": {"stall": 5}})
    with pytest.raises(httpx.ReadTimeout):
        api.post(CONTACTS, json={"properties": {"email": "unheard@mail.example"}}, timeout=0.3)
    assert search(api, "unheard@mail.example") == 1


def test_access_tokens_that_end_in_the_middle(sim, api, plan):
    names = ("client_id", "client_secret", "refresh_token")
    form = {"grant_type": "refresh_token"} | {name: sim.info[name] for name in names}
    token = api.post("/oauth/v3/token", data=form).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert api.get(CONTACTS, headers=headers).status_code == 200
    hits = plan({"match": {"path": "contacts$"}, "limit": 1, "effect": {"act": {"expire": "access_tokens"}}})
    answer = api.get(CONTACTS, headers=headers)
    assert (answer.status_code, answer.json()["category"]) == (401, "EXPIRED_AUTHENTICATION")
    assert hits() == [1]


def test_limits_as_hubspot_words_them(api, plan):
    plan({"match": {"path": "contacts$"}, "effect": {"status": 429}})
    answer = api.get(CONTACTS)
    assert (answer.json()["policyName"], answer.headers.get("retry-after")) == ("TEN_SECONDLY_ROLLING", None)
    plan({"match": {"path": "contacts$"}, "effect": {"status": 429, "retry_after": 7}})
    assert api.get(CONTACTS).headers["retry-after"] == "7"


def test_a_batch_that_fails_in_part(api, plan):
    def batch():
        inputs = [
            {"properties": {"email": f"part{next(NUMBERS)}@mail.example"}, "objectWriteTraceId": str(n)}
            for n in range(4)
        ]
        return api.post(f"{CONTACTS}/batch/create", json={"inputs": inputs})

    hits = plan({"event": "locked", "match": {"subject": "contacts"}, "every": 4})
    answer = batch()
    assert (answer.status_code, len(answer.json()["results"]), answer.json()["numErrors"]) == (207, 3, 1)
    [error] = answer.json()["errors"]
    assert (error["category"], error["context"]) == ("LOCKED", {"objectWriteTraceId": ["3"]})
    assert hits() == [1]
    plan({"event": "validation rule", "every": 2, "do": {"property": "jobtitle", "message": "Not so"}})
    assert [error["category"] for error in batch().json()["errors"]] == ["VALIDATION_ERROR"] * 2
    plan({"event": "validation rule", "do": {"property": "jobtitle", "message": "Not so"}})
    refused = create(api)
    assert (refused.status_code, refused.json()["errors"][0]["message"]) == (400, "Not so")


def test_values_rewritten_and_results_shuffled(api, plan, settings):
    rewrite = {"property": "jobtitle", "pattern": "^ceo$", "replace": "CEO"}
    hits = plan({"event": "rewrite", "limit": 1, "do": rewrite})
    assert create(api, jobtitle="ceo").json()["properties"]["jobtitle"] == "CEO"
    assert hits() == [1]
    settings(shuffle_batches=False)
    inputs = [{"id": r["id"]} for r in page(api).json()["results"]]
    orders = []
    for faults in ([], [{"event": "shuffled results"}]):
        hits = plan(*faults)
        found = api.post(f"{CONTACTS}/batch/read", json={"inputs": inputs}).json()["results"]
        orders.append([r["id"] for r in found])
    assert orders[0] == sorted(orders[1]) != orders[1]
    assert hits() == [1]


def test_a_search_that_lags(api, plan):
    hits = plan({"event": "index lag", "match": {"subject": "contacts"}, "do": {"seconds": 0.5}})
    email = create(api).json()["properties"]["email"]
    assert search(api, email) == 0
    time.sleep(0.7)
    assert search(api, email) == 1
    assert hits() == [1]


def test_stamps_that_are_late_or_equal(api, plan):
    hits = plan({"event": "late commit", "do": {"seconds": 100}})
    answer = create(api)
    made = parse(answer.json()["updatedAt"])
    assert 95 <= parsedate_to_datetime(answer.headers["date"]).timestamp() - made <= 105
    assert hits() == [1]
    hits = plan({"event": "equal stamps", "do": {"seconds": 3600}})
    assert {create(api).json()["updatedAt"][13:] for _ in range(3)} == {":00:00Z"}
    assert hits() == [3]


def parse(stamp):
    return time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone


def test_what_an_administrator_takes_away_comes_back(api, plan):
    def title():
        return create(api, jobtitle="Smith")

    def industry():
        properties = {"name": "Mill", "industry": "OIL_ENERGY"}
        return api.post("/crm/v3/objects/companies", json={"properties": properties})

    def strike(act, hit=1):
        hits = plan({"match": {"path": "/owners"}, "effect": {"act": {**act, "seconds": 0.5}}})
        api.get("/crm/v3/owners")
        assert hits() == [hit]

    strike({"hide": {"object": "contacts", "property": "jobtitle"}})
    assert title().json()["errors"][0]["code"] == "PROPERTY_DOESNT_EXIST"
    time.sleep(0.7)
    assert title().status_code == 201
    for hit in (1, 0):  # once more while it is away
        strike({"retire": {"object": "companies", "property": "industry", "value": "OIL_ENERGY"}}, hit)
    assert industry().json()["errors"][0]["code"] == "INVALID_OPTION"
    time.sleep(0.7)
    assert industry().status_code == 201


def test_a_text_becomes_a_choice(api, plan):
    def described():
        found = api.get("/crm/v3/properties/contacts/jobtitle").json()
        return found["type"], [option["value"] for option in found["options"]]

    change = {"retype": {"object": "contacts", "property": "jobtitle", "values": ["Potter"]}, "seconds": 1.0}
    number = create(api, jobtitle="Smith").json()["id"]
    for hit in (1, 0):  # once more while it is a choice
        hits = plan({"match": {"path": "/owners"}, "effect": {"act": change}})
        api.get("/crm/v3/owners")
        assert hits() == [hit]
    assert described() == ("enumeration", ["Potter"])
    assert api.get(f"{CONTACTS}/{number}?properties=jobtitle").json()["properties"]["jobtitle"] == "Smith"
    assert create(api, jobtitle="Smith").json()["errors"][0]["code"] == "INVALID_OPTION"
    assert create(api, jobtitle="Potter").status_code == 201
    time.sleep(1.2)
    assert described() == ("string", [])
    assert create(api, jobtitle="Smith").status_code == 201


def test_the_clock_jumps_and_every_answer_says_so():
    with running("hubspot", records=10, use_tls=False) as simulator:
        jump = {"match": {"path": "/crm"}, "effect": {"act": {"clock": 300}}, "limit": 1}
        simulator.control("faults", [jump])
        for _ in range(2):
            date = httpx.get(f"{simulator.base_url}/crm/v3/owners").headers["date"]
            assert parsedate_to_datetime(date).timestamp() - time.time() == pytest.approx(300, abs=3)


def test_a_record_goes_to_the_recycle_bin_and_comes_back(api, plan):
    def archived():
        return len(api.get("/crm/v3/objects/contacts", params={"archived": "true"}).json()["results"])

    before = archived()
    hits = plan(
        {"match": {"path": "/owners"}, "effect": {"act": {"remove": {"object": "contacts"}, "seconds": 0.5}}}
    )
    api.get("/crm/v3/owners")
    assert hits() == [1]
    assert archived() == before + 1
    time.sleep(0.7)
    assert archived() == before
