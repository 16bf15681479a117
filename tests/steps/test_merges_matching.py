"""A merge gives a record a hub record that matching could not: who waited for that one waits no longer. What our own create
has made is its hub record's, also before its answer is known."""

import pytest

from crm_sync.core.errors import CrmError
from tests.steps.test_merges import LI, _linked, _quiet
from tests.steps.test_merges_join import _settle
from tests.steps.world import World


def test_who_waited_for_the_survivor_is_free(world: World) -> None:
    acme = world.accounts["acme"]
    lost = acme.person_create("Contact", LI)
    _settle(world, 2)
    hub_id = _linked(world, lost)
    kept = acme.person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    for name in ("Lee", "Lea"):
        world.conn.execute("insert into hub.contact (last_name, email) values (%s, 'lee@x.example')", [name])
    _settle(world, 2)
    codes = "select array_agg(distinct code order by code) from sync.parked"
    assert world.one(codes) == ["AMBIGUOUS_MATCH", "MATCH_WAITS"]
    acme.person_merge("Contact", kept, lost)
    _settle(world, 3)
    assert _linked(world, kept) == hub_id
    assert world.one("select count(*) from sync.parked") == 0
    assert sorted(str(row.values["LastName"]) for row in acme.rows("Contact")) == ["Lea", "Lee", "Lee"]
    _quiet(world)


def test_who_is_merged_into_what_our_create_without_an_answer_has_made_is_asked_about(world: World) -> None:
    """It looked as if nobody were linked with the survivor: the loser's hub record took it, and what the other one says."""
    acme = world.accounts["acme"]
    lost = acme.person_create("Contact", LI)
    _settle(world, 2)
    hub_id = _linked(world, lost)
    world.conn.execute("insert into hub.contact (last_name, email) values ('Lee', 'lee@x.example')")
    other = world.one("select id::text from hub.contact where last_name = 'Lee'")
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    (kept,) = (row.id for row in acme.rows("Contact") if row.id != lost)
    acme.person_merge("Contact", kept, lost)
    _settle(world, 3)
    assert _linked(world, kept) == other
    assert world.conn.execute("select hub_id::text, kept_id::text, status from review.merge").fetchall() == [
        (hub_id, other, "open")
    ]
    assert sorted(str(row["last_name"]) for row in world.hub("contact")) == ["Lee", "Li"]
    _quiet(world)
