"""A person deletes a record right after we wrote it, before it is read back: that is a deletion as any other."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from crm_sync.connectors.crm import BatchPage
from crm_sync.core.spec import StreamSpec
from tests.steps.life.deleting import Make, alive, ann, quiet, settle, states
from tests.steps.world import World


@pytest.fixture(params=["with the changes", "apart"])
def world(request: pytest.FixtureRequest, make: Make) -> World:
    """Writes are read back here; deletions are listed among what was changed, or by themselves."""
    world = make("archive", "review")
    knobs = world.crms["acme"].knobs
    knobs.returns_values, knobs.deletions_in_changed = False, request.param == "with the changes"
    return world


def test_a_record_that_was_created_just_now(world: World) -> None:
    settle(world)
    insert(world)
    first(world, lambda crm_id: world.accounts["acme"].person_delete("Contact", crm_id))
    settle(world)
    settle(world, 2)
    archived(world)


def test_a_record_that_was_updated_just_now(world: World) -> None:
    ann(world)
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    first(world, lambda crm_id: world.accounts["acme"].person_delete("Contact", crm_id))
    settle(world)
    settle(world, 2)
    archived(world)
    assert world.hub("contact", "first_name") == [{"first_name": "Ann"}]


def test_a_record_that_was_created_just_now_and_is_merged_into_another(world: World) -> None:
    other = ann(world)
    insert(world)
    first(world, lambda crm_id: world.accounts["acme"].person_merge("Contact", other, crm_id))
    settle(world)
    settle(world, 2)
    assert alive(world) == [other]
    asked = world.conn.execute("select decision from review.merge").fetchall()
    assert asked == [(None,)], "two hub records of one: a person decides"


def test_a_record_that_is_gone_without_a_trace_keeps_its_value_until_a_sweep(world: World) -> None:
    ann(world)
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    first(world, lambda crm_id: world.accounts["acme"].person_purge("Contact", crm_id))
    settle(world)
    settle(world)
    assert world.hub("contact", "first_name") == [{"first_name": "Ann"}]
    settle(world, full=True, force=True)
    archived(world)


def insert(world: World) -> None:
    world.conn.execute("insert into hub.contact (last_name, email) values ('Kim', 'kim@x.example')")


def first(world: World, act: Callable[[str], None]) -> None:
    """Before the next record is looked up, somebody acts on it."""
    crm = world.crms["acme"]
    by_ids = crm.by_ids

    def after(stream: StreamSpec, crm_ids: Sequence[str]) -> Iterator[BatchPage]:
        crm.by_ids = by_ids  # type: ignore[method-assign]
        act(crm_ids[0])
        yield from by_ids(stream, crm_ids)

    crm.by_ids = after  # type: ignore[method-assign]


def archived(world: World) -> None:
    assert alive(world) == []
    assert states(world) == ("archived", "deleted")
    assert world.one("select archived_at is not null from hub.contact")
    assert world.one("select count(*) from sync.change where kind = 'archive'") == 1
    quiet(world)
