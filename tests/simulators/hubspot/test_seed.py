"""Records that are computed until they are written: alone and in blocks, linked both ways, found by value and stamp."""

import gc

import pytest

from crm_sync.simulators.hubspot import seed, writes
from crm_sync.simulators.hubspot.objects import person
from crm_sync.simulators.hubspot.store import Store

KINDS = ("contacts", "companies", "deals")


@pytest.fixture
def store():
    made = Store(7)
    seed.fill(made, 2600, 416, 780, 7)
    return made


@pytest.mark.parametrize("name", KINDS)
def test_a_record_alone_is_the_record_in_its_block_and_among_strangers(store, name):
    live = store.tables[name].live
    together = list(live.values())
    assert [live[record.id] for record in together] == together
    strangers = [record.id for record in together[::50]]
    assert live.many(strangers) == together[::50]
    assert len(together) == len(live) > 0
    assert live.page(together[5].id, 10) == (together[5:15], together[15].id)


def test_links_are_the_same_seen_from_both_ends(store):
    for source, target in (("contacts", "companies"), ("deals", "companies"), ("deals", "contacts")):
        there = {
            (one, other)
            for one in store.tables[source].live.numbers(0)
            for other in store.links.of(source, one, target)
        }
        back = {
            (other, one)
            for one in store.tables[target].live.numbers(0)
            for other in store.links.of(target, one, source)
        }
        assert there == back != set()


def test_addresses_are_found_without_an_index_and_follow_what_is_written(store):
    table = store.tables["contacts"]
    kind, taken = table.kind, table.unique["email"]
    records = list(table.live.values())
    assert [taken.get(record.values["email"]) for record in records] == [record.id for record in records]
    assert taken.get("nobody.at.all.3@mail1.example") is None
    record = table.live[records[0].id]
    old = record.values["email"]
    writes.update(store, kind, record, {"email": "new@mail.example"}, person())
    assert (taken.get(old), taken.get("new@mail.example")) == (None, record.id)
    writes.archive(store, kind, record, person())
    assert taken.get("new@mail.example") is None
    assert record.id not in table.live
    assert [r.id for r in table.live.page(0, 2)[0]] == [records[1].id, records[2].id]
    assert store.links.of("contacts", record.id, "companies") == {}
    writes.restore(store, kind, record, person())
    assert [r.id for r in table.live.page(0, 2)[0]] == [record.id, records[1].id]


def test_what_is_held_is_one_object_and_what_is_written_stays(store):
    table = store.tables["contacts"]
    number = next(table.live.numbers(0))
    first = table.live[number]
    assert table.live[number] is first
    writes.update(store, table.kind, first, {"jobtitle": "Kept"}, person())
    del first
    gc.collect()
    assert table.live[number].values["jobtitle"] == "Kept"


def test_the_index_orders_by_stamp_what_changed_and_what_did_not(store):
    shelf = store.index.shelf("contacts", store.clock.now())
    before = shelf.between(None, None)
    stamps = [store.tables["contacts"].live[number].modified for number in before]
    assert (stamps, len(before)) == (sorted(stamps), 2600)
    low, high = stamps[100], stamps[200]
    assert shelf.between(low, high) == [n for n, at in zip(before, stamps, strict=True) if low <= at < high]
    changed = store.tables["contacts"].live[before[150]]
    writes.update(store, store.kinds["contacts"], changed, {"jobtitle": "Later"}, person())
    shelf = store.index.shelf("contacts", store.clock.now())
    assert changed.id not in shelf.between(low, high)
    assert shelf.between(None, None) == [*before[:150], *before[151:], changed.id]
    assert dict(shelf.each([changed.id, before[0]]))[changed.id]["jobtitle"] == "Later"
    assert sorted(shelf.everything()) == sorted(before)
