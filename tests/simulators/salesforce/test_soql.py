"""SOQL: what is found, in which order, in which shape, and how mistakes are answered."""

import uuid

import pytest


@pytest.fixture
def find(api):
    def run(soql, path="/query", expect=200):
        answer = api.get(path, params={"q": soql})
        assert answer.status_code == expect, answer.text
        return answer.json()

    return run


@pytest.fixture
def some(api):
    """Five contacts of one account, and a word that only they have."""
    word = uuid.uuid4().hex[:12]
    account = api.post("/sobjects/Account", json={"Name": f"{word} Ltd", "Industry": "Banking"}).json()["id"]
    records = [
        {"LastName": "abc", "Title": word, "Interests__c": "Mobile;Analytics", "Birthdate": "1990-01-31"},
        {"LastName": "ABD", "Title": word, "Interests__c": "Mobile"},
        {"LastName": "O'Hara \\ 100%", "Title": word.upper(), "AccountId": account},
        {"LastName": "a_c", "Title": word, "Next_Call__c": "2026-03-29T02:30:00+02:00"},
        {"LastName": "Zed", "Title": word, "Opted_Out__c": True, "Description": "x" * 5000},
    ]
    body = {"records": [{"attributes": {"type": "Contact"}, **r} for r in records]}
    assert all(r["success"] for r in api.post("/composite/sobjects", json=body).json())
    return word


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("LastName = 'ABC'", ["abc"]),
        ("LastName != 'abc'", ["ABD", "O'Hara \\ 100%", "Zed", "a_c"]),
        ("LastName LIKE 'ab_'", ["ABD", "abc"]),
        (r"LastName LIKE 'a\_c'", ["a_c"]),
        (r"LastName LIKE '%100\%'", ["O'Hara \\ 100%"]),
        (r"LastName = 'O\'Hara \\ 100%'", ["O'Hara \\ 100%"]),
        ("LastName IN ('abc', 'zed')", ["Zed", "abc"]),
        ("LastName NOT IN ('abc', 'zed', 'abd')", ["O'Hara \\ 100%", "a_c"]),
        ("NOT LastName LIKE 'a%'", ["O'Hara \\ 100%", "Zed"]),
        ("(LastName = 'abc' OR LastName = 'zed') AND Opted_Out__c = TRUE", ["Zed"]),
        ("LastName > 'ABD'", ["O'Hara \\ 100%", "Zed"]),
        ("Birthdate = 1990-01-31", ["abc"]),
        ("Birthdate != null", ["abc"]),
        ("Birthdate < TODAY", ["abc"]),
        ("Next_Call__c = 2026-03-29T00:30:00Z", ["a_c"]),
        ("Next_Call__c >= 2026-03-29T01:00:00.000+00:30 AND Next_Call__c < 2026-03-30T00:00:00-00:00", ["a_c"]),
        ("Interests__c INCLUDES ('Analytics;Mobile')", ["abc"]),
        ("Interests__c INCLUDES ('Analytics', 'Mobile')", ["ABD", "abc"]),
        ("Interests__c = 'Analytics;Mobile'", ["abc"]),
        ("Account.Industry = 'banking'", ["O'Hara \\ 100%"]),
        ("Account.Name = null AND Interests__c = null", ["Zed", "a_c"]),
        ("AccountId IN (SELECT Id FROM Account WHERE Industry = 'Banking')", ["O'Hara \\ 100%"]),
        ("CreatedDate = THIS_YEAR AND CreatedDate = LAST_N_DAYS:2 AND CreatedBy.Name != 'Nobody'",
         ["ABD", "O'Hara \\ 100%", "Zed", "a_c", "abc"]),
    ],
)  # fmt: skip
def test_conditions(find, some, condition, names):
    found = find(f"SELECT LastName FROM Contact WHERE Title = '{some}' AND ({condition})")["records"]
    assert sorted(r["LastName"] for r in found) == names


def test_order_nulls_limit_offset(find, some):
    where = f"FROM Contact WHERE Title = '{some}'"
    ascending = find(f"SELECT LastName, Birthdate {where} ORDER BY Birthdate, LastName DESC")["records"]
    assert [r["Birthdate"] for r in ascending] == [None] * 4 + ["1990-01-31"]
    assert [r["LastName"] for r in ascending[:2]] == ["Zed", "O'Hara \\ 100%"]
    last = find(f"SELECT Birthdate {where} ORDER BY Birthdate ASC NULLS LAST LIMIT 1")["records"]
    assert last[0]["Birthdate"] == "1990-01-31"
    assert [
        r["LastName"] for r in find(f"SELECT LastName {where} ORDER BY LastName LIMIT 2 OFFSET 1")["records"]
    ] == ["abc", "ABD"]


def test_ids_of_15_and_18_characters(find):
    full = find("SELECT Id FROM Contact LIMIT 1")["records"][0]["Id"]
    assert len(full) == 18
    for spelling in (full, full[:15]):
        assert find(f"SELECT Id FROM Contact WHERE Id = '{spelling}'")["records"][0]["Id"] == full


def test_parents_and_children(find, some):
    [account] = find(f"SELECT Name, Owner.Name, (SELECT Id, LastName FROM Contacts), (SELECT Id FROM Opportunities) "
                     f"FROM Account WHERE Name = '{some} Ltd'")["records"]  # fmt: skip
    assert account["Opportunities"] is None
    assert (account["Contacts"]["totalSize"], account["Contacts"]["done"]) == (1, True)
    assert account["Contacts"]["records"][0]["LastName"] == "O'Hara \\ 100%"
    assert account["Owner"]["attributes"]["type"] == "User"
    orphan = find(f"SELECT Account.Owner.Name FROM Contact WHERE Title = '{some}' AND LastName = 'zed'")[
        "records"
    ][0]
    assert orphan["Account"] is None


def test_aggregates(find, some):
    where = f"FROM Contact WHERE Title = '{some}'"
    assert find(f"SELECT COUNT() {where}") == {"totalSize": 5, "done": True, "records": []}
    grouped = find(f"SELECT Opted_Out__c, COUNT(Id) {where} GROUP BY Opted_Out__c ORDER BY COUNT(Id) DESC")[
        "records"
    ]
    assert grouped == [
        {"attributes": {"type": "AggregateResult"}, "Opted_Out__c": False, "expr0": 4},
        {"attributes": {"type": "AggregateResult"}, "Opted_Out__c": True, "expr0": 1},
    ]
    having = find(f"SELECT Opted_Out__c o, COUNT(Id) n {where} GROUP BY Opted_Out__c HAVING COUNT(Id) > 1")[
        "records"
    ]
    assert having == [{"attributes": {"type": "AggregateResult"}, "o": False, "n": 4}]


def test_fields_function(find):
    record = find("SELECT FIELDS(STANDARD) FROM Account LIMIT 1")["records"][0]
    assert {"Id", "Name", "SystemModstamp"} <= set(record)
    assert "crm_sync_id__c" not in record
    custom = find("SELECT FIELDS(CUSTOM) FROM Contact LIMIT 1")["records"][0]
    assert set(custom) == {"attributes", "crm_sync_id__c", "Interests__c", "Next_Call__c", "Opted_Out__c"}


@pytest.mark.parametrize(
    ("soql", "code", "message"),
    [
        ("SELECT Id FROM Contact WHERE LastName = 'a' AND Email = 'b' OR Title = 'c'", "MALFORMED_QUERY", "unexpected token: 'OR'"),
        ("SELECT * FROM Contact", "MALFORMED_QUERY", "unexpected token: '*'"),
        ("SELECT Id FROM Contact WHERE", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT Id FROM Contact WHERE Email IS NULL", "MALFORMED_QUERY", "unexpected token: 'IS'"),
        ("SELECT Id FROM Contact WHERE LastName = 'a\\q'", "MALFORMED_QUERY", "Illegal escape"),
        ("SELECT Id FROM Contact WHERE LastName IN ()", "MALFORMED_QUERY", "unexpected token: ')'"),
        ("SELECT FIELDS(ALL) FROM Contact", "MALFORMED_QUERY", "LIMIT of at most 200"),
        ("SELECT Foo FROM Contact", "INVALID_FIELD", "No such column 'Foo' on entity 'Contact'"),
        ("SELECT Boss.Name FROM Contact", "INVALID_FIELD", "Didn't understand relationship 'Boss'"),
        ("SELECT Id FROM Foo", "INVALID_TYPE", "sObject type 'Foo' is not supported"),
        ("SELECT Id, (SELECT Id FROM Foos) FROM Account", "INVALID_TYPE", "Didn't understand relationship 'Foos'"),
        ("SELECT Id FROM Contact WHERE CreatedDate > '2026-01-01T00:00:00Z'", "INVALID_FIELD", "must be of type dateTime"),
        ("SELECT Id FROM Contact WHERE LastName = 5", "INVALID_FIELD", "must be of type string and should be enclosed"),
        ("SELECT Id FROM Contact WHERE Description = 'x'", "INVALID_FIELD", "can not be filtered in a query call"),
        ("SELECT Id FROM Contact WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: x"),
        ("SELECT Id FROM Contact LIMIT 1 OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"),
        ("SELECT Name, COUNT(Id) FROM Account", "MALFORMED_QUERY", "must be grouped or aggregated"),
    ],
)  # fmt: skip
def test_mistakes(find, soql, code, message):
    [error] = find(soql, expect=400)
    assert error["errorCode"] == code
    assert message in error["message"]


def test_deleted_rows_need_query_all(api, find):
    gone = api.post("/sobjects/Contact", json={"LastName": "Soon gone"}).json()["id"]
    assert api.delete(f"/sobjects/Contact/{gone}").status_code == 204
    soql = f"SELECT Id, IsDeleted FROM Contact WHERE Id = '{gone}'"
    assert find(soql)["totalSize"] == 0
    assert find(soql, "/queryAll")["records"][0]["IsDeleted"] is True


def test_keyset_by_stamp_and_id_sees_every_row_once(find):
    seen = []
    where = ""
    while True:
        page = find(f"SELECT Id, SystemModstamp FROM Contact {where} ORDER BY SystemModstamp, Id LIMIT 200")[
            "records"
        ]
        if not page:
            break
        seen += [r["Id"] for r in page]
        at, last = page[-1]["SystemModstamp"].replace("+0000", "Z"), page[-1]["Id"]
        where = f"WHERE (SystemModstamp = {at} AND Id > '{last}') OR SystemModstamp > {at}"
    assert len(seen) == len(set(seen)) == find("SELECT COUNT() FROM Contact")["totalSize"]


def test_locators_expire(api, salesforce, find):
    first = api.get(
        "/query", params={"q": "SELECT Id FROM Contact"}, headers={"Sforce-Query-Options": "batchSize=200"}
    ).json()
    assert first["nextRecordsUrl"].endswith("-200")
    salesforce.control("expire", {"what": "locators"})
    answer = api.get(salesforce.base_url + first["nextRecordsUrl"])
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_hidden_fields_do_not_exist(api, salesforce):
    masked = salesforce.control("tokens", {"hidden": {"Contact": ["Phone"]}})["access_token"]
    headers = {"Authorization": f"Bearer {masked}"}
    described = api.get("/sobjects/Contact/describe", headers=headers).json()["fields"]
    assert "Phone" not in {f["name"] for f in described}
    answer = api.get("/query", params={"q": "SELECT Phone FROM Contact"}, headers=headers)
    assert "No such column 'Phone'" in answer.json()[0]["message"]
    assert api.get("/query", params={"q": "SELECT Phone FROM Contact LIMIT 1"}).status_code == 200
