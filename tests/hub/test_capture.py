"""Change capture: who changed what and when, whom it concerns, and that it keeps up with any statement."""

from collections.abc import Iterator

import psycopg
import pytest

from crm_sync.core.spec import System
from crm_sync.hub import dirty, tables
from tests.steps.world import World


@pytest.fixture
def world(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url, ("acme", "beta"))
    yield world
    world.close()


def _queue(world: World) -> list[tuple[str, str]]:
    return world.conn.execute(
        "select connection, side from sync.dirty where entity = 'contact' order by 1, 2"
    ).fetchall()


def _forget(world: World) -> None:
    world.conn.execute("truncate sync.mark")


def _as(world: World, actor: str, statement: str) -> None:
    with world.conn.transaction():
        world.conn.execute("select set_config('crm_sync.actor', %s, true)", [actor])
        world.conn.execute(statement)  # type: ignore[arg-type]


def test_an_application_marks_the_record_for_every_stream(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name) values ('Lee')")
    assert _queue(world) == [("acme", "hub"), ("beta", "hub")]
    _forget(world)
    world.conn.execute("update hub.contact set last_name = 'Li'")
    assert _queue(world) == [("acme", "hub"), ("beta", "hub")]
    _forget(world)
    world.conn.execute("delete from hub.contact")
    assert _queue(world) == [("acme", "hub"), ("beta", "hub")]
    assert world.one("select deleted_by from sync.tombstone") == "hub"


def test_a_merge_of_ours_marks_it_for_the_others_only(world: World) -> None:
    _as(world, "acme", "insert into hub.contact (last_name) values ('Lee')")
    assert _queue(world) == [("beta", "hub")]
    _forget(world)
    _as(world, "acme", "update hub.contact set last_name = 'Li'")
    assert _queue(world) == [("beta", "hub")]
    assert world.one("select count(*) from sync.provenance") == 0  # the merge notes it, with the CRM's time


def test_what_changes_nothing_marks_nothing(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name) values ('Lee')")
    _forget(world)
    world.conn.execute("update hub.contact set last_name = 'Lee', updated_at = now()")
    assert _queue(world) == []
    assert world.one("select count(*) from sync.provenance where field <> '*'") == 0


def test_columns_of_the_users_own_concern_nobody(world: World) -> None:
    world.conn.execute("alter table hub.contact add column shoe_size int")
    world.conn.execute("insert into hub.contact (last_name) values ('Lee')")
    _forget(world)
    world.conn.execute("update hub.contact set shoe_size = 43")
    assert _queue(world) == []


def test_each_field_remembers_who_changed_it_and_when(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name, phone) values ('Lee', '1')")
    with world.conn.transaction():
        world.conn.execute("update hub.contact set phone = null, interests = '{a}'")
        now = world.one("select now()")
    found = world.conn.execute(
        "select field, changed_by, changed_at from sync.provenance where field <> '*' order by 1"
    ).fetchall()
    assert found == [("interests", "hub", now), ("phone", "hub", now)]


def test_one_statement_over_many_rows_is_captured_whole(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name) select 'P' || i from generate_series(1, 1000) i")
    _forget(world)
    world.conn.execute("update hub.contact set first_name = 'F' where last_name like '%5'")
    assert world.one("select count(*) from sync.dirty") == 200
    assert world.one("select count(*) from sync.provenance where field = 'first_name'") == 100


def test_a_rolled_back_change_leaves_nothing(world: World) -> None:
    with world.conn.transaction(force_rollback=True):
        world.conn.execute("insert into hub.contact (last_name) values ('Lee')")
    assert _queue(world) == []


def test_a_deleted_company_lets_go_of_its_contacts_and_they_are_marked(world: World) -> None:
    world.conn.execute("insert into hub.company (name) values ('Acme')")
    world.conn.execute("insert into hub.contact (last_name, company) select 'Lee', id from hub.company")
    _forget(world)
    world.conn.execute("delete from hub.company")
    assert world.one("select company from hub.contact") is None
    assert _queue(world) == [("acme", "hub"), ("beta", "hub")]


def test_the_id_of_a_record_stays(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name) values ('Lee')")
    with pytest.raises(psycopg.errors.RaiseException, match="cannot be changed"):
        world.conn.execute("update hub.contact set id = gen_random_uuid()")


def test_an_entry_that_was_marked_again_while_it_was_worked_on_stays(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name) values ('Lee')")
    stream = world.system.stream("acme", "contact")
    (entries,) = dirty.chunks(world.conn, stream, 10)
    world.conn.execute("update hub.contact set last_name = 'Li'")
    dirty.settle(world.conn, stream, entries)
    assert dirty.count(world.conn, stream) == 1
    (entries,) = dirty.chunks(world.conn, stream, 10)
    dirty.settle(world.conn, stream, entries)
    assert dirty.count(world.conn, stream) == 0


def test_what_is_marked_while_a_run_goes_through_the_queue_waits_for_the_next(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name) values ('A'), ('B')")
    stream = world.system.stream("acme", "contact")
    chunks = dirty.chunks(world.conn, stream, 1)
    next(chunks)
    world.conn.execute("insert into hub.contact (last_name) values ('C')")
    assert len(list(chunks)) == 1


def test_a_record_that_was_marked_twice_is_one_record_to_look_at(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name) values ('Lee')")
    world.conn.execute("update hub.contact set last_name = 'Li'")
    stream = world.system.stream("acme", "contact")
    (entries,) = dirty.chunks(world.conn, stream, 10)
    assert len({e.hub_id for e in entries}) == 1
    assert dirty.count(world.conn, stream) == 1
    assert _queue(world) == [("acme", "hub"), ("beta", "hub")]
    dirty.settle(world.conn, stream, entries)
    assert dirty.count(world.conn, stream) == 0


def test_a_mark_of_a_slow_transaction_is_not_settled_unseen(world: World) -> None:
    """Versions are given out before they are committed: a lower one may appear after a higher one was read."""
    world.conn.execute("insert into hub.contact (last_name) values ('Lee')")
    stream = world.system.stream("acme", "contact")
    hub_id = world.hub("contact")[0]["id"]
    with psycopg.connect(world.url) as slow:
        dirty.mark_hub(slow, stream, [hub_id])  # type: ignore[list-item]
        world.conn.execute("update hub.contact set last_name = 'Li'")
        (entries,) = dirty.chunks(world.conn, stream, 10)
        slow.commit()
    dirty.settle(world.conn, stream, entries)
    assert dirty.count(world.conn, stream) == 1


def test_an_application_does_not_wait_for_a_run_that_settles(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name) values ('Lee')")
    stream = world.system.stream("acme", "contact")
    with psycopg.connect(world.url) as run:
        (entries,) = dirty.chunks(run, stream, 10)
        dirty.settle(run, stream, entries)
        world.conn.execute("set lock_timeout = '1s'")
        world.conn.execute("update hub.contact set last_name = 'Li'")
        run.commit()
    assert dirty.count(world.conn, stream) == 1


def test_reconciling_marks_each_record_once(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name) values ('Lee')")
    world.conn.execute("update hub.contact set last_name = 'Li'")
    stream = world.system.stream("acme", "contact")
    assert dirty.mark_all(world.conn, stream) == 1
    assert world.one("select count(*) from sync.mark m join sync.stream s on s.id = m.stream"
                     " where s.connection = 'acme' and s.entity = 'contact'") == 1  # fmt: skip


def test_a_stream_that_is_gone_takes_its_queue_with_it(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name) values ('Lee')")
    tables.ensure(world.conn, System(world.system.connections[:1], world.system.entities))
    assert world.conn.execute("select distinct connection from sync.stream").fetchall() == [("acme",)]
    assert world.one("select count(*) from sync.mark") == 1


def test_a_session_keeps_no_plan_that_is_wrong_for_its_next_statement(world: World) -> None:
    """A trigger's plans are kept: one made for a single row joined two times 10^5 rows by a nested loop (minutes), one
    made for many rows was compiled again for every single one (14 ms). No plan shows this from outside."""
    rows = world.conn.execute("select proconfig from pg_proc where proname like 'capture\\_%'").fetchall()
    assert len(rows) == len(world.system.entities)
    for (settings,) in rows:
        assert {"enable_nestloop=off", "jit=off"} <= set(settings)


def test_references_that_were_let_go_are_looked_up_by_an_index(world: World) -> None:
    world.conn.execute("insert into hub.company (name) values ('Big')")
    world.conn.execute("insert into hub.contact (last_name, company) select 'Lee', id from hub.company")
    world.conn.execute(
        "insert into sync.let_go (entity, hub_id, field, target)"
        " select 'contact', gen_random_uuid(), 'company', gen_random_uuid() from generate_series(1, 5000)"
    )
    world.conn.execute("analyze sync.let_go")
    read = "select seq_tup_read from pg_stat_xact_user_tables where relid = 'sync.let_go'::regclass"
    with world.conn.transaction():
        world.conn.execute("insert into hub.company (name) values ('Small')")
        world.conn.execute("update hub.contact set first_name = 'Ann'")
        world.conn.execute("delete from hub.contact")
        assert world.one(read) == 0
