"""A write whose answer was lost is seen by the hub step and by outbound at the same time: one of them tells of it."""

import time
from collections.abc import Callable, Iterator
from threading import Thread

import psycopg
import pytest

from crm_sync.core.errors import CrmError
from crm_sync.hub.store import Store
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from tests.steps.world import CONNECTION, World

TEXT = CONNECTION.replace("  contact:\n", "  contact:\n    deletes: {outbound: propagate}\n")


@pytest.fixture
def world(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url, text=TEXT)
    yield world
    world.close()


@pytest.fixture
def application(world: World) -> Iterator[psycopg.Connection]:
    with psycopg.connect(world.url) as conn:
        yield conn
        conn.rollback()


def at_once(world: World, application: psycopg.Connection) -> None:
    """The hub step has seen what became of the writes and cannot commit yet; meanwhile outbound looks for itself."""
    stream = world.system.stream("acme", "contact")

    def deciding(store: Store) -> object:
        return hub(store, stream, Options())

    def sending(store: Store) -> object:
        return outbound(store, world.crms["acme"], stream, Options())

    def start(work: Callable[[Store], object], before: int) -> Thread:
        """In a thread of its own, that by now waits as `before` others do."""

        def run() -> None:
            with Store(world.url, run_id="settling") as store:
                work(store)

        thread = Thread(target=run)
        thread.start()
        until = time.monotonic() + 30
        while waiting(world) <= before and time.monotonic() < until:
            time.sleep(0.02)
        return thread

    application.execute("select from sync.mark for update")
    threads = [start(deciding, 0), start(sending, 1)]
    assert waiting(world) == 2
    application.rollback()
    for thread in threads:
        thread.join(60)


def waiting(world: World) -> int:
    return int(
        str(
            world.one(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            )
        )
    )


def without_an_answer(world: World) -> None:
    """What acme is sent takes effect, and its answer is lost; then acme is read. The hub step has not begun."""
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    world.wait(minutes=1)
    with Store(world.url, run_id="reading") as store:
        inbound(store, world.crms["acme"], world.system.stream("acme", "contact"), Options())


def told(world: World, kind: str) -> int:
    return int(
        str(
            world.one(
                "select count(*) from sync.change where side = 'crm' and kind = %s and (field is null or field = 'first_name')",
                kind,
            )
        )
    )


def test_a_create(world: World, application: psycopg.Connection) -> None:
    world.sync()
    world.conn.execute("insert into hub.contact (last_name, email) values ('A', 'a@x.example')")
    without_an_answer(world)
    at_once(world, application)
    assert told(world, "create") == 1
    world.sync()
    assert world.one("select count(*) from sync.intent") == 0
    assert len(world.accounts["acme"].rows("Contact")) == 1


def test_an_update(world: World, application: psycopg.Connection) -> None:
    world.conn.execute("insert into hub.contact (last_name, email) values ('A', 'a@x.example')")
    world.sync()
    world.wait(minutes=30)
    world.conn.execute("update hub.contact set first_name = 'Ada'")
    without_an_answer(world)
    at_once(world, application)
    assert told(world, "update") == 1


def test_a_deletion(world: World, application: psycopg.Connection) -> None:
    world.conn.execute("insert into hub.contact (last_name, email) values ('A', 'a@x.example')")
    world.sync()
    world.wait(minutes=30)
    world.conn.execute("delete from hub.contact")
    without_an_answer(world)
    at_once(world, application)
    assert told(world, "delete") == 1
