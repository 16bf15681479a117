"""A record that was deleted in a CRM and is there once more, with the id of the hub record that is linked with the deleted one."""

import pytest

from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.hub import review
from crm_sync.hub.store import Store
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from tests.steps.life.deleting import Make, alive, ann, decide, quiet, settle, states
from tests.steps.world import World


def _asked(make: Make) -> tuple[World, str]:
    """Deleted in the CRM and edited in the hub."""
    world = make()
    crm_id = ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    world.conn.execute("update hub.contact set first_name = 'Edited'")
    settle(world)
    return world, crm_id


def _again(world: World, **values: str) -> str:
    kim = str(world.one("select id from hub.contact"))
    theirs = {"LastName": "Lee", "Email": "ann@x.example", "Hub_Id": kim, **values}
    return world.accounts["acme"].person_create("Contact", theirs)


def _is_one(world: World, deleted: str, crm_id: str) -> None:
    """The hub has one record, which is linked with the new one; the deleted one makes no other if it comes back."""
    assert world.conn.execute("select crm_id, linked_by from acme.contact_base").fetchall() == [
        (crm_id, "match: external id")
    ]
    assert (states(world), alive(world)) == (("present", "present"), [crm_id])
    assert world.one("select archived_at from hub.contact") is None
    assert world.one("select count(*) from sync.parked") == 0
    assert review.find(world.conn, field="*") == []
    quiet(world)
    world.accounts["acme"].person_restore("Contact", deleted)
    settle(world, 2)
    assert world.one("select count(*) from hub.contact") == 1


def test_a_create_that_lands_late_is_that_record_and_no_other_one(make: Make) -> None:
    """Its answer was lost and it was not seen when we looked; then the CRM could not be asked."""
    world, deleted = _asked(make)
    decide(world, "use_hub")
    crm = world.crms["acme"]
    crm.faults.timeout = "before"
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    world.wait(minutes=1)
    describe = crm.describe

    def down(name: str) -> None:
        raise CrmError(ErrorClass.TRANSIENT, "503")

    crm.describe = down  # type: ignore[method-assign,assignment]
    with pytest.raises(CrmError), Store(world.url) as store:
        outbound(store, crm, world.system.stream("acme", "contact"), Options())
    crm.describe = describe  # type: ignore[method-assign]
    crm_id = _again(world, FirstName="Edited", FullName="Edited Lee")
    settle(world, 3)
    _is_one(world, deleted, crm_id)


def test_what_a_person_enters_once_more_with_the_same_id_is_the_same(make: Make) -> None:
    world, deleted = _asked(make)
    assert len(review.find(world.conn, field="*")) == 1
    crm_id = _again(world)
    settle(world, 3)
    assert world.accounts["acme"].row("Contact", crm_id).values["FirstName"] == "Edited"
    _is_one(world, deleted, crm_id)


def test_a_clone_that_comes_with_the_deletion_keeps_the_record(make: Make) -> None:
    world = make("propagate")
    deleted = ann(world)
    crm_id = _again(world, FirstName="Ann")
    world.accounts["acme"].person_delete("Contact", deleted)
    settle(world, 3)
    assert world.one("select first_name from hub.contact") == "Ann"
    _is_one(world, deleted, crm_id)
