"""simple-salesforce from PyPI, unmodified, against the simulator: every call family."""

import csv
import datetime as dt
import io
import uuid

import pytest
import requests
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceResourceNotFound,
)


class _LoginHost(requests.adapters.HTTPAdapter):
    """Stands in for name service: sends requests for a vendor's login host to the simulator."""

    def __init__(self, address):
        self.address = address
        super().__init__()

    def send(self, request, **kwargs):
        request.url = self.address + "/" + request.url.split("/", 3)[3]
        return super().send(request, **kwargs)


@pytest.fixture
def sf(salesforce, trusting):
    return Salesforce(
        instance_url=salesforce.base_url,
        session_id=salesforce.info["access_token"],
        session=trusting,
        version="68.0",
    )


@pytest.fixture
def login_hosts(salesforce, trusting):
    for host in ("login", "test", "acme.my"):
        trusting.mount(f"https://{host}.salesforce.com", _LoginHost(salesforce.base_url))
    return trusting


def new_key():
    return str(uuid.uuid4())


# Logging in


def test_soap_login(salesforce, login_hosts):
    info = salesforce.info
    sf = Salesforce(
        username=info["username"], password=info["password"], security_token=info["security_token"],
        session=login_hosts, version="59.0",
    )  # fmt: skip
    assert sf.query("SELECT COUNT() FROM Contact")["totalSize"] >= 500
    assert f"https://{sf.sf_instance}" == salesforce.base_url


def test_soap_login_with_a_wrong_password(salesforce, login_hosts):
    with pytest.raises(SalesforceAuthenticationFailed, match="INVALID_LOGIN"):
        Salesforce(
            username=salesforce.info["username"], password="no", security_token="", session=login_hosts
        )


def test_soap_login_is_refused_without_the_permission(salesforce, login_hosts):
    salesforce.control("settings", {"soap_login": False})
    info = salesforce.info
    with pytest.raises(SalesforceAuthenticationFailed, match="INSUFFICIENT_ACCESS"):
        Salesforce(
            username=info["username"], password=info["password"], security_token="", session=login_hosts
        )


def test_password_login(salesforce, login_hosts):
    info = salesforce.info
    sf = Salesforce(
        username=info["username"], password=info["password"], consumer_key=info["client_id"],
        consumer_secret=info["client_secret"], session=login_hosts,
    )  # fmt: skip
    assert sf.limits()["DailyApiRequests"]["Max"] == 100_000


def test_jwt_login(salesforce, login_hosts):
    info = salesforce.info
    sf = Salesforce(
        username=info["username"], consumer_key=info["client_id"], privatekey_file=info["private_key_file"],
        session=login_hosts,
    )  # fmt: skip
    assert sf.describe()["maxBatchSize"] == 200


def test_client_credentials_need_the_org_own_host(salesforce, login_hosts):
    info = salesforce.info
    sf = Salesforce(
        consumer_key=info["client_id"],
        consumer_secret=info["client_secret"],
        domain="acme.my",
        session=login_hosts,
    )
    assert sf.is_sandbox() is False


def test_an_expired_session_is_told(sf, salesforce, trusting):
    other = salesforce.control("tokens", {})["access_token"]
    salesforce.control("settings", {"session_calls": 1})
    short = Salesforce(instance_url=salesforce.base_url, session_id=other, session=trusting)
    short.limits()
    with pytest.raises(SalesforceExpiredSession) as refused:
        short.limits()
    assert refused.value.content == [
        {"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}
    ]


# Reading


def test_query_pages(sf):
    first = sf.query(
        "SELECT Id, Name, Account.Name FROM Contact ORDER BY Id",
        headers={"Sforce-Query-Options": "batchSize=200"},
    )
    assert (len(first["records"]), first["done"]) == (200, False)
    second = sf.query_more(first["nextRecordsUrl"], identifier_is_url=True)
    third = sf.query_more(second["nextRecordsUrl"], identifier_is_url=True)
    assert first["totalSize"] == second["totalSize"] == third["totalSize"]
    seen = [r["Id"] for page in (first, second) for r in page["records"]]
    assert seen == sorted(set(seen))


def test_query_all_and_iter(sf):
    everything = sf.query_all("SELECT Id FROM Contact")
    assert everything["totalSize"] == len(everything["records"])
    assert sum(1 for _ in sf.query_all_iter("SELECT Id FROM Contact")) == everything["totalSize"]


def test_malformed_query(sf):
    with pytest.raises(SalesforceMalformedRequest) as refused:
        sf.query("SELECT Id FROM Contact WHERE")
    assert refused.value.content[0]["errorCode"] == "MALFORMED_QUERY"


def test_describe(sf):
    fields = {f["name"]: f for f in sf.Contact.describe()["fields"]}
    assert fields["Name"]["createable"] is False
    assert fields["LastName"]["nillable"] is False
    assert fields["crm_sync_id__c"]["externalId"] is True
    assert fields["Interests__c"]["picklistValues"][0]["value"] == "Analytics"
    assert {o["name"] for o in sf.describe()["sobjects"]} >= {
        "Account",
        "Contact",
        "Opportunity",
        "Lead",
        "Task",
    }
    assert sf.Contact.metadata()["objectDescribe"]["keyPrefix"] == "003"
    types = {t["developerName"] for t in sf.Account.describe()["recordTypeInfos"]}
    assert types == {"Customer", "Partner", "Master"}


def test_search(sf):
    sf.Contact.create({"LastName": "Findmeplease", "Email": "find.me@example.com"})
    found = sf.search("FIND {Findmeplease} IN ALL FIELDS RETURNING Contact(Id, LastName)")["searchRecords"]
    assert [r["LastName"] for r in found] == ["Findmeplease"]
    assert sf.quick_search("Findmeplease")["searchRecords"]


# Single records


def test_create_read_update_delete(sf):
    created = sf.Contact.create({"LastName": "  Trimmed ", "Description": "a\r\nb"})
    assert created == {"id": created["id"], "success": True, "errors": []}
    record = sf.Contact.get(created["id"][:15])
    assert (record["LastName"], record["Id"], record["Email"]) == ("Trimmed", created["id"], None)
    assert sf.Contact.update(created["id"], {"Email": "x@example.com"}) == 204
    assert sf.Contact.get(created["id"])["Email"] == "x@example.com"
    assert sf.Contact.delete(created["id"]) == 204
    with pytest.raises(SalesforceResourceNotFound):
        sf.Contact.get(created["id"])
    with pytest.raises(SalesforceResourceNotFound) as gone:
        sf.Contact.update(created["id"], {"Email": None})
    assert gone.value.content[0]["errorCode"] == "ENTITY_IS_DELETED"


def test_upsert_by_external_id(sf):
    key = new_key()
    assert sf.Account.upsert(f"crm_sync_id__c/{key}", {"Name": "Upserted"}) == 201
    assert sf.Account.upsert(f"crm_sync_id__c/{key.upper()}", {"Name": "Again"}) == 200
    assert sf.Account.get_by_custom_id("crm_sync_id__c", key)["Name"] == "Again"


def test_several_matches_are_no_match(sf, salesforce):
    key = new_key()
    salesforce.control("settings", {"unique_external_ids": False})
    for name in ("one", "two"):
        sf.Account.create({"Name": name, "crm_sync_id__c": key})
    with pytest.raises(SalesforceMoreThanOneRecord) as several:
        sf.Account.upsert(f"crm_sync_id__c/{key}", {"Name": "three"})
    assert len(several.value.content) == 2


def test_updated_and_deleted(sf, salesforce):
    gone = sf.Contact.create({"LastName": "Gone"})["id"]
    kept = sf.Contact.create({"LastName": "Kept"})["id"]
    sf.Contact.delete(gone)
    now = dt.datetime.now(dt.UTC)
    window = (now - dt.timedelta(minutes=10), now + dt.timedelta(minutes=2))
    deleted = sf.Contact.deleted(*window)
    assert gone in [r["id"] for r in deleted["deletedRecords"]]
    assert deleted["latestDateCovered"].endswith(":00.000+0000")
    updated = sf.Contact.updated(*window)["ids"]
    assert kept in updated
    assert gone not in updated


# In bulk


def as_csv(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_bulk2_ingest(sf):
    keys = [new_key() for _ in range(450)]
    rows = [
        {"LastName": f"Bulk {n}", "Email": "a@b.example", "crm_sync_id__c": key} for n, key in enumerate(keys)
    ]
    rows[7]["Email"] = "no address"
    [job] = sf.bulk2.Contact.insert(records=rows, wait=0)
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (450, 1)
    good = rows_of(sf.bulk2.Contact.get_successful_records(job["job_id"]))
    [bad] = rows_of(sf.bulk2.Contact.get_failed_records(job["job_id"]))
    assert {r["crm_sync_id__c"] for r in good} == set(keys) - {keys[7]}
    assert [r["crm_sync_id__c"] for r in good] != [k for k in keys if k != keys[7]], "results are shuffled"
    assert bad["sf__Error"] == "INVALID_EMAIL_ADDRESS:Email: invalid email address: no address:Email --"
    assert rows_of(sf.bulk2.Contact.get_unprocessed_records(job["job_id"])) == []

    ids = {r["crm_sync_id__c"]: r["sf__Id"] for r in good}
    changes = [
        {"Id": ids[keys[0]], "Email": "#N/A", "LastName": ""},
        {"Id": ids[keys[1]], "Email": "", "LastName": "New"},
    ]
    [job] = sf.bulk2.Contact.update(records=changes, wait=0)
    assert job["numberRecordsFailed"] == 0
    assert [(r["Email"], r["LastName"]) for r in (sf.Contact.get(ids[k]) for k in keys[:2])] == [
        (None, "Bulk 0"),
        ("a@b.example", "New"),
    ]

    [job] = sf.bulk2.Contact.upsert(
        records=[{"crm_sync_id__c": keys[2], "LastName": "Old"}, {"crm_sync_id__c": new_key(), "LastName": "Fresh"}],
        external_id_field="crm_sync_id__c", wait=0,
    )  # fmt: skip
    created = {
        r["LastName"]: r["sf__Created"]
        for r in rows_of(sf.bulk2.Contact.get_successful_records(job["job_id"]))
    }
    assert created == {"Old": "false", "Fresh": "true"}

    [job] = sf.bulk2.Contact.delete(records=[{"Id": ids[k]} for k in keys[:3]], wait=0)
    assert job["numberRecordsProcessed"] == 3
    live = sf.query_all(f"SELECT Id FROM Contact WHERE Id = '{ids[keys[0]]}'")
    binned = sf.query_all(
        f"SELECT Id, IsDeleted FROM Contact WHERE Id = '{ids[keys[0]]}'", include_deleted=True
    )
    assert (live["totalSize"], binned["records"][0]["IsDeleted"]) == (0, True)


def test_bulk2_query(sf, tmp_path):
    pages = list(sf.bulk2.Contact.query("SELECT Id, Name, SystemModstamp FROM Contact", max_records=200))
    rows = [row for page in pages for row in rows_of(page)]
    expected = sf.query_all("SELECT Id, Name, SystemModstamp FROM Contact")["records"]
    assert len(pages) > 1
    assert [(r["Id"], r["Name"]) for r in rows] == [(r["Id"], r["Name"]) for r in expected]
    assert {r["SystemModstamp"][-5:] for r in rows} == {".000Z"}
    [result] = sf.bulk2.Contact.download("SELECT Id FROM Contact", path=str(tmp_path), max_records=100_000)
    assert result["number_of_records"] == len(expected)


def test_composite_and_tree_via_restful(sf):
    answer = sf.restful(
        "composite",
        method="POST",
        json={
            "compositeRequest": [
                {
                    "method": "POST", "url": "/services/data/v68.0/sobjects/Account", "referenceId": "acc",
                    "body": {"Name": "Together"},
                },
                {
                    "method": "POST", "url": "/services/data/v68.0/sobjects/Contact", "referenceId": "con",
                    "body": {"LastName": "Together", "AccountId": "@{acc.id}"},
                },
            ]
        },
    )  # fmt: skip
    first, second = answer["compositeResponse"]
    assert (first["httpStatusCode"], second["httpStatusCode"]) == (201, 201)
    assert sf.Contact.get(second["body"]["id"])["AccountId"] == first["body"]["id"]


def test_limits_and_usage_header(sf):
    before = sf.limits()["DailyApiRequests"]["Remaining"]
    assert sf.limits()["DailyApiRequests"]["Remaining"] == before - 1
    assert sf.api_usage["api-usage"].total == 100_000
