"""The rarer steps, while an application holds the rows that they need: they begin again, and do everything once."""

from collections.abc import Iterator

import psycopg
import pytest

from crm_sync.hub.store import Store
from crm_sync.hub.undo import Selection
from crm_sync.steps.allowance import allot
from crm_sync.steps.listing import sweep_ids
from crm_sync.steps.options import Options
from crm_sync.steps.repair import repair
from crm_sync.steps.undo import Undo
from crm_sync.steps.verify import known_records, verify
from tests.steps.hindered import hindered
from tests.steps.world import World


@pytest.fixture
def application(world: World) -> Iterator[psycopg.Connection]:
    with psycopg.connect(world.url) as conn:
        yield conn
        conn.rollback()


@pytest.fixture
def three(world: World) -> list[str]:
    """Three contacts on both sides in agreement; the second round brought nothing."""
    ids = [
        world.accounts["acme"].person_create("Contact", {"LastName": f"P{n}", "Email": f"p{n}@x.example"})
        for n in range(3)
    ]
    for _ in range(2):
        world.sync()
        world.wait(minutes=30)
    return ids


def undoing(world: World, store: Store) -> Undo:
    return Undo(store, world.system, world.crms.__getitem__)


def test_a_sweep(world: World, application: psycopg.Connection, three: list[str]) -> None:
    world.accounts["acme"].person_purge("Contact", three[0])
    counts: list[dict[str, int]] = []

    def work(store: Store) -> None:
        counts.append(sweep_ids(store, world.crms["acme"], stream, Options()).counts)

    stream = world.system.stream("acme", "contact")
    assert len(hindered(world, application, "acme.contact", work)) == 3
    assert counts[0]["deleted"] == 1
    assert world.conn.execute("select crm_id from acme.contact where deleted").fetchall() == [(three[0],)]


def test_a_repair(world: World, application: psycopg.Connection, three: list[str]) -> None:
    stream = world.system.stream("acme", "contact")
    with world.conn.transaction():  # as no application can: no trigger notices
        world.conn.execute("set local session_replication_role = replica")
        world.conn.execute("update hub.contact set last_name = 'Wrong' where last_name = 'P0'")
    with Store(world.url) as store:
        share = allot([stream], {stream.name: known_records(store, stream)}, None)[stream.name]
        found = verify(store, world.crms["acme"], stream, share)
    marked: list[int] = []

    def work(store: Store) -> None:
        marked.append(repair(store, world.crms["acme"], stream, found).marked)

    assert len(hindered(world, application, "acme.contact", work)) == 3
    assert marked == [len(found.crm_ids | set(found.hub_ids))]
    world.sync()
    assert world.accounts["acme"].row("Contact", three[0]).values["LastName"] == "Wrong"


@pytest.mark.parametrize("table", ["acme.contact", "hub.contact", "sync.change"])
def test_an_undo_of_fields(
    world: World, application: psycopg.Connection, three: list[str], table: str
) -> None:
    for crm_id in three:
        world.accounts["acme"].person_edit("Contact", crm_id, {"FirstName": "Ada"})
    run = f"run-{world.time:%H%M%S}"
    world.sync()
    world.wait(minutes=1)
    fields: list[int] = []

    def work(store: Store) -> None:
        undo = undoing(world, store)
        undo.plan(Selection(run_id=run))
        if table == "acme.contact":  # the look has something to bring
            world.accounts["acme"].person_edit("Contact", three[0], {"Phone": "+4930111"})
        fields.append(undo.apply(Selection(run_id=run), "mina").fields)

    waits = hindered(world, application, table, work)
    assert len(waits) == 3
    assert fields == [3]
    assert world.one("select count(*) from hub.contact where first_name is null") == 3


def test_an_undo_of_records(world: World, application: psycopg.Connection, three: list[str]) -> None:
    run = str(world.one("select run_id from sync.change where kind = 'create' limit 1"))
    records: list[int] = []

    def work(store: Store) -> None:
        undo = undoing(world, store)
        undo.plan(Selection(run_id=run))
        undo.apply(Selection(run_id=run), "mina")
        records.append(1)

    assert len(hindered(world, application, "hub.contact", work)) == 3
    assert records == [1]
    assert world.one("select count(*) from hub.contact") == 0
    assert world.one("select count(*) from sync.change where kind = 'delete' and run_id = 'hindered'") == 3
