"""Converted leads: what a plan carries over to the contact is in it, and nothing is that nobody has approved."""

from collections.abc import Iterator

import pytest

from crm_sync.hub import plans
from crm_sync.steps.proposal import propose
from tests.steps.plan_world import applied, planned, read, rows, settled, streams_of
from tests.steps.test_conversion import LEADS, LEE
from tests.steps.test_plan_waits import work_off
from tests.steps.world import World


@pytest.fixture
def required(fresh_database_url: str) -> Iterator[World]:
    text = LEADS.replace("kind: memory\n", "kind: memory\napproval: {hub: required}\n", 1)
    world = World(fresh_database_url, text=text)
    yield world
    world.close()


@pytest.fixture
def leads(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url, text=LEADS)
    yield world
    world.close()


def member(world: World) -> object:
    """Whether the campaign's member is a contact by now."""
    return world.one("select contact is not null from hub.campaign_member")


def converted(world: World) -> None:
    """A lead, a member of a campaign in the hub, has become a contact; what the CRM says is read."""
    acme = world.accounts["acme"]
    lead = acme.person_create("Lead", LEE)
    runs(world)
    hub_id = world.one("select id from hub.lead")
    world.conn.execute("insert into hub.campaign_member (note, lead) values ('hi', %s)", [hub_id])
    runs(world)
    acme.person_convert("Lead", lead, acme.person_create("Contact", LEE))
    world.wait(minutes=30)


def runs(world: World) -> None:
    """Sync until nothing waits, approving everything."""
    if not world.system.streams[0].approval:
        settled(world)
        return
    for _ in range(3):
        for stream in streams_of(world):
            work_off(world, stream)
        for plan in plans.find(world.conn, statuses=("proposed",)):
            plans.decide(world.conn, plan.id, "approved", "ann")


def test_what_is_carried_over_is_in_the_plan(leads: World) -> None:
    converted(leads)
    read(leads)
    plan = planned(leads)
    (row,) = [row for row in rows(leads, plan) if "was converted into contact" in row.reason]
    assert (row.stream, row.action) == ("acme/lead", "link")
    done = applied(leads, plan)
    assert (done.written, done.refused, member(leads)) == (plan.rows, 0, True)


def test_a_plan_of_the_contacts_alone_carries_nothing_over(leads: World) -> None:
    converted(leads)
    read(leads)
    contacts = [leads.system.stream("acme", "contact")]
    plan = propose(leads.url, contacts, leads.crms.__getitem__, origin="person", made_by="ann")
    assert plan is not None
    assert applied(leads, plan).written == plan.rows
    assert member(leads) is False
    settled(leads)
    assert member(leads) is True, "the next sync does"


def test_a_conversion_waits_for_approval_and_is_carried_over_with_it(required: World) -> None:
    converted(required)
    for stream in streams_of(required) * 2:
        work_off(required, stream)
    assert member(required) is False
    runs(required)
    for stream in streams_of(required):
        work_off(required, stream)
    assert member(required) is True
    (row,) = [
        row
        for plan in plans.find(required.conn, statuses=("applied",))
        for row in rows(required, plan)
        if "was converted into contact" in row.reason
    ]
    assert (row.stream, row.action) == ("acme/lead", "link")
    assert (
        required.one(
            "select count(*) from sync.change where reason like '%%converted into%%approved by ann)'"
        )
        == 1
    )
    assert required.one("select count(*) from sync.plan_row where outcome is null") == 0
