"""Bulk API 2.0 over plain HTTP: what the guide promises beyond what simple-salesforce shows."""

import csv
import gzip
import io
import time
import uuid

import pytest


def wait(api, url):
    for _ in range(200):
        job = api.get(url).json()
        if job["state"] in {"JobComplete", "Failed", "Aborted"}:
            return job
        time.sleep(0.02)
    raise AssertionError(job)


def ingest(api, text, **options):
    """Run an ingest job over CSV text to its end."""
    body = {"object": "Contact", "operation": "insert", "contentType": "CSV", "lineEnding": "LF", **options}
    job = api.post("/jobs/ingest", json=body).json()
    url = f"/jobs/ingest/{job['id']}"
    content = text if isinstance(text, bytes) else text.encode()
    assert (
        api.put(
            f"{url}/batches", content=content, headers={"Content-Type": "text/csv; charset=UTF-8"}
        ).status_code
        == 201
    )
    assert api.patch(url, json={"state": "UploadComplete"}).json()["state"] == "UploadComplete"
    return url, wait(api, url)


def query(api, soql, **options):
    job = api.post("/jobs/query", json={"operation": "query", "query": soql, **options}).json()
    url = f"/jobs/query/{job['id']}"
    return url, wait(api, url)


def rows(answer, **dialect):
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline=""), **dialect))


def test_the_life_of_an_ingest_job(api):
    made = api.post(
        "/jobs/ingest",
        json={"object": "contact", "operation": "upsert", "externalIdFieldName": "CRM_SYNC_ID__C"},
    )
    job = made.json()
    assert made.status_code == 200
    assert {
        k: v for k, v in job.items() if k not in {"id", "createdDate", "systemModstamp", "createdById"}
    } == {
        "operation": "upsert",
        "object": "Contact",
        "state": "Open",
        "externalIdFieldName": "crm_sync_id__c",
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": 68.0,
        "contentUrl": f"services/data/v68.0/jobs/ingest/{job['id']}/batches",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }
    assert job["id"].startswith("750")
    url = f"/jobs/ingest/{job['id']}"
    assert api.delete(url).status_code == 400, "an open job cannot be deleted"
    assert api.get(f"{url}/successfulResults").status_code == 400
    assert api.patch(url, json={"state": "Aborted"}).json()["state"] == "Aborted"
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404


def test_one_upload_per_job(api):
    job = api.post("/jobs/ingest", json={"object": "Contact", "operation": "insert"}).json()
    url = f"/jobs/ingest/{job['id']}/batches"
    headers = {"Content-Type": "text/csv"}
    assert api.put(url, content=b"LastName\nx\n", headers=headers).status_code == 201
    assert api.put(url, content=b"LastName\nx\n", headers=headers).status_code == 400


def test_blank_is_not_null_and_a_row_fails_alone(api):
    key = str(uuid.uuid4())
    url, job = ingest(
        api,
        f'LastName,Email,Description,crm_sync_id__c\nA,a@b.example,"x ""y"", z\nline two",{key}\n,b@b.example,,\n',
    )
    assert (job["state"], job["numberRecordsProcessed"], job["numberRecordsFailed"]) == ("JobComplete", 2, 1)
    assert job["jobType"] == "V2Ingest"
    [good] = rows(api.get(f"{url}/successfulResults"))
    [bad] = rows(api.get(f"{url}/failedResults"))
    assert list(good)[:2] == ["sf__Id", "sf__Created"]
    assert bad["sf__Error"] == "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --"
    ingest(
        api,
        f"crm_sync_id__c,Email,LastName\n{key},#N/A,\n",
        operation="upsert",
        externalIdFieldName="crm_sync_id__c",
    )
    record = api.get(f"/sobjects/Contact/{good['sf__Id']}").json()
    assert (record["Email"], record["LastName"], record["Description"]) == (None, "A", 'x "y", z\nline two')


def test_repeated_and_missing_keys(api):
    key = str(uuid.uuid4())
    url, job = ingest(
        api,
        f"crm_sync_id__c,LastName\n{key},A\n{key},B\n,C\n",
        operation="upsert",
        externalIdFieldName="crm_sync_id__c",
    )
    errors = sorted(r["sf__Error"].split(":")[0] for r in rows(api.get(f"{url}/failedResults")))
    assert errors == ["DUPLICATE_VALUE", "DUPLICATE_VALUE", "MISSING_ARGUMENT"]
    assert job["numberRecordsFailed"] == 3


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("LastName\r\nx\r\n", {}, "LineEnding is invalid on user data. Current LineEnding setting is LF"),
        (
            'LastName,Description\nx,"a\r\nb"\n',
            {},
            "LineEnding is invalid on user data. Current LineEnding setting is LF",
        ),
        ("LastName\nx\n", {"lineEnding": "CRLF"}, "Current LineEnding setting is CRLF"),
        ("LastName,Foo\nx,y\n", {}, "InvalidBatch : InvalidBatch : Field name not found : Foo"),
        ("Id,LastName\n1,y\n", {}, "Field name not found : Id"),
        ("Id,LastName\n1,y\n", {"operation": "delete"}, "Field name not found : LastName"),
        (b"LastName\n\xff\n", {}, "Invalid UTF-8"),
    ],
)
def test_jobs_that_fail_as_a_whole_write_nothing(api, salesforce, text, options, message):
    before = salesforce.control("stats")["writes"]
    _, job = ingest(api, text, **options)
    assert job["state"] == "Failed"
    assert message in job["errorMessage"]
    assert salesforce.control("stats")["writes"] == before


def test_dialects_references_and_compressed_uploads(api):
    key = str(uuid.uuid4())
    api.post("/sobjects/Account", json={"Name": "Bulk parent", "crm_sync_id__c": key})
    made = api.post(
        "/jobs/ingest",
        json={"object": "Contact", "operation": "insert", "columnDelimiter": "PIPE", "lineEnding": "CRLF"},
    )
    url = f"/jobs/ingest/{made.json()['id']}"
    text = f"LastName|Account.crm_sync_id__c\r\nPiped|{key}\r\n".encode()
    headers = {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
    assert api.put(f"{url}/batches", content=gzip.compress(text), headers=headers).status_code == 201
    api.patch(url, json={"state": "UploadComplete"})
    assert wait(api, url)["numberRecordsFailed"] == 0
    answer = api.get(f"{url}/successfulResults")
    assert answer.content.count(b"\r\n") == 2
    [row] = rows(answer, delimiter="|")
    record = api.get(
        "/query", params={"q": f"SELECT Account.Name FROM Contact WHERE Id = '{row['sf__Id']}'"}
    ).json()
    assert record["records"][0]["Account"]["Name"] == "Bulk parent"


def test_unprocessed_records_in_any_letter_case(api):
    url, _ = ingest(api, "LastName\nx\n")
    for spelling in ("unprocessedrecords", "unprocessedRecords"):
        answer = api.get(f"{url}/{spelling}")
        assert (answer.status_code, answer.text) == (200, '"LastName"\n')


def test_query_pages_by_locator(api):
    soql = "SELECT Id, Name, Account.Name, SystemModstamp, Opted_Out__c FROM Contact"
    url, job = query(api, soql)
    total = job["numberRecordsProcessed"]
    assert job["jobType"] == "V2Query"
    seen, locator = [], None
    while locator != "null":
        answer = api.get(
            f"{url}/results", params={"maxRecords": 200} | ({"locator": locator} if locator else {})
        )
        page = rows(answer)
        assert answer.headers["content-type"] == "text/csv; charset=UTF-8"
        assert int(answer.headers["sforce-numberofrecords"]) == len(page)
        seen += page
        locator = answer.headers["sforce-locator"]
    assert len(seen) == total == len({r["Id"] for r in seen})
    assert {r["SystemModstamp"][-5:] for r in seen} == {".000Z"}
    assert {r["Opted_Out__c"] for r in seen} == {"true", "false"}
    assert api.get(f"{url}/results").content.startswith(
        b'"Id","Name","Account.Name","SystemModstamp","Opted_Out__c"\n"003'
    )


def test_pages_side_by_side(api, salesforce):
    salesforce.control("settings", {"bulk_page": 60})
    url, job = query(api, "SELECT Id FROM Contact ORDER BY Id")
    urls, more = [], f"{url}/resultPages"
    while more:
        pages = api.get(more if more.startswith("/jobs") else salesforce.base_url + more).json()
        assert len(pages["resultPages"]) <= 5
        urls += [p["resultUrl"] for p in pages["resultPages"]]
        more = pages.get("nextRecordsUrl")
        assert pages["done"] is (more is None)
    seen = [r["Id"] for u in urls for r in rows(api.get(salesforce.base_url + u))]
    assert len(seen) == job["numberRecordsProcessed"]
    assert seen == sorted(seen)


def test_results_need_the_same_version(api, salesforce):
    url, _ = query(api, "SELECT Id FROM Contact LIMIT 1")
    assert api.get(f"{salesforce.base_url}/services/data/v67.0{url}/results").status_code == 409


def test_results_expire(api, salesforce):
    url, _ = query(api, "SELECT Id FROM Contact LIMIT 1")
    salesforce.control("expire", {"what": "results"})
    assert api.get(f"{url}/results").status_code == 404


def test_an_empty_result_has_a_header(api):
    url, _ = query(api, "SELECT Id FROM Contact WHERE LastName = 'nobody is called so'")
    answer = api.get(f"{url}/results")
    assert (answer.text, answer.headers["sforce-locator"], answer.headers["sforce-numberofrecords"]) == (
        '"Id"\n',
        "null",
        "0",
    )


def test_the_charset_may_be_missing(api, salesforce):
    salesforce.control("settings", {"omit_charset": True})
    url, _ = query(api, "SELECT Id FROM Contact LIMIT 1")
    assert api.get(f"{url}/results").headers["content-type"] == "text/csv"


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "API_ERROR"),
        ("SELECT COUNT(Id) FROM Contact", "API_ERROR"),
        ("SELECT MailingAddress FROM Contact", "INVALIDENTITY"),
        ("SELECT Foo FROM Contact", "API_ERROR"),
        ("SELECT Id FROM", "MALFORMED_QUERY"),
    ],
)
def test_what_bulk_does_not_answer(api, soql, code):
    answer = api.post("/jobs/query", json={"operation": "query", "query": soql})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_numbers_print_as_java_prints_them(api):
    word = uuid.uuid4().hex
    for amount in (1000, 12_345_678.9, 0.5):
        body = {"Name": word, "StageName": "Prospecting", "CloseDate": "2026-12-31", "Amount": amount}
        assert api.post("/sobjects/Opportunity", json=body).status_code == 201
    url, _ = query(api, f"SELECT Amount, CloseDate FROM Opportunity WHERE Name = '{word}' ORDER BY Amount")
    assert [r["Amount"] for r in rows(api.get(f"{url}/results"))] == ["0.5", "1000.0", "1.23456789E7"]
