"""Applications that hold hub rows, in any order and for long: the sync waits, begins again, and loses nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest

from crm_sync.core.errors import BusyError, CrmError, HeldBackError, LostLeaseError, StorageError
from crm_sync.core.guard import Guard, Limit
from crm_sync.hub import review
from crm_sync.hub.store import Store
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound
from crm_sync.steps.resolve import resolve
from tests.steps.hindered import given, hindered
from tests.steps.world import World


@pytest.fixture
def world(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url)
    yield world
    world.close()


@pytest.fixture
def application(world: World) -> Iterator[psycopg.Connection]:
    with psycopg.connect(world.url) as conn:
        yield conn
        conn.rollback()


def linked(world: World, number: int) -> list[UUID]:
    """So many contacts on both sides in agreement; their hub ids in order."""
    for i in range(number):
        world.accounts["acme"].person_create(
            "Contact", {"LastName": f"Lee {i}", "Email": f"{i}@example.test"}
        )
    world.sync()
    world.wait(hours=1)
    return [row[0] for row in world.conn.execute("select id from hub.contact order by id").fetchall()]


def change_all_in_crm(
    world: World, field: str = "FirstName", value: str = "Ada", *, except_for: UUID | None = None
) -> None:
    """Everybody gets a new value in the CRM, and the mirror knows of it. The CRM lists the highest hub ids first."""
    rows = world.conn.execute("select hub_id, crm_id from acme.contact_base order by hub_id desc").fetchall()
    for hub_id, crm_id in rows:
        if hub_id != except_for:
            world.accounts["acme"].person_edit("Contact", crm_id, {field: value})
    with Store(world.url) as store:
        inbound(store, world.crms["acme"], world.system.stream("acme", "contact"), Options())
    world.wait(hours=1)


def hub_step(world: World, **flags: object) -> Report:
    with Store(world.url, run_id="the run") as store:
        return hub(store, world.system.stream("acme", "contact"), Options(**flags))  # type: ignore[arg-type]


@contextmanager
def beside(work: Callable[[], Report]) -> Iterator[list[Report | BaseException]]:
    """The work in a thread; what became of it is in the list after the block."""
    found: list[Report | BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # the test looks at it
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield found
    thread.join(60)
    assert not thread.is_alive()


def until_it_waits(world: World) -> None:
    """Until a session of ours waits for a lock."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        waiting = world.one(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            " and application_name = 'crm_sync'"
        )
        if waiting:
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def rename(conn: psycopg.Connection, hub_id: UUID) -> None:
    conn.execute("update hub.contact set last_name = 'Application' where id = %s", [hub_id])


def names(world: World) -> list[tuple[str | None, str | None]]:
    return world.conn.execute("select first_name, last_name from hub.contact order by id").fetchall()


def in_crm(world: World, field: str) -> list[str | None]:
    return [row.values[field] for row in world.accounts["acme"].rows("Contact")]


def deadlocks(world: World) -> object:
    world.conn.execute("select pg_stat_force_next_flush()")
    return world.one("select deadlocks from pg_stat_database where datname = current_database()")


def test_an_application_in_another_order_makes_the_run_begin_its_chunk_again(
    world: World, application: psycopg.Connection
) -> None:
    low, *_, high = linked(world, 3)
    change_all_in_crm(world)
    rename(application, high)
    with beside(lambda: hub_step(world)) as found:
        until_it_waits(world)  # for the highest, and it holds the others
        rename(application, low)  # at once: the run, which began to wait first, is the victim
        application.commit()
    assert isinstance(found[0], Report), found
    assert found[0].counts["updated"] == 3, "nothing is counted twice"
    assert {first for first, _ in names(world)} == {"Ada"}
    assert [last == "Application" for _, last in names(world)] == [True, False, True]
    world.sync()
    assert world.one("select count(*) from sync.dirty") == 0
    assert sorted(in_crm(world, "LastName"))[:2] == ["Application"] * 2


def test_the_application_may_be_the_victim_and_the_run_goes_on(
    world: World, application: psycopg.Connection
) -> None:
    low, *_, high = linked(world, 3)
    change_all_in_crm(world)
    rename(application, high)
    with beside(lambda: hub_step(world)) as found:
        until_it_waits(world)
        time.sleep(
            1.5
        )  # longer than deadlock_timeout: the run has looked for a circle, and there was none yet
        with pytest.raises(psycopg.errors.DeadlockDetected):
            rename(application, low)
        application.rollback()
    assert isinstance(found[0], Report), found
    assert {first for first, _ in names(world)} == {"Ada"}


@pytest.mark.parametrize(("field", "value"), [("FirstName", "Ada"), ("Phone", "+49 30 901820")])
def test_who_changes_rows_in_the_order_of_their_ids_is_never_in_a_circle_with_us(
    world: World, application: psycopg.Connection, field: str, value: str
) -> None:
    ids = linked(world, 20)
    change_all_in_crm(world, field, value)
    rename(application, ids[0])
    with beside(lambda: hub_step(world)) as found:
        until_it_waits(world)
        for hub_id in ids[1:]:
            rename(application, hub_id)
        application.commit()
    assert isinstance(found[0], Report), found
    assert deadlocks(world) == 0


def test_nor_if_some_records_need_deciding_and_others_do_not(
    world: World, application: psycopg.Connection
) -> None:
    """Those that need none are taken first; for the others a run that holds rows does not wait."""
    ids = linked(world, 6)
    change_all_in_crm(world, except_for=ids[0])
    crm_id = world.one("select crm_id from acme.contact_base where hub_id = %s", ids[0])
    world.accounts["acme"].person_edit("Contact", str(crm_id), {"Phone": "+49 30 901820"})
    with Store(world.url) as store:
        inbound(store, world.crms["acme"], world.system.stream("acme", "contact"), Options())
    rename(application, ids[0])
    found = hub_step(world)
    assert found.counts["updated"] == 5
    assert found.counts["retry"] == 1
    for hub_id in ids[1:]:
        rename(application, hub_id)
    application.commit()
    assert deadlocks(world) == 0
    world.sync()
    assert world.one("select phone from hub.contact where id = %s", ids[0]) is not None
    assert world.one("select count(*) from sync.dirty") == 0


def test_an_application_that_does_not_let_go_ends_the_run_in_a_sentence_and_nothing_is_lost(
    world: World, application: psycopg.Connection
) -> None:
    ids = linked(world, 3)
    change_all_in_crm(world)
    waiting = world.one("select count(*) from sync.dirty")
    rename(application, ids[1])
    pauses: list[float] = []
    hurried = given(world, "lock_timeout=50ms")
    with Store(hurried, sleep=pauses.append) as store:
        with pytest.raises(BusyError, match=r"others hold rows .* nothing is lost") as caught:
            hub(store, world.system.stream("acme", "contact"), Options())
        assert "lock timeout" in str(caught.value)
        assert "Lee" not in str(caught.value)
        assert len(pauses) == 5
        assert pauses == sorted(pauses)
        assert world.one("select error_message from sync.history order by id desc limit 1") == str(
            caught.value
        ).replace("hub contact:", "acme/contact:")
        assert world.one("select count(*) from sync.dirty") == waiting
        application.rollback()
        assert hub(store, world.system.stream("acme", "contact"), Options()).counts["updated"] == 3


def test_answers_that_cannot_be_recorded_at_once_are_recorded_later(
    world: World, application: psycopg.Connection
) -> None:
    """They are in memory until then; the CRM is not asked again, and nothing is written twice."""
    linked(world, 3)
    world.conn.execute("update hub.contact set first_name = 'Bob'")
    writes = world.writes()
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            application.rollback()

    application.execute("select * from acme.contact_base for update")
    with Store(given(world, "lock_timeout=50ms"), sleep=sleep) as store:
        report = outbound(store, world.crms["acme"], world.system.stream("acme", "contact"), Options())
    assert len(pauses) == 3
    assert report.counts["updated"] == 3
    assert world.writes() == writes + 1
    assert world.one("select count(*) from sync.intent") == 0
    assert in_crm(world, "FirstName") == ["Bob"] * 3
    reports = world.sync()
    assert reports["outbound contact"].counts["updated"] == 0


def test_the_isolation_that_a_role_is_given_does_not_matter(
    world: World, application: psycopg.Connection
) -> None:
    ids = linked(world, 3)
    change_all_in_crm(world)
    rename(application, ids[0])

    def work() -> Report:
        with Store(given(world, "default_transaction_isolation=serializable")) as store:
            return hub(store, world.system.stream("acme", "contact"), Options())

    with beside(work) as found:
        until_it_waits(world)
        application.commit()
    assert isinstance(found[0], Report), found
    assert found[0].counts["retry"] == 1, "it was not as it was read"
    assert found[0].counts["updated"] == 3, "by its own mark, which the run saw next"


def test_a_statement_timeout_is_said_in_a_sentence(world: World) -> None:
    with (
        Store(given(world, "statement_timeout=100ms")) as store,
        pytest.raises(StorageError, match=r"hub contact: .*statement timeout.* raise it"),
        store.exclusive("hub contact"),
    ):
        store.conn.execute("select pg_sleep(5)")


def test_the_end_of_an_idle_session_is_told_in_the_servers_words(world: World) -> None:
    with (
        Store(given(world, "idle_in_transaction_session_timeout=50ms")) as store,
        pytest.raises(LostLeaseError, match="idle-in-transaction timeout"),
        store.exclusive("hub contact"),
    ):
        store.committed(lambda conn: (time.sleep(1), conn.execute("select 1")))


def test_a_session_that_is_ended_in_the_middle_of_a_chunk_leaves_everything_to_the_next(
    world: World, application: psycopg.Connection
) -> None:
    ids = linked(world, 3)
    change_all_in_crm(world)
    rename(application, ids[-1])
    with beside(lambda: hub_step(world)) as found:
        until_it_waits(world)
        world.conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            " and wait_event_type = 'Lock'"
        )
    assert isinstance(found[0], LostLeaseError), found
    assert "administrator command" in str(found[0])
    application.rollback()
    assert hub_step(world).counts["updated"] == 3


def test_a_page_that_cannot_be_merged_at_once_is_merged_later_and_counted_once(
    world: World, application: psycopg.Connection
) -> None:
    linked(world, 3)
    for row in world.accounts["acme"].rows("Contact"):
        world.accounts["acme"].person_edit("Contact", row.id, {"FirstName": "Ada"})
    stream = world.system.stream("acme", "contact")
    reports: list[Report] = []

    def work(store: Store) -> None:
        reports.append(inbound(store, world.crms["acme"], stream, Options(full=True)))

    assert len(hindered(world, application, "acme.contact", work)) == 3
    assert (reports[0].counts["read"], reports[0].counts["updated"]) == (3, 3)
    assert world.one("select count(*) from acme.contact where first_name = 'Ada'") == 3
    world.sync()
    assert {first for first, _ in names(world)} == {"Ada"}


def test_a_look_at_writes_without_an_answer_is_recorded_later(
    world: World, application: psycopg.Connection
) -> None:
    linked(world, 3)
    world.conn.execute("update hub.contact set first_name = 'Bob'")
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    assert world.one("select count(*) from sync.intent") == 3
    stream = world.system.stream("acme", "contact")
    pauses = hindered(
        world,
        application,
        "sync.change",
        lambda store: outbound(store, world.crms["acme"], stream, Options()),
    )
    assert len(pauses) == 3
    assert world.one("select count(*) from sync.intent") == 0
    assert world.one("select count(*) from sync.change where side = 'crm' and field = 'first_name'") == 3
    assert in_crm(world, "FirstName") == ["Bob"] * 3


def test_disputes_and_holds_that_cannot_be_recorded_at_once_are_recorded_later(
    world: World, application: psycopg.Connection
) -> None:
    linked(world, 3)
    change_all_in_crm(world, "Phone", "+14155550001")
    world.conn.execute("update hub.contact set phone = '+14155550002'")
    stream = world.system.stream("acme", "contact")
    hub_step(world)
    assert len(hindered(world, application, "review.conflict", lambda store: conflicts(store, stream))) == 3
    assert world.one("select count(*) from review.conflict where status = 'open'") == 3
    found = review.find(world.conn)
    decided = hindered(
        world,
        application,
        "review.conflict",
        lambda store: resolve(store, world.system, lambda name: world.crms[name], found, "use_hub", "ann"),
    )
    assert len(decided) == 3
    assert world.one("select count(*) from review.conflict where status = 'applied'") == 3

    world.conn.execute("update hub.contact set phone = null")
    guarded = replace(stream, guard=Guard(blanks=Limit(number=1)))

    def held(store: Store) -> None:
        with pytest.raises(HeldBackError):
            outbound(store, world.crms["acme"], guarded, Options())

    assert len(hindered(world, application, "sync.hold", held)) == 3
    assert world.one("select count(*) from sync.hold where status = 'open'") == 1
