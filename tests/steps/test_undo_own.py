"""Undo never deletes what an application has written into a hub record, however often the sync wrote to it afterwards."""

from datetime import UTC, datetime

import pytest

from crm_sync.core.undo import Fate
from crm_sync.hub.store import Store
from crm_sync.hub.undo import Selection
from crm_sync.steps.undo import Undo
from tests.steps.world import World

EVERYTHING = Selection(since=datetime(2020, 1, 1, tzinfo=UTC))


@pytest.fixture
def lee(world: World) -> str:
    """A contact that a CRM brought into the hub, which has columns of the user's own."""
    world.conn.execute(
        "alter table hub.contact add tags jsonb default '[]', add score numeric(6, 2) not null default 0,"
        " add place point, add seen timestamptz default now(), add note text, add twice int generated always as (1) stored"
    )
    crm_id = world.accounts["acme"].person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    round_(world)
    return crm_id


def round_(world: World) -> None:
    world.wait(minutes=30)
    world.sync()


def edit(world: World, crm_id: str, **values: str) -> None:
    """Somebody edits it in the CRM, and the sync takes it."""
    world.accounts["acme"].person_edit("Contact", crm_id, values)
    round_(world)


def undone(world: World) -> tuple[int, list[str]]:
    """Take everything back: how many records were deleted from the hub, and why which were not."""
    with Store(world.url, run_id="undo") as store:
        work = Undo(store, world.system, world.crms.__getitem__)
        told = [f"{t.fate}: {t.about}" for t in work.plan(EVERYTHING).records if t.fate != Fate.UNDO]
        return work.apply(EVERYTHING, "ann").deleted, told


@pytest.mark.parametrize("own", ["note = 'x'", "tags = '[1]'", "score = 1", "place = '(1,2)'"])
def test_a_value_of_ones_own_stays_though_a_take_came_after_it(world: World, lee: str, own: str) -> None:
    world.conn.execute(f"update hub.contact set {own}, seen = null")
    edit(world, lee, FirstName="Ann")
    assert undone(world) == (0, ["not undone: has values of your own"])
    assert world.one("select last_name from hub.contact") == "Lee"


def test_what_columns_have_by_default_is_nobodys(world: World, lee: str) -> None:
    assert undone(world) == (1, [])


def test_a_default_that_is_made_cannot_be_told_from_an_edit(world: World, lee: str) -> None:
    edit(world, lee, FirstName="Ann")
    assert undone(world) == (0, ["not undone: has values of your own"])


def test_blanks_and_defaults_do_not_hold_a_record_that_was_taken_twice(world: World, lee: str) -> None:
    world.conn.execute("update hub.contact set seen = null, note = null, score = 0.00")
    edit(world, lee, FirstName="Ann")
    edit(world, lee, FirstName="Anna", LastName="Li")
    assert undone(world) == (1, [])


def test_an_edit_of_a_mapped_field_that_a_take_went_over_counts_as_one(world: World, lee: str) -> None:
    world.conn.execute("alter table hub.contact drop seen")
    world.conn.execute("update hub.contact set first_name = 'Typed'")
    round_(world)
    edit(world, lee, FirstName="Ann")
    assert undone(world) == (0, ["edited since: edited since in the hub"])
    assert world.hub("contact") != []
