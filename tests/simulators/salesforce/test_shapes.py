"""The simulator's answers beside answers of the real service (small examples, values changed)."""

import time

import pytest

JOB = {
    "id": "7508d00000Ihhl5AAB", "operation": "insert", "object": "Account", "createdById": "0058d000006mtd1AAA",
    "createdDate": "2023-03-16T06:43:09.000+0000", "systemModstamp": "2023-03-16T06:43:13.000+0000", "state": "JobComplete",
    "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": 57.0, "jobType": "V2Ingest", "lineEnding": "LF",
    "columnDelimiter": "COMMA", "numberRecordsProcessed": 1, "numberRecordsFailed": 0, "retries": 0,
    "totalProcessingTime": 139, "apiActiveProcessingTime": 81, "apexProcessingTime": 0,
}  # fmt: skip
FAILED = JOB | {
    "state": "Failed",
    "errorMessage": "InvalidBatch : InvalidBatch : Field name not found : Email",
}
RECORDED = {
    "create": {"id": "x", "errors": [], "success": True},
    "empty query": {"totalSize": 0, "done": True, "records": []},
    "aggregate": {
        "totalSize": 1, "done": True,
        "records": [{"attributes": {"type": "AggregateResult"}, "CampaignId": "701E0000000JuFHIA0", "expr0": 300}],
    },
    "page": {
        "totalSize": 2, "done": False, "nextRecordsUrl": "/services/data/v26.0/query/01gD",
        "records": [{"attributes": {"type": "X", "url": "/services/data/v20.0/sobjects/X/foo"}, "Id": "foo"}],
    },
    "deleted": {
        "deletedRecords": [{"id": "a00D0000008pQRAIA2", "deletedDate": "2013-05-07T22:07:19.000+0000"}],
        "earliestDateAvailable": "2013-05-03T15:57:00.000+0000", "latestDateCovered": "2013-05-08T21:20:00.000+0000",
    },
    "updated": {"ids": ["003q000000KvQ1tAAF"], "latestDateCovered": "2015-08-19T08:17:00.000+0000"},
    "versions": [{"version": "20.0", "url": "/services/data/v20.0", "label": "Winter '11"}],
    "expired session": [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}],
    "unknown": [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}],
    "search error": [
        {"message": "No search term found. The search term must be enclosed in braces.", "errorCode": "MALFORMED_SEARCH"}
    ],
    "find error": [
        {"message": "Provided external ID field does not exist or is not accessible: 23foo", "errorCode": "NOT_FOUND"}
    ],
    "write error": [{"message": "No such column 'foo' on sobject of type Contact", "errorCode": "INVALID_FIELD"}],
}  # fmt: skip


def shape(value):
    """Keys and types; of a list, the shape of its first entry."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def window():
    now = time.time()
    return {
        name: time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(now + shift))
        for name, shift in (("start", -600), ("end", 120))
    }


@pytest.fixture
def answers(api, http, salesforce):
    made = api.post("/sobjects/Contact", json={"LastName": "Shape"})
    gone = api.post("/sobjects/Contact", json={"LastName": "Gone"}).json()["id"]
    api.delete(f"/sobjects/Contact/{gone}")

    def query(soql, **headers):
        return api.get("/query", params={"q": soql}, headers=headers).json()

    aggregate = query("SELECT CampaignId, COUNT(Id) FROM CampaignMember GROUP BY CampaignId LIMIT 1")
    return {
        "create": made.json(),
        "empty query": query("SELECT Id FROM Contact WHERE LastName = 'no such'"),
        "aggregate": aggregate,
        "page": query("SELECT Id FROM Contact", **{"Sforce-Query-Options": "batchSize=200"}),
        "deleted": api.get("/sobjects/Contact/deleted/", params=window()).json(),
        "updated": api.get("/sobjects/Contact/updated/", params=window()).json(),
        "versions": api.get(f"{salesforce.base_url}/services/data/").json(),
        "expired session": api.get("/limits", headers={"Authorization": "Bearer no"}).json(),
        "unknown": api.get("/sobjects/Foo/describe").json(),
        "search error": api.get("/search", params={"q": "FIND x"}).json(),
        "find error": api.get("/sobjects/Contact/23foo").json(),
        "write error": api.post("/sobjects/Contact", json={"foo": 1, "LastName": "x"}).json(),
    }


@pytest.mark.parametrize("name", RECORDED)
def test_answers_have_the_recorded_shape(answers, name):
    assert shape(answers[name]) == shape(RECORDED[name])
    if "error" in name or name in {"unknown", "expired session"}:
        assert answers[name] == RECORDED[name]


@pytest.mark.parametrize(("text", "recorded"), [("Name\nx\n", JOB), ("Name,Email\nx,y\n", FAILED)])
def test_jobs_have_the_recorded_shape(api, salesforce, text, recorded):
    api.base_url = f"{salesforce.base_url}/services/data/v57.0"
    body = {"object": "Account", "operation": "insert", "contentType": "CSV", "lineEnding": "LF"}
    url = f"/jobs/ingest/{api.post('/jobs/ingest', json=body).json()['id']}"
    api.put(f"{url}/batches", content=text.encode(), headers={"Content-Type": "text/csv"})
    api.patch(url, json={"state": "UploadComplete"})
    job = {"state": "Open"}
    while job["state"] not in {"JobComplete", "Failed"}:
        job = api.get(url).json()
    assert shape(job) == shape(recorded)
    assert job["state"] == recorded["state"]
    assert job.get("errorMessage") == recorded.get("errorMessage")
