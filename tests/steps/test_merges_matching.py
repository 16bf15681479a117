"""A merge gives a record a hub record that matching could not: who waited for that one waits no longer."""

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
    print(world.conn.execute("select code, reason from sync.parked").fetchall())
    print(world.conn.execute("select * from review.match").fetchall())
    assert world.one("select count(*) from sync.parked") == 0
    assert sorted(str(row.values["LastName"]) for row in acme.rows("Contact")) == ["Lea", "Lee", "Lee"]
    _quiet(world)
