"""Outbound fields: the hub is the authority, and still nothing is sent for ever against a rule of the CRM's."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest

from crm_sync.core.decide import OVERWRITES, OVERWRITTEN
from crm_sync.core.spec import Direction
from crm_sync.hub import review
from crm_sync.simulators.serve import Simulator
from tests.steps.org import STREAM, Place
from tests.steps.world import CONNECTION, World

TEXT = CONNECTION.replace("first_name: FirstName", "first_name: {field: FirstName, direction: outbound}")


@pytest.fixture
def outbound_only(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url, text=TEXT)
    world.conn.execute(
        "insert into hub.contact (last_name, email, first_name) values ('Lee', 'l@x.example', 'Ann')"
    )
    yield world
    world.close()


def _crm_says(world: World) -> str | None:
    (row,) = world.accounts["acme"].rows("Contact")
    return row.values["FirstName"]


def _edit(world: World, value: str) -> None:
    (row,) = world.accounts["acme"].rows("Contact")
    world.accounts["acme"].person_edit("Contact", row.id, {"FirstName": value})


def _syncs(world: World, number: int) -> list[int]:
    """The writes that each of so many syncs makes."""
    made = []
    for _ in range(number):
        before = world.writes()
        world.wait(minutes=5)
        world.sync()
        made.append(world.writes() - before)
    return made


def _is_quiet(world: World) -> bool:
    return _syncs(world, 2) == [0, 0] and world.one("select count(*) from sync.dirty") == 0


def test_an_edit_in_the_crm_is_overwritten_once_and_the_journal_says_why(outbound_only: World) -> None:
    world = outbound_only
    _syncs(world, 2)
    _edit(world, "Bob")
    assert _syncs(world, 2) == [1, 0]
    assert (_crm_says(world), world.one("select first_name from hub.contact")) == ("Ann", "Ann")
    assert (
        world.one("select reason from sync.change where old_value = 'Bob' and new_value = 'Ann'")
        == OVERWRITTEN
    )


def test_what_the_crm_always_makes_of_a_value_is_sent_once_more_and_then_left(outbound_only: World) -> None:
    world = outbound_only
    world.accounts["acme"].habits.normalisers = {"FirstName": str.upper}
    assert _syncs(world, 3) == [1, 1, 0]
    assert _is_quiet(world)
    assert (_crm_says(world), world.one("select first_name from hub.contact")) == ("ANN", "Ann")
    assert review.count(world.conn, "contact") == 0
    # A person's edit is overwritten, by one write, and a change in the hub goes out as ever.
    _edit(world, "Bob")
    assert _syncs(world, 2) == [1, 0]
    assert _crm_says(world) == "ANN"
    world.conn.execute("update hub.contact set first_name = 'Eve'")
    assert _syncs(world, 3) == [1, 1, 0]
    assert _crm_says(world) == "EVE"
    assert _is_quiet(world)


@pytest.mark.parametrize(("decision", "more"), [("skip", 0), ("use_crm", 0), ("use_hub", 1 + OVERWRITES)])
def test_a_value_that_comes_back_different_each_time_is_left_to_a_person(
    outbound_only: World, decision: review.Decision, more: int
) -> None:
    """An automation with a number of its own; what the hub says never changes by it."""
    world, numbers = outbound_only, count()
    world.accounts["acme"].habits.normalisers = {"FirstName": lambda value: f"{value[:3]} {next(numbers)}"}
    assert sum(_syncs(world, 8)) == 1 + OVERWRITES
    assert _is_quiet(world)
    (conflict,) = review.find(world.conn)
    assert (conflict.field, conflict.hub_value, conflict.crm_value) == ("first_name", "Ann", _crm_says(world))
    review.decide(world.conn, [conflict], decision, "mina")
    assert sum(_syncs(world, 8)) == more
    assert _is_quiet(world)
    assert review.count(world.conn, "contact") == (1 if decision == "use_hub" else 0)
    assert world.one("select first_name from hub.contact") == "Ann"


def test_an_automation_that_comes_later_is_not_fought_for_ever(outbound_only: World) -> None:
    """It rewrites when nobody looks, so every time it might have been a person."""
    world = outbound_only
    _syncs(world, 1)
    made = []
    for _ in range(OVERWRITES + 2):
        _edit(world, "ANN, VIP")
        made += _syncs(world, 1)
    assert made == [1] * OVERWRITES + [0, 0]
    assert review.count(world.conn, "contact") == 1
    world.conn.execute("update hub.contact set first_name = 'Eve'")
    assert _syncs(world, 2) == [1, 0]
    assert (_crm_says(world), review.count(world.conn, "contact")) == ("Eve", 0)


def test_a_computed_field_that_the_crm_rewrites_can_be_left_to_it(outbound_only: World) -> None:
    """There is no column of ours that could take the value."""
    world, numbers = outbound_only, count()
    world.accounts["acme"].habits.normalisers = {"FullName": lambda value: f"{value[:3]} {next(numbers)}"}
    assert sum(_syncs(world, 8)) == 1 + OVERWRITES
    review.decide(world.conn, review.find(world.conn), "use_crm", "mina")
    assert _is_quiet(world)
    assert world.one("select status from review.conflict") == "applied"


def test_an_automation_of_salesforce_is_not_fought(org: Simulator, fresh_database_url: str) -> None:
    """Salesforce answers with ids only; what its automation made of a value is read back."""
    fields = tuple(
        replace(spec, direction=Direction.OUTBOUND) if spec.name == "notes" else spec
        for spec in STREAM.fields
    )
    place = Place(org, fresh_database_url, above=500, stream=replace(STREAM, fields=fields))
    before = org.control("settings")
    try:
        rule = {"object": "Contact", "field": "Description", "pattern": "^a, ", "replace": "A and "}
        org.control("settings", {"automations": [rule]})
        place.people(5)
        written = []
        for _ in range(4):
            report = place.sync()["outbound"].counts
            written.append(report["created"] + report["updated"])
        assert written == [5, 5, 0, 0]
        assert (
            place.one("select count(*) from sync.dirty")
            == place.one("select count(*) from review.conflict")
            == 0
        )
        assert place.one("select notes from salesforce.contact limit 1").startswith("A and ")
        assert place.one("select notes from hub.contact limit 1").startswith("a, ")
    finally:
        org.control("settings", before)
        place.crm.close()
        place.conn.close()
