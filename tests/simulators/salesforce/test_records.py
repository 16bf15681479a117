"""Single records, collections and composite calls over plain HTTP, as the REST guide describes them."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest


def contact(**fields):
    return {"attributes": {"type": "Contact"}, **fields}


def new(api, kind="Contact", **fields):
    answer = api.post(f"/sobjects/{kind}", json=fields)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_create_says_where(api):
    answer = api.post("/sobjects/Contact", json={"LastName": "Created"})
    assert answer.headers["location"] == f"/services/data/v68.0/sobjects/Contact/{answer.json()['id']}"
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.headers["sforce-limit-info"].startswith("api-usage=")


@pytest.mark.parametrize(
    ("fields", "status", "code", "names"),
    [
        ({"FirstName": "x"}, 400, "REQUIRED_FIELD_MISSING", ["LastName"]),
        ({"LastName": "x", "Title": "t" * 129}, 400, "STRING_TOO_LONG", ["Title"]),
        ({"LastName": "x", "Email": "nobody"}, 400, "INVALID_EMAIL_ADDRESS", ["Email"]),
        (
            {"LastName": "x", "Interests__c": "Golf"},
            400,
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            ["Interests__c"],
        ),
        ({"LastName": "x", "Name": "y"}, 400, "INVALID_FIELD_FOR_INSERT_UPDATE", ["Name"]),
        ({"LastName": "x", "AccountId": "001"}, 400, "MALFORMED_ID", ["AccountId"]),
        (
            {"LastName": "x", "AccountId": "001Sm000000zzzz"},
            400,
            "INVALID_CROSS_REFERENCE_KEY",
            ["AccountId"],
        ),
        ({"LastName": "x", "Foo": 1}, 400, "INVALID_FIELD", None),
        ({"LastName": "x", "Birthdate": "31.1.1990"}, 400, "JSON_PARSER_ERROR", None),
        ({"LastName": "x", "Opted_Out__c": "maybe"}, 400, "JSON_PARSER_ERROR", None),
    ],
)
def test_refusals(api, fields, status, code, names):
    answer = api.post("/sobjects/Contact", json=fields)
    assert answer.status_code == status
    [error] = answer.json()
    assert (error["errorCode"], error.get("fields")) == (code, names)


def test_values_are_not_kept_as_sent(api):
    made = new(
        api,
        LastName=" Müller \n",
        Title="",
        Interests__c="Support;Analytics",
        Next_Call__c="2026-10-25T01:30:00.987+01:00",
    )
    record = api.get(f"/sobjects/Contact/{made}").json()
    assert record["LastName"] == "Müller"
    assert record["Title"] is None
    assert record["Interests__c"] == "Analytics;Support"
    assert record["Next_Call__c"] == "2026-10-25T00:30:00.000+0000"
    deal = new(
        api,
        "Opportunity",
        Name="d",
        StageName="Closed Won",
        CloseDate="2026-12-31",
        Amount=1.005,
        CurrencyIsoCode="EUR",
    )
    deal = api.get(
        f"/sobjects/Opportunity/{deal}", params={"fields": "Amount,IsWon,Probability,FiscalYear"}
    ).json()
    assert (deal["Amount"], deal["IsWon"], deal["Probability"], deal["FiscalYear"]) == (
        1.01,
        True,
        100.0,
        2026,
    )


def test_references_by_external_id(api):
    key = str(uuid.uuid4())
    account = new(api, "Account", Name="Parent", crm_sync_id__c=key)
    made = new(api, LastName="Child", Account={"crm_sync_id__c": key.upper()})
    assert api.get(f"/sobjects/Contact/{made}").json()["AccountId"] == account
    missing = api.post(
        "/sobjects/Contact", json={"LastName": "x", "Account": {"crm_sync_id__c": "none"}}
    ).json()
    assert "Foreign key external ID: none not found" in missing[0]["message"]


def test_unique_values(api):
    key = str(uuid.uuid4())
    first = new(api, LastName="One", crm_sync_id__c=key)
    [error] = api.post("/sobjects/Contact", json={"LastName": "Two", "crm_sync_id__c": key.upper()}).json()
    assert error["errorCode"] == "DUPLICATE_VALUE"
    assert first in error["message"]


def test_upsert_statuses(api, salesforce):
    url = f"/sobjects/Contact/crm_sync_id__c/{uuid.uuid4()}"
    assert api.patch(url, params={"updateOnly": "true"}, json={"LastName": "x"}).status_code == 404
    assert (created := api.patch(url, json={"LastName": "x"})).status_code == 201
    assert created.json()["created"] is True
    assert (updated := api.patch(url, json={"Title": "y"})).status_code == 200
    assert updated.json() == {"id": created.json()["id"], "success": True, "errors": [], "created": False}
    old = api.patch(f"{salesforce.base_url}/services/data/v45.0{url}", json={})
    assert old.status_code == 404, "versions before 50 are not served"
    assert api.patch(url, json={"crm_sync_id__c": "other"}).json()[0]["errorCode"] == "INVALID_FIELD"
    assert api.patch("/sobjects/Contact/Title/x", json={}).status_code == 404


def test_unknown_paths_and_methods(api, salesforce):
    assert api.get("/nothing").json() == [
        {"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}
    ]
    assert api.get(f"{salesforce.base_url}/services/data/v99.0/limits").status_code == 404
    assert (wrong := api.put("/sobjects/Contact", json={})).status_code == 405
    assert wrong.json()[0]["errorCode"] == "METHOD_NOT_ALLOWED"


def test_describe_is_conditional(api):
    first = api.get("/sobjects/Contact/describe")
    again = api.get(
        "/sobjects/Contact/describe", headers={"If-Modified-Since": first.headers["last-modified"]}
    )
    assert (again.status_code, again.content) == (304, b"")


# Collections


def test_collections_answer_row_by_row(api):
    rows = [contact(LastName="A"), contact(Email="a@b.example"), contact(LastName="C")]
    answer = api.post("/composite/sobjects", json={"allOrNone": False, "records": rows})
    assert answer.status_code == 200
    first, second, third = answer.json()
    assert (first["success"], third["success"]) == (True, True)
    assert second == {
        "success": False,
        "errors": [
            {
                "statusCode": "REQUIRED_FIELD_MISSING",
                "message": "Required fields are missing: [LastName]",
                "fields": ["LastName"],
            }
        ],
    }
    changed = [contact(id=first["id"], Title="x"), contact(id="003Sm000000zzzzAAA", Title="y")]
    good, bad = api.patch("/composite/sobjects", json={"records": changed}).json()
    assert good["success"]
    assert bad["errors"][0]["statusCode"] in {"MALFORMED_ID", "INVALID_CROSS_REFERENCE_KEY"}
    wanted = {"ids": [first["id"], "003Sm000000zzzz", third["id"]], "fields": ["Id", "Title"]}
    found = api.post("/composite/sobjects/Contact", json=wanted).json()
    assert [r and r["Title"] for r in found] == ["x", None, None]
    assert found[1] is None
    gone = api.delete(
        "/composite/sobjects", params={"ids": f"{first['id']},{third['id']}", "allOrNone": "false"}
    ).json()
    assert [r["success"] for r in gone] == [True, True]


def test_all_or_none(api):
    key = str(uuid.uuid4())
    rows = [contact(LastName="A", crm_sync_id__c=key), contact(Email="a@b.example")]
    first, second = api.post("/composite/sobjects", json={"allOrNone": True, "records": rows}).json()
    assert first["errors"][0]["statusCode"] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert second["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    assert api.get(f"/sobjects/Contact/crm_sync_id__c/{key}").status_code == 404


def test_collections_take_200_records_that_share_a_stamp(api):
    rows = [contact(LastName=f"Many {n}") for n in range(200)]
    made = [r["id"] for r in api.post("/composite/sobjects", json={"records": rows}).json()]
    body = {"ids": made, "fields": ["SystemModstamp"]}
    assert len({r["SystemModstamp"] for r in api.post("/composite/sobjects/Contact", json=body).json()}) == 1
    assert (
        api.post("/composite/sobjects", json={"records": [*rows, contact(LastName="x")]}).status_code == 400
    )


def test_collection_upsert(api):
    keys = [str(uuid.uuid4()) for _ in range(3)]
    rows = [contact(LastName="U", crm_sync_id__c=key) for key in (keys[0], keys[1], keys[1], None)]
    results = api.patch("/composite/sobjects/Contact/crm_sync_id__c", json={"records": rows}).json()
    assert [r.get("created") for r in results] == [True, None, None, None]
    assert results[1]["errors"][0]["statusCode"] == "DUPLICATE_VALUE"
    assert results[3]["errors"][0]["statusCode"] == "MISSING_ARGUMENT"
    again = api.patch("/composite/sobjects/Contact/crm_sync_id__c", json={"records": rows[:1]}).json()
    assert again[0] == {"id": results[0]["id"], "success": True, "errors": [], "created": False}


# Rules of the org


def test_duplicate_rules(api, salesforce):
    email = f"{uuid.uuid4()}@dup.example"
    first = new(api, LastName="First", Email=email)
    salesforce.control(
        "settings", {"duplicate_rules": [{"object": "Contact", "fields": ["Email"], "allowSave": True}]}
    )
    refused = api.post("/sobjects/Contact", json={"LastName": "Second", "Email": email.upper()})
    [error] = refused.json()
    assert (refused.status_code, error["errorCode"]) == (400, "DUPLICATES_DETECTED")
    assert error["duplicateResut"]["matchResults"][0]["matchRecords"][0]["record"]["Id"] == first
    saved = api.post(
        "/sobjects/Contact", json={"LastName": "Second", "Email": email},
        headers={"Sforce-Duplicate-Rule-Header": "allowSave=true; runAsCurrentUser=true"},
    )  # fmt: skip
    assert saved.status_code == 201


def test_locked_parents(api, salesforce):
    account = new(api, "Account", Name="Busy")
    salesforce.control("settings", {"locked": [account]})
    [error] = api.post("/sobjects/Contact", json={"LastName": "x", "AccountId": account}).json()
    assert error["errorCode"] == "UNABLE_TO_LOCK_ROW"
    assert "unable to obtain exclusive access to this record" in error["message"]


def test_validation_rules_and_automations(api, salesforce):
    salesforce.control(
        "settings",
        {
            "validation_rules": [
                {"object": "Contact", "field": "Title", "pattern": "^bad", "message": "No bad titles"}
            ],
            "automations": [
                {"object": "Contact", "field": "Department", "pattern": "sales", "replace": "Sales"}
            ],
        },
    )
    [error] = api.post("/sobjects/Contact", json={"LastName": "x", "Title": "bad"}).json()
    assert (error["errorCode"], error["message"]) == ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "No bad titles")
    made = new(api, LastName="x", Department="sales")
    assert api.get(f"/sobjects/Contact/{made}").json()["Department"] == "Sales"


def test_daily_limit(api, salesforce):
    salesforce.control("settings", {"daily_api_requests": 1})
    answer = api.get("/limits")
    assert answer.status_code == 403
    assert answer.json() == [
        {"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}
    ]


def test_deletion_cascades_and_is_undone(api, salesforce):
    account = new(api, "Account", Name="Parent")
    child = new(api, LastName="Child", AccountId=account)
    assert api.delete(f"/sobjects/Account/{account}").status_code == 204
    assert api.get(f"/sobjects/Contact/{child}").status_code == 404
    salesforce.control("edit", {"object": "Contact", "operation": "undelete", "id": child})
    assert api.get(f"/sobjects/Contact/{child}").status_code == 200


def test_replication_windows_are_checked(api):
    def code(start, end):
        answer = api.get("/sobjects/Contact/deleted", params={"start": start, "end": end})
        return answer.json()[0]["errorCode"] if answer.status_code == 400 else answer.status_code

    assert code("2026-01-02T00:00:30Z", "2026-01-02T00:00:59Z") == "INVALID_REPLICATION_DATE"
    assert code("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z") == "INVALID_REPLICATION_DATE"
    assert code("2020-01-02T00:00:00Z", "2020-01-01T00:00:00Z") == "INVALID_REPLICATION_DATE"


# Composite


def sub(method, url, reference, body=None):
    request = {"method": method, "url": f"/services/data/v68.0{url}", "referenceId": reference}
    return request | ({"body": body} if body is not None else {})


def test_composite_rolls_back(api):
    name = str(uuid.uuid4())
    requests = [
        sub("POST", "/sobjects/Account", "a", {"Name": name}),
        sub("POST", "/sobjects/Contact", "c", {"AccountId": "@{a.id}"}),
        sub("GET", "/query?q=SELECT+Id+FROM+Account+LIMIT+1", "q"),
    ]
    loose = api.post("/composite", json={"allOrNone": False, "compositeRequest": requests}).json()[
        "compositeResponse"
    ]
    assert [r["httpStatusCode"] for r in loose] == [201, 400, 200]
    assert loose[2]["body"]["totalSize"] == 1
    strict = api.post("/composite", json={"allOrNone": True, "compositeRequest": requests}).json()[
        "compositeResponse"
    ]
    assert [r["body"][0]["errorCode"] for r in strict] == [
        "PROCESSING_HALTED",
        "REQUIRED_FIELD_MISSING",
        "PROCESSING_HALTED",
    ]
    count = api.get("/query", params={"q": f"SELECT COUNT() FROM Account WHERE Name = '{name}'"}).json()[
        "totalSize"
    ]
    assert count == 1


def test_batch_graph_and_tree(api):
    batch = {
        "batchRequests": [{"method": "GET", "url": "v68.0/limits"}, {"method": "GET", "url": "v68.0/nothing"}]
    }
    answer = api.post("/composite/batch", json=batch).json()
    assert ([r["statusCode"] for r in answer["results"]], answer["hasErrors"]) == ([200, 404], True)
    graph = {
        "graphs": [
            {"graphId": "1", "compositeRequest": [sub("POST", "/sobjects/Account", "a", {"Name": "G"})]}
        ]
    }
    answer = api.post("/composite/graph", json=graph).json()
    assert answer["graphs"][0]["isSuccessful"] is True
    tree = {
        "records": [
            {
                "attributes": {"type": "Account", "referenceId": "r1"}, "Name": "T",
                "Contacts": {"records": [{"attributes": {"type": "Contact", "referenceId": "r2"}, "LastName": "L"}]},
            }
        ]
    }  # fmt: skip
    answer = api.post("/composite/tree/Account", json=tree)
    assert (answer.status_code, [r["referenceId"] for r in answer.json()["results"]]) == (201, ["r1", "r2"])


def test_long_statements_do_not_fit_into_an_address(api):
    wanted = ", ".join(f"'{number:018d}'" for number in range(900))
    answer = api.get("/query", params={"q": f"SELECT Id FROM Contact WHERE LastName IN ({wanted})"})
    assert answer.status_code == 414


def test_writes_that_overlap_on_a_parent_collide(api, salesforce):
    account = new(api, "Account", Name="Contended")
    salesforce.control("settings", {"transaction_seconds": 0.3})

    def write(number):
        return api.post("/sobjects/Contact", json={"LastName": f"Child {number}", "AccountId": account})

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(write, range(2)), key=lambda a: a.status_code)
    assert [a.status_code for a in answers] == [201, 400]
    assert answers[1].json()[0]["errorCode"] == "UNABLE_TO_LOCK_ROW"
    assert write(2).status_code == 201, "one after the other they do not"
