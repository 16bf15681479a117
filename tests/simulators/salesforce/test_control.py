"""The control surface: people's edits, merges, time, the change feed, oracles."""

import datetime as dt

import pytest


def find(api, soql, path="/query"):
    return api.get(path, params={"q": soql}).json()["records"]


def edit(salesforce, **entry):
    return salesforce.control("edit", entry)


def test_a_person_edits_past_the_limits(api, salesforce):
    salesforce.control("settings", {"daily_api_requests": 0})
    made = edit(
        salesforce, object="Contact", fields={"LastName": "By hand"}, user="olga.ops@crm-sync.example"
    )
    edit(salesforce, object="Contact", id=made["ids"][0], fields={"Title": "Boss"})
    salesforce.control("settings", {"daily_api_requests": 100_000})
    [record] = find(
        api,
        f"SELECT Title, CreatedBy.Username, LastModifiedBy.Username FROM Contact WHERE Id = '{made['ids'][0]}'",
    )
    assert record["Title"] == "Boss"
    assert record["CreatedBy"]["Username"] == "olga.ops@crm-sync.example"
    assert record["LastModifiedBy"]["Username"] == "sam.sales@crm-sync.example"
    [trail] = salesforce.control(f"history?id={made['ids'][0]}").values()
    assert [c["kind"] for c in trail] == ["CREATE", "UPDATE"]
    assert trail[1]["fields"] == {"Title": [None, "Boss"]}


def test_a_commit_delay_backdates_the_stamp(api, salesforce):
    salesforce.control("settings", {"commit_delay": 300})
    made = edit(salesforce, object="Contact", fields={"LastName": "Late"})["ids"][0]
    [record] = find(api, f"SELECT SystemModstamp FROM Contact WHERE Id = '{made}'")
    stamp = dt.datetime.strptime(record["SystemModstamp"], "%Y-%m-%dT%H:%M:%S.000%z")
    assert 295 < (dt.datetime.now(dt.UTC) - stamp).total_seconds() < 310


def test_merge(api, salesforce):
    one, two = (
        edit(salesforce, object="Account", fields={"Name": name})["ids"][0] for name in ("One", "Two")
    )
    child = edit(salesforce, object="Contact", fields={"LastName": "Child", "AccountId": two})["ids"][0]
    salesforce.control("merge", {"object": "Account", "master": one, "losers": [two]})
    assert find(api, f"SELECT AccountId FROM Contact WHERE Id = '{child}'")[0]["AccountId"] == one
    [loser] = find(api, f"SELECT IsDeleted, MasterRecordId FROM Account WHERE Id = '{two}'", "/queryAll")
    assert (loser["IsDeleted"], loser["MasterRecordId"]) == (True, one)


def test_lead_conversion(api, salesforce):
    lead = edit(salesforce, object="Lead", fields={"LastName": "Lead", "Company": "Lead Ltd"})["ids"][0]
    made = salesforce.control("convert", {"lead": lead})
    [record] = find(
        api, f"SELECT IsConverted, ConvertedContactId, ConvertedDate FROM Lead WHERE Id = '{lead}'"
    )
    assert (record["IsConverted"], record["ConvertedContactId"]) == (True, made["contact"])
    refused = api.patch(f"/sobjects/Lead/{lead}", json={"Title": "x"})
    assert refused.json()[0]["errorCode"] == "CANNOT_UPDATE_CONVERTED_LEAD"


def test_the_change_feed(api, salesforce):
    since = salesforce.control("stats")["replay_id"]
    made = api.post(
        "/sobjects/Contact", json={"LastName": "Fed"}, headers={"Sforce-Call-Options": "client=crm_sync"}
    ).json()["id"]
    api.patch(f"/sobjects/Contact/{made}", json={"Title": "x"})
    api.delete(f"/sobjects/Contact/{made}")
    salesforce.control("gap", {"object": "Contact"})
    events = salesforce.control(f"events?object=Contact&since={since}")["events"]
    headers = [e["payload"]["ChangeEventHeader"] for e in events]
    assert [h["changeType"] for h in headers] == ["CREATE", "UPDATE", "DELETE", "GAP_OVERFLOW"]
    assert headers[0]["recordIds"] == [made]
    assert headers[0]["changeOrigin"] == "com/salesforce/api/rest/68.0;client=crm_sync"
    assert headers[1]["changedFields"] == ["Title", "LastModifiedDate"]
    assert events[1]["payload"]["Title"] == "x"
    ids = [e["event"]["replayId"] for e in events]
    assert ids == sorted(set(ids))
    assert salesforce.control(f"events?since={ids[-1]}")["events"] == []


def test_the_recycle_bin_is_emptied_after_15_days(salesforce, api):
    gone = edit(salesforce, object="Campaign", fields={"Name": "Gone"})["ids"][0]
    edit(salesforce, object="Campaign", operation="delete", id=gone)
    soql = f"SELECT Id FROM Campaign WHERE Id = '{gone}'"
    assert len(find(api, soql, "/queryAll")) == 1
    days = 16 * 86_400
    salesforce.control("clock", {"advance": days})
    try:
        api.headers["Authorization"] = f"Bearer {salesforce.control('tokens', {})['access_token']}"
        assert find(api, soql, "/queryAll") == []
    finally:
        salesforce.control("clock", {"advance": -days})


def test_stats_count_requests_by_family(api, salesforce):
    salesforce.control("stats", {})
    api.get("/limits")
    api.get("/query", params={"q": "SELECT Id FROM Contact LIMIT 1"})
    api.post("/composite/sobjects", json={"records": []})
    stats = salesforce.control("stats")
    assert stats["families"] == {"limits": 1, "query": 1, "collections": 1}
    assert stats["requests"]["GET /query"] == 1
    assert stats["statuses"] == {"200": 3}


def test_records_are_dumped_whole(salesforce):
    records = salesforce.control("records?object=Opportunity")["records"]
    assert len(records) >= 150
    assert {"Id", "Amount", "CurrencyIsoCode", "StageName", "IsWon", "SystemModstamp"} <= set(records[0])
    assert len({r["CurrencyIsoCode"] for r in records}) > 1


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("settings", {"colour": "red"}, "No setting 'colour'"),
        ("edit", {"object": "Foo"}, "no object 'Foo'"),
        ("edit", {"object": "Contact", "fields": {}}, "REQUIRED_FIELD_MISSING"),
        ("faults", [{"match": {"verb": "GET"}, "effect": {"status": 500}}], "unknown key 'verb'"),
    ],
)
def test_mistakes_are_explained(http, path, body, message):
    answer = http.post(f"/_simulator/{path}", json=body)
    assert answer.status_code == 400
    assert message in answer.json()[0]["message"]
