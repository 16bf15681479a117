"""Reading from the simulator: large windows, lag, long property lists, merges, the price of each way."""

import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from crm_sync.connectors.crm import CRM_ID, DELETED, HUB_ID, MERGED_INTO, MODIFIED_AT, ReadRequest, Window
from crm_sync.connectors.hubspot import reading, search
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import Condition, Operator
from crm_sync.simulators.serve import running
from tests.connectors.hubspot.conftest import COMPANY, CONTACT, DEAL, field, hasty, stream
from tests.contract.kit import Log, by_id, create, read, records, write

NAMES = stream("contact", "contacts", field("last_name", "lastname"), external_id=None)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def people(count):
    tag = uuid4().hex[:8]
    return [
        create(CONTACT, {"last_name": f"{tag} {n}", "email": f"{tag}.{n}@example.com"}) for n in range(count)
    ]


def ids(results):
    return {result.crm_id for result in results.values()}


def test_list_and_search_tell_the_same(crm):
    assert by_id(read(crm, CONTACT)) == by_id(read(crm, CONTACT, LONG_AGO))
    assert by_id(read(crm, DEAL)) == by_id(read(crm, DEAL, LONG_AGO))


def test_the_price_of_reading(crm):
    before = dict(crm.calls)
    count = len(read(crm, CONTACT))
    listed = {family: crm.calls[family] - before.get(family, 0) for family in crm.calls}
    assert listed["list"] == -(-count // 100) + 1  # and one for the recycle bin
    before = dict(crm.calls)
    read(crm, CONTACT, LONG_AGO)
    assert crm.calls["search"] - before["search"] <= count // 190 + 1
    assert crm.calls["associations"] - before["associations"] == 1
    before = dict(crm.calls)
    assert read(crm, CONTACT, datetime.now(UTC) + timedelta(seconds=30)) == []
    assert crm.calls["search"] - before["search"] == 1
    assert sum(crm.calls.values()) - sum(before.values()) == 1


def test_a_window_with_more_records_than_a_search_can_show():
    with running("hubspot", records=10_400) as simulator:
        simulator.control("settings", {"burst_private": 100_000, "search_per_second": 100_000})
        crm = hasty(simulator)
        names = stream("contact", "contacts", field("last_name", "lastname"), external_id=None)
        found = [row[CRM_ID] for row in read(crm, names, LONG_AGO)]
        crm.close()
    assert len(set(found)) == len(found) == 10_400


def test_many_records_of_one_millisecond(crm, monkeypatch):
    written = ids(write(crm, CONTACT, people(100)))
    stamps = {r[CRM_ID]: r[MODIFIED_AT] for r in read(crm, CONTACT, LONG_AGO) if r[CRM_ID] in written}
    busiest = max(list(stamps.values()).count(at) for at in set(stamps.values()))
    assert busiest > 2, "the simulator writes a batch within few milliseconds"
    monkeypatch.setattr(search, "PAGE", busiest - 1)
    seen = [r[CRM_ID] for r in read(crm, CONTACT, datetime.fromisoformat(min(stamps.values())))]
    assert written <= set(seen)
    assert len(seen) == len(set(seen))


def test_what_search_did_not_show_yet_is_seen_by_the_second_look(joined, calm):
    crm = joined(search_lag=60)
    calm.control("settings", {"index_lag": 1500})
    told = {"object": "contacts", "properties": {"lastname": "Late", "email": f"{uuid4().hex}@example.com"}}
    crm_id = calm.control("edit", told)["id"]
    assert crm_id not in by_id(read(crm, CONTACT, datetime.now(UTC) - timedelta(seconds=5)))
    calm.control("clock", {"advance": 2})
    told["properties"]["email"] = f"{uuid4().hex}@example.com"
    later = calm.control("edit", told)["id"]
    calm.control("clock", {"advance": 2})
    (seen,) = records(crm.by_ids(CONTACT, [later]))
    watermark = datetime.fromisoformat(seen[MODIFIED_AT])
    assert crm_id not in by_id(read(crm, CONTACT, watermark))
    assert crm_id in by_id(read(crm, CONTACT, watermark - crm.overlap))


@pytest.mark.parametrize("rows", ["lose", "repeat", "shuffle"])
def test_searches_with_wrong_rows_lose_nothing(crm, calm, monkeypatch, rows):
    monkeypatch.setattr(search, "PAGE", 40)
    whole = by_id(read(crm, CONTACT, LONG_AGO))
    assert len(whole) > 80
    fault = {"match": {"path": "/search$"}, "every": 3, "effect": {"rows": rows}}
    calm.control("faults", [fault])
    assert by_id(read(crm, CONTACT, LONG_AGO)) == whole
    assert calm.control("faults")["faults"][0]["hits"] > 0


def test_a_search_by_id_that_stays_short_leaves_nobody_out(joined, calm):
    """What it counts and does not show would pass for records that left the filter."""
    crm = joined(sleep=lambda _: None)
    known = list(by_id(read(crm, CONTACT, LONG_AGO)))
    filtered = replace(CONTACT, filters=(Condition("lastname", Operator.IS_NOT_BLANK),))
    whole = crm.fulfilling(filtered, known)
    assert len(whole) > 20
    calm.control("faults", [{"match": {"path": "/search$"}, "every": 1, "effect": {"rows": "lose"}}])
    with pytest.raises(CrmError, match="showed fewer records") as told:
        crm.fulfilling(filtered, known)
    assert told.value.error_class is ErrorClass.TRANSIENT


def test_the_overlap_covers_the_lag(joined):
    assert joined(search_lag=600).overlap == timedelta(minutes=15)
    assert joined().overlap >= timedelta(minutes=5)


def test_properties_that_do_not_fit_into_a_url_or_a_search(crm, monkeypatch):
    whole = by_id(read(crm, CONTACT))
    monkeypatch.setattr(reading, "MAX_QUERY", 50)
    monkeypatch.setattr(search, "MAX_BODY", 100)
    before = crm.calls.get("batch_read", 0)
    assert by_id(read(crm, CONTACT)) == whole
    assert by_id(read(crm, CONTACT, LONG_AGO)) == whole
    assert crm.calls["batch_read"] - before == 2 * -(-len(whole) // 100)


def test_a_url_that_hubspot_finds_too_long(crm, calm):
    whole = by_id(read(crm, CONTACT))
    fault = {
        "match": {"method": "GET", "path": "/objects/", "query": "properties="},
        "effect": {"status": 414},
    }
    calm.control("faults", [fault])
    assert by_id(read(crm, CONTACT)) == whole


def test_a_maintenance_page_is_asked_for_again(joined, calm):
    naps = []
    crm = joined(sleep=naps.append)
    calm.control(
        "faults", [{"match": {"path": "/objects/.*/companies$"}, "limit": 2, "effect": {"html": True}}]
    )
    assert read(crm, COMPANY)
    assert calm.control("faults")["faults"][0]["hits"] == 2
    assert naps
    calm.control("faults", [{"match": {"path": "/objects/.*/companies$"}, "effect": {"html": True}}])
    with pytest.raises(CrmError) as caught:
        read(crm, COMPANY)
    assert caught.value.error_class is ErrorClass.TRANSIENT


def test_a_full_read_with_a_filter_goes_by_search(crm):
    (result,) = write(crm, CONTACT, people(1)).values()
    name = records(crm.by_ids(CONTACT, [result.crm_id]))[0]["lastname"]
    filtered = stream(
        "contact", "contacts", *CONTACT.fields, filters=(Condition("lastname", Operator.EQ, (name,)),)
    )
    before = crm.calls["search"]
    assert {r[CRM_ID] for r in read(crm, filtered) if r[DELETED] == "false"} == {result.crm_id}
    assert crm.calls["search"] - before == 1


def test_a_filter_names_stages_by_name(crm):
    condition = Condition("dealstage", Operator.IN, ("Closed Won", "Closed Lost"))
    found = read(crm, stream("deal", "deals", *DEAL.fields, filters=(condition,)))
    assert {r["dealstage"] for r in found if r[DELETED] == "false"} == {"Closed Won", "Closed Lost"}


def test_a_property_that_the_account_does_not_have_is_absent_not_blank(crm):
    strange = stream("contact", "contacts", field("a", "lastname"), field("b", "no_such_property"))
    row = read(crm, strange, limit=1)[0]
    assert "lastname" in row
    assert "no_such_property" not in row


def test_a_property_that_is_archived_after_it_was_described_is_absent_not_blank():
    archiving = {
        "name": "archived",
        "match": {"path": "/objects/"},
        "probability": 1,
        "limit": 1,
        "effect": {"act": {"hide": {"object": "contacts", "property": "lastname"}, "seconds": 600}},
    }
    with running("hubspot", records=20) as simulator:
        crm = hasty(simulator)
        assert "lastname" in read(crm, CONTACT, limit=1)[0]
        simulator.control("faults", [archiving])
        for rows in (read(crm, CONTACT), read(crm, CONTACT, LONG_AGO)):
            assert rows
            assert not any("lastname" in row for row in rows)
            assert all("email" in row for row in rows)
        crm.close()


def test_without_the_external_id_property_pages_have_no_hub_id(crm):
    (row,) = read(
        crm, stream("contact", "contacts", field("a", "lastname"), external_id="not_set_up"), limit=1
    )
    assert HUB_ID not in row


def test_losers_of_a_merge_are_told_with_the_survivor_wherever_it_is_read(crm, simulator):
    primary, other = sorted(ids(write(crm, CONTACT, people(2))))
    survivor = simulator.control("do/merge", {"object": "contacts", "primary": primary, "other": other})["id"]
    for found in (read(crm, CONTACT), read(crm, CONTACT, LONG_AGO)):
        assert by_id(found)[other][MERGED_INTO] == survivor
    # The loser comes first: who survived a merge with a new id must not be taken for a new record.
    assert [row[CRM_ID] for row in records(crm.by_ids(CONTACT, [survivor]))] == [other, survivor]
    assert other not in by_id(records(crm.deleted(CONTACT, Window(LONG_AGO))))


def test_an_archived_record_is_looked_up_as_deleted(crm, simulator):
    (crm_id,) = ids(write(crm, CONTACT, people(1)))
    simulator.control("do/archive", {"object": "contacts", "id": crm_id})
    (row,) = records(crm.by_ids(CONTACT, [crm_id]))
    assert row[DELETED] == "true"
    assert records(crm.by_ids(CONTACT, ["123456789"])) == []


def test_what_nobody_asked_for_is_not_read(crm):
    before = dict(crm.calls)
    pages = crm.deleted(CONTACT, Window(LONG_AGO))
    assert crm.calls == before
    pages.close()


def test_look_ups_are_side_by_side_and_come_in_order(crm, calm, monkeypatch, under_way):
    monkeypatch.setattr(reading, "BATCH", 10)
    known = sorted(by_id(read(crm, CONTACT)), key=int)[:100]
    watched = under_way(crm)
    calm.control("faults", [{"match": {"path": "/batch/read"}, "effect": {"delay": 0.05}}])
    before = Counter(crm.calls)
    found = [row[CRM_ID] for row in records(crm.by_ids(NAMES, known))]
    calls = Counter(crm.calls) - before
    assert [sorted(found[n : n + 10], key=int) for n in range(0, 100, 10)] == [
        known[n : n + 10] for n in range(0, 100, 10)
    ]
    assert calls == {"batch_read": 10}
    assert 3 <= watched.most <= reading.LOOK_UPS


def test_the_associations_of_looked_up_records_are_read_by_the_thousand(crm, monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 10)
    whole = by_id(read(crm, DEAL))
    before = Counter(crm.calls)
    assert by_id(records(crm.by_ids(DEAL, sorted(whole)[:100]))).items() <= whole.items()
    assert (Counter(crm.calls) - before)["associations"] == 2  # one for each field


def test_a_search_is_ahead_of_its_reader_by_a_few_pages_only(crm, monkeypatch):
    monkeypatch.setattr(search, "PAGE", 10)
    before = Counter(crm.calls)
    pages = crm.changed(ReadRequest(NAMES, Window(LONG_AGO, None)), Log())
    next(pages)
    pages.close()
    assert (Counter(crm.calls) - before)["search"] <= 1 + reading.SEARCHES
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
