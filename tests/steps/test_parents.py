"""New records that refer to each other: parents first, in one run, each written once."""

from collections.abc import Iterator

import pytest

from tests.steps.world import World

FAMILY = """
kind: memory
entities:
  company:
    object: Account
    external_id: Hub_Id
    fields:
      name: Name
      parent: {field: ParentId, type: reference, entity: company}
"""


@pytest.fixture
def family(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url, text=FAMILY)
    yield world
    world.close()


def add(world: World, name: str, parent: object = None) -> object:
    return world.one("insert into hub.company (name, parent) values (%s, %s) returning id", name, parent)


def theirs(world: World) -> dict[str | None, str | None]:
    """Name of the parent by name."""
    rows = {row.id: row.values for row in world.accounts["acme"].rows("Account")}
    return {
        values["Name"]: rows[values["ParentId"]]["Name"] if values.get("ParentId") else None
        for values in rows.values()
    }


def test_parents_are_created_before_their_children_and_each_is_written_once(family: World) -> None:
    top = add(family, "top")
    middle = add(family, "middle", top)
    for i in range(3):
        add(family, f"leaf {i}", middle)
    report = family.sync()["outbound company"]
    assert theirs(family) == {"top": None, "middle": "top", **{f"leaf {i}": "middle" for i in range(3)}}
    assert (report.counts["created"], report.counts["updated"], family.writes()) == (5, 0, 3)
    assert family.one("select count(*) from sync.dirty") == 0


def test_a_circle_is_created_open_and_closed_afterwards(family: World) -> None:
    one = add(family, "one")
    other = add(family, "other", one)
    family.conn.execute("update hub.company set parent = %s where id = %s", [other, one])
    add(family, "own child")
    family.conn.execute("update hub.company set parent = id where name = 'own child'")
    for _ in range(3):
        family.sync()
        family.wait(minutes=1)
    assert theirs(family) == {"one": "other", "other": "one", "own child": "own child"}
    writes = family.writes()
    family.sync()
    assert family.writes() == writes
    assert family.one("select count(*) from sync.dirty") == 0


def test_a_child_whose_parent_is_refused_is_created_without_it(family: World) -> None:
    parent = add(family, "")
    add(family, "child", parent)
    family.conn.execute("alter table hub.company alter name drop not null")
    family.conn.execute("update hub.company set name = repeat('x', 140000) where id = %s", [parent])
    family.sync()
    assert theirs(family) == {"child": None}
    family.conn.execute("update hub.company set name = 'parent' where id = %s", [parent])
    for _ in range(2):
        family.wait(minutes=1)
        family.sync()
    assert theirs(family) == {"parent": None, "child": "parent"}


def test_a_generation_too_deep_is_caught_up_with(family: World) -> None:
    parent = None
    for i in range(14):
        parent = add(family, f"{i:02}", parent)
    for _ in range(6):
        family.sync()
        family.wait(minutes=1)
    assert theirs(family) == {f"{i:02}": f"{i - 1:02}" if i else None for i in range(14)}
