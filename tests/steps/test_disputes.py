"""Both sides changed the same field: a policy ends it, or a person; nothing is overwritten unseen."""

from datetime import timedelta

import pytest

from crm_sync.core.errors import CrmError
from crm_sync.hub import review
from crm_sync.hub.store import Store
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from tests.steps.world import World


def _linked(world: World) -> str:
    crm_id = world.accounts["acme"].person_create(
        "Contact", {"LastName": "Lee", "Email": "lee@x.example", "Phone": "+14155552671", "FirstName": "A"}
    )
    world.sync()
    world.wait(minutes=5)
    return crm_id


def _dispute(world: World, crm_id: str) -> None:
    world.accounts["acme"].person_edit("Contact", crm_id, {"Phone": "+14155550001"})
    world.conn.execute("update hub.contact set phone = '+14155550002'")
    world.wait(minutes=1)


def test_a_manual_field_waits_for_a_person_and_touches_neither_side(world: World) -> None:
    crm_id = _linked(world)
    _dispute(world, crm_id)
    writes = world.writes()
    for _ in range(2):
        world.sync()
        world.wait(minutes=5)
    (conflict,) = review.find(world.conn)
    assert (conflict.field, conflict.hub_value, conflict.crm_value) == (
        "phone",
        "+14155550002",
        "+14155550001",
    )
    assert world.writes() == writes
    assert world.one("select phone from hub.contact") == "+14155550002"
    assert world.one("select count(*) from sync.dirty") == 0  # it waits in the review table, not in the queue


def test_other_fields_of_a_disputed_record_go_on(world: World) -> None:
    crm_id = _linked(world)
    _dispute(world, crm_id)
    world.conn.execute("update hub.contact set last_name = 'Li'")
    world.accounts["acme"].person_edit("Contact", crm_id, {"FirstName": "Bruce"})
    world.wait(minutes=1)
    world.sync()
    assert world.one("select first_name from hub.contact") == "Bruce"
    row = world.accounts["acme"].row("Contact", crm_id)
    assert (row.values["LastName"], row.values["Phone"]) == ("Li", "+14155550001")


@pytest.mark.parametrize(("decision", "expected"), [("use_hub", "+14155550002"), ("use_crm", "+14155550001")])
def test_a_decision_settles_both_sides(world: World, decision: review.Decision, expected: str) -> None:
    crm_id = _linked(world)
    _dispute(world, crm_id)
    world.sync()
    review.decide(world.conn, review.find(world.conn), decision, "mina")
    world.wait(minutes=1)
    world.sync()
    assert world.one("select phone from hub.contact") == expected
    assert world.accounts["acme"].row("Contact", crm_id).values["Phone"] == expected
    world.wait(minutes=1)
    world.sync()
    assert world.one("select status from review.conflict") == "applied"
    assert (
        world.one("select count(*) from sync.change where reason like 'decided by mina (conflict %%)'") == 1
    )
    assert world.one("select count(*) from sync.dirty") == 0


def test_a_decision_about_old_values_does_not_count(world: World) -> None:
    crm_id = _linked(world)
    _dispute(world, crm_id)
    world.sync()
    review.decide(world.conn, review.find(world.conn), "use_hub", "mina")
    world.accounts["acme"].person_edit("Contact", crm_id, {"Phone": "+14155550009"})
    world.wait(minutes=1)
    world.sync()
    (conflict,) = review.find(world.conn)
    assert conflict.crm_value == "+14155550009"
    assert world.accounts["acme"].row("Contact", crm_id).values["Phone"] == "+14155550009"


def test_a_skipped_conflict_stays_away_until_a_side_changes(world: World) -> None:
    crm_id = _linked(world)
    _dispute(world, crm_id)
    world.sync()
    review.decide(world.conn, review.find(world.conn), "skip", "mina")
    world.conn.execute("update hub.contact set first_name = 'Q'")
    world.wait(minutes=1)
    world.sync()
    assert review.find(world.conn) == []
    world.conn.execute("update hub.contact set phone = '+14155550003'")
    world.wait(minutes=1)
    world.sync()
    assert len(review.find(world.conn)) == 1


def test_the_same_change_on_both_sides_is_no_dispute(world: World) -> None:
    crm_id = _linked(world)
    writes = world.writes()
    world.accounts["acme"].person_edit("Contact", crm_id, {"Phone": "(415) 555-0007"})
    world.conn.execute("update hub.contact set phone = '+1 415 555 0007'")
    world.wait(minutes=1)
    reports = world.sync()
    assert reports["hub contact acme"].counts["converged"] == 1
    assert review.find(world.conn) == []
    assert world.writes() == writes


def test_the_newer_change_wins(world: World) -> None:
    crm_id = _linked(world)
    acme = world.accounts["acme"]
    acme.person_edit("Contact", crm_id, {"LastName": "Crm"})  # in 2026-03, long before the hub's own clock
    world.conn.execute("update hub.contact set last_name = 'Hub'")
    world.wait(minutes=1)
    world.sync()
    assert acme.row("Contact", crm_id).values["LastName"] == "Hub"
    reason = world.one("select reason from sync.change where side = 'crm' and field = 'last_name'")
    assert reason == "most_recent_wins (hub field time, CRM record time): hub is newer"
    world.time += timedelta(days=40000)
    acme.person_edit("Contact", crm_id, {"LastName": "Future"})
    world.conn.execute("update hub.contact set last_name = 'Past'")
    world.sync()
    assert world.one("select last_name from hub.contact") == "Future"


def test_a_dispute_that_ends_by_itself_is_closed(world: World) -> None:
    crm_id = _linked(world)
    _dispute(world, crm_id)
    world.sync()
    world.conn.execute("update hub.contact set phone = '+14155550001'")
    world.wait(minutes=1)
    world.sync()
    assert world.one("select status from review.conflict") == "superseded"


def test_force_takes_the_value_of_the_crm(world: World) -> None:
    crm_id = _linked(world)
    _dispute(world, crm_id)
    world.conn.execute("update hub.contact set last_name = 'Only in the hub'")
    world.sync(force=True)
    assert world.hub("contact", "last_name, phone") == [{"last_name": "Lee", "phone": "+14155550001"}]
    assert world.one("select count(*) from sync.change where reason like 'force%%'") == 2


def test_three_systems_settle_one_field_once_in_either_order(two: World) -> None:
    for name in ("acme", "beta"):
        two.accounts[name].person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    for name in ("acme", "beta", "acme"):
        two.sync(name)
    assert two.one("select count(*) from hub.contact") == 1
    two.time += timedelta(days=36500)  # both edits are newer than anything the hub wrote
    two.accounts["acme"].person_edit("Contact", "Contact-00000001", {"LastName": "Acme says"})
    two.wait(minutes=1)
    two.accounts["beta"].person_edit("Contact", "Contact-00000001", {"LastName": "Beta says"})
    for name in ("beta", "acme", "beta", "acme"):
        two.sync(name)
        two.wait(minutes=1)
    assert two.one("select last_name from hub.contact") == "Beta says"
    for name in ("acme", "beta"):
        assert two.accounts[name].row("Contact", "Contact-00000001").values["LastName"] == "Beta says"


def test_a_hub_row_that_changes_meanwhile_is_not_overwritten(world: World) -> None:
    """The take's compare-and-set: what was decided on an older row does not happen; the record stays dirty."""
    from crm_sync.core.decide import decide_all
    from crm_sync.hub import differences, merge

    crm_id = _linked(world)
    world.accounts["acme"].person_edit("Contact", crm_id, {"FirstName": "Crm"})
    stream = world.system.stream("acme", "contact")
    with Store(world.url) as store:
        from crm_sync.steps.inbound import inbound
        from crm_sync.steps.options import Options

        inbound(store, world.crms["acme"], stream, Options())
        hub_id = world.one("select id from hub.contact")
        verdicts = list(decide_all(stream, differences.read(store.conn, stream, [hub_id])))  # type: ignore[list-item]
        world.conn.execute("update hub.contact set first_name = 'App'")
        with store.transaction() as conn:
            assert merge.apply(conn, stream, verdicts, None) == set()
    assert world.one("select first_name from hub.contact") == "App"


def test_no_dispute_is_shown_about_a_record_whose_last_write_is_in_doubt(world: World) -> None:
    acme = world.accounts["acme"]
    crm_id = acme.person_create("Contact", {"LastName": "Lee", "Phone": "+14155552671"})
    world.sync()
    world.wait(minutes=5)
    world.conn.execute("update hub.contact set phone = '+14155552672'")
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    acme.person_edit("Contact", crm_id, {"Phone": "+14155552673"})
    world.wait(minutes=5)
    stream = world.system.stream("acme", "contact")
    with Store(world.url) as store:
        inbound(store, world.crms["acme"], stream, Options())
        assert conflicts(store, stream).counts["disputes"] == 0
    assert world.one("select count(*) from review.conflict") == 0
    assert world.one("select count(*) from sync.dirty") != 0  # it is looked at when the answer is known
