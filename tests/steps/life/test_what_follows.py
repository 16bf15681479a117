"""What deletions take along: references, other CRMs, the guard, rules, and what is told of them."""

import pytest

from crm_sync.core.errors import HeldBackError
from crm_sync.core.rules import When
from crm_sync.hub import holds, review
from crm_sync.hub.store import Store
from crm_sync.steps import ruling, why
from crm_sync.steps.story import Story
from tests.steps.life.deleting import Make, alive, ann, company_and_contact, quiet, settle
from tests.steps.world import World

# References.


def test_references_let_go_are_blanked_nowhere_and_come_back(make: Make) -> None:
    world = make("propagate", "ignore", ("acme", "beta"))
    company, contact = company_and_contact(world)
    beta = world.accounts["beta"]
    (theirs,) = beta.rows("Contact")
    assert theirs.values["AccountId"] is not None
    hub_company = world.one("select id from hub.company")
    world.accounts["acme"].person_delete("Account", company)
    world.accounts["acme"].person_edit("Contact", contact, {"FirstName": "Ann"})
    settle(world, 2)
    assert world.hub("company") == []
    assert world.hub("contact", "company, first_name") == [{"company": None, "first_name": "Ann"}]
    assert beta.row("Contact", theirs.id).values["AccountId"] == theirs.values["AccountId"]
    assert beta.row("Contact", theirs.id).values["FirstName"] == "Ann"
    assert world.one("select count(*) from acme.contact_differences") == 0
    quiet(world)
    world.accounts["acme"].person_restore("Account", company)
    settle(world, 2)
    assert world.one("select company from hub.contact") == hub_company
    assert world.one("select count(*) from sync.let_go") == 0
    quiet(world)


def test_a_reference_that_an_application_blanks_is_a_blank(make: Make) -> None:
    world = make("propagate", "propagate")
    _, contact = company_and_contact(world)
    world.conn.execute("update hub.contact set company = null")
    world.conn.execute("delete from hub.company")
    settle(world, 2)
    assert world.accounts["acme"].row("Contact", contact).values["AccountId"] is None
    assert world.accounts["acme"].rows("Account") == []


def test_an_application_that_brings_the_company_back_has_its_references_again(make: Make) -> None:
    world = make("archive", "propagate")
    company, contact = company_and_contact(world)
    row = world.hub("company", "id, name, website")[0]
    world.conn.execute("delete from hub.company")
    world.conn.execute(
        "insert into hub.company (id, name, website) values (%(id)s, %(name)s, %(website)s)", row
    )
    assert world.one("select company from hub.contact") == row["id"]
    settle(world, 2)
    assert world.accounts["acme"].row("Contact", contact).values["AccountId"] == company
    quiet(world)


# Three systems.


@pytest.mark.parametrize("inbound", ["propagate", "archive"])
@pytest.mark.parametrize("outbound", ["propagate", "ignore", "review"])
def test_a_deletion_in_one_crm_meets_the_policy_of_the_other(make: Make, inbound: str, outbound: str) -> None:
    world = make(inbound, outbound, ("acme", "beta"))
    crm_id = ann(world)
    assert len(alive(world, "beta")) == 1
    world.accounts["acme"].person_delete("Contact", crm_id)
    settle(world, 2)
    assert len(alive(world, "beta")) == (0 if outbound == "propagate" else 1)
    assert alive(world, "acme") == []
    assert len(review.find(world.conn, connection="beta")) == (1 if outbound == "review" else 0)
    quiet(world)
    world.accounts["acme"].person_restore("Contact", crm_id)
    settle(world, 3)
    assert alive(world, "acme") == [crm_id]
    assert len(alive(world, "beta")) == 1
    assert world.one("select count(*) from hub.contact where archived_at is null") == 1
    assert review.find(world.conn) == []
    quiet(world)


def test_what_is_archived_before_it_was_ever_sent_stays_at_home(make: Make) -> None:
    world = make()
    world.conn.execute(
        "insert into hub.contact (last_name, email, archived_at) values ('Lee', 'ann@x.example', now())"
    )
    settle(world)
    assert alive(world) == []
    quiet(world)
    world.conn.execute("update hub.contact set archived_at = null")
    settle(world)
    assert len(alive(world)) == 1


# The guard, a dry run, the cost.


def _people(world: World, number: int) -> None:
    for i in range(number):
        world.accounts["acme"].person_create("Contact", {"LastName": f"N{i}", "Email": f"p{i}@x.example"})
    settle(world)


def test_many_deletions_on_their_way_out_are_asked_about(make: Make) -> None:
    world = make("archive", "propagate")
    _people(world, 40)
    world.conn.execute("delete from hub.contact where last_name <> 'N0'")
    with pytest.raises(HeldBackError, match="39 records would be deleted"):
        settle(world)
    assert len(alive(world)) == 40
    (hold,) = holds.find(world.conn)
    holds.confirm(world.conn, hold.id, "ann")
    settle(world)
    assert len(alive(world)) == 1
    quiet(world)


def test_a_dry_run_plans_deletions_and_writes_nothing(make: Make) -> None:
    world = make("propagate", "propagate")
    first = ann(world)
    world.accounts["acme"].person_create("Contact", {"LastName": "B", "Email": "b@x.example"})
    settle(world)
    world.accounts["acme"].person_delete("Contact", first)
    world.conn.execute("delete from hub.contact where last_name = 'B'")
    reports = settle(world, dry_run=True)
    rows = [row for report in reports.values() for row in report.plan]
    assert sorted((row.target, row.action, row.old, row.new) for row in rows) == [
        ("crm", "delete", None, None),
        ("hub", "delete", "present", "deleted"),
    ]
    assert len(alive(world)) == 1
    assert len(world.hub("contact")) == 1
    assert world.one("select count(*) from sync.intent") == 0


def test_idle_again_after_a_thousand_deletions(make: Make) -> None:
    world = make("archive", "propagate", more="    guard: {deletions: off}\n")
    _people(world, 1000)
    world.conn.execute("delete from hub.contact")
    before = dict(world.crms["acme"].calls)
    settle(world)
    made = {name: number - before.get(name, 0) for name, number in world.crms["acme"].calls.items()}
    assert alive(world) == []
    assert (made["write"], made["by_ids"]) == (10, 1)
    quiet(world)


# Rules, and why.


def test_a_rule_holds_for_what_is_deleted_later(make: Make) -> None:
    world = make("review")
    crm_id = ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    settle(world)
    found = review.find(world.conn, field="*")
    with Store(world.url) as store:
        previewed = ruling.preview(store.conn, world.system, found, "use_crm", When.ANY)
        assert previewed == []
        with store.transaction() as conn:
            rule, _ = ruling.enact(conn, world.system, found, "use_crm", When.ANY, "ann")
    settle(world)
    assert world.hub("contact") == []
    assert (
        world.one("select reason from sync.change where kind = 'delete'")
        == f"{rule.said} (conflict {found[0].id})"
    )
    other = world.accounts["acme"].person_create("Contact", {"LastName": "B", "Email": "b@x.example"})
    settle(world)
    world.accounts["acme"].person_delete("Contact", other)
    settle(world)
    assert world.hub("contact") == []
    quiet(world)


def test_why_tells_deletions_and_returns(make: Make) -> None:
    world = make("propagate", "review")
    crm_id = ann(world)
    hub_id = world.one("select id from hub.contact")

    def story() -> Story:
        with Store(world.url) as store:
            return why.why(
                store, world.system, "contact", why.find(store, world.system, "contact", str(hub_id))[0]
            )

    world.accounts["acme"].person_delete("Contact", crm_id)
    settle(world)
    assert [(line.what, line.target, line.field) for line in story().lines][-1] == ("delete", "hub", None)
    assert story().hub.endswith("by acme")
    assert story().lines[-1].why == "deleted in the CRM; of that the mapping says: deletes: propagate"
    world.accounts["acme"].person_restore("Contact", crm_id)
    settle(world)
    assert story().lines[-1].what == "restore"
    world.conn.execute("update hub.contact set archived_at = now()")
    settle(world)
    assert story().hub.startswith("archived in the hub since ")
    assert "a person decides (conflict #" in story().links[0].what
    assert (story().lines[-2].what, story().lines[-2].source) == ("archive", "application")
