"""Of two records that are doubles of one another in a CRM somebody deletes the one that is linked: the other takes its place."""

import pytest

from tests.steps.test_merges import _linked, _quiet
from tests.steps.test_merges_join import _decide, _settle, _there, _two, _world
from tests.steps.world import World


def _doubles(url: str, inbound: str) -> tuple[World, str, str, str]:
    """Lee and Li, merged in acme and in the hub; beta has both: the hub record, its record there, and the double."""
    world = _world(url, ("acme", "beta"), f"{{inbound: {inbound}, outbound: propagate}}")
    kept, lost = _two(world)
    linked, double = _there(world, kept), _there(world, lost)
    world.accounts["acme"].person_merge("Contact", kept, lost)
    _settle(world)
    _decide(world)
    _settle(world, 2)
    assert world.conn.execute("select code, crm_id from sync.parked").fetchall() == [("DOUBLE", double)]
    return world, _linked(world, kept), linked, double


@pytest.mark.parametrize("inbound", ["archive", "propagate", "review"])
def test_the_double_takes_the_place_of_the_linked_one(fresh_database_url: str, inbound: str) -> None:
    """ "Merge the two, or delete one there", it said; who deleted the linked one had the person archived in the hub, and
    deleted in the other CRM, though both still had them."""
    world, hub_id, linked, double = _doubles(fresh_database_url, inbound)
    world.conn.execute("update hub.contact set phone = '+14155552671'")
    beta = world.accounts["beta"]
    beta.person_edit("Contact", double, {"Phone": "+14155552672"})
    _settle(world)
    beta.person_delete("Contact", linked)
    world.wait(minutes=1)
    world.sync("beta", dry_run=True)
    assert _linked(world, linked, "beta") == hub_id
    _settle(world, 3)
    (row,) = world.hub("contact")
    assert (str(row["id"]), row["archived_at"], row["last_name"]) == (hub_id, None, "Lee")
    assert _linked(world, double, "beta") == hub_id
    assert (
        beta.row("Contact", double).values["LastName"] == "Lee"
    )  # whose record rested while we wrote to the other
    assert len(world.accounts["acme"].rows("Contact")) == len(beta.rows("Contact")) == 1
    assert world.one("select count(*) from sync.parked") == 0
    open_ones = world.conn.execute(
        "select field, hub_value, crm_value from review.conflict where status = 'open'"
    )
    assert open_ones.fetchall() == [
        ("phone", "+14155552671", "+14155552672")
    ]  # policy manual: a person is asked

    beta.person_restore("Contact", linked)  # now it is the double
    _settle(world, 2)
    assert world.conn.execute("select code, crm_id from sync.parked").fetchall() == [("DOUBLE", linked)]
    assert _linked(world, double, "beta") == hub_id
    _quiet(world, "beta")
    world.close()


def test_both_are_deleted(fresh_database_url: str) -> None:
    world, hub_id, linked, double = _doubles(fresh_database_url, "archive")
    world.accounts["beta"].person_delete("Contact", linked)
    world.accounts["beta"].person_delete("Contact", double)
    _settle(world, 2)
    assert str(world.one("select id from hub.contact where archived_at is not null")) == hub_id
    assert world.one("select count(*) from sync.parked") == 0
    _quiet(world, "beta")
    world.close()
