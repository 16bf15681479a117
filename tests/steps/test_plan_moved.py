"""A record that has moved since it was planned is refused as a whole, whichever way it moved; the others are written."""

from collections.abc import Callable
from contextlib import ExitStack

import psycopg
import pytest

from crm_sync.core.errors import BusyError, ErrorClass, RecordError, SyncError
from crm_sync.hub import plans
from crm_sync.hub.store import Store
from crm_sync.mapping.load import load_texts
from crm_sync.steps.apply import apply
from crm_sync.steps.resolve import Selection, resolve, select
from tests.steps.plan_world import applied, planned, read, refused, rows, settled
from tests.steps.world import CONNECTION, World


@pytest.fixture
def people(world: World) -> World:
    """Three linked contacts; of the first and the last, a take and a push are planned next."""
    account = world.accounts["acme"]
    for n in range(3):
        account.person_create(
            "Contact", {"LastName": f"Lee {n}", "Email": f"lee{n}@x.example", "Stage": "New"}
        )
    settled(world)
    for n in (0, 2):
        account.person_edit("Contact", contact(world, n), {"FirstName": "Ann"})
        world.conn.execute("update hub.contact set stage = 'won' where email = %s", [f"lee{n}@x.example"])
    world.wait(minutes=30)
    read(world)
    return world


def contact(world: World, n: int) -> str:
    return next(
        r.id for r in world.accounts["acme"].rows("Contact") if r.values.get("Email") == f"lee{n}@x.example"
    )


def in_the_hub(world: World) -> None:
    world.conn.execute("update hub.contact set stage = 'tour' where email = 'lee0@x.example'")


def another_field_in_the_hub(world: World) -> None:
    world.conn.execute("update hub.contact set born = '1970-01-01' where email = 'lee0@x.example'")


def in_the_crm(world: World) -> None:
    world.accounts["acme"].person_edit("Contact", contact(world, 0), {"FirstName": "Eve"})
    world.wait(minutes=30)
    read(world)


def in_the_crm_unread(world: World) -> None:
    """The look right before the write finds it."""
    world.accounts["acme"].person_edit("Contact", contact(world, 0), {"Stage": "Appointment"})


def the_base(world: World) -> None:
    world.conn.execute(
        "update acme.contact_base set stage_crm = 'Appointment' where crm_id = %s", [contact(world, 0)]
    )


def gone_from_the_hub(world: World) -> None:
    world.conn.execute("delete from hub.contact where email = 'lee0@x.example'")


@pytest.mark.parametrize(
    ("move", "said"),
    [
        (in_the_hub, "stage: the new value changed"),
        (another_field_in_the_hub, "born: update in the CRM was not planned"),
        (in_the_crm, "first_name: the new value changed"),
        (in_the_crm_unread, "stage: "),
        (the_base, "stage: "),
        (gone_from_the_hub, "nothing to write to the hub any more"),
    ],
)
def test_what_moved_is_refused_and_the_rest_is_written(
    people: World, move: Callable[[World], None], said: str
) -> None:
    plan = planned(people)
    assert plan.records == 2
    move(people)
    before = people.accounts["acme"].row("Contact", contact(people, 0)).values.get("Stage")
    done = applied(people, plan)
    (one,) = refused(people, plan)
    assert (one.crm_id, done.records_refused, done.waiting) == (contact(people, 0), 1, 0)
    assert said in one.moved
    assert people.accounts["acme"].row("Contact", contact(people, 0)).values.get("Stage") == before
    assert people.accounts["acme"].row("Contact", contact(people, 2)).values.get("Stage") == "Won"
    assert people.one("select first_name from hub.contact where email = 'lee2@x.example'") == "Ann"
    hub_ids = people.conn.execute(
        "select distinct hub_id::text from sync.change where run_id = 'apply'"
    ).fetchall()
    unread = move is in_the_crm_unread  # found only when its take was in the hub already
    assert ((one.record,) in hub_ids) == unread


def test_a_decision_and_a_rule_of_time_are_part_of_what_was_planned(world: World) -> None:
    account = world.accounts["acme"]
    account.person_create("Contact", {"LastName": "Lee", "Email": "lee0@x.example", "Phone": "+14155550100"})
    settled(world)
    account.person_edit("Contact", contact(world, 0), {"Phone": "+14155550101"})
    world.conn.execute("update hub.contact set phone = '+14155550102', first_name = 'Bo'")
    world.wait(minutes=30)
    world.sync("acme", "contact", dry_run=False, max_records=None)
    world.conn.execute("update hub.contact set first_name = 'Bob'")
    plan = planned(world)
    assert {(r.field, r.target) for r in rows(world, plan)} == {("first_name", "crm"), ("full_name", "crm")}
    assert plan.figures["acme/contact"]["disputes"] == 1, "a conflict is told, and never planned"
    with Store(world.url) as store:
        found = select(store, world.system, Selection(connection="acme"))
        resolve(store, world.system, world.crms.__getitem__, found, "use_hub", "ann")
    done = applied(world, plan)
    assert (done.written, done.records_refused) == (0, 1)


def test_another_mapping_refuses_everything(people: World) -> None:
    plan = planned(people)
    people.system = load_texts({"acme.yaml": CONNECTION.replace("won: Won", "won: Closed")})
    done = applied(people, plan)
    assert (done.written, {one.moved for one in refused(people, plan)}) == (0, {"the mapping has changed"})


def test_only_what_was_approved_is_applied(people: World) -> None:
    plan = planned(people)
    with Store(people.url) as store:
        with pytest.raises(SyncError, match=f"plan {plan.id} is proposed; approve it first"):
            apply(store, people.system, people.crms.__getitem__, plan.id)
        plans.decide(people.conn, plan.id, "approved", "ann")
        people.conn.execute(
            "update sync.plan_row set new = 'Mallory' where plan = %s and target = 'hub'", [plan.id]
        )
        with pytest.raises(SyncError, match="are not those that were approved"):
            apply(store, people.system, people.crms.__getitem__, plan.id)
        plans.decide(people.conn, plan.id, "rejected", "ann")
        with pytest.raises(SyncError, match="is rejected"):
            apply(store, people.system, people.crms.__getitem__, plan.id)
    assert people.one("select count(*) from sync.change where reason like '%%plan%%'") == 0


@pytest.mark.parametrize("landed", ["before", "after"])
def test_a_lost_answer_and_a_second_try_write_everything_once(people: World, landed: str) -> None:
    plan = planned(people)
    people.crms["acme"].faults.timeout = landed  # type: ignore[assignment]
    first = applied(people, plan)
    assert list(first.failures) == ["acme/contact"]
    assert first.plan.status == "approved"
    done = applied(people, first.plan, run_id="again")
    assert (done.written, done.waiting, done.plan.status) == (plan.rows, 0, "applied"), refused(people, plan)
    written = people.conn.execute(
        "select hub_id, side, field from sync.change where reason like %s", [f"%plan {plan.id},%"]
    ).fetchall()
    assert len(written) == len(set(written)) == plan.rows


def test_a_killed_run_is_finished_by_the_next(people: World) -> None:
    plan = planned(people)
    plans.decide(people.conn, plan.id, "approved", "ann")

    def die(*_: object) -> None:
        people.crms["acme"].faults.before_write = None
        people.conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'crm_sync' and datname = current_database()"
        )

    people.crms["acme"].faults.before_write = die
    with pytest.raises((SyncError, psycopg.Error)), Store(people.url, run_id="killed") as store:
        apply(store, people.system, people.crms.__getitem__, plan.id)
    done = applied(people, plans.get(people.conn, plan.id) or plan, run_id="again")
    assert (done.written, done.refused, done.plan.status) == (plan.rows, 0, "applied"), refused(people, plan)
    assert (
        people.one("select count(*) from sync.change where reason like %s", f"%plan {plan.id},%") == plan.rows
    )


def test_what_the_crm_refuses_is_parked_and_told(people: World) -> None:
    plan = planned(people)
    hub_id = str(people.one("select id from hub.contact where email = 'lee0@x.example'"))
    error = RecordError(ErrorClass.VALIDATION, "NOT_LIKE_THIS", "not like this", ("Stage",))
    people.crms["acme"].faults.reject[hub_id] = error
    done = applied(people, plan)
    assert (done.waiting, [(r.record, r.moved) for r in refused(people, plan)]) == (
        0,
        [(hub_id, "parked: NOT_LIKE_THIS")],
    )


def test_a_crm_that_does_not_answer_leaves_the_plan_to_be_gone_on_with(people: World) -> None:
    plan = planned(people)
    people.crms["acme"].knobs.unauthorised = True
    plans.decide(people.conn, plan.id, "approved", "ann")
    failed = applied(people, plan)
    assert (failed.written, failed.plan.status) == (0, "approved")
    assert list(failed.failures) == ["acme/company", "acme/contact"]
    people.crms["acme"].knobs.unauthorised = False
    assert applied(people, plans.get(people.conn, plan.id) or plan).written == plan.rows


@pytest.fixture
def both(two: World) -> World:
    """A contact in each of two CRMs, and a push to both is planned next."""
    for name in two.crms:
        two.accounts[name].person_create("Contact", {"LastName": name, "Email": "lee0@x.example"})
    settled(two)
    two.conn.execute("update hub.contact set stage = 'won'")
    return two


@pytest.mark.parametrize("trouble", ["down", "busy"])
def test_one_connection_in_trouble_does_not_hold_up_the_others(both: World, trouble: str) -> None:
    plan = planned(both)
    assert {row.stream for row in rows(both, plan)} == {"acme/contact", "beta/contact"}
    with Store(both.url) as other, ExitStack() as stack:
        if trouble == "down":
            both.crms["beta"].knobs.unauthorised = True
        else:
            stack.enter_context(other.exclusive("beta/contact"))
        done = applied(both, plan)
    assert (done.written, done.waiting, done.refused) == (1, 1, 0)
    assert (set(done.failures), done.plan.status) == ({"beta/company", "beta/contact"}, "approved")
    assert both.accounts["acme"].rows("Contact")[0].values["Stage"] == "Won"
    both.crms["beta"].knobs.unauthorised = False
    again = applied(both, done.plan)
    assert (again.written, again.plan.status) == (2, "applied")
    assert both.accounts["beta"].rows("Contact")[0].values["Stage"] == "Won"


def test_nobody_decides_about_a_plan_that_is_being_written(people: World) -> None:
    plan = planned(people)

    def reject(*_: object) -> None:
        people.crms["acme"].faults.before_write = None
        with pytest.raises(BusyError, match="is being applied"):
            plans.decide(people.conn, plan.id, "rejected", "bob")

    people.crms["acme"].faults.before_write = reject
    done = applied(people, plan)
    assert people.crms["acme"].faults.before_write is None
    assert (done.written, done.plan.status) == (plan.rows, "applied")


def test_nothing_more_of_a_plan_that_has_ended_is_written(people: World) -> None:
    plan = planned(people)

    def end(*_: object) -> None:
        people.crms["acme"].faults.before_write = None
        plans.end(people.conn, [plan.id], "expired")

    people.crms["acme"].faults.before_write = end
    done = applied(people, plan)
    assert (done.plan.status, done.waiting) == ("expired", 2)
    assert people.one("select count(*) from hub.contact where first_name = 'Ann'") == 0
