"""Merges into a record that no listing brings: deleted at once, outside the filter, or older than what is read."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from crm_sync.hub.store import Store
from crm_sync.steps import why
from tests.steps.test_filter import ann, customers, edit, later, outside
from tests.steps.world import CONNECTION, World

__all__ = ["customers"]

LEE = {"LastName": "Lee", "Email": "lee@x.example"}


@pytest.fixture
def world(fresh_database_url: str) -> Iterator[World]:
    line = "    object: Contact\n"
    world = World(
        fresh_database_url, text=CONNECTION.replace(line, line + "    deletes: {inbound: archive}\n")
    )
    yield world
    world.close()


def test_who_was_merged_into_what_was_deleted_at_once_is_deleted(world: World) -> None:
    acme = world.accounts["acme"]
    lost = acme.person_create("Contact", LEE)
    later(world)
    kept = acme.person_create("Contact", {"LastName": "Li", "Email": "li@x.example"})
    acme.person_merge("Contact", kept, lost)
    acme.person_delete("Contact", kept)
    assert later(world)["archived"] == 1
    assert world.conn.execute("select hub_state, crm_state from acme.contact_base").fetchall() == [
        ("archived", "deleted")
    ]
    calls = acme_calls(world)
    assert "archived" not in later(world)
    assert acme_calls(world) == calls  # it is asked about once
    assert world.one("select count(*) from sync.mark") == 0
    acme.person_restore("Contact", kept)
    later(world)
    assert world.hub("contact", "last_name, archived_at") == [{"last_name": "Li", "archived_at": None}]
    assert world.one("select crm_id from acme.contact_base") == kept
    later(world)
    assert world.one("select count(*) from sync.mark") == 0


def acme_calls(world: World) -> int:
    return world.crms["acme"].calls.get("by_ids", 0)


def test_who_was_merged_into_what_nobody_has_read_is_linked_with_it(world: World) -> None:
    acme = world.accounts["acme"]
    lost = acme.person_create("Contact", LEE)
    later(world)
    kept = acme.person_create("Contact", {"LastName": "Li", "Email": "li@x.example"})
    later(world)
    acme.person_merge("Contact", kept, lost)
    later(world)
    with world.conn.transaction():  # as if it had never been read, and both were linked with one hub record
        world.conn.execute("delete from hub.contact where last_name = 'Li' and email = 'li@x.example'")
        world.conn.execute("delete from acme.contact_base")
        world.conn.execute("delete from acme.contact where crm_id = %s", [kept])
        world.conn.execute("delete from review.merge")
        world.conn.execute("update sync.alias set settled_at = null")
        world.conn.execute(
            "insert into acme.contact_base (hub_id, crm_id, linked_by) select id, %s, 'match' from hub.contact",
            [lost],
        )
    later(world)
    assert world.conn.execute("select crm_id, linked_by from acme.contact_base").fetchall() == [
        (kept, "merge")
    ]
    later(world)
    assert world.one("select count(*) from sync.mark") == 0


def test_who_was_merged_into_what_is_outside_is_outside(customers: World) -> None:
    world, acme = customers, customers.accounts["acme"]
    lost = ann(world)
    kept = acme.person_create("Contact", {"LastName": "Out", "Kind": "partner"})
    later(world)
    acme.person_merge("Contact", kept, lost)
    edit(world, kept, Kind="partner")
    later(world)
    assert outside(world, lost) is True
    assert world.one("select archived_at is null from hub.contact") is True
    calls = acme_calls(world)
    world.conn.execute("update hub.contact set last_name = 'Edited'")
    later(world)
    assert acme_calls(world) == calls  # it is asked about once
    assert acme.row("Contact", kept).values["LastName"] == "Out"
    with Store(world.url) as store:
        (one,) = why.find(store, world.system, "contact", lost)
        story = why.why(store, world.system, "contact", one)
    assert "outside the mapping's filter" in story.links[0].what
    edit(world, kept, Kind="customer")  # it enters, and the link moves
    later(world)
    later(world)
    assert world.conn.execute("select crm_id, linked_by from acme.contact_base").fetchall() == [
        (kept, "merge")
    ]
    assert acme.row("Contact", kept).values["LastName"] == "Edited"
    assert world.one("select count(*) from sync.mark") == 0


def test_a_survivor_is_looked_up_before_the_link_moves_to_it(world: World) -> None:
    """The listing told of the loser while it still showed the survivor as it was before the merge: that it had had no phone
    passed for a change in the CRM, and the hub's was blanked."""
    acme = world.accounts["acme"]
    lost = acme.person_create("Contact", {**LEE, "Phone": "+14155552671"})
    later(world)
    kept = acme.person_create("Contact", {"LastName": "Li"})
    acme.habits.lag = timedelta(hours=2)
    acme.person_edit("Contact", kept, {"FirstName": "Bo"})
    acme.habits.lag = timedelta()
    acme.person_merge("Contact", kept, lost)
    for _ in range(8):
        later(world)
        assert world.hub("contact", "first_name, last_name, phone") == [
            {"first_name": "Bo", "last_name": "Li", "phone": "+14155552671"}
        ]
        assert world.one("select crm_id from acme.contact_base") == kept
    assert world.one("select count(*) from sync.change where field = 'phone' and side = 'hub'") == 0
    assert acme_calls(world) == 1  # it is asked about once
    assert world.one("select count(*) from sync.mark") == 0
