"""A CRM deletes a record, or has it again: every policy of the hub."""

import pytest

from crm_sync.hub import review
from tests.steps.life.deleting import Make, alive, ann, decide, quiet, settle, states
from tests.steps.world import World


def test_archive_keeps_the_record_and_takes_it_out_of_the_sync(make: Make) -> None:
    world = make("archive")
    crm_id = ann(world)
    hub_id = world.one("select id from hub.contact")
    world.accounts["acme"].person_delete("Contact", crm_id)
    assert settle(world)["acme hub contact acme"].counts["archived"] == 1
    assert world.one("select archived_at is not null from hub.contact") is True
    assert states(world) == ("archived", "deleted")
    assert (
        world.one("select reason from sync.change where kind = 'archive'")
        == "deleted in the CRM: deletes: archive"
    )
    world.conn.execute("update hub.contact set first_name = 'New'")  # it takes no part
    quiet(world)
    world.accounts["acme"].person_restore("Contact", crm_id)
    assert settle(world)["acme hub contact acme"].counts["restored"] == 1
    assert world.hub("contact", "id, archived_at") == [{"id": hub_id, "archived_at": None}]
    assert world.accounts["acme"].row("Contact", crm_id).values["FirstName"] == "New"  # now it does
    assert states(world) == ("present", "present")
    quiet(world)


def test_propagate_deletes_the_record_and_brings_it_back_with_its_id(make: Make) -> None:
    world = make("propagate")
    world.conn.execute(
        "alter table hub.contact add column note text default 'none', add shout text generated always as (upper(note)) stored"
    )
    crm_id = ann(world)
    world.conn.execute("update hub.contact set note = 'ours'")
    hub_id = world.one("select id from hub.contact")
    world.accounts["acme"].person_delete("Contact", crm_id)
    assert settle(world)["acme hub contact acme"].counts["deleted"] == 1
    assert world.hub("contact") == []
    assert states(world) == ("deleted", "deleted")
    assert world.one("select deleted_by from sync.tombstone") == "acme"
    assert (
        world.one("select old_value::jsonb ->> 'email' from sync.change where kind = 'delete'")
        == "ann@x.example"
    )
    quiet(world)
    world.accounts["acme"].person_restore("Contact", crm_id)
    world.accounts["acme"].person_edit("Contact", crm_id, {"FirstName": "Ann", "Interests": "a;b"})
    settle(world)
    assert world.hub("contact", "id, first_name, email, interests, note, shout") == [
        {
            "id": hub_id,
            "first_name": "Ann",
            "email": "ann@x.example",
            "interests": ["a", "b"],
            "note": "ours",
            "shout": "OURS",
        }
    ]
    assert world.one("select count(*) from acme.contact_base") == 1
    quiet(world)


def test_a_record_comes_back_with_what_the_hub_meant(make: Make) -> None:
    """Two of our stages are one of theirs: where the CRM says what was agreed on, the hub says what it said then."""
    world = make("propagate", names=("acme", "other"))
    crm_id = ann(world)
    world.conn.execute("update hub.contact set stage = 'qualified', first_name = 'Ann'")
    settle(world, 2)
    account = world.accounts["acme"]
    account.person_delete("Contact", crm_id)
    settle(world)
    assert world.hub("contact") == []
    account.person_restore("Contact", crm_id)
    account.person_edit("Contact", crm_id, {"FirstName": "Anna"})
    settle(world, 2)
    assert world.hub("contact", "stage, first_name") == [{"stage": "qualified", "first_name": "Anna"}]
    assert account.row("Contact", crm_id).values["Stage"] == "Appointment"
    quiet(world)


def test_what_the_crm_says_anew_of_a_record_that_comes_back_is_in_the_journal(make: Make) -> None:
    """Also if an application deletes the record once more, whose tombstone then knows only the CRM's word."""
    world = make("propagate", "propagate")
    crm_id = ann(world)
    world.conn.execute("update hub.contact set stage = 'qualified', phone = '+14155550001'")
    settle(world)
    account = world.accounts["acme"]
    world.conn.execute("delete from hub.contact")
    settle(world)
    account.person_restore("Contact", crm_id)
    account.person_edit("Contact", crm_id, {"Stage": "Won"})
    world.wait(minutes=20)
    settle(world)
    assert world.hub("contact", "stage, phone") == [{"stage": "won", "phone": "+14155550001"}]
    back = "brought back in the CRM: deletes: propagate"
    lines = "select kind, field, old_value, new_value, reason from sync.change where side = 'hub' and reason = %s order by id"
    assert world.conn.execute(lines, [back]).fetchall() == [
        ("restore", None, None, None, back),
        ("update", "stage", "qualified", "won", back),
    ]
    assert world.one("select changed_by from sync.provenance where field = 'stage'") == "acme"
    quiet(world)
    world.conn.execute("delete from hub.contact")
    settle(world)
    account.person_restore("Contact", crm_id)
    settle(world)
    assert (
        world.one("select old_value from sync.change where field = 'stage' and new_value = 'won'")
        == "qualified"
    )
    assert (
        world.one(
            "select count(*) from sync.change where side = 'hub' and field = 'stage' and new_value = 'won'"
        )
        == 1
    )
    quiet(world)


def _edited_and_gone(make: Make) -> tuple[World, str]:
    """acme deletes a record that beta had not been told the hub's last word about; the person is asked about beta's."""
    world = make("propagate", "review", names=("acme", "beta"))
    crm_id = ann(world)
    settle(world)
    (beta_id,) = alive(world, "beta")
    world.conn.execute("update hub.contact set first_name = 'New', phone = '+14155550001'")
    world.wait(minutes=20)
    world.sync("acme")
    world.accounts["acme"].person_delete("Contact", crm_id)
    world.wait(minutes=20)
    world.sync("acme")
    assert world.hub("contact") == []
    return world, beta_id


def test_a_record_comes_back_with_the_edit_that_the_crm_had_not_been_told_of(make: Make) -> None:
    """What a person wrote in the hub is not lost because somebody brings back a record of a CRM that does not know it."""
    world, beta_id = _edited_and_gone(make)
    settle(world)
    assert world.hub("contact") == []
    decide(world, "use_crm")
    settle(world, 2)
    assert world.hub("contact", "first_name, last_name, phone") == [
        {"first_name": "New", "last_name": "Lee", "phone": "+14155550001"}
    ]
    there = world.accounts["beta"].row("Contact", beta_id).values
    assert (there["FirstName"], there["Phone"]) == ("New", "+14155550001")
    assert review.find(world.conn, connection="beta") == []
    quiet(world)


def test_a_record_comes_back_with_an_edit_against_one_in_the_crm_and_a_person_is_asked(make: Make) -> None:
    """Where the policy asks. Where it does not, the journal tells what the hub said before."""
    world, beta_id = _edited_and_gone(make)
    world.accounts["beta"].person_edit("Contact", beta_id, {"FirstName": "Theirs", "Phone": "+14155550002"})
    settle(world)
    decide(world, "use_crm")
    settle(world, 2)
    (conflict,) = review.find(world.conn, connection="beta")
    assert (conflict.field, conflict.hub_value, conflict.crm_value) == (
        "phone",
        "+14155550001",
        "+14155550002",
    )
    assert world.hub("contact", "first_name, phone") == [{"first_name": "New", "phone": "+14155550001"}]
    replaced = "select old_value from sync.change where side = 'crm' and field = 'first_name' and connection = 'beta'"
    assert world.one(replaced) == "Theirs"  # the hub's edit is newer
    quiet(world)


def test_ignore_leaves_both_sides_as_they_are(make: Make) -> None:
    world = make("ignore", "ignore")
    crm_id = ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    settle(world)
    assert states(world) == ("present", "deleted")
    world.conn.execute("update hub.contact set first_name = 'New'")
    quiet(world)
    world.accounts["acme"].person_restore("Contact", crm_id)
    settle(world)
    assert states(world) == ("present", "present")
    assert world.accounts["acme"].row("Contact", crm_id).values["FirstName"] == "New"
    world.conn.execute("delete from hub.contact")
    settle(world)
    assert states(world) == ("deleted", "present")
    assert alive(world) == [crm_id]
    quiet(world)


@pytest.mark.parametrize("decision", ["use_crm", "use_hub", "skip"])
def test_review_asks_about_a_deletion_in_the_crm(make: Make, decision: str) -> None:
    world = make("review")
    crm_id = ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    settle(world)
    (conflict,) = review.find(world.conn, entity="contact")
    assert (conflict.field, conflict.hub_value, conflict.crm_value) == ("*", "present", "deleted")
    assert (conflict.suggestion, conflict.reason) == ("use_crm", "deleted in the CRM: deletes: review")
    quiet(world)
    decide(world, decision)
    settle(world)
    if decision == "use_crm":
        assert world.hub("contact") == []
        assert world.one("select status from review.conflict") == "applied"
    elif decision == "use_hub":
        (new,) = alive(world)
        assert new != crm_id
        assert world.one("select crm_id from acme.contact_base") == new
        assert world.one("select status from review.conflict") == "applied"
    else:
        assert world.one("select status from review.conflict") == "skipped"
    quiet(world)


def test_a_deletion_against_an_edit_in_the_hub_asks(make: Make) -> None:
    world = make("propagate", "propagate")
    crm_id = ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    world.conn.execute("update hub.contact set first_name = 'New'")
    settle(world)
    (conflict,) = review.find(world.conn, entity="contact")
    assert (conflict.suggestion, conflict.reason) == (
        "use_hub",
        "deleted in the CRM, and edited on the other side",
    )
    decide(world, "use_hub")
    settle(world)
    (new,) = world.accounts["acme"].rows("Contact")
    assert (new.values["FirstName"], new.values["Email"]) == ("New", "ann@x.example")
    assert states(world) == ("present", "present")
    assert (
        world.one("select reason from sync.change where side = 'crm' and kind = 'create'")
        == "decided by ann (conflict 1)"
    )
    quiet(world)
    # The old record comes back: it is no second person in the hub.
    world.accounts["acme"].person_restore("Contact", crm_id)
    settle(world)
    assert len(world.hub("contact")) == 1
    assert world.one("select code from sync.parked where record_id = %s", crm_id) == "DOUBLE"
    quiet(world)


def test_a_hub_that_refuses_parks_the_record_alone(make: Make) -> None:
    world = make("propagate")
    first = ann(world)
    second = world.accounts["acme"].person_create("Contact", {"LastName": "B", "Email": "b@x.example"})
    settle(world)
    world.conn.execute("create table hub.invoice (contact uuid references hub.contact (id))")
    world.conn.execute("insert into hub.invoice select id from hub.contact where email = 'ann@x.example'")
    for crm_id in (first, second):
        world.accounts["acme"].person_delete("Contact", crm_id)
    settle(world)
    assert [row["email"] for row in world.hub("contact", "email")] == ["ann@x.example"]
    assert world.one("select reason from sync.parked") == (
        'the hub table refuses the record: update or delete on table "contact" violates foreign key constraint'
        ' "invoice_contact_fkey" on table "invoice"'
    )
