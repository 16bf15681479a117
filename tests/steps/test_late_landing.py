"""A write of ours that was lost takes effect long after, over what was written since: it passes for nobody's edit."""

import pytest

from crm_sync.core.errors import CrmError
from tests.steps.world import World


@pytest.fixture
def lost(world: World) -> World:
    """A contact whose first name went One, Two, Three in the hub; the write of Two was lost on its way."""
    world.conn.execute(
        "insert into hub.contact (last_name, email, first_name) values ('A', 'a@x.example', 'One')"
    )
    world.sync()
    world.conn.execute("update hub.contact set first_name = 'Two'")
    world.crms["acme"].faults.timeout = "before"
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    world.conn.execute("update hub.contact set first_name = 'Three'")
    world.wait(minutes=1)
    world.sync()
    assert first_name(world) == "Three"
    return world


def first_name(world: World) -> object:
    return world.accounts["acme"].rows("Contact")[0].values.get("FirstName")


def say(world: World, value: str) -> None:
    """The CRM says so from now on, by whomsoever."""
    account = world.accounts["acme"]
    account.person_edit("Contact", account.rows("Contact")[0].id, {"FirstName": value})


def test_our_old_value_that_lands_late_is_overwritten_by_what_the_hub_says(lost: World) -> None:
    lost.wait(minutes=1)
    say(lost, "Two")
    for _ in range(2):
        lost.wait(minutes=1)
        lost.sync()
    assert lost.one("select first_name from hub.contact") == "Three"
    assert first_name(lost) == "Three"
    reason = lost.one("select reason from sync.change where side = 'crm' order by id desc limit 1")
    assert "landed late" in str(reason)
    lost.wait(minutes=1)
    lost.sync()
    assert lost.one("select count(*) from sync.dirty") == 0


def test_another_value_is_a_persons_edit(lost: World) -> None:
    lost.wait(minutes=1)
    say(lost, "Four")
    lost.wait(minutes=1)
    lost.sync()
    assert lost.one("select first_name from hub.contact") == "Four"


def test_the_same_value_hours_later_is_a_persons_edit(lost: World) -> None:
    lost.wait(minutes=120)
    say(lost, "Two")
    lost.wait(minutes=1)
    lost.sync()
    assert lost.one("select first_name from hub.contact") == "Two"
    assert first_name(lost) == "Two"


def test_what_the_hub_says_again_by_now_is_agreed(lost: World) -> None:
    lost.wait(minutes=1)
    say(lost, "Two")
    lost.conn.execute("update hub.contact set first_name = 'Two'")
    for _ in range(2):
        lost.wait(minutes=1)
        lost.sync()
    assert lost.one("select first_name from hub.contact") == "Two"
    assert first_name(lost) == "Two"
