"""The merge of a page into the mirror: what it writes, what it marks, and that what is the same costs no write."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pyarrow as pa
import pytest

from crm_sync.connectors.crm import CRM_ID, DELETED, MODIFIED_AT, BatchPage, CsvPage, Page
from crm_sync.hub import mirror
from crm_sync.hub.mirror import Merged
from tests.steps.world import World

ONE, TWO, THREE = (f"2026-03-0{day}T00:00:00.000Z" for day in (1, 2, 3))


@pytest.fixture
def world(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url)
    yield world
    world.close()


def _page(*rows: tuple[str, str, str], deleted: str = "false") -> BatchPage:
    """Rows of id, stamp, last name."""
    ids, stamps, names = zip(*rows, strict=True)
    columns = {CRM_ID: ids, MODIFIED_AT: stamps, DELETED: [deleted] * len(ids), "LastName": names}
    return BatchPage(pa.RecordBatch.from_pydict({k: pa.array(v, pa.string()) for k, v in columns.items()}))


def _merge(world: World, page: Page, *, mark_dirty: bool = True) -> Merged:
    with world.conn.transaction():
        return mirror.merge(world.conn, world.system.stream("acme", "contact"), page, mark_dirty=mark_dirty)


def _held(world: World) -> dict[str, tuple[str, str]]:
    rows = world.conn.execute(
        "select crm_id, last_name, to_char(modified_at at time zone 'UTC', 'YYYY-MM-DD') from acme.contact"
    ).fetchall()
    return {row[0]: row[1:] for row in rows}


def _marks(world: World) -> int:
    found = world.one("select count(*) from sync.mark where not by_hub")
    world.conn.execute("truncate sync.mark")
    assert isinstance(found, int)
    return found


def _counts(merged: Merged) -> tuple[int, int, int, int]:
    return merged.read, merged.created, merged.updated, merged.deleted


def test_new_changed_and_equal_records_are_told_apart(world: World) -> None:
    assert _counts(_merge(world, _page(("1", ONE, "Lee"), ("2", ONE, "Roe")))) == (2, 2, 0, 0)
    assert _marks(world) == 2
    merged = _merge(world, _page(("1", TWO, "Li"), ("2", ONE, "Roe"), ("3", TWO, "Poe")))
    assert _counts(merged) == (3, 1, 1, 0)
    assert merged.newest is not None
    assert f"{merged.newest:%Y-%m-%d}" == "2026-03-02"
    assert _marks(world) == 2


def test_the_same_at_a_later_time_moves_the_time_and_concerns_nobody(world: World) -> None:
    _merge(world, _page(("1", ONE, "Lee")))
    _marks(world)
    assert _counts(_merge(world, _page(("1", THREE, "Lee")))) == (1, 0, 0, 0)
    assert _marks(world) == 0
    assert _held(world) == {"1": ("Lee", "2026-03-03")}
    _merge(world, _page(("1", TWO, "Old")))  # a page of between, delivered late
    assert _held(world) == {"1": ("Lee", "2026-03-03")}
    assert _marks(world) == 0


def test_of_a_record_that_comes_twice_in_a_page_the_newest_state_counts(world: World) -> None:
    assert _counts(_merge(world, _page(("1", TWO, "New"), ("1", ONE, "Old")))) == (2, 1, 0, 0)
    assert _held(world) == {"1": ("New", "2026-03-02")}


def test_deletions_of_what_was_never_known_are_left_out(world: World) -> None:
    _merge(world, _page(("1", ONE, "Lee")))
    assert _counts(_merge(world, _page(("1", TWO, "Lee"), ("9", TWO, "Who"), deleted="true"))) == (2, 0, 0, 1)
    assert set(_held(world)) == {"1"}


def test_a_listing_that_differs_at_the_same_stamp_is_left_to_a_look_up_if_it_may_lag(world: World) -> None:
    """The records 1 and 2 say something else than the mirror, and 3 is the same."""
    _merge(world, _page(("1", ONE, "Lee"), ("2", TWO, "Roe"), ("3", TWO, "Poe")))
    _marks(world)
    stream = world.system.stream("acme", "contact")
    settled = datetime(2026, 3, 2, tzinfo=UTC)
    listed = (("1", ONE, "Li"), ("2", TWO, "Ro"), ("3", TWO, "Poe"))
    with world.conn.transaction():
        merged = mirror.merge(world.conn, stream, _page(*listed), unsure_from=settled)
    assert merged.unsure == ("2",)
    assert _marks(world) == 1
    assert _held(world) == {"1": ("Li", "2026-03-01"), "2": ("Roe", "2026-03-02"), "3": ("Poe", "2026-03-02")}
    with world.conn.transaction():
        mirror.merge(world.conn, stream, _page(*listed), looked_up=True)
    assert _held(world)["2"] == ("Ro", "2026-03-02")


def test_a_look_up_that_lacks_fields_adds_no_record(world: World) -> None:
    """What it lacks would pass for blank."""
    stream = world.system.stream("acme", "contact")
    _merge(world, _page(("1", ONE, "Lee")))
    with world.conn.transaction():
        mirror.merge(world.conn, stream, _page(("1", TWO, "Li"), ("2", TWO, "Roe")), looked_up=True)
    assert _held(world) == {"1": ("Li", "2026-03-02")}


def test_an_empty_page_changes_nothing(world: World) -> None:
    page = CsvPage(("Id", "LastName"), {CRM_ID: "Id"}, [b"Id,LastName\n"])
    assert _merge(world, page) == Merged()


def test_reading_what_is_the_same_again_writes_nothing(world: World) -> None:
    """Not even a row lock, which would write the page and the log of every row."""
    page = _page(*((str(i), ONE, f"Lee {i}") for i in range(500)))
    _merge(world, page)
    before = _versions(world)
    _merge(world, page)
    assert _versions(world) == before


def _versions(world: World) -> list[tuple[object, ...]]:
    """ctid, xmin and xmax of each row: a write or a lock shows in one of them."""
    return world.conn.execute(
        "select ctid::text, xmin::text, xmax::text from acme.contact order by 1"
    ).fetchall()


def test_a_page_is_looked_up_by_the_key_whatever_the_planner_believes(world: World) -> None:
    _merge(world, _page(*((str(i), ONE, "Lee") for i in range(20_000))))
    world.conn.execute("analyze acme.contact")
    scans = "select seq_scan + seq_tup_read, idx_tup_fetch from pg_stat_user_tables where relname = 'contact' and schemaname = 'acme'"
    with psycopg.connect(world.url, autocommit=True) as other:
        world.conn.execute("select pg_stat_force_next_flush()")
        before = other.execute(scans).fetchone()
        _merge(world, _page(*((str(i), TWO, "Li") for i in range(15_000, 15_100))))
        world.conn.execute("select pg_stat_force_next_flush()")
        after = other.execute(scans).fetchone()
    assert before is not None
    assert after is not None
    assert after[0] == before[0]
    assert after[1] - before[1] <= 300
