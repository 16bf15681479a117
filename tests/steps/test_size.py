"""Large writes to a simulated Salesforce: rejections, rewriting, failing jobs, lost answers; nothing lost or doubled."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from crm_sync.core.errors import CrmError
from crm_sync.simulators.serve import Simulator
from tests.steps.org import Place

ROWS = 2_000


@pytest.fixture
def place(org: Simulator, fresh_database_url: str) -> Iterator[Place]:
    before = org.control("settings")
    found = Place(org, fresh_database_url, above=500)
    yield found
    found.crm.close()
    found.conn.close()
    org.control("faults", [])
    org.control("settings", before)


def refuse(org: Simulator) -> None:
    rule = {"object": "Contact", "field": "FirstName", "pattern": "^Refused", "message": "not like this"}
    org.control("settings", {"validation_rules": [rule]})


@pytest.mark.parametrize(
    "number", [ROWS, pytest.param(100_000, marks=pytest.mark.slow)], ids=["2,000", "100,000"]
)
def test_exactly_the_rejected_rows_are_parked_and_all_others_confirmed(place: Place, number: int) -> None:
    place.people(number, refused=100)
    refuse(place.org)
    bad = {str(r[0]) for r in place.conn.execute("select id from hub.contact where first_name = 'Refused'")}
    assert len(bad) == number // 100
    created = place.send()
    assert (created.counts["created"], created.counts["parked"]) == (number - len(bad), len(bad))
    assert created.calls.get("collections", 0) <= 1, (
        "they are read back in one call, or with the next reading"
    )
    check_parked(place, bad)
    assert place.theirs() == {key: row for key, row in place.ours().items() if key not in bad}
    place.conn.execute("update hub.contact set last_name = last_name || '!', first_name = 'Refused' where id in"
                       " (select hub_id from salesforce.contact_base order by hub_id limit %s)", [len(bad)])  # fmt: skip
    place.conn.execute("update hub.contact set last_name = last_name || '?' where first_name <> 'Refused'")
    worse = {str(r[0]) for r in place.conn.execute("select id from hub.contact where first_name = 'Refused'")}
    assert len(worse) == 2 * len(bad)
    updated = place.send()
    assert (updated.counts["updated"], updated.counts["parked"]) == (
        number - len(worse),
        len(worse) - len(bad),
    )
    check_parked(place, worse)
    theirs = place.theirs()
    assert {k: theirs[k] for k in theirs if k not in worse} == {
        k: row for k, row in place.ours().items() if k not in worse
    }
    quiet(place, but=worse)


def check_parked(place: Place, bad: set[str]) -> None:
    parked = place.conn.execute(
        "select record_id, code, reason from sync.parked where side = 'hub'"
    ).fetchall()
    assert {row[0] for row in parked} == bad
    assert {row[1:] for row in parked} == {("FIELD_CUSTOM_VALIDATION_EXCEPTION", "not like this")}
    assert place.one("select count(*) from sync.intent") == 0
    assert place.one("select count(*) from sync.job") == 0


def quiet(place: Place, but: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """After two syncs nothing is written any more, and all sides agree."""
    for _ in range(2):
        place.sync()
    reports = place.sync()
    for name in ("created", "updated"):
        assert reports["outbound"].counts[name] == 0
    assert reports["hub"].counts["updated"] == 0
    assert place.one("select count(*) from sync.intent") == 0
    ours = {k: v for k, v in place.ours().items() if k not in but}
    theirs = place.theirs()
    assert {k: v for k, v in theirs.items() if k not in but} == {k: v for k, v in ours.items() if k in theirs}
    assert ours.keys() <= theirs.keys()


def test_what_the_vendor_rewrites_in_a_large_write_comes_in_with_the_next_reading(place: Place) -> None:
    place.people(2_100)
    rule = {"object": "Contact", "field": "LastName", "pattern": "^Name 7$", "replace": "Number seven"}
    place.org.control("settings", {"automations": [rule]})
    report = place.send()
    assert report.counts["created"] == 2_100
    assert "collections" not in report.calls
    assert place.one("select count(*) from hub.contact where last_name = 'Number seven'") == 0
    place.sync()
    assert place.one("select count(*) from hub.contact where last_name = 'Number seven'") == 1
    quiet(place)


def test_a_small_write_is_read_back_at_once(place: Place) -> None:
    place.people(300)
    report = place.send()
    assert report.calls["collections"] == 2 + 1  # 300 in two calls, read back in one
    assert place.one("select count(*) from salesforce.contact where modified_at is null") == 0


@pytest.mark.parametrize(
    "faults",
    [
        [{"event": "bulk job", "match": {"subject": "ingest"}, "limit": 1, "do": {"state": "Failed"}}],
        [{"event": "bulk job", "match": {"subject": "ingest"}, "limit": 1, "do": {"state": "Aborted"}}],
        [{"match": {"method": "GET", "path": "/successfulResults"}, "limit": 1, "effect": {"act": {"expire": "results"}}}],
        [{"match": {"method": "GET", "path": "/jobs/ingest/.+/successfulResults"}, "limit": 1, "effect": {"rows": "lose"}}],
        [{"match": {"method": "GET", "path": "/jobs/ingest/.+/successfulResults"}, "limit": 9, "effect": {"truncate": 0.6}}],
        [{"match": {"method": "GET", "path": "/jobs/ingest/.+/successfulResults"}, "limit": 1, "effect": {"bad_gzip": True}}],
        [{"match": {"method": "GET", "path": "/jobs/ingest/.+/successfulResults"}, "limit": 1, "effect": {"html": True}}],
        [{"match": {"method": "PUT", "path": "/batches"}, "limit": 1, "effect": {"act": {"expire": "sessions"}}}],
        [{"match": {"method": "PUT", "path": "/batches"}, "limit": 1, "effect": {"drop": "after"}}],
        [{"match": {"method": "PATCH", "path": "/jobs/ingest"}, "limit": 1, "effect": {"drop": "after"}}],
        [{"event": "row lock", "match": {"subject": "Contact"}, "probability": 0.02, "limit": 30}],
    ],
    ids=["failed", "aborted half-way", "expired", "rows lost", "broken off", "no gzip", "a web page", "session ends",
         "upload without answer", "start without answer", "locks"],
)  # fmt: skip
def test_a_large_write_in_trouble_ends_as_if_there_had_been_none(
    place: Place, faults: list[dict[str, Any]]
) -> None:
    place.people(600)
    place.org.control("faults", faults)
    for _ in range(3):
        try:
            place.sync()
        except CrmError:
            continue
    assert all(fault["hits"] for fault in place.org.control("faults"))
    place.org.control("faults", [])
    quiet(place)
    assert place.one("select count(*) from salesforce.contact_base") >= 600


@pytest.mark.parametrize(
    "effect",
    [{"drop": "before"}, {"drop": "after"}, {"late": 0.2}, {"truncate": 0.5}, {"html": True}, {"bad_gzip": True},
     {"status": 413}, {"status": 500}, {"act": {"expire": "sessions"}}],
    ids=str,
)  # fmt: skip
def test_small_calls_in_trouble_lose_and_double_nothing(place: Place, effect: dict[str, Any]) -> None:
    place.people(450)
    fault = {
        "match": {"method": "PATCH", "path": "/composite/sobjects"},
        "after": 1,
        "limit": 1,
        "effect": effect,
    }
    place.org.control("faults", [fault])
    for _ in range(2):
        try:
            place.sync()
        except CrmError:
            continue
    assert place.org.control("faults")[0]["hits"] == 1
    time.sleep(0.25 if "late" in effect else 0)
    quiet(place)
    assert len(place.theirs()) >= 450
