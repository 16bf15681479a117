"""What people do while a deletion or a return is on its way or waits for a decision."""

from datetime import timedelta

import pytest

from crm_sync.core.decide import Kind
from crm_sync.core.errors import CrmError, HeldBackError
from crm_sync.core.parity import What, Why
from crm_sync.hub import dirty, doubles, holds, life, review
from crm_sync.hub.store import Store
from crm_sync.steps.allowance import allot
from crm_sync.steps.life import by_person
from crm_sync.steps.verify import known_records, verify
from tests.steps.life.deleting import (
    Make,
    alive,
    ann,
    company_and_contact,
    decide,
    quiet,
    settle,
    states,
    text,
)
from tests.steps.world import World


def test_a_return_in_the_hub_during_the_deletion_is_not_lost(make: Make) -> None:
    world = make("archive", "propagate")
    crm_id = ann(world)
    world.conn.execute("update hub.contact set archived_at = now()")
    faults = world.crms["acme"].faults

    def back(_: object) -> None:
        world.conn.execute("update hub.contact set archived_at = null, first_name = 'Back'")

    faults.before_write = back
    settle(world)
    faults.before_write = None
    settle(world, 2)
    (again,) = alive(world)
    assert again != crm_id
    assert world.accounts["acme"].row("Contact", again).values["FirstName"] == "Back"
    assert states(world) == ("present", "present")
    quiet(world)


def test_a_return_in_the_hub_before_a_deletion_is_known_to_be_done(make: Make) -> None:
    world = make("archive", "propagate")
    crm_id = ann(world)
    row = world.hub("contact", "id, last_name, email")[0]
    world.conn.execute("delete from hub.contact")
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        settle(world)
    world.conn.execute(
        "insert into hub.contact (id, last_name, email) values (%(id)s, %(last_name)s, %(email)s)", row
    )
    settle(world, 2)
    (again,) = alive(world)
    assert again != crm_id
    assert states(world) == ("present", "present")
    quiet(world)


@pytest.mark.parametrize("upserts", [False, True])
def test_what_the_crm_has_again_is_not_created_once_more(make: Make, upserts: bool) -> None:
    """A person has taken it out of the recycle bin and edited it, which no listing shows yet."""
    world = make("archive", "propagate")
    acme = world.accounts["acme"]
    acme.habits.upserts = upserts
    crm_id = ann(world)
    world.conn.execute("update hub.contact set archived_at = now()")
    settle(world)
    assert alive(world) == []
    acme.habits.lag = timedelta(hours=1)
    acme.person_restore("Contact", crm_id)
    acme.person_edit("Contact", crm_id, {"LastName": "Kim"})
    world.conn.execute("update hub.contact set archived_at = null, first_name = 'Back'")
    assert settle(world)["acme outbound contact"].counts["moved"] == 1
    settle(world, 2)
    assert alive(world) == [crm_id]
    values = acme.row("Contact", crm_id).values
    assert (values["FirstName"], values["LastName"]) == ("Back", "Kim")
    assert world.hub("contact", "last_name") == [{"last_name": "Kim"}]
    assert states(world) == ("present", "present")
    world.wait(hours=2)
    quiet(world)


def test_a_create_once_more_keeps_what_only_the_crm_fills(fresh_database_url: str) -> None:
    inbound = "first_name: {field: FirstName, direction: inbound}"
    world = World(
        fresh_database_url,
        ("acme",),
        text("review", "propagate").replace("first_name: FirstName", inbound),
    )
    crm_id = ann(world, FirstName="Ann")
    world.accounts["acme"].person_delete("Contact", crm_id)
    settle(world)
    decide(world, "use_hub")
    settle(world, 2)
    (again,) = alive(world)
    assert world.hub("contact", "first_name") == [{"first_name": "Ann"}]
    assert world.one("select count(*) from acme.contact_differences") == 0
    quiet(world)
    world.accounts["acme"].person_edit("Contact", again, {"FirstName": "Anna"})  # its word counts as ever
    settle(world)
    assert world.hub("contact", "first_name") == [{"first_name": "Anna"}]
    world.close()


def test_a_reference_comes_back_to_the_crm_that_brought_its_target_back(make: Make) -> None:
    world = make("propagate", "propagate")
    company, contact = company_and_contact(world)
    acme = world.accounts["acme"]
    acme.person_delete("Account", company)
    acme.person_edit("Contact", contact, {"AccountId": None})
    settle(world, 2)
    acme.person_restore("Account", company)
    settle(world, 2)
    assert acme.row("Contact", contact).values["AccountId"] == company
    assert (
        world.one("select changed_by from sync.provenance where entity = 'contact' and field = 'company'")
        == "hub"
    )
    assert (
        world.one("select count(*) from sync.provenance where entity = 'company' and changed_by = 'hub'") == 0
    )
    quiet(world)


def test_a_decision_is_about_what_was_known_of_the_record_in_the_crm(make: Make) -> None:
    world = make("archive", "review")
    acme = world.accounts["acme"]
    crm_id = ann(world)
    world.conn.execute("delete from hub.contact")
    settle(world)
    (asked,) = review.find(world.conn)
    assert (asked.reason, asked.suggestion) == ("deleted in the hub: deletes: review", "use_hub")
    acme.person_edit("Contact", crm_id, {"FirstName": "Important"})
    settle(world)
    (asked,) = review.find(world.conn)
    assert (asked.reason, asked.suggestion) == (
        "deleted in the hub, and edited on the other side",
        "use_crm",
    )
    decide(world, "use_hub")
    acme.person_edit("Contact", crm_id, {"FirstName": "Later still"})  # nobody knew of it
    settle(world)
    assert alive(world) == [crm_id]
    assert [c.id for c in review.find(world.conn)] == [asked.id]
    decide(world, "use_hub")  # now everything is known
    settle(world)
    assert alive(world) == []
    assert world.one("select status from review.conflict") == "applied"
    quiet(world)


def test_a_decision_is_about_what_was_known_of_the_record_in_the_hub(make: Make) -> None:
    world = make("propagate", "review")
    crm_id = ann(world)
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    world.accounts["acme"].person_delete("Contact", crm_id)
    settle(world)
    decide(world, "use_crm")
    world.conn.execute("update hub.contact set first_name = 'Anna'")  # nobody knew of it
    settle(world)
    assert world.hub("contact", "first_name") == [{"first_name": "Anna"}]
    decide(world, "use_crm")
    settle(world)
    assert world.hub("contact") == []
    assert world.one("select status from review.conflict") == "applied"
    quiet(world)


def test_a_decision_that_the_hub_refuses_stays_made(make: Make) -> None:
    world = make("review", "review")
    crm_id = ann(world)
    world.conn.execute("create table public.orders (contact uuid references hub.contact (id))")
    world.conn.execute("insert into public.orders select id from hub.contact")
    world.accounts["acme"].person_delete("Contact", crm_id)
    settle(world)
    decide(world, "use_crm")
    settle(world)
    assert world.conn.execute("select status, decision from review.conflict").fetchall() == [
        ("decided", "use_crm")
    ]
    assert world.one("select count(*) from sync.parked") == 1
    assert world.one("select count(*) from sync.dirty") == 0
    world.conn.execute("drop table public.orders")
    dirty.mark_parked(world.conn, world.system.stream("acme", "contact"))
    settle(world)
    assert world.hub("contact") == []
    assert world.one("select status from review.conflict") == "applied"
    assert world.one("select count(*) from sync.parked") == 0


def test_what_was_skipped_was_decided_by_nobody(make: Make) -> None:
    world = make("propagate", "review")
    crm_id = ann(world)
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    world.accounts["acme"].person_delete("Contact", crm_id)
    settle(world)
    decide(world, "skip")
    world.conn.execute("update hub.contact set first_name = null")
    ids = [world.one("select id from hub.contact")]
    (found,) = life.verdicts(world.conn, world.system.stream("acme", "contact"), ids)
    assert (found.kind, found.difference.decision) == (Kind.TAKE, "skip")
    assert not by_person(found)  # so the guard counts it


def test_the_guard_says_that_records_would_be_archived_and_of_how_many(make: Make) -> None:
    world = make("archive", "review", more="    guard: {deletions: 0}\n")
    crm_id = ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    with pytest.raises(HeldBackError, match=r"1 record would be archived \(.*\); 1 are linked"):
        settle(world)
    (hold,) = holds.find(world.conn)
    holds.confirm(world.conn, hold.id, "ann")
    settle(world)
    assert world.one("select archived_at is not null from hub.contact") is True
    quiet(world)


def test_archived_records_explain_themselves_and_are_nobodys_double(make: Make) -> None:
    world = make("archive", "ignore")
    ann(world)
    world.conn.execute("update hub.contact set archived_at = now()")
    settle(world)
    world.conn.execute("update hub.contact set first_name = 'New'")
    world.conn.execute(
        "insert into hub.contact (last_name, email, archived_at) values ('Lee', 'ann@x.example', now())"
    )
    settle(world)
    stream = world.system.stream("acme", "contact")
    with Store(world.url) as store:
        share = allot([stream], {stream.name: known_records(store, stream)}, None)[stream.name]
        found = verify(store, world.crms["acme"], stream, share)
    assert set(found.counts) == {
        (What.VALUE, Why.ARCHIVED),
        (What.NOT_IN_CRM, Why.ARCHIVED),
    }
    assert list(doubles.in_hub(world.conn, world.system, "contact", 10)) == []
