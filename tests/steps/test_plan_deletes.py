"""Deletions in plans: they are listed like field writes, and made with approval only."""

from collections.abc import Iterator

import pytest

from tests.steps.plan_world import applied, planned, read, refused, rows, settled
from tests.steps.world import CONNECTION, World

DELETES = CONNECTION.replace(
    "  contact:\n", "  contact:\n    deletes: {inbound: archive, outbound: propagate}\n", 1
)


@pytest.fixture
def world(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url, text=DELETES)
    account = world.accounts["acme"]
    for n in range(3):
        account.person_create("Contact", {"LastName": f"Lee {n}", "Email": f"lee{n}@x.example"})
    settled(world)
    yield world
    world.close()


def test_deletions_of_both_sides_are_planned_and_applied(world: World) -> None:
    account = world.accounts["acme"]
    ids = {str(r.values["Email"]): r.id for r in account.rows("Contact")}
    account.person_delete("Contact", ids["lee0@x.example"])
    world.conn.execute("delete from hub.contact where email = 'lee1@x.example'")
    world.wait(minutes=30)
    read(world)
    plan = planned(world)
    assert {(r.target, r.action, r.field, r.crm_id) for r in rows(world, plan)} == {
        ("hub", "archive", "", ids["lee0@x.example"]),
        ("crm", "delete", "", ids["lee1@x.example"]),
    }
    done = applied(world, plan)
    assert (done.written, done.waiting) == (2, 0), refused(world, plan)
    assert account.row("Contact", ids["lee1@x.example"]).deleted
    assert world.one("select count(*) from hub.contact where archived_at is not null") == 1
    reasons = world.conn.execute("select reason from sync.change where run_id = 'apply'").fetchall()
    assert all(str(reason).endswith(f"(plan {plan.id}, approved by ann)") for (reason,) in reasons)


def test_a_record_that_came_back_is_not_deleted(world: World) -> None:
    account = world.accounts["acme"]
    crm_id = account.rows("Contact")[0].id
    account.person_delete("Contact", crm_id)
    world.wait(minutes=30)
    read(world)
    plan = planned(world)
    account.person_restore("Contact", crm_id)
    world.wait(minutes=30)
    read(world)
    done = applied(world, plan)
    assert (done.written, done.records_refused) == (0, 1)
    assert world.one("select count(*) from hub.contact where archived_at is not null") == 0
