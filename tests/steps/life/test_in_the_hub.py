"""The hub deletes a record, or has it again: every policy of the CRM, and calls without an answer."""

import pytest

from crm_sync.connectors.crm import Operation
from crm_sync.core.errors import CrmError, ErrorClass, RecordError
from crm_sync.hub import dirty, review
from tests.steps.life.deleting import Make, alive, ann, decide, quiet, settle, states


@pytest.mark.parametrize("how", ["delete from hub.contact", "update hub.contact set archived_at = now()"])
def test_propagate_deletes_in_the_crm(make: Make, how: str) -> None:
    world = make("archive", "propagate")
    ann(world)
    world.conn.execute(how)  # type: ignore[arg-type]
    assert settle(world)["acme outbound contact"].counts["deleted"] == 1
    assert alive(world) == []
    assert states(world)[1] == "deleted"
    row = world.conn.execute(
        "select old_value::jsonb ->> 'email', reason, answer ->> 'deleted' from sync.change where kind = 'delete' and side = 'crm'"
    ).fetchone()
    assert row == ("ann@x.example", "deleted in the hub: deletes: propagate", "by this call")
    assert world.one("select count(*) from sync.intent") == 0
    quiet(world)


def test_what_comes_back_in_the_hub_is_created_once_more(make: Make) -> None:
    world = make("archive", "propagate")
    crm_id = ann(world)
    world.conn.execute("update hub.contact set archived_at = now()")
    settle(world)
    assert alive(world) == []
    world.conn.execute("update hub.contact set archived_at = null")
    settle(world)
    (new,) = alive(world)
    assert new != crm_id
    assert world.one("select crm_id from acme.contact_base") == new
    assert world.one("select survivor from sync.alias where crm_id = %s", crm_id) == new
    assert world.accounts["acme"].row("Contact", new).values["Hub_Id"] == str(
        world.one("select id from hub.contact")
    )
    quiet(world)
    world.accounts["acme"].person_edit("Contact", new, {"FirstName": "Ann"})
    settle(world)
    assert world.one("select first_name from hub.contact") == "Ann"


@pytest.mark.parametrize("decision", ["use_crm", "use_hub"])
def test_review_asks_about_a_deletion_in_the_hub(make: Make, decision: str) -> None:
    world = make()
    crm_id = ann(world)
    hub_id = world.one("select id from hub.contact")
    world.conn.execute("delete from hub.contact")
    settle(world)
    (conflict,) = review.find(world.conn)
    assert (conflict.hub_value, conflict.crm_value, conflict.suggestion) == ("deleted", "present", "use_hub")
    assert conflict.hub_changed_by == "hub"
    assert alive(world) == [crm_id]
    quiet(world)
    decide(world, decision)
    settle(world)
    assert alive(world) == ([] if decision == "use_hub" else [crm_id])
    assert [row["id"] for row in world.hub("contact")] == ([] if decision == "use_hub" else [hub_id])
    quiet(world)


def test_a_deletion_against_an_edit_in_the_crm_asks(make: Make) -> None:
    world = make("archive", "propagate")
    crm_id = ann(world)
    world.conn.execute("delete from hub.contact")
    world.accounts["acme"].person_edit("Contact", crm_id, {"FirstName": "New"})
    settle(world)
    (conflict,) = review.find(world.conn)
    assert conflict.reason == "deleted in the hub, and edited on the other side"
    assert alive(world) == [crm_id]
    decide(world, "use_crm")
    settle(world)
    assert world.hub("contact", "first_name, email") == [{"first_name": "New", "email": "ann@x.example"}]
    quiet(world)


def test_an_edit_that_nobody_has_read_yet_is_seen_before_the_deletion(make: Make) -> None:
    world = make("archive", "propagate")
    crm_id = ann(world)
    world.conn.execute("delete from hub.contact")
    world.accounts["acme"].habits.lag = (
        world.accounts["acme"].habits.granularity * 3_600_000
    )  # listings lag an hour
    world.accounts["acme"].person_edit("Contact", crm_id, {"FirstName": "New"})
    report = settle(world)["acme outbound contact"]
    assert report.counts["moved"] == 1
    assert alive(world) == [crm_id]
    settle(world)
    assert [c.field for c in review.find(world.conn)] == ["*"]


def test_what_is_gone_already_is_success(make: Make) -> None:
    world = make("archive", "propagate")
    crm_id = ann(world)
    world.conn.execute("delete from hub.contact")
    crm = world.crms["acme"]
    crm.faults.before_write = lambda operation: world.accounts["acme"].person_delete(
        "Contact", operation.crm_id or ""
    )
    assert settle(world)["acme outbound contact"].counts["deleted"] == 1
    assert states(world) == ("deleted", "deleted")
    assert crm_id not in alive(world)
    crm.faults.before_write = None
    quiet(world)


def test_a_refused_deletion_is_parked_and_tried_again_when_it_is_marked(make: Make) -> None:
    world = make("archive", "propagate")
    ann(world)
    hub_id = str(world.one("select id from hub.contact"))
    crm = world.crms["acme"]
    crm.faults.reject[hub_id] = RecordError(ErrorClass.VALIDATION, "DELETE_FAILED", "it is in an open case")
    world.conn.execute("delete from hub.contact")
    settle(world)
    assert (
        world.one("select code || ': ' || reason from sync.parked")
        == "DELETE_FAILED: not deleted: it is in an open case"
    )
    assert world.one("select count(*) from sync.intent") == 0
    crm.faults.reject.clear()
    settle(world, full=True)

    dirty.mark_all(world.conn, world.system.stream("acme", "contact"))
    settle(world)
    assert alive(world) == []
    assert world.one("select count(*) from sync.parked") == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deletion_without_an_answer_is_looked_up(make: Make, when: str) -> None:
    world = make("archive", "propagate")
    ann(world)
    world.conn.execute("delete from hub.contact")
    world.crms["acme"].faults.timeout = when  # type: ignore[assignment]
    with pytest.raises(CrmError):
        settle(world)
    assert world.one("select kind from sync.intent") == "delete"
    written = len(world.accounts["acme"].written)
    settle(world)
    assert alive(world) == []
    assert world.one("select count(*) from sync.intent") == 0
    assert len(world.accounts["acme"].written) - written == (1 if when == "before" else 0)
    assert world.one("select count(*) from sync.change where side = 'crm' and kind = 'delete'") == 1
    quiet(world)


def test_killed_between_the_intent_and_its_answer(make: Make) -> None:
    world = make("archive", "propagate")
    ann(world)
    world.conn.execute("delete from hub.contact")

    def killed(_: Operation) -> None:
        raise KeyboardInterrupt

    world.crms["acme"].faults.before_write = killed
    with pytest.raises(KeyboardInterrupt):
        settle(world)
    world.crms["acme"].faults.before_write = None
    assert world.one("select count(*) from sync.intent") == 1
    settle(world)
    assert alive(world) == []
    quiet(world)


def test_a_create_once_more_without_an_answer_makes_one_record(make: Make) -> None:
    world = make("review", "propagate")
    crm_id = ann(world)
    world.accounts["acme"].person_delete("Contact", crm_id)
    settle(world)
    decide(world, "use_hub")
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        settle(world)
    settle(world)
    (new,) = alive(world)
    assert world.one("select crm_id from acme.contact_base") == new
    quiet(world)


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
        world.accounts["acme"].person_edit("Contact", alive(world)[0], {"LastName": "Kim"})
    settle(world, rounds=2)
    assert world.hub("contact") == []  # it carries the hub record's id: nobody new
    assert alive(world, "beta") == []
    assert world.one("select hub_id from acme.contact_base") == hub_id
    asked = world.one("select count(*) from review.conflict where field = '*' and status = 'open'")
    assert asked == (outbound == "propagate" and edited)
    assert len(alive(world)) == edited
    quiet(world)
