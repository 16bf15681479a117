"""Hub records that are not created in a CRM, because a record there without a link matches or carries their id: what ends
the waiting."""

from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import pytest

from tests.steps.world import CONNECTION, World

OUTBOUND = CONNECTION.replace("    object: Contact\n", "    object: Contact\n    direction: outbound\n")


@pytest.fixture
def kim() -> UUID:
    return uuid4()


@pytest.fixture
def outbound_only(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url, text=OUTBOUND)
    yield world
    world.close()


def _carried(world: World, kim: UUID, **values: str) -> str:
    """A CRM record with a value that cannot enter the hub, and with the id of a hub record that comes later."""
    crm_id = world.accounts["acme"].person_create(
        "Contact", {"LastName": "Kim", "Hub_Id": str(kim), **values}
    )
    _syncs(world)
    world.conn.execute("insert into hub.contact (id, last_name) values (%s, 'Kim')", [kim])
    _syncs(world)
    return crm_id


def _syncs(world: World, number: int = 1) -> None:
    for _ in range(number):
        world.wait(minutes=20)
        world.sync()


def _parked(world: World) -> list[str]:
    return [
        row[0] for row in world.conn.execute("select code from sync.parked where side = 'hub'").fetchall()
    ]


@pytest.mark.parametrize(
    "end",
    ["delete from hub.contact", "update hub.contact set archived_at = now()"],
)
def test_what_is_gone_from_the_hub_waits_for_nothing(world: World, kim: UUID, end: str) -> None:
    _carried(world, kim, Born="not a date")
    assert _parked(world) == ["MATCH_WAITS"]
    world.conn.execute(end)  # type: ignore[arg-type]
    _syncs(world)
    assert _parked(world) == []
    assert world.one("select count(*) from sync.dirty") == 0


def test_what_is_archived_in_the_hub_waits_for_no_match_by_a_rule(world: World) -> None:
    theirs = {"LastName": "Kim", "Email": "kim@x.example", "Born": "not a date"}
    world.accounts["acme"].person_create("Contact", theirs)
    world.conn.execute(
        "insert into hub.contact (last_name, email, archived_at) values ('Kim', 'kim@x.example', now())"
    )
    _syncs(world)
    assert _parked(world) == []


def test_a_record_that_carries_the_id_is_linked_though_nothing_else_comes_in(
    outbound_only: World, kim: UUID
) -> None:
    """The CRM record had left the queue when the hub record came."""
    crm_id = _carried(outbound_only, kim, FirstName="Jo")
    _syncs(outbound_only, 2)
    assert outbound_only.conn.execute("select hub_id, crm_id from acme.contact_base").fetchall() == [
        (kim, crm_id)
    ]
    assert _parked(outbound_only) == []
    assert len(outbound_only.accounts["acme"].rows("Contact")) == 1
    assert outbound_only.one("select count(*) from sync.dirty") == 0


def _deleted(world: World, crm_id: str) -> None:
    world.accounts["acme"].person_delete("Contact", crm_id)


def _without_id(world: World, crm_id: str) -> None:
    world.accounts["acme"].person_edit("Contact", crm_id, {"Hub_Id": None})


@pytest.mark.parametrize("end", [_deleted, _without_id])
def test_it_is_created_when_the_record_that_stood_in_its_way_does_so_no_more(
    world: World, kim: UUID, end: Callable[[World, str], None]
) -> None:
    crm_id = _carried(world, kim, Born="not a date")
    _syncs(world, 2)
    assert (_parked(world), world.one("select count(*) from sync.dirty")) == (["MATCH_WAITS"], 0)
    end(world, crm_id)
    _syncs(world, 2)
    assert _parked(world) == []
    created = world.one("select crm_id from acme.contact_base where hub_id = %s", kim)
    assert created not in (None, crm_id)
    assert world.accounts["acme"].row("Contact", str(created)).values["LastName"] == "Kim"


def test_of_two_that_match_the_other_one_is_linked_when_one_is_edited(world: World) -> None:
    theirs = {"LastName": "Kim", "Email": "kim@x.example"}
    crm_id = world.accounts["acme"].person_create("Contact", theirs)
    world.conn.execute("insert into hub.contact (last_name, email) values ('Kim', 'kim@x.example')")
    world.conn.execute("insert into hub.contact (last_name, email) values ('Kem', 'kim@x.example')")
    _syncs(world)
    assert _parked(world) == ["MATCH_WAITS"] * 2
    world.conn.execute("update hub.contact set email = 'kem@x.example' where last_name = 'Kem'")
    world.conn.execute("update hub.contact set first_name = 'Jo' where last_name = 'Kim'")
    _syncs(world, 3)
    assert _parked(world) == []
    linked = "select h.last_name from acme.contact_base b join hub.contact h on h.id = b.hub_id where b.crm_id = %s"
    assert world.one(linked, crm_id) == "Kim"
    assert len(world.accounts["acme"].rows("Contact")) == 2
