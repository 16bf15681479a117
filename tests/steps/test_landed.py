"""A create by external id that would write, or has written, over a record which is linked with another hub record."""

from contextlib import closing
from uuid import UUID, uuid4

import pytest

from crm_sync.core.errors import CrmError
from crm_sync.hub import dirty
from crm_sync.hub.store import Store
from crm_sync.simulators.serve import Simulator
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound
from tests.steps.org import Place
from tests.steps.world import World

LEE = {"FirstName": None, "LastName": "Lee", "Email": "lee@x.example", "FullName": "Lee"}


@pytest.fixture
def copied(world: World) -> tuple[World, str, UUID]:
    """Lee is linked; her record in the CRM got the id of Kim, whom only the hub has."""
    acme = world.accounts["acme"]
    lee = acme.person_create("Contact", {k: v for k, v in LEE.items() if v is not None})
    _sync(world, 2)
    kim = uuid4()
    world.conn.execute(
        "insert into hub.contact (id, first_name, last_name, email) values (%s, 'Jo', 'Kim', 'kim@x.example')",
        [kim],
    )
    acme.person_edit("Contact", lee, {"Hub_Id": str(kim)})
    return world, lee, kim


def _sync(world: World, rounds: int = 1) -> None:
    for _ in range(rounds):
        world.wait(minutes=20)
        world.sync()


def _send(world: World) -> Report:
    """Outbound alone: nobody has read the CRM since."""
    with Store(world.url) as store:
        return outbound(store, world.crms["acme"], world.system.stream("acme", "contact"), Options())


def _at_work(world: World, crm_id: str) -> dict[str, str | None]:
    values = world.accounts["acme"].row("Contact", crm_id).values
    return {name: values.get(name) for name in LEE}


def _told(world: World) -> list[tuple[str, str | None, str | None]]:
    """What the journal says was overwritten."""
    return world.conn.execute(
        "select field, old_value, new_value from sync.change where reason like 'overwritten by%' and hub_id ="
        " (select id from hub.contact where last_name = 'Lee') and side = 'crm' order by field"
    ).fetchall()


def _parked(world: World, crm_id: str, kim: UUID) -> None:
    """Kim waits, and the reason names both."""
    found = world.conn.execute("select record_id, code, reason from sync.parked").fetchall()
    assert [(record, code) for record, code, _ in found] == [(str(kim), "EXTERNAL_ID_CARRIED")]
    lee = world.one("select id from hub.contact where last_name = 'Lee'")
    assert all(text in found[0][2] for text in (crm_id, str(lee), str(kim), "Hub_Id", "parked requeue"))
    assert world.one("select count(*) from acme.contact_base") == 1
    assert world.one("select count(*) from sync.intent") == 0


def _freed(world: World, crm_id: str) -> None:
    """The external id is cleared and Kim requeued: a record of her own."""
    acme = world.accounts["acme"]
    acme.person_edit("Contact", crm_id, {"Hub_Id": None})
    _sync(world)
    dirty.mark_parked(world.conn, world.system.stream("acme", "contact"))
    _sync(world, 2)
    assert sorted(str(row.values["LastName"]) for row in acme.rows("Contact")) == ["Kim", "Lee"]
    assert world.one("select count(*) from sync.parked") == 0
    assert world.one("select count(*) from sync.dirty") == 0
    assert _at_work(world, crm_id) == LEE


def test_what_the_mirror_knows_is_not_overwritten(copied: tuple[World, str, UUID]) -> None:
    world, lee, kim = copied
    _sync(world)
    assert _at_work(world, lee) == LEE
    assert _told(world) == []
    _parked(world, lee, kim)
    dirty.mark_parked(world.conn, world.system.stream("acme", "contact"))  # requeued, and nothing was done
    _sync(world)
    assert _at_work(world, lee) == LEE
    _freed(world, lee)


def test_what_only_the_answer_tells_is_journaled_taken_back_and_parked(
    copied: tuple[World, str, UUID],
) -> None:
    world, lee, kim = copied
    report = _send(world)
    assert (report.counts["created"], report.counts["parked"]) == (0, 1)
    assert _at_work(world, lee)["LastName"] == "Kim"
    assert _told(world) == [
        ("email", "lee@x.example", "kim@x.example"),
        ("first_name", None, "Jo"),
        ("full_name", "Lee", "Jo Kim"),
        ("last_name", "Lee", "Kim"),
    ]
    assert world.one("select count(*) from sync.change where kind = 'create' and side = 'crm'") == 0
    _parked(world, lee, kim)
    _sync(world, 2)
    assert _at_work(world, lee) == LEE
    assert sorted(str(row["last_name"]) for row in world.hub("contact")) == ["Kim", "Lee"]
    _parked(world, lee, kim)
    _freed(world, lee)


@pytest.mark.parametrize("timeout", ["before", "after"])
def test_what_is_found_when_no_answer_came(copied: tuple[World, str, UUID], timeout: str) -> None:
    world, lee, kim = copied
    world.crms["acme"].faults.timeout = timeout
    with pytest.raises(CrmError):
        _send(world)
    _send(world)
    assert bool(_told(world)) == (timeout == "after")
    _parked(world, lee, kim)
    _sync(world, 2)
    assert _at_work(world, lee) == LEE
    assert sorted(str(row["last_name"]) for row in world.hub("contact")) == ["Kim", "Lee"]
    _freed(world, lee)


def test_a_record_that_has_no_link_yet_is_not_overwritten(world: World) -> None:
    """A CRM record that carries the id, from an earlier installation say: it is linked before anything is sent."""
    kim = uuid4()
    world.conn.execute(
        "insert into hub.contact (id, first_name, last_name, email, phone)"
        " values (%s, 'Jo', 'Kim', 'kim@x.example', '+4930111')",
        [kim],
    )
    theirs = {"LastName": "Kim", "Email": "jo@x.example", "Phone": "+4930222", "Hub_Id": str(kim).upper()}
    crm_id = world.accounts["acme"].person_create("Contact", theirs)
    world.wait(minutes=20)
    contact = world.system.stream("acme", "contact")
    with Store(world.url) as store:
        inbound(store, world.crms["acme"], contact, Options())
    _send(world)
    row = world.accounts["acme"].row("Contact", crm_id).values
    assert {name: row.get(name) for name in theirs} == theirs
    assert world.one("select code from sync.parked where record_id = %s", str(kim)) == "MATCH_WAITS"
    _sync(world, 2)
    assert world.one("select crm_id from acme.contact_base where hub_id = %s", kim) == crm_id
    assert world.one("select count(*) from sync.parked") == 0
    assert world.one("select count(*) from review.conflict where field = 'phone' and status = 'open'") == 1
    row = world.accounts["acme"].row("Contact", crm_id).values
    assert (row["Phone"], row["FirstName"]) == ("+4930222", "Jo")


@pytest.mark.parametrize("above", [500, 0])
def test_salesforce_which_returns_nothing(org: Simulator, fresh_database_url: str, above: int) -> None:
    """What a call wrote is read back; what a job wrote is not."""
    place = Place(org, fresh_database_url, above=above)
    with closing(place.crm), place.conn:
        place.people(1)
        place.send()
        lee, crm_id, email = place.conn.execute(
            "select h.id, b.crm_id, h.email from hub.contact h join salesforce.contact_base b on b.hub_id = h.id"
        ).fetchall()[0]
        kim = uuid4()
        place.conn.execute(
            "insert into hub.contact (id, last_name, email) values (%s, 'Kim', 'kim@x.example')", [kim]
        )
        change = {
            "object": "Contact",
            "operation": "update",
            "id": crm_id,
            "fields": {"crm_sync_id__c": str(kim)},
        }
        org.control("edit", {"edits": [change]})
        place.send()
        assert place.theirs()[str(kim)][1] == "Kim"
        told = "select field, old_value, new_value from sync.change where hub_id = %s and reason like 'overwritten by%%'"
        found = {name: (old, new) for name, old, new in place.conn.execute(told, [lee])}
        assert found == {"last_name": ("Name 1", "Kim"), "email": (email, "kim@x.example")}
        assert place.one("select code from sync.parked") == "EXTERNAL_ID_CARRIED"
        org.control("clock", {"advance": 600})
        place.sync()
        place.send()
        assert place.theirs()[str(kim)][1:] == ("Name 1", email)
        assert place.ours()[str(lee)][1] == "Name 1"
        assert place.one("select count(*) from sync.dirty") == 0
        assert place.one("select count(*) from sync.parked") == 1
