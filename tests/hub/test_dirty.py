"""What reading and emptying the queue costs: as much as is read, at any length of the queue and whatever the
planner believes about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice

import psycopg
import pytest

from crm_sync.hub import dirty
from tests.steps.world import World

WAITING = 5_000
CHUNK = 100


@pytest.fixture(params=["planned when it was empty", "planned when it was full"])
def world(fresh_database_url: str, request: pytest.FixtureRequest) -> Iterator[World]:
    """Marks of both sides of one stream, and of others; each record of the stream is linked."""
    world = World(fresh_database_url, ("acme", "beta"))
    world.conn.execute("alter table sync.mark set (autovacuum_enabled = false)")
    world.conn.execute("analyze sync.mark")
    world.conn.execute(
        f"insert into hub.contact (last_name) select 'P' || i from generate_series(1, {WAITING}) i"
    )
    world.conn.execute(
        "insert into acme.contact_base (hub_id, crm_id, linked_by) select id, last_name, 'match' from hub.contact"
    )
    world.conn.execute(
        "insert into sync.mark (stream, by_hub, crm_id) select s.id, false, b.crm_id from acme.contact_base b"
        " cross join sync.stream s where s.connection = 'acme' and s.entity = 'contact'"
    )
    world.conn.execute("analyze acme.contact_base")
    if request.param.endswith("full"):
        world.conn.execute("analyze sync.mark")
    yield world
    world.close()


@contextmanager
def _reads_at_most(world: World, conn: psycopg.Connection, rows: int) -> Iterator[None]:
    """Rows that `conn` reads of the queue and of the links, by whatever way."""

    def read() -> int:
        for session in (
            world.conn,
            conn,
        ):  # what each has counted so far is told now, not up to a second later
            session.execute("select pg_stat_force_next_flush()")
        found = world.one(
            "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_user_tables"
            " where schemaname || '.' || relname in ('sync.mark', 'acme.contact_base')"
        )
        assert isinstance(found, int)
        return found

    before = read()
    yield
    assert read() - before <= rows


def test_a_chunk_is_read_and_settled_by_the_index(world: World) -> None:
    stream = world.system.stream("acme", "contact")
    with psycopg.connect(world.url, autocommit=True) as conn:
        seen = []
        for _ in range(8):  # often enough for a plan to be kept
            with _reads_at_most(world, conn, 8 * CHUNK):
                (entries,) = islice(dirty.chunks(conn, stream, CHUNK), 1)
                dirty.settle(conn, stream, entries)
            seen += entries
    assert len({e.version for e in seen}) == 8 * CHUNK
    assert all(e.hub_id is not None and e.crm_id is not None for e in seen)
    assert [e.version for e in seen] == sorted(e.version for e in seen)


def test_asking_which_streams_wait_reads_no_queue(world: World) -> None:
    with psycopg.connect(world.url, autocommit=True) as conn, _reads_at_most(world, conn, 10):
        waiting = dirty.marked_by_hub(conn, quiet=timedelta())
    assert [(m.connection, m.entity) for m in waiting] == [("acme", "contact"), ("beta", "contact")]
