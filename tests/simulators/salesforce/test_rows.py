"""Rows that are computed until they are written: one at a time and many, and found in every order."""

from itertools import pairwise

import pytest

from crm_sync.simulators.salesforce import ids, org, seed
from crm_sync.simulators.salesforce.store import Actor
from crm_sync.simulators.salesforce.transaction import Transaction
from crm_sync.simulators.serve import Options

PLANTED = ("Account", "Contact", "Opportunity", "Lead", "CampaignMember", "Task")


@pytest.fixture(scope="module")
def store():
    made = org.build()
    seed.fill(made, Options(1200, 7))
    return made.store


@pytest.fixture
def contacts(store):
    table = store.tables["Contact"]
    transaction = Transaction(store, Actor("005"))
    yield table, transaction
    transaction.rollback()


@pytest.mark.parametrize("name", PLANTED)
def test_a_row_alone_is_the_row_among_many(store, name):
    rows = store.tables[name].rows
    together = list(rows.everything())
    assert together == [rows[row[0]] for row in together]
    assert len(together) == len(rows) == rows.seed.count > 0
    assert [row[0] for row in together] == sorted(row[0] for row in together)


def test_written_rows_keep_their_place_and_the_seed_forgets_them(contacts):
    table, transaction = contacts
    before = [row[0] for row in table.rows.everything()]
    chosen = table.rows.take(before[100])
    transaction.change(table, chosen, {"Title": "Written"})
    assert table.rows.get(before[100]) is chosen
    transaction.delete(table, table.rows.take(before[7]))
    transaction.erase(table, table.rows.take(before[8]))
    made = transaction.insert(table, {"LastName": "New"})
    after = [row[0] for row in table.rows.everything()]
    assert after == [i for i in before if i != before[8]] + [made[0]]
    assert len(table.rows) == len(after)
    assert before[8] not in table.rows
    assert before[7] in table.rows
    live = [row[0] for row in table.rows.everything(deleted_too=False)]
    assert live == [i for i in after if i != before[7]]
    [*_, deleted, written, new] = [row[0] for row in table.rows.between("", "~")]
    assert {deleted, written, new} == {before[7], before[100], made[0]}


def test_windows_of_stamps_are_half_open_and_ordered(contacts):
    table, transaction = contacts
    place = table.object.position["SystemModstamp"]
    rows = list(table.rows.between("", "~"))
    keys = [(row[place], row[0]) for row in rows]
    assert all(one < other for one, other in pairwise(keys))
    assert len(keys) == len(table.rows)
    low, high = keys[300][0], keys[400][0]
    assert [row[0] for row in table.rows.between(low, high)] == [i for at, i in keys if low <= at < high]
    assert [row[0] for row in table.rows.between(low + "~", high + "~")] == [
        i for at, i in keys if low < at <= high
    ]
    transaction.change(table, table.rows.take(keys[350][1]), {})
    assert keys[350][1] not in [row[0] for row in table.rows.between(low, high)]
    transaction.rollback()
    assert keys[350][1] in [row[0] for row in table.rows.between(low, high)]


def test_rows_by_parent_and_by_value(contacts):
    table, transaction = contacts
    place = {name: table.object.position[name] for name in ("AccountId", "LastName", "Email")}
    rows = list(table.rows.everything())
    parent = next(row[place["AccountId"]] for row in rows if row[place["AccountId"]])
    wanted = [row[0] for row in rows if row[place["AccountId"]] == parent]
    assert [row[0] for row in table.rows.pointing("AccountId", parent)] == wanted
    some = rows[5]
    found = table.rows.alike([place["Email"]], [some[place["Email"]].lower()])
    assert [row[0] for row in found] == [some[0]]
    transaction.change(table, table.rows.take(some[0]), {"Email": "other@mail.example"})
    assert table.rows.alike([place["Email"]], [some[place["Email"]].lower()]) == []
    assert len(table.rows.alike([place["Email"]], ["other@mail.example"])) == 1


def test_a_frozen_selection_does_not_change(contacts):
    table, transaction = contacts
    first = table.rows.take(ids.make("003", 1))
    selection = table.rows.everything().frozen()
    before = selection[0:3]
    transaction.change(table, first, {"Title": "Later"})
    transaction.change(table, table.rows.take(ids.make("003", 2)), {"Title": "Later"})
    assert selection[0:3] == before
