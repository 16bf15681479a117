"""A whole list is read in ranges side by side: every record once, whatever happens to the account meanwhile."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crm_sync.connectors.build import Options
from crm_sync.connectors.crm import CRM_ID, DELETED, ReadRequest
from crm_sync.connectors.http import TransportSettings
from crm_sync.connectors.hubspot import listing
from crm_sync.connectors.hubspot.crm import connect
from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.simulators.serve import running
from tests.connectors.hubspot.conftest import field, hasty, stream
from tests.contract.kit import Crash, Log, by_id, read, records, taken

NAMES = stream("contact", "contacts", field("last_name", "lastname"), external_id=None)
COUNT = 3_000


@pytest.fixture(scope="module")
def large():
    with running("hubspot", records=COUNT) as found:
        found.control("settings", {"burst_private": 100_000, "search_per_second": 100_000})
        yield found


@pytest.fixture
def account(large):
    yield large
    large.control("faults", [])


@pytest.fixture
def crm(account, monkeypatch):
    monkeypatch.setattr(listing, "RANGE", 300)
    monkeypatch.setattr(listing, "_SMALL_RANGE", 300)
    made = hasty(account)
    yield made
    made.close()


def test_every_record_comes_once(crm):
    before = Counter(crm.calls)
    found = [row[CRM_ID] for row in read(crm, NAMES) if row[DELETED] == "false"]
    assert len(found) == len(set(found)) == COUNT
    calls = Counter(crm.calls) - before
    assert calls["list"] == COUNT // 100 + 1, "no page is read twice; one for the recycle bin"
    assert calls["search"] <= COUNT // 300 + 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_pages_are_on_their_way_side_by_side(crm, account, under_way):
    calls = under_way(crm)
    account.control("faults", [{"match": {"path": "/objects/"}, "effect": {"delay": 0.05}}])
    assert len(by_id(read(crm, NAMES))) >= COUNT
    assert 4 <= calls.most <= listing.THREADS + 1


def read_into(seen, crm, log):
    for found in taken(crm.changed(ReadRequest(NAMES), log), log):
        seen += found


def test_an_interrupted_read_goes_on_behind_the_last_range(crm):
    whole = by_id(read(crm, NAMES))
    for crash_at in (1, 2, 5):
        log, seen = Log(crash_at), []
        with pytest.raises(Crash):
            read_into(seen, crm, log)
        before = Counter(crm.calls)
        rest = read(crm, NAMES, job=log.state)
        assert (Counter(crm.calls) - before)["list"] <= (COUNT - len(seen)) // 100 + 4
        assert not by_id(seen).keys() & by_id(rest).keys()
        assert by_id(seen) | by_id(rest) == whole


def test_what_others_do_meanwhile_loses_and_doubles_nothing(crm, account):
    """Records are created, edited and archived all the while; those that nobody touched come exactly once."""
    before = {row[CRM_ID] for row in read(crm, NAMES) if row[DELETED] == "false"}
    victims, edited = sorted(before)[::97], sorted(before)[50::97]
    stop, made = threading.Event(), []

    def meddle() -> None:
        for number, (victim, other) in enumerate(zip(victims, edited, strict=False)):
            if stop.is_set():
                return
            account.control("do/archive", {"object": "contacts", "id": victim})
            change = {"object": "contacts", "id": other, "properties": {"lastname": f"Edited {number}"}}
            account.control("edit", change)
            new = {"lastname": f"New {number}", "email": f"new.{time.time_ns()}@example.com"}
            made.append(account.control("edit", {"object": "contacts", "properties": new})["id"])

    account.control("faults", [{"match": {"path": "/objects/"}, "effect": {"delay": 0.02}}])
    started = datetime.now(UTC)
    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        found = [row[CRM_ID] for row in read(crm, NAMES) if row[DELETED] == "false"]
    finally:
        stop.set()
        thread.join()
    assert made, "something happened meanwhile"
    assert max(Counter(found).values()) == 1
    assert before - set(victims) <= set(found)
    late = {row[CRM_ID] for row in read(crm, NAMES, started.replace(microsecond=0))}
    assert set(made) <= set(found) | late, "what came too late for the list is in the next window"


def test_a_cursor_that_is_refused_now_and_then(crm, account):
    refusal = {"status": "error", "message": "Invalid after", "category": "VALIDATION_ERROR"}
    fault = {"match": {"method": "GET", "query": "after=[1-9]"}, "every": 10}
    account.control("faults", [fault | {"effect": {"status": 400, "body": refusal}}])
    found = [row[CRM_ID] for row in read(crm, NAMES) if row[DELETED] == "false"]
    assert len(found) == len(set(found)) == len(by_id(read(crm, NAMES))) - len(gone(crm))


def gone(crm):
    return [row for row in read(crm, NAMES) if row[DELETED] == "true"]


def test_tokens_that_expire_all_the_while(account, monkeypatch):
    """Eight threads hold the same dead token; one renews it, and each call is made again."""
    monkeypatch.setattr(listing, "RANGE", 300)
    monkeypatch.setattr(listing, "_SMALL_RANGE", 300)
    info = account.info
    auth = {name: info[name] for name in ("client_id", "client_secret", "refresh_token")}
    told = {"base_url": account.base_url, "auth": {"grant": "refresh_token", **auth}}
    settings = TransportSettings(ca_bundle=Path(account.ca_file or ""))
    account.control("settings", {"rotate_refresh_tokens": True, "burst_oauth": 100_000})
    crm = connect("hubspot", Options("hubspot.yaml", told), MemoryTokenStore(), settings)
    crm.describe("contacts")
    expiry = {"match": {"method": "GET", "path": "/objects/"}, "every": 7}
    account.control("faults", [expiry | {"effect": {"act": {"expire": "access_tokens"}}}])
    found = [row[CRM_ID] for row in read(crm, NAMES) if row[DELETED] == "false"]
    assert len(found) == len(set(found)) >= COUNT
    assert account.control("faults")["faults"][0]["hits"] > 3
    crm.close()


class Pages:
    """A list whose cursors are what a test makes of them, and an api that answers with it."""

    def __init__(self, cursor, *, start=lambda after: int(after)) -> None:
        self.ids = list(range(1, 1001))
        self.cursor = cursor
        self.start = start
        self.lists = 0
        self.paths = self
        self.transport = self
        self.settings = self

    def sleep(self, _seconds):
        pass

    def objects(self, _name):
        return "list"

    def search(self, _name):
        return "search"

    def get(self, _path, _family, asked):
        self.lists += 1
        after = asked.get("after")
        begin = 1 if after is None else self.start(after)
        found = [i for i in self.ids if i >= begin][: int(asked["limit"]) + 1]
        page = {"results": [{"id": str(i)} for i in found[: int(asked["limit"])]]}
        if len(found) > int(asked["limit"]):
            page["paging"] = {"next": {"after": self.cursor(found[-1])}}
        return page

    def read(self, _path, _family, body):
        low, behind = int(body["filterGroups"][0]["filters"][0]["value"]), int(body["after"])
        found = [i for i in self.ids if i >= low]
        return {"total": len(found), "results": [{"id": str(i)} for i in found[behind : behind + 1]]}


def listed(pages, after=None):
    made = listing.Listing(pages, "contacts", {}, thin=False)
    return [
        int(r["id"]) for found, _ in made.ranges(after, lambda page: page) for part in found for r in part
    ]


def test_cursors_that_are_no_ids_are_followed_one_by_one():
    assert listed(Pages(lambda i: f"x{i}", start=lambda after: int(after[1:]))) == list(range(1, 1001))


def test_cursors_that_mean_the_last_record_are_followed_one_by_one():
    """HubSpot could name the last record of a page instead of the next; a range would then lack its first."""
    pages = Pages(lambda i: str(i - 1), start=lambda after: int(after) + 1)
    assert listed(pages) == list(range(1, 1001))


def test_cursors_of_ours_that_are_refused_are_not_used():
    given = set()

    def cursor(i):
        given.add(str(i))
        return str(i)

    def start(after):
        if after not in given:
            raise CrmError(ErrorClass.VALIDATION, "not mine", status=400)
        return int(after)

    found = listed(Pages(cursor, start=start))
    assert sorted(set(found)) == list(range(1, 1001))


def test_a_search_that_is_far_behind_only_makes_the_last_range_longer():
    pages = Pages(str)
    index = Pages(str)
    index.ids = [1, 150, 151, 152, 700, *range(2000, 4000)]
    pages.read = index.read
    assert listed(pages) == list(range(1, 1001))


def test_ranges_get_smaller_towards_the_end(monkeypatch):
    monkeypatch.setattr(listing, "RANGE", 200)
    monkeypatch.setattr(listing, "_SMALL_RANGE", 100)
    pages = Pages(str)
    made = listing.Listing(pages, "contacts", {}, thin=False)
    ranges = list(made.ranges(None, len))
    assert [sum(sizes) for sizes, _ in ranges] == [200, 200, 200, 100, 100, 100, 100]
    assert [behind for _, behind in ranges] == ["201", "401", "601", "701", "801", "901", None]
    assert pages.lists == 10, "no page is read twice"


def test_the_rows_of_a_range_are_one_page(crm):
    pages = list(crm.changed(ReadRequest(NAMES), Log()))
    assert max(page.batch.num_rows for page in pages) >= 300
    assert len(records(pages)) >= COUNT
