"""Each fault of a plan, seen by a client of the simulated org, and counted."""

import csv
import io
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import httpx
import pytest

from crm_sync.simulators.serve import running

CREATE = {"method": "POST", "path": "/sobjects/Contact$"}
MORE = {"path": "/query/01g"}
BULK = {"path": "/jobs/query/.+/results"}
IDS = "SELECT Id FROM Contact ORDER BY Id"
TINY = {"Sforce-Query-Options": "batchSize=200"}


@pytest.fixture
def plan(salesforce):
    """Puts faults in force; says how often they struck."""

    def put(*faults):
        salesforce.control("faults", list(faults))
        return lambda: [fault["hits"] for fault in salesforce.control("faults")]

    return put


def ask(api, soql):
    return api.get("/query", params={"q": soql}).json()["records"]


def create(api, **values):
    return api.post("/sobjects/Contact", json={"LastName": "Trouble", **values})


def pages(api):
    first = api.get("/query", params={"q": IDS}, headers=TINY).json()
    second = api.get(first["nextRecordsUrl"].partition("/v68.0")[2])
    return first, second


def job(api, body, content=None):
    kind = "query" if "query" in body else "ingest"
    url = f"/jobs/{kind}/{api.post(f'/jobs/{kind}', json=body).json()['id']}"
    if content is not None:
        api.put(f"{url}/batches", content=content, headers={"Content-Type": "text/csv"})
        api.patch(url, json={"state": "UploadComplete"})
    while (document := api.get(url).json())["state"] not in {"JobComplete", "Failed", "Aborted"}:
        time.sleep(0.02)
    return url, document


def lines(answer):
    return list(csv.reader(io.StringIO(answer.text, newline="")))[1:]


def test_pages_with_wrong_rows(api, plan):
    first, second = pages(api)
    one, two = [r["Id"] for r in first["records"]], [r["Id"] for r in second.json()["records"]]
    hits = plan({"match": {"path": "/query"}, "effect": {"rows": "repeat"}})
    _, second = pages(api)
    assert [r["Id"] for r in second.json()["records"]] == one + two
    assert hits() == [2]
    plan({"match": MORE, "effect": {"rows": "lose"}})
    _, second = pages(api)
    assert [r["Id"] for r in second.json()["records"]] == two[:133]
    assert second.json()["totalSize"] > 333
    plan({"match": MORE, "effect": {"rows": "shuffle"}})
    _, second = pages(api)
    shuffled = [r["Id"] for r in second.json()["records"]]
    assert (shuffled != two, sorted(shuffled)) == (True, sorted(two))


def test_bulk_pages_with_wrong_rows_still_say_how_many_there_were(api, plan):
    url, _ = job(api, {"operation": "query", "query": "SELECT Id, Description FROM Contact"})
    everything = lines(api.get(f"{url}/results"))
    plan({"match": BULK, "effect": {"rows": "lose"}})
    answer = api.get(f"{url}/results")
    got = lines(answer)
    assert got == everything[: len(got)]
    assert len(got) < len(everything) == int(answer.headers["sforce-numberofrecords"])
    plan({"match": BULK, "effect": {"rows": "shuffle"}})
    shuffled = lines(api.get(f"{url}/results"))
    assert (shuffled != everything, sorted(shuffled)) == (True, sorted(everything))


def test_another_charset_than_it_says(api, plan):
    record_id = create(api, FirstName="Zoë 太").json()["id"]
    hits = plan({"match": {"path": record_id}, "effect": {"charset": "cp1252"}})
    answer = api.get(f"/sobjects/Contact/{record_id}?fields=FirstName")
    assert "utf-8" in answer.headers["content-type"].lower()
    assert "Zoë ?".encode("cp1252") in answer.content
    with pytest.raises(UnicodeDecodeError):
        answer.content.decode("utf-8")
    assert hits() == [1]


def test_a_write_that_takes_effect_after_the_connection_died(api, plan):
    hits = plan({"match": CREATE, "effect": {"late": 0.4}})
    with pytest.raises(httpx.RemoteProtocolError):
        create(api, LastName="Latecomer")
    assert ask(api, "SELECT Id FROM Contact WHERE LastName = 'Latecomer'") == []
    time.sleep(0.6)
    assert len(ask(api, "SELECT Id FROM Contact WHERE LastName = 'Latecomer'")) == 1
    assert hits() == [1]


def test_a_write_that_took_effect_before_the_client_gave_up(api, plan):
    hits = plan({"match": CREATE, "effect": {"stall": 5}})
    with pytest.raises(httpx.ReadTimeout):
        api.post("/sobjects/Contact", json={"LastName": "Unheard"}, timeout=0.3)
    assert len(ask(api, "SELECT Id FROM Contact WHERE LastName = 'Unheard'")) == 1
    assert hits() == [1]


def test_sessions_locators_and_results_that_end_in_the_middle(api, salesforce, plan):
    hits = plan({"match": MORE, "effect": {"act": {"expire": "locators"}}})
    _, second = pages(api)
    assert (second.status_code, second.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")
    url, _ = job(api, {"operation": "query", "query": "SELECT Id FROM Account"})
    plan({"match": BULK, "effect": {"act": {"expire": "results"}}})
    assert api.get(f"{url}/results").status_code == 404
    hits = plan({"match": MORE, "effect": {"act": {"expire": "sessions"}}})
    _, second = pages(api)
    assert (second.status_code, second.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")
    assert hits() == [1]


def test_two_that_refresh_at_once():
    with running("salesforce", records=10, use_tls=False) as simulator:
        slow = {"match": {"path": "oauth2/token"}, "effect": {"stall": 0.2}}
        simulator.control("faults", {"settings": {"rotate_refresh_tokens": True}, "faults": [slow]})
        names = ("refresh_token", "client_id", "client_secret")
        data = {"grant_type": "refresh_token"} | {name: simulator.info[name] for name in names}

        def refresh(_):
            return httpx.post(f"{simulator.base_url}/services/oauth2/token", data=data)

        with ThreadPoolExecutor(2) as pool:
            answers = sorted(pool.map(refresh, range(2)), key=lambda answer: answer.status_code)
        assert [answer.status_code for answer in answers] == [200, 400]
        assert answers[1].json()["error"] == "invalid_grant"
        assert simulator.control("faults")[0]["hits"] == 2


def test_jobs_that_end_badly(api, plan):
    hits = plan(
        {
            "event": "bulk job",
            "match": {"subject": "^query"},
            "do": {"state": "Failed", "message": "Out of order"},
        }
    )
    _, failed = job(api, {"operation": "query", "query": "SELECT Id FROM Contact"})
    assert (failed["state"], failed["errorMessage"]) == ("Failed", "Out of order")
    assert hits() == [1]
    body = {"operation": "insert", "object": "Contact"}
    content = "LastName\n" + "".join(f"Half {number}\n" for number in range(600))
    plan({"event": "bulk job", "do": {"state": "Aborted"}})
    url, aborted = job(api, body, content)
    assert aborted["state"] == "Aborted"
    done, left = api.get(f"{url}/successfulResults"), api.get(f"{url}/unprocessedrecords")
    assert (len(lines(done)), len(lines(left))) == (400, 200)
    plan({"event": "bulk job", "do": {"state": "Failed"}})
    url, failed = job(api, body, content)
    assert (failed["state"], failed["numberRecordsProcessed"]) == ("Failed", 0)
    assert len(lines(api.get(f"{url}/unprocessedrecords"))) == 600


def test_results_in_another_order(api, salesforce, plan):
    salesforce.control("settings", {"bulk_shuffle": False})
    content = "LastName\n" + "".join(f"Order {number:03d}\n" for number in range(100))
    orders = []
    for faults in ([], [{"event": "shuffled results", "match": {"subject": "ingest insert"}}]):
        hits = plan(*faults)
        url, _ = job(api, {"operation": "insert", "object": "Contact"}, content)
        orders.append([row[2] for row in lines(api.get(f"{url}/successfulResults"))])
    assert orders[0] == sorted(orders[1]) != orders[1]
    assert hits() == [1]


def test_records_refused_or_rewritten(api, plan):
    hits = plan({"event": "row lock", "match": {"subject": "Contact"}, "limit": 1})
    assert create(api).json()[0]["errorCode"] == "UNABLE_TO_LOCK_ROW"
    assert create(api).status_code == 201
    assert hits() == [1]
    hits = plan({"event": "validation rule", "every": 2, "do": {"field": "Title", "message": "Not so"}})
    records = [{"attributes": {"type": "Contact"}, "LastName": f"Partial {n}"} for n in range(4)]
    results = api.post("/composite/sobjects", json={"allOrNone": False, "records": records}).json()
    assert [result["success"] for result in results] == [True, False, True, False]
    error = results[1]["errors"][0]
    assert (error["statusCode"], error["message"], error["fields"]) == (
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "Not so",
        ["Title"],
    )
    assert hits() == [2]
    hits = plan({"event": "duplicate rule", "match": {"subject": "Contact"}, "limit": 1})
    assert [create(api).status_code for _ in range(2)] == [400, 201]
    assert hits() == [1]
    plan({"event": "duplicate rule"})
    [refused] = create(api).json()
    assert (refused["errorCode"], refused["duplicateResut"]["matchResults"][0]["matchRecords"]) == (
        "DUPLICATES_DETECTED",
        [],
    )
    hits = plan({"event": "rewrite", "do": {"field": "Title", "pattern": "^ceo$", "replace": "CEO"}})
    record_id = create(api, Title="ceo").json()["id"]
    assert api.get(f"/sobjects/Contact/{record_id}").json()["Title"] == "CEO"
    assert hits() == [1]


def test_stamps_that_are_late_or_equal(api, plan):
    hits = plan({"event": "late commit", "do": {"seconds": 100}})
    answer = create(api)
    stamp = api.get(f"/sobjects/Contact/{answer.json()['id']}").json()["SystemModstamp"]
    made = time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert 95 <= parsedate_to_datetime(answer.headers["date"]).timestamp() - made <= 105
    assert hits() == [1]
    hits = plan({"event": "equal stamps", "do": {"seconds": 3600}})
    stamps = set()
    for _ in range(3):
        record_id = create(api).json()["id"]
        stamps.add(api.get(f"/sobjects/Contact/{record_id}").json()["SystemModstamp"])
    assert all(stamp[13:] == ":00:00.000+0000" for stamp in stamps)
    assert hits() == [3]


def test_what_an_administrator_takes_away_comes_back(api, salesforce, plan):
    session = {"Authorization": f"Bearer {salesforce.control('tokens', {})['access_token']}"}

    def titles():
        return api.get("/query", params={"q": "SELECT Title FROM Contact LIMIT 1"}, headers=session)

    def industry():
        return api.post("/sobjects/Account", json={"Name": "Mill", "Industry": "Energy"})

    gone = {"path": "/limits$"}
    hits = plan(
        {"match": gone, "effect": {"act": {"hide": {"object": "Contact", "field": "Title"}, "seconds": 0.5}}}
    )
    api.get("/limits")
    assert (titles().status_code, titles().json()[0]["errorCode"]) == (400, "INVALID_FIELD")
    time.sleep(0.7)
    assert titles().status_code == 200
    assert hits() == [1]
    act = {"retire": {"object": "Account", "field": "Industry", "value": "Energy"}, "seconds": 0.5}
    plan({"match": gone, "effect": {"act": act}})
    for _ in range(2):  # once more while it is away
        api.get("/limits")
    assert industry().json()[0]["errorCode"] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    time.sleep(0.7)
    assert industry().status_code == 201


def test_a_field_changes_its_type_and_its_name(api, plan):
    def strike(hit, act):
        hits = plan({"match": {"path": "/limits$"}, "effect": {"act": {**act, "seconds": 1.0}}})
        api.get("/limits")
        assert hits() == [hit]

    def described():
        return {f["name"]: f["type"] for f in api.get("/sobjects/Contact/describe").json()["fields"]}

    def code(answer):
        return answer.json()[0]["errorCode"]

    number = create(api, Title="Smith").json()["id"]
    title = f"SELECT Title FROM Contact WHERE Id = '{number}'"
    change = {"retype": {"object": "Contact", "field": "Title", "type": "picklist", "values": ["Potter"]}}
    rename = {"rename": {"object": "Contact", "field": "Title", "to": "Job__c"}}
    strike(1, change)
    assert described()["Title"] == "picklist"
    assert ask(api, title)[0]["Title"] == "Smith"
    assert code(create(api, Title="Smith")) == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    assert create(api, Title="Potter").status_code == 201
    strike(0, rename)  # it is changed already
    assert described()["Title"] == "picklist"
    time.sleep(1.2)
    assert described()["Title"] == "string"
    assert create(api, Title="Smith").status_code == 201

    strike(1, rename)
    strike(0, change)
    assert (described().get("Title"), described()["Job__c"]) == (None, "string")
    assert code(api.get("/query", params={"q": title})) == "INVALID_FIELD"
    assert code(create(api, Title="Smith")) == "INVALID_FIELD"
    assert ask(api, title.replace("Title", "Job__c"))[0]["Job__c"] == "Smith"
    assert api.patch(f"/sobjects/Contact/{number}", json={"Job__c": "Miller"}).status_code == 204
    time.sleep(1.2)
    assert "Job__c" not in described()
    assert ask(api, title)[0]["Title"] == "Miller"


def test_a_record_goes_to_the_recycle_bin_and_comes_back(api, plan):
    def contacts():
        return api.get("/query", params={"q": "SELECT COUNT() FROM Contact"}).json()["totalSize"]

    before = contacts()
    plan(
        {"match": {"path": "/limits$"}, "effect": {"act": {"remove": {"object": "Contact"}, "seconds": 0.5}}}
    )
    api.get("/limits")
    assert contacts() == before - 1
    time.sleep(0.7)
    assert contacts() == before


def test_the_clock_jumps_and_every_answer_says_so():
    with running("salesforce", records=10, use_tls=False) as simulator:
        plan = {"match": {"path": "/services/data"}, "effect": {"act": {"clock": 300}}, "limit": 1}
        simulator.control("faults", [plan])
        for ahead in (300, 300):
            date = httpx.get(f"{simulator.base_url}/services/data").headers["date"]
            assert parsedate_to_datetime(date).timestamp() - time.time() == pytest.approx(ahead, abs=3)
        assert simulator.control("stats")["now"][:16] >= time.strftime(
            "%Y-%m-%dT%H:%M", time.gmtime(time.time() + 240)
        )
