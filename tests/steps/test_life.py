"""Deletions and returns, both directions, every policy: hub and memory CRMs, synced by the real steps."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from crm_sync.connectors.crm import Operation
from crm_sync.core.decide import Kind
from crm_sync.core.errors import CrmError, ErrorClass, HeldBackError, RecordError
from crm_sync.core.parity import What, Why
from crm_sync.core.rules import When
from crm_sync.hub import dirty, doubles, holds, life, review
from crm_sync.hub.store import Store
from crm_sync.steps import ruling, why
from crm_sync.steps.allowance import allot
from crm_sync.steps.life import by_person
from crm_sync.steps.options import Report
from crm_sync.steps.story import Story
from crm_sync.steps.verify import known_records, verify
from tests.steps.world import CONNECTION, World

Make = Callable[..., World]


def _text(inbound: str = "archive", outbound: str = "review", more: str = "") -> str:
    deletes = f"    deletes: {{inbound: {inbound}, outbound: {outbound}}}\n{more}"
    return CONNECTION.replace("    object: Account\n", "    object: Account\n" + deletes).replace(
        "    object: Contact\n", "    object: Contact\n" + deletes
    )


@pytest.fixture
def make(fresh_database_url: str) -> Make:
    made: list[World] = []

    def build(
        inbound: str = "archive", outbound: str = "review", names: tuple[str, ...] = ("acme",), more: str = ""
    ) -> World:
        world = World(fresh_database_url, names, _text(inbound, outbound, more))
        made.append(world)
        return world

    yield build  # type: ignore[misc]
    for world in made:
        world.close()


def _ann(world: World, name: str = "acme", **values: str) -> str:
    """A contact that is linked and agreed on."""
    given = {"LastName": "Lee", "Email": "ann@x.example", **values}
    crm_id = world.accounts[name].person_create("Contact", given)
    _settle(world)
    return crm_id


def _settle(world: World, rounds: int = 1, **flags: object) -> dict[str, Report]:
    """Some minutes later everything is synced."""
    reports: dict[str, Report] = {}
    for _ in range(rounds):
        world.wait(minutes=20)
        for name in world.accounts:
            reports |= {f"{name} {key}": report for key, report in world.sync(name, **flags).items()}
    return reports


def _states(world: World, name: str = "acme") -> tuple[str, str]:
    row = world.conn.execute(f"select hub_state, crm_state from {name}.contact_base").fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row


def _quiet(world: World) -> None:
    """One more sync writes nothing, and nothing waits."""
    writes = {name: len(account.written) for name, account in world.accounts.items()}
    changes = world.one("select count(*) from sync.change")
    _settle(world)
    assert {name: len(account.written) for name, account in world.accounts.items()} == writes
    assert world.one("select count(*) from sync.change") == changes
    assert world.one("select count(*) from sync.dirty") == 0


def _decide(world: World, decision: str, *, status: str = "open") -> None:
    found = review.find(world.conn, field="*", status=status)
    assert found
    review.decide(world.conn, found, decision, "ann")  # type: ignore[arg-type]


def _alive(world: World, name: str = "acme") -> list[str]:
    return [row.id for row in world.accounts[name].rows("Contact")]


# The CRM deletes.


def test_archive_keeps_the_record_and_takes_it_out_of_the_sync(make: Make) -> None:
    world = make("archive")
    crm_id = _ann(world)
    hub_id = world.one("select id from hub.contact")
    world.accounts["acme"].person_delete("Contact", crm_id)
    assert _settle(world)["acme hub contact acme"].counts["archived"] == 1
    assert world.one("select archived_at is not null from hub.contact") is True
    assert _states(world) == ("archived", "deleted")
    assert (
        world.one("select reason from sync.change where kind = 'archive'")
        == "deleted in the CRM: deletes: archive"
    )
    world.conn.execute("update hub.contact set first_name = 'New'")  # it takes no part
    _quiet(world)
    world.accounts["acme"].person_restore("Contact", crm_id)
    assert _settle(world)["acme hub contact acme"].counts["restored"] == 1
    assert world.hub("contact", "id, archived_at") == [{"id": hub_id, "archived_at": None}]
    assert world.accounts["acme"].row("Contact", crm_id).values["FirstName"] == "New"  # now it does
    assert _states(world) == ("present", "present")
    _quiet(world)


def test_propagate_deletes_the_record_and_brings_it_back_with_its_id(make: Make) -> None:
    world = make("propagate")
    world.conn.execute(
        "alter table hub.contact add column note text default 'none', add shout text generated always as (upper(note)) stored"
    )
    crm_id = _ann(world)
    world.conn.execute("update hub.contact set note = 'ours'")
    hub_id = world.one("select id from hub.contact")
    world.accounts["acme"].person_delete("Contact", crm_id)
    assert _settle(world)["acme hub contact acme"].counts["deleted"] == 1
    assert world.hub("contact") == []
    assert _states(world) == ("deleted", "deleted")
    assert world.one("select deleted_by from sync.tombstone") == "acme"
    assert (
        world.one("select old_value::jsonb ->> 'email' from sync.change where kind = 'delete'")
        == "ann@x.example"
    )
    _quiet(world)
    world.accounts["acme"].person_restore("Contact", crm_id)
    world.accounts["acme"].person_edit("Contact", crm_id, {"FirstName": "Ann", "Interests": "a;b"})
    _settle(world)
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
    _quiet(world)


def test_a_record_comes_back_with_what_the_hub_meant(make: Make) -> None:
    """Two of our stages are one of theirs: where the CRM says what was agreed on, the hub says what it said then."""
    world = make("propagate", names=("acme", "other"))
    crm_id = _ann(world)
    world.conn.execute("update hub.contact set stage = 'qualified', first_name = 'Ann'")
    _settle(world, 2)
    account = world.accounts["acme"]
    account.person_delete("Contact", crm_id)
    _settle(world)
    assert world.hub("contact") == []
    account.person_restore("Contact", crm_id)
    account.person_edit("Contact", crm_id, {"FirstName": "Anna"})
    _settle(world, 2)
    assert world.hub("contact", "stage, first_name") == [{"stage": "qualified", "first_name": "Anna"}]
    assert account.row("Contact", crm_id).values["Stage"] == "Appointment"
    _quiet(world)


def _edited_and_gone(make: Make) -> tuple[World, str]:
    """acme deletes a record that beta had not been told the hub's last word about; the person is asked about beta's."""
    world = make("propagate", "review", names=("acme", "beta"))
    crm_id = _ann(world)
    _settle(world)
    (beta_id,) = _alive(world, "beta")
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
    _settle(world)
    assert world.hub("contact") == []
    _decide(world, "use_crm")
    _settle(world, 2)
    assert world.hub("contact", "first_name, last_name, phone") == [
        {"first_name": "New", "last_name": "Lee", "phone": "+14155550001"}
    ]
    there = world.accounts["beta"].row("Contact", beta_id).values
    assert (there["FirstName"], there["Phone"]) == ("New", "+14155550001")
    assert review.find(world.conn, connection="beta") == []
    _quiet(world)


def test_a_record_comes_back_with_an_edit_against_one_in_the_crm_and_a_person_is_asked(make: Make) -> None:
    """Where the policy asks. Where it does not, the journal tells what the hub said before."""
    world, beta_id = _edited_and_gone(make)
    world.accounts["beta"].person_edit("Contact", beta_id, {"FirstName": "Theirs", "Phone": "+14155550002"})
    _settle(world)
    _decide(world, "use_crm")
    _settle(world, 2)
    (conflict,) = review.find(world.conn, connection="beta")
    assert (conflict.field, conflict.hub_value, conflict.crm_value) == (
        "phone",
        "+14155550001",
        "+14155550002",
    )
    assert world.hub("contact", "first_name, phone") == [{"first_name": "New", "phone": "+14155550001"}]
    replaced = "select old_value from sync.change where side = 'crm' and field = 'first_name' and connection = 'beta'"
    assert world.one(replaced) == "Theirs"  # the hub's edit is newer
    _quiet(world)


def test_ignore_leaves_both_sides_as_they_are(make: Make) -> None:
    world = make("ignore", "ignore")
    crm_id = _ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    _settle(world)
    assert _states(world) == ("present", "deleted")
    world.conn.execute("update hub.contact set first_name = 'New'")
    _quiet(world)
    world.accounts["acme"].person_restore("Contact", crm_id)
    _settle(world)
    assert _states(world) == ("present", "present")
    assert world.accounts["acme"].row("Contact", crm_id).values["FirstName"] == "New"
    world.conn.execute("delete from hub.contact")
    _settle(world)
    assert _states(world) == ("deleted", "present")
    assert _alive(world) == [crm_id]
    _quiet(world)


@pytest.mark.parametrize("decision", ["use_crm", "use_hub", "skip"])
def test_review_asks_about_a_deletion_in_the_crm(make: Make, decision: str) -> None:
    world = make("review")
    crm_id = _ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    _settle(world)
    (conflict,) = review.find(world.conn, entity="contact")
    assert (conflict.field, conflict.hub_value, conflict.crm_value) == ("*", "present", "deleted")
    assert (conflict.suggestion, conflict.reason) == ("use_crm", "deleted in the CRM: deletes: review")
    _quiet(world)
    _decide(world, decision)
    _settle(world)
    if decision == "use_crm":
        assert world.hub("contact") == []
        assert world.one("select status from review.conflict") == "applied"
    elif decision == "use_hub":
        (new,) = _alive(world)
        assert new != crm_id
        assert world.one("select crm_id from acme.contact_base") == new
        assert world.one("select status from review.conflict") == "applied"
    else:
        assert world.one("select status from review.conflict") == "skipped"
    _quiet(world)


def test_a_deletion_against_an_edit_in_the_hub_asks(make: Make) -> None:
    world = make("propagate", "propagate")
    crm_id = _ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    world.conn.execute("update hub.contact set first_name = 'New'")
    _settle(world)
    (conflict,) = review.find(world.conn, entity="contact")
    assert (conflict.suggestion, conflict.reason) == (
        "use_hub",
        "deleted in the CRM, and edited on the other side",
    )
    _decide(world, "use_hub")
    _settle(world)
    (new,) = world.accounts["acme"].rows("Contact")
    assert (new.values["FirstName"], new.values["Email"]) == ("New", "ann@x.example")
    assert _states(world) == ("present", "present")
    assert (
        world.one("select reason from sync.change where side = 'crm' and kind = 'create'")
        == "decided by ann (conflict 1)"
    )
    _quiet(world)
    # The old record comes back: it is no second person in the hub.
    world.accounts["acme"].person_restore("Contact", crm_id)
    _settle(world)
    assert len(world.hub("contact")) == 1
    assert world.one("select code from sync.parked where record_id = %s", crm_id) == "DOUBLE"
    _quiet(world)


def test_a_hub_that_refuses_parks_the_record_alone(make: Make) -> None:
    world = make("propagate")
    first = _ann(world)
    second = world.accounts["acme"].person_create("Contact", {"LastName": "B", "Email": "b@x.example"})
    _settle(world)
    world.conn.execute("create table hub.invoice (contact uuid references hub.contact (id))")
    world.conn.execute("insert into hub.invoice select id from hub.contact where email = 'ann@x.example'")
    for crm_id in (first, second):
        world.accounts["acme"].person_delete("Contact", crm_id)
    _settle(world)
    assert [row["email"] for row in world.hub("contact", "email")] == ["ann@x.example"]
    assert world.one("select reason from sync.parked") == (
        'the hub table refuses the record: update or delete on table "contact" violates foreign key constraint'
        ' "invoice_contact_fkey" on table "invoice"'
    )


# The hub deletes.


@pytest.mark.parametrize("how", ["delete from hub.contact", "update hub.contact set archived_at = now()"])
def test_propagate_deletes_in_the_crm(make: Make, how: str) -> None:
    world = make("archive", "propagate")
    _ann(world)
    world.conn.execute(how)  # type: ignore[arg-type]
    assert _settle(world)["acme outbound contact"].counts["deleted"] == 1
    assert _alive(world) == []
    assert _states(world)[1] == "deleted"
    row = world.conn.execute(
        "select old_value::jsonb ->> 'email', reason, answer ->> 'deleted' from sync.change where kind = 'delete' and side = 'crm'"
    ).fetchone()
    assert row == ("ann@x.example", "deleted in the hub: deletes: propagate", "by this call")
    assert world.one("select count(*) from sync.intent") == 0
    _quiet(world)


def test_what_comes_back_in_the_hub_is_created_once_more(make: Make) -> None:
    world = make("archive", "propagate")
    crm_id = _ann(world)
    world.conn.execute("update hub.contact set archived_at = now()")
    _settle(world)
    assert _alive(world) == []
    world.conn.execute("update hub.contact set archived_at = null")
    _settle(world)
    (new,) = _alive(world)
    assert new != crm_id
    assert world.one("select crm_id from acme.contact_base") == new
    assert world.one("select survivor from sync.alias where crm_id = %s", crm_id) == new
    assert world.accounts["acme"].row("Contact", new).values["Hub_Id"] == str(
        world.one("select id from hub.contact")
    )
    _quiet(world)
    world.accounts["acme"].person_edit("Contact", new, {"FirstName": "Ann"})
    _settle(world)
    assert world.one("select first_name from hub.contact") == "Ann"


@pytest.mark.parametrize("decision", ["use_crm", "use_hub"])
def test_review_asks_about_a_deletion_in_the_hub(make: Make, decision: str) -> None:
    world = make()
    crm_id = _ann(world)
    hub_id = world.one("select id from hub.contact")
    world.conn.execute("delete from hub.contact")
    _settle(world)
    (conflict,) = review.find(world.conn)
    assert (conflict.hub_value, conflict.crm_value, conflict.suggestion) == ("deleted", "present", "use_hub")
    assert conflict.hub_changed_by == "hub"
    assert _alive(world) == [crm_id]
    _quiet(world)
    _decide(world, decision)
    _settle(world)
    assert _alive(world) == ([] if decision == "use_hub" else [crm_id])
    assert [row["id"] for row in world.hub("contact")] == ([] if decision == "use_hub" else [hub_id])
    _quiet(world)


def test_a_deletion_against_an_edit_in_the_crm_asks(make: Make) -> None:
    world = make("archive", "propagate")
    crm_id = _ann(world)
    world.conn.execute("delete from hub.contact")
    world.accounts["acme"].person_edit("Contact", crm_id, {"FirstName": "New"})
    _settle(world)
    (conflict,) = review.find(world.conn)
    assert conflict.reason == "deleted in the hub, and edited on the other side"
    assert _alive(world) == [crm_id]
    _decide(world, "use_crm")
    _settle(world)
    assert world.hub("contact", "first_name, email") == [{"first_name": "New", "email": "ann@x.example"}]
    _quiet(world)


def test_an_edit_that_nobody_has_read_yet_is_seen_before_the_deletion(make: Make) -> None:
    world = make("archive", "propagate")
    crm_id = _ann(world)
    world.conn.execute("delete from hub.contact")
    world.accounts["acme"].habits.lag = (
        world.accounts["acme"].habits.granularity * 3_600_000
    )  # listings lag an hour
    world.accounts["acme"].person_edit("Contact", crm_id, {"FirstName": "New"})
    report = _settle(world)["acme outbound contact"]
    assert report.counts["moved"] == 1
    assert _alive(world) == [crm_id]
    _settle(world)
    assert [c.field for c in review.find(world.conn)] == ["*"]


def test_what_is_gone_already_is_success(make: Make) -> None:
    world = make("archive", "propagate")
    crm_id = _ann(world)
    world.conn.execute("delete from hub.contact")
    crm = world.crms["acme"]
    crm.faults.before_write = lambda operation: world.accounts["acme"].person_delete(
        "Contact", operation.crm_id or ""
    )
    assert _settle(world)["acme outbound contact"].counts["deleted"] == 1
    assert _states(world) == ("deleted", "deleted")
    assert crm_id not in _alive(world)
    crm.faults.before_write = None
    _quiet(world)


def test_a_refused_deletion_is_parked_and_tried_again_when_it_is_marked(make: Make) -> None:
    world = make("archive", "propagate")
    _ann(world)
    hub_id = str(world.one("select id from hub.contact"))
    crm = world.crms["acme"]
    crm.faults.reject[hub_id] = RecordError(ErrorClass.VALIDATION, "DELETE_FAILED", "it is in an open case")
    world.conn.execute("delete from hub.contact")
    _settle(world)
    assert (
        world.one("select code || ': ' || reason from sync.parked")
        == "DELETE_FAILED: not deleted: it is in an open case"
    )
    assert world.one("select count(*) from sync.intent") == 0
    crm.faults.reject.clear()
    _settle(world, full=True)

    dirty.mark_all(world.conn, world.system.stream("acme", "contact"))
    _settle(world)
    assert _alive(world) == []
    assert world.one("select count(*) from sync.parked") == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deletion_without_an_answer_is_looked_up(make: Make, when: str) -> None:
    world = make("archive", "propagate")
    _ann(world)
    world.conn.execute("delete from hub.contact")
    world.crms["acme"].faults.timeout = when  # type: ignore[assignment]
    with pytest.raises(CrmError):
        _settle(world)
    assert world.one("select kind from sync.intent") == "delete"
    written = len(world.accounts["acme"].written)
    _settle(world)
    assert _alive(world) == []
    assert world.one("select count(*) from sync.intent") == 0
    assert len(world.accounts["acme"].written) - written == (1 if when == "before" else 0)
    assert world.one("select count(*) from sync.change where side = 'crm' and kind = 'delete'") == 1
    _quiet(world)


def test_killed_between_the_intent_and_its_answer(make: Make) -> None:
    world = make("archive", "propagate")
    _ann(world)
    world.conn.execute("delete from hub.contact")

    def killed(_: Operation) -> None:
        raise KeyboardInterrupt

    world.crms["acme"].faults.before_write = killed
    with pytest.raises(KeyboardInterrupt):
        _settle(world)
    world.crms["acme"].faults.before_write = None
    assert world.one("select count(*) from sync.intent") == 1
    _settle(world)
    assert _alive(world) == []
    _quiet(world)


def test_a_create_once_more_without_an_answer_makes_one_record(make: Make) -> None:
    world = make("review", "propagate")
    crm_id = _ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    _settle(world)
    _decide(world, "use_hub")
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        _settle(world)
    _settle(world)
    (new,) = _alive(world)
    assert world.one("select crm_id from acme.contact_base") == new
    _quiet(world)


@pytest.mark.parametrize(
    ("outbound", "edited"), [("propagate", False), ("propagate", True), ("ignore", True)]
)
def test_what_is_deleted_while_its_create_has_no_answer_does_not_come_back(
    make: Make, outbound: str, *, edited: bool
) -> None:
    world = make(outbound=outbound, names=("acme", "beta"))
    world.conn.execute("insert into hub.contact (first_name, last_name) values ('Ann', 'Lee')")
    hub_id = world.one("select id from hub.contact")
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    world.conn.execute("delete from hub.contact")
    if edited:
        world.accounts["acme"].person_edit("Contact", _alive(world)[0], {"LastName": "Kim"})
    _settle(world, rounds=2)
    assert world.hub("contact") == []  # it carries the hub record's id: nobody new
    assert _alive(world, "beta") == []
    assert world.one("select hub_id from acme.contact_base") == hub_id
    asked = world.one("select count(*) from review.conflict where field = '*' and status = 'open'")
    assert asked == (outbound == "propagate" and edited)
    assert len(_alive(world)) == edited
    _quiet(world)


# References.


def _company(world: World) -> tuple[str, str]:
    """A company and its contact: their ids in acme."""
    acme = world.accounts["acme"]
    company = acme.person_create("Account", {"Name": "Big", "Website": "big.example"})
    contact = acme.person_create(
        "Contact", {"LastName": "Lee", "Email": "ann@x.example", "AccountId": company}
    )
    _settle(world, 2)
    return company, contact


def test_references_let_go_are_blanked_nowhere_and_come_back(make: Make) -> None:
    world = make("propagate", "ignore", ("acme", "beta"))
    company, contact = _company(world)
    beta = world.accounts["beta"]
    (theirs,) = beta.rows("Contact")
    assert theirs.values["AccountId"] is not None
    hub_company = world.one("select id from hub.company")
    world.accounts["acme"].person_delete("Account", company)
    world.accounts["acme"].person_edit("Contact", contact, {"FirstName": "Ann"})
    _settle(world, 2)
    assert world.hub("company") == []
    assert world.hub("contact", "company, first_name") == [{"company": None, "first_name": "Ann"}]
    assert beta.row("Contact", theirs.id).values["AccountId"] == theirs.values["AccountId"]
    assert beta.row("Contact", theirs.id).values["FirstName"] == "Ann"
    assert world.one("select count(*) from acme.contact_differences") == 0
    _quiet(world)
    world.accounts["acme"].person_restore("Account", company)
    _settle(world, 2)
    assert world.one("select company from hub.contact") == hub_company
    assert world.one("select count(*) from sync.let_go") == 0
    _quiet(world)


def test_a_reference_that_an_application_blanks_is_a_blank(make: Make) -> None:
    world = make("propagate", "propagate")
    _, contact = _company(world)
    world.conn.execute("update hub.contact set company = null")
    world.conn.execute("delete from hub.company")
    _settle(world, 2)
    assert world.accounts["acme"].row("Contact", contact).values["AccountId"] is None
    assert world.accounts["acme"].rows("Account") == []


def test_an_application_that_brings_the_company_back_has_its_references_again(make: Make) -> None:
    world = make("archive", "propagate")
    company, contact = _company(world)
    row = world.hub("company", "id, name, website")[0]
    world.conn.execute("delete from hub.company")
    world.conn.execute(
        "insert into hub.company (id, name, website) values (%(id)s, %(name)s, %(website)s)", row
    )
    assert world.one("select company from hub.contact") == row["id"]
    _settle(world, 2)
    assert world.accounts["acme"].row("Contact", contact).values["AccountId"] == company
    _quiet(world)


# Three systems.


@pytest.mark.parametrize("inbound", ["propagate", "archive"])
@pytest.mark.parametrize("outbound", ["propagate", "ignore", "review"])
def test_a_deletion_in_one_crm_meets_the_policy_of_the_other(make: Make, inbound: str, outbound: str) -> None:
    world = make(inbound, outbound, ("acme", "beta"))
    crm_id = _ann(world)
    assert len(_alive(world, "beta")) == 1
    world.accounts["acme"].person_delete("Contact", crm_id)
    _settle(world, 2)
    assert len(_alive(world, "beta")) == (0 if outbound == "propagate" else 1)
    assert _alive(world, "acme") == []
    assert len(review.find(world.conn, connection="beta")) == (1 if outbound == "review" else 0)
    _quiet(world)
    world.accounts["acme"].person_restore("Contact", crm_id)
    _settle(world, 3)
    assert _alive(world, "acme") == [crm_id]
    assert len(_alive(world, "beta")) == 1
    assert world.one("select count(*) from hub.contact where archived_at is null") == 1
    assert review.find(world.conn) == []
    _quiet(world)


def test_what_is_archived_before_it_was_ever_sent_stays_at_home(make: Make) -> None:
    world = make()
    world.conn.execute(
        "insert into hub.contact (last_name, email, archived_at) values ('Lee', 'ann@x.example', now())"
    )
    _settle(world)
    assert _alive(world) == []
    _quiet(world)
    world.conn.execute("update hub.contact set archived_at = null")
    _settle(world)
    assert len(_alive(world)) == 1


# The guard, a dry run, the cost.


def _people(world: World, number: int) -> None:
    for i in range(number):
        world.accounts["acme"].person_create("Contact", {"LastName": f"N{i}", "Email": f"p{i}@x.example"})
    _settle(world)


def test_many_deletions_on_their_way_out_are_asked_about(make: Make) -> None:
    world = make("archive", "propagate")
    _people(world, 40)
    world.conn.execute("delete from hub.contact where last_name <> 'N0'")
    with pytest.raises(HeldBackError, match="39 records would be deleted"):
        _settle(world)
    assert len(_alive(world)) == 40
    (hold,) = holds.find(world.conn)
    holds.confirm(world.conn, hold.id, "ann")
    _settle(world)
    assert len(_alive(world)) == 1
    _quiet(world)


def test_a_dry_run_plans_deletions_and_writes_nothing(make: Make) -> None:
    world = make("propagate", "propagate")
    first = _ann(world)
    world.accounts["acme"].person_create("Contact", {"LastName": "B", "Email": "b@x.example"})
    _settle(world)
    world.accounts["acme"].person_delete("Contact", first)
    world.conn.execute("delete from hub.contact where last_name = 'B'")
    reports = _settle(world, dry_run=True)
    rows = [row for report in reports.values() for row in report.plan]
    assert sorted((row.target, row.action, row.old, row.new) for row in rows) == [
        ("crm", "delete", None, None),
        ("hub", "delete", "present", "deleted"),
    ]
    assert len(_alive(world)) == 1
    assert len(world.hub("contact")) == 1
    assert world.one("select count(*) from sync.intent") == 0


def test_idle_again_after_a_thousand_deletions(make: Make) -> None:
    world = make("archive", "propagate", more="    guard: {deletions: off}\n")
    _people(world, 1000)
    world.conn.execute("delete from hub.contact")
    before = dict(world.crms["acme"].calls)
    _settle(world)
    made = {name: number - before.get(name, 0) for name, number in world.crms["acme"].calls.items()}
    assert _alive(world) == []
    assert (made["write"], made["by_ids"]) == (10, 1)
    _quiet(world)


# Rules, and why.


def test_a_rule_holds_for_what_is_deleted_later(make: Make) -> None:
    world = make("review")
    crm_id = _ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    _settle(world)
    found = review.find(world.conn, field="*")
    with Store(world.url) as store:
        previewed = ruling.preview(store.conn, world.system, found, "use_crm", When.ANY)
        assert previewed == []
        with store.transaction() as conn:
            rule, _ = ruling.enact(conn, world.system, found, "use_crm", When.ANY, "ann")
    _settle(world)
    assert world.hub("contact") == []
    assert (
        world.one("select reason from sync.change where kind = 'delete'")
        == f"{rule.said} (conflict {found[0].id})"
    )
    other = world.accounts["acme"].person_create("Contact", {"LastName": "B", "Email": "b@x.example"})
    _settle(world)
    world.accounts["acme"].person_delete("Contact", other)
    _settle(world)
    assert world.hub("contact") == []
    _quiet(world)


def test_why_tells_deletions_and_returns(make: Make) -> None:
    world = make("propagate", "review")
    crm_id = _ann(world)
    hub_id = world.one("select id from hub.contact")

    def story() -> Story:
        with Store(world.url) as store:
            return why.why(
                store, world.system, "contact", why.find(store, world.system, "contact", str(hub_id))[0]
            )

    world.accounts["acme"].person_delete("Contact", crm_id)
    _settle(world)
    assert [(line.what, line.target, line.field) for line in story().lines][-1] == ("delete", "hub", None)
    assert story().hub.endswith("by acme")
    assert story().lines[-1].why == "deleted in the CRM; of that the mapping says: deletes: propagate"
    world.accounts["acme"].person_restore("Contact", crm_id)
    _settle(world)
    assert story().lines[-1].what == "restore"
    world.conn.execute("update hub.contact set archived_at = now()")
    _settle(world)
    assert story().hub.startswith("archived in the hub since ")
    assert "a person decides (conflict #" in story().links[0].what
    assert (story().lines[-2].what, story().lines[-2].source) == ("archive", "application")


# What happens meanwhile.


def test_a_return_in_the_hub_during_the_deletion_is_not_lost(make: Make) -> None:
    world = make("archive", "propagate")
    crm_id = _ann(world)
    world.conn.execute("update hub.contact set archived_at = now()")
    faults = world.crms["acme"].faults

    def back(_: object) -> None:
        world.conn.execute("update hub.contact set archived_at = null, first_name = 'Back'")

    faults.before_write = back
    _settle(world)
    faults.before_write = None
    _settle(world, 2)
    (again,) = _alive(world)
    assert again != crm_id
    assert world.accounts["acme"].row("Contact", again).values["FirstName"] == "Back"
    assert _states(world) == ("present", "present")
    _quiet(world)


def test_a_return_in_the_hub_before_a_deletion_is_known_to_be_done(make: Make) -> None:
    world = make("archive", "propagate")
    crm_id = _ann(world)
    row = world.hub("contact", "id, last_name, email")[0]
    world.conn.execute("delete from hub.contact")
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        _settle(world)
    world.conn.execute(
        "insert into hub.contact (id, last_name, email) values (%(id)s, %(last_name)s, %(email)s)", row
    )
    _settle(world, 2)
    (again,) = _alive(world)
    assert again != crm_id
    assert _states(world) == ("present", "present")
    _quiet(world)


@pytest.mark.parametrize("upserts", [False, True])
def test_what_the_crm_has_again_is_not_created_once_more(make: Make, upserts: bool) -> None:
    """A person has taken it out of the recycle bin and edited it, which no listing shows yet."""
    world = make("archive", "propagate")
    acme = world.accounts["acme"]
    acme.habits.upserts = upserts
    crm_id = _ann(world)
    world.conn.execute("update hub.contact set archived_at = now()")
    _settle(world)
    assert _alive(world) == []
    acme.habits.lag = timedelta(hours=1)
    acme.person_restore("Contact", crm_id)
    acme.person_edit("Contact", crm_id, {"LastName": "Kim"})
    world.conn.execute("update hub.contact set archived_at = null, first_name = 'Back'")
    assert _settle(world)["acme outbound contact"].counts["moved"] == 1
    _settle(world, 2)
    assert _alive(world) == [crm_id]
    values = acme.row("Contact", crm_id).values
    assert (values["FirstName"], values["LastName"]) == ("Back", "Kim")
    assert world.hub("contact", "last_name") == [{"last_name": "Kim"}]
    assert _states(world) == ("present", "present")
    world.wait(hours=2)
    _quiet(world)


def test_a_create_once_more_keeps_what_only_the_crm_fills(fresh_database_url: str) -> None:
    inbound = "first_name: {field: FirstName, direction: inbound}"
    world = World(
        fresh_database_url,
        ("acme",),
        _text("review", "propagate").replace("first_name: FirstName", inbound),
    )
    crm_id = _ann(world, FirstName="Ann")
    world.accounts["acme"].person_delete("Contact", crm_id)
    _settle(world)
    _decide(world, "use_hub")
    _settle(world, 2)
    (again,) = _alive(world)
    assert world.hub("contact", "first_name") == [{"first_name": "Ann"}]
    assert world.one("select count(*) from acme.contact_differences") == 0
    _quiet(world)
    world.accounts["acme"].person_edit("Contact", again, {"FirstName": "Anna"})  # its word counts as ever
    _settle(world)
    assert world.hub("contact", "first_name") == [{"first_name": "Anna"}]
    world.close()


def test_a_reference_comes_back_to_the_crm_that_brought_its_target_back(make: Make) -> None:
    world = make("propagate", "propagate")
    company, contact = _company(world)
    acme = world.accounts["acme"]
    acme.person_delete("Account", company)
    acme.person_edit("Contact", contact, {"AccountId": None})
    _settle(world, 2)
    acme.person_restore("Account", company)
    _settle(world, 2)
    assert acme.row("Contact", contact).values["AccountId"] == company
    assert (
        world.one("select changed_by from sync.provenance where entity = 'contact' and field = 'company'")
        == "hub"
    )
    assert (
        world.one("select count(*) from sync.provenance where entity = 'company' and changed_by = 'hub'") == 0
    )
    _quiet(world)


def test_a_decision_is_about_what_was_known_of_the_record_in_the_crm(make: Make) -> None:
    world = make("archive", "review")
    acme = world.accounts["acme"]
    crm_id = _ann(world)
    world.conn.execute("delete from hub.contact")
    _settle(world)
    (asked,) = review.find(world.conn)
    assert (asked.reason, asked.suggestion) == ("deleted in the hub: deletes: review", "use_hub")
    acme.person_edit("Contact", crm_id, {"FirstName": "Important"})
    _settle(world)
    (asked,) = review.find(world.conn)
    assert (asked.reason, asked.suggestion) == (
        "deleted in the hub, and edited on the other side",
        "use_crm",
    )
    _decide(world, "use_hub")
    acme.person_edit("Contact", crm_id, {"FirstName": "Later still"})  # nobody knew of it
    _settle(world)
    assert _alive(world) == [crm_id]
    assert [c.id for c in review.find(world.conn)] == [asked.id]
    _decide(world, "use_hub")  # now everything is known
    _settle(world)
    assert _alive(world) == []
    assert world.one("select status from review.conflict") == "applied"
    _quiet(world)


def test_a_decision_is_about_what_was_known_of_the_record_in_the_hub(make: Make) -> None:
    world = make("propagate", "review")
    crm_id = _ann(world)
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    world.accounts["acme"].person_delete("Contact", crm_id)
    _settle(world)
    _decide(world, "use_crm")
    world.conn.execute("update hub.contact set first_name = 'Anna'")  # nobody knew of it
    _settle(world)
    assert world.hub("contact", "first_name") == [{"first_name": "Anna"}]
    _decide(world, "use_crm")
    _settle(world)
    assert world.hub("contact") == []
    assert world.one("select status from review.conflict") == "applied"
    _quiet(world)


def test_a_decision_that_the_hub_refuses_stays_made(make: Make) -> None:
    world = make("review", "review")
    crm_id = _ann(world)
    world.conn.execute("create table public.orders (contact uuid references hub.contact (id))")
    world.conn.execute("insert into public.orders select id from hub.contact")
    world.accounts["acme"].person_delete("Contact", crm_id)
    _settle(world)
    _decide(world, "use_crm")
    _settle(world)
    assert world.conn.execute("select status, decision from review.conflict").fetchall() == [
        ("decided", "use_crm")
    ]
    assert world.one("select count(*) from sync.parked") == 1
    assert world.one("select count(*) from sync.dirty") == 0
    world.conn.execute("drop table public.orders")
    dirty.mark_parked(world.conn, world.system.stream("acme", "contact"))
    _settle(world)
    assert world.hub("contact") == []
    assert world.one("select status from review.conflict") == "applied"
    assert world.one("select count(*) from sync.parked") == 0


def test_what_was_skipped_was_decided_by_nobody(make: Make) -> None:
    world = make("propagate", "review")
    crm_id = _ann(world)
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    world.accounts["acme"].person_delete("Contact", crm_id)
    _settle(world)
    _decide(world, "skip")
    world.conn.execute("update hub.contact set first_name = null")
    ids = [world.one("select id from hub.contact")]
    (found,) = life.verdicts(world.conn, world.system.stream("acme", "contact"), ids)
    assert (found.kind, found.difference.decision) == (Kind.TAKE, "skip")
    assert not by_person(found)  # so the guard counts it


def test_the_guard_says_that_records_would_be_archived_and_of_how_many(make: Make) -> None:
    world = make("archive", "review", more="    guard: {deletions: 0}\n")
    crm_id = _ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    with pytest.raises(HeldBackError, match=r"1 record would be archived \(.*\); 1 are linked"):
        _settle(world)
    (hold,) = holds.find(world.conn)
    holds.confirm(world.conn, hold.id, "ann")
    _settle(world)
    assert world.one("select archived_at is not null from hub.contact") is True
    _quiet(world)


def test_archived_records_explain_themselves_and_are_nobodys_double(make: Make) -> None:
    world = make("archive", "ignore")
    _ann(world)
    world.conn.execute("update hub.contact set archived_at = now()")
    _settle(world)
    world.conn.execute("update hub.contact set first_name = 'New'")
    world.conn.execute(
        "insert into hub.contact (last_name, email, archived_at) values ('Lee', 'ann@x.example', now())"
    )
    _settle(world)
    stream = world.system.stream("acme", "contact")
    with Store(world.url) as store:
        share = allot([stream], {stream.name: known_records(store, stream)}, None)[stream.name]
        found = verify(store, world.crms["acme"], stream, share)
    assert set(found.counts) == {
        (What.VALUE, Why.ARCHIVED),
        (What.NOT_IN_CRM, Why.ARCHIVED),
    }
    assert list(doubles.in_hub(world.conn, world.system, "contact", 10)) == []
