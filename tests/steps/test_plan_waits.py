"""Where writes wait for approval the books are kept all the same: agreements, refusals, questions, marks."""

from collections.abc import Callable, Iterator

import pytest

from crm_sync.core.errors import ErrorClass, RecordError, SyncError
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import plans
from crm_sync.hub.store import Store
from crm_sync.steps.apply import apply, of_stream
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from crm_sync.steps.proposal import refresh
from tests.steps.world import CONNECTION, World

Make = Callable[[str], World]


@pytest.fixture
def make(fresh_database_url: str) -> Iterator[Make]:
    """A world of which the connection file says this about approval."""
    made: list[World] = []

    def world(approval: str) -> World:
        text = CONNECTION.replace("kind: memory\n", f"kind: memory\napproval: {approval}\n", 1)
        made.append(World(fresh_database_url, text=text))
        return made[0]

    yield world
    for each in made:
        each.close()


def run(world: World) -> None:
    """What the schedule does for the contacts: the steps, then what was approved, then the plan of what waits."""
    world.wait(minutes=5)
    work_off(world, world.system.stream("acme", "contact"))


def work_off(world: World, stream: StreamSpec) -> None:
    crm = world.crms["acme"]
    with Store(world.url, run_id="run") as store:
        inbound(store, crm, stream, Options())
        hub(store, stream, Options())
        conflicts(store, stream)
        outbound(store, crm, stream, Options())
        for plan in of_stream(store, stream):
            apply(store, world.system, world.crms.__getitem__, plan.id)
    refresh(world.url, stream, crm)


def approve(world: World) -> int:
    """Approve what waits; how many plans."""
    found = plans.find(world.conn, statuses=("proposed",))
    for plan in found:
        plans.decide(world.conn, plan.id, "approved", "ann")
    return len(found)


def settled(world: World) -> None:
    for _ in range(4):
        run(world)
        approve(world)
    run(world)
    assert marks(world) == 0


def marks(world: World) -> object:
    return world.one("select count(*) from sync.mark")


def reasons(world: World) -> list[str]:
    """Why records are parked."""
    return [str(code) for (code,) in world.conn.execute("select code from sync.parked order by code")]


def test_what_both_say_is_agreed_on_so_that_a_later_edit_counts(make: Make) -> None:
    world = make("{hub: required}")
    acme = world.accounts["acme"]
    values = {"LastName": "Lee", "Email": "lee@x.example", "FirstName": "Q"}
    contact = acme.person_create("Contact", values)
    settled(world)
    world.conn.execute("update hub.contact set first_name = 'Same'")
    acme.person_edit("Contact", contact, {"FirstName": "Same"})
    run(world)
    assert world.one("select first_name_hub from acme.contact_base") == "Same"
    assert marks(world) == 0
    acme.person_edit("Contact", contact, {"FirstName": "Q"})
    run(world)
    assert acme.row("Contact", contact).values["FirstName"] == "Q", "the edit was overwritten"
    assert world.one("select first_name from hub.contact") == "Same", "nobody has approved"
    assert approve(world) == 1
    run(world)
    assert world.one("select first_name from hub.contact") == "Q"


def test_nothing_is_written_to_either_side_before_it_is_approved(make: Make) -> None:
    world = make("required")
    acme = world.accounts["acme"]
    acme.person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    linked = acme.person_create("Contact", {"LastName": "Roe", "Email": "roe@x.example"})
    world.conn.execute(
        "insert into hub.contact (last_name, email) values ('Roe', 'roe@x.example'), ('Doe', 'doe@x.example')"
    )
    for _ in range(2):
        run(world)
    assert world.one("select count(*) from sync.change") == 0
    assert (world.one("select count(*) from acme.contact_base"), world.writes()) == (0, 0)
    assert world.one("select count(*) from hub.contact") == 2
    settled(world)
    acme.person_edit("Contact", linked, {"FirstName": "Ann"})
    world.conn.execute("update hub.contact set stage = 'won' where email = 'lee@x.example'")
    before = world.one("select max(id) from sync.change"), world.writes()
    run(world)
    assert (world.one("select max(id) from sync.change"), world.writes()) == before
    settled(world)
    assert world.one("select first_name from hub.contact where email = 'roe@x.example'") == "Ann"


def test_what_cannot_go_on_is_parked_and_leaves_the_queue(make: Make) -> None:
    world = make("required")
    acme = world.accounts["acme"]
    world.conn.execute("insert into hub.contact (first_name, email) values ('Ann', 'a@x.example')")
    world.conn.execute(
        "insert into hub.contact (last_name, email) values ('A', 'x@x.example'), ('B', 'x@x.example')"
    )
    bad = acme.person_create("Contact", {"LastName": "Lee", "Email": "not an email"})
    acme.person_create("Contact", {"LastName": "Roe", "Email": "x@x.example"})
    run(world)
    found = reasons(world)
    assert len(found) == 5
    assert {"AMBIGUOUS_MATCH", "MATCH_WAITS"} < set(found)
    assert marks(world) == 0
    acme.person_edit("Contact", bad, {"Email": "lee@x.example"})
    run(world)
    assert len(reasons(world)) == 4, "it waits for approval, and for nothing else"
    assert approve(world) == 1
    run(world)
    assert world.one("select last_name from hub.contact where email = 'lee@x.example'") == "Lee"


def test_of_two_records_that_match_the_same_one_neither_is_linked_unasked(make: Make) -> None:
    world = make("{hub: required}")
    world.conn.execute("insert into hub.contact (last_name, email) values ('Lee', 'lee@x.example')")
    for name in ("Lee", "Li"):
        world.accounts["acme"].person_create("Contact", {"LastName": name, "Email": "lee@x.example"})
    for _ in range(2):
        run(world)
        assert world.one("select count(*) from acme.contact_base") == 0


@pytest.mark.parametrize("approval", ["required", "{hub: required}", "{crm: required}"])
def test_edits_that_come_to_nothing_leave_no_marks(make: Make, approval: str) -> None:
    world = make(approval)
    world.accounts["acme"].person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    settled(world)
    world.conn.execute("update hub.contact set first_name = 'X'")
    world.conn.execute("update hub.contact set first_name = null")
    run(world)
    assert marks(world) == 0


def test_what_is_refused_for_now_is_written_when_it_is_tried_again(make: Make) -> None:
    world = make("{crm: required}")
    acme, crm = world.accounts["acme"], world.crms["acme"]
    contact = acme.person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    settled(world)
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    run(world)
    assert approve(world) == 1
    locked = RecordError(ErrorClass.TRANSIENT, "UNABLE_TO_LOCK_ROW", "somebody holds the row")
    crm.faults.reject[str(world.one("select id from hub.contact"))] = locked
    run(world)
    crm.faults.reject.clear()
    world.conn.execute("update sync.parked set next_try = clock_timestamp() + interval '1 hour'")
    run(world)
    assert acme.row("Contact", contact).values.get("FirstName") is None, "its pause is not over"
    (plan,) = plans.find(world.conn)
    assert plan.status == "approved", "nobody is asked twice"
    world.conn.execute("update sync.parked set next_try = clock_timestamp()")
    run(world)
    assert acme.row("Contact", contact).values["FirstName"] == "Ann"
    assert (plans.find(world.conn), reasons(world), marks(world)) == ([], [], 0)


def test_a_pause_ends_when_the_retries_are_used_up(make: Make) -> None:
    world = make("{crm: required}")
    world.conn.execute("insert into hub.contact (last_name, email) values ('Lee', 'lee@x.example')")
    run(world)
    assert approve(world) == 1
    locked = RecordError(ErrorClass.TRANSIENT, "UNABLE_TO_LOCK_ROW", "somebody holds the row")
    world.crms["acme"].faults.reject[str(world.one("select id from hub.contact"))] = locked
    run(world)
    assert (world.one("select attempts from sync.parked"), marks(world)) == (1, 0), "it pauses"
    world.conn.execute("update sync.parked set next_try = clock_timestamp(), attempts = 1000")
    run(world)
    assert world.one("select count(*) from sync.parked where next_try is null") == 1
    assert (plans.find(world.conn), marks(world)) == ([], 0)


def test_an_approved_plan_that_is_too_old_is_over(make: Make) -> None:
    world = make("required")
    world.conn.execute("insert into hub.contact (last_name, email) values ('Lee', 'lee@x.example')")
    run(world)
    assert approve(world) == 1
    world.conn.execute(
        "update sync.plan set seen_at = seen_at - interval '8 days', decided_at = decided_at - interval '8 days'"
    )
    (plan,) = plans.find(world.conn)
    with Store(world.url) as store, pytest.raises(SyncError, match="is expired; make a new one"):
        apply(store, world.system, world.crms.__getitem__, plan.id)
    run(world)
    assert world.accounts["acme"].rows("Contact") == []
    (new,) = plans.find(world.conn)
    assert (new.status, new.hash) == ("proposed", plan.hash)
    world.conn.execute("update sync.plan set seen_at = seen_at - interval '8 days'")
    assert plans.decide(world.conn, new.id, "approved", "ann") is None


def test_rows_of_ended_plans_do_not_stay(make: Make) -> None:
    world = make("required")
    world.conn.execute("insert into hub.contact (last_name, email) values ('Lee', 'lee@x.example')")
    run(world)
    (plan,) = plans.find(world.conn)
    plans.decide(world.conn, plan.id, "rejected", "ann")
    plans.tidy(world.conn)
    assert world.one("select count(*) from sync.plan_row") == plan.rows
    world.conn.execute("update sync.plan set ended_at = ended_at - interval '31 days'")
    plans.tidy(world.conn)
    assert world.one("select count(*) from sync.plan_row") == 0
