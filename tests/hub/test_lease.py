"""One run at a time per stream, and a run that lost its lease changes nothing any more."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from psycopg.types.json import Jsonb

from crm_sync.core.errors import BusyError, LostLeaseError
from crm_sync.hub import history, lease, watermark
from crm_sync.hub.store import Store
from tests.steps.world import World

NAME = "acme/contact"


@pytest.fixture
def url(world: World) -> str:
    return world.url


@pytest.fixture
def world(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url)
    yield world
    world.close()


def _end_session(world: World, store: Store) -> None:
    world.conn.execute("select pg_terminate_backend(%s, 5000)", [store.conn.info.backend_pid])


def test_only_one_run_holds_a_lease(url: str) -> None:
    with Store(url) as one, Store(url) as other, one.exclusive(NAME):
        with pytest.raises(BusyError, match="another process"), other.exclusive(NAME):
            pass
        with other.exclusive("acme/company"):
            pass
    with Store(url) as other, other.exclusive(NAME):
        pass


def test_the_token_grows_and_the_row_names_the_run(world: World) -> None:
    tokens = []
    for run_id in ("first", "second"):
        with Store(world.url, run_id=run_id) as store, store.exclusive(NAME):
            row = world.conn.execute("select token, holder, backend from sync.lease").fetchone()
            assert row is not None
            tokens.append(row[0])
            assert row[1:] == (run_id, store.conn.info.backend_pid)
    assert tokens[1] > tokens[0]


def test_a_lease_whose_session_is_gone_is_free_at_once(world: World) -> None:
    def killed(dead: Store, next_run: Store) -> None:
        with dead.exclusive(NAME):
            _end_session(world, dead)
            with next_run.exclusive(NAME), dead.transaction() as conn:
                conn.execute(
                    "insert into sync.tombstone values ('contact', gen_random_uuid(), now(), 'dead')"
                )

    with (
        Store(world.url) as dead,
        Store(world.url) as next_run,
        pytest.raises(LostLeaseError, match="the session with the database has ended"),
    ):
        killed(dead, next_run)
    assert world.one("select count(*) from sync.tombstone") == 0


def test_an_older_token_cannot_write_even_with_a_session(world: World) -> None:
    """A connection pooler may give the lock away while the session lives on."""
    with Store(world.url) as old, Store(world.url) as new, old.exclusive(NAME):
        lease.unlock(old.conn, NAME)
        with new.exclusive(NAME):
            with pytest.raises(LostLeaseError, match="another run has taken over"), old.transaction() as conn:
                conn.execute("insert into sync.tombstone values ('contact', gen_random_uuid(), now(), 'old')")
            job = watermark.Job(old, world.system.stream("acme", "contact"), "inbound")
            with pytest.raises(LostLeaseError):
                job.save({"id": "old"})
            with new.transaction() as conn:
                conn.execute("insert into sync.tombstone values ('contact', gen_random_uuid(), now(), 'new')")
    assert world.conn.execute("select deleted_by from sync.tombstone").fetchall() == [("new",)]
    assert world.one("select count(*) from sync.job") == 0


def test_nobody_takes_over_in_the_middle_of_a_transaction(world: World) -> None:
    with Store(world.url) as old, Store(world.url) as new, old.exclusive(NAME):
        new.conn.execute("set lock_timeout = '50ms'")
        with old.transaction():
            lease.unlock(old.conn, NAME)
            with pytest.raises(BusyError, match="did not let go"), new.exclusive(NAME):
                pass
            new.conn.execute("select pg_advisory_unlock_all()")
        with new.exclusive(NAME):
            pass


def test_no_call_is_made_without_the_lease(world: World) -> None:
    made: list[object] = []

    def calls() -> Iterator[int]:
        try:
            for n in range(3):
                made.append(n)
                yield n
        finally:
            made.append("ended")

    with Store(world.url) as old, Store(world.url) as new, old.exclusive(NAME):
        answers = old.fenced(calls())
        assert next(answers) == 0
        lease.unlock(old.conn, NAME)
        with new.exclusive(NAME), pytest.raises(LostLeaseError):
            next(answers)
        assert made == [0, "ended"], "no thread of the calls is left, though somebody still holds them"


def test_a_silent_holder_is_ended_after_a_while(world: World) -> None:
    with Store(world.url) as silent, Store(world.url) as new:
        lease.take(silent.conn, NAME, "silent")
        with pytest.raises(BusyError):
            lease.take(new.conn, NAME, "new", expiry=timedelta(hours=1))
        world.conn.execute("update sync.lease set renewed_at = renewed_at - interval '61 minutes'")
        taken = lease.take(new.conn, NAME, "new", expiry=timedelta(hours=1))
        assert taken.token == 2
        with pytest.raises(LostLeaseError), silent.exclusive("acme/company"):
            pass


def test_a_dry_run_keeps_others_out_and_leaves_nothing(world: World) -> None:
    with Store(world.url, dry_run=True) as dry, Store(world.url) as real:
        with dry.exclusive(NAME), dry.transaction(), pytest.raises(BusyError), real.exclusive(NAME):
            pass
        with real.exclusive(NAME), pytest.raises(BusyError), dry.exclusive(NAME):
            pass
    assert world.one("select count(*) from sync.lease") == 1


def test_the_history_of_a_killed_run_ends_as_failed(world: World) -> None:
    for run_id, direction in (("read", "inbound"), ("merge", "hub")):
        world.conn.execute(
            "insert into sync.history (run_id, entity, crm_source, sync_type, status, configuration)"
            " values (%s, 'contact', 'acme', 'incremental', 'running', %s)",
            [run_id, Jsonb({"direction": direction})],
        )
    with (
        Store(world.url, run_id="next") as store,
        store.exclusive(NAME),
        history.running(store, "acme", "contact", "incremental", {"direction": "outbound"}),
    ):
        pass
    rows = world.conn.execute(
        "select run_id, status, error_message, end_time is not null from sync.history order by id"
    ).fetchall()
    assert rows == [
        ("read", "failed", "the process ended before it was done", True),
        ("merge", "running", None, False),  # under the hub's lease: another run may be at it
        ("next", "success", None, True),
    ]
