"""A stream with more fields than fifty, which is as many names and values as a function of Postgres takes arguments."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from crm_sync.hub.store import Store
from crm_sync.hub.undo import Selection
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from crm_sync.steps.undo import Undo
from tests.steps.test_undo import quiet, rounds, settle, undone
from tests.steps.world import CONNECTION, World

NUMBER = 60


@pytest.fixture
def wide(fresh_database_url: str) -> Iterator[World]:
    more = "".join(f"      f{i}: F{i}\n" for i in range(NUMBER))
    text = CONNECTION.replace("      full_name: {", more + "      full_name: {")
    deletes = "    object: Contact\n    deletes: {inbound: propagate, outbound: propagate}\n"
    world = World(fresh_database_url, text=text.replace("    object: Contact\n", deletes))
    yield world
    world.close()


def _values(letter: str) -> dict[str, str]:
    return {f"F{i}": f"{letter}{i}" for i in range(NUMBER)}


def _said(world: World, crm_id: str) -> dict[str, str | None]:
    values = world.accounts["acme"].row("Contact", crm_id).values
    return {f"F{i}": values.get(f"F{i}") for i in range(NUMBER)}


def _last_names(world: World) -> list[object]:
    return sorted(str(row["last_name"]) for row in world.hub("contact"))


def test_a_record_is_created_changed_deleted_and_brought_back_on_both_sides(wide: World) -> None:
    acme = wide.accounts["acme"]
    theirs = acme.person_create("Contact", {"LastName": "Theirs", **_values("a")})
    columns = ", ".join(f"f{i}" for i in range(NUMBER))
    values = ", ".join(f"'b{i}'" for i in range(NUMBER))
    wide.conn.execute(f"insert into hub.contact (last_name, {columns}) values ('Ours', {values})")  # type: ignore[arg-type]
    settle(wide)
    (ours,) = [row.id for row in acme.rows("Contact") if row.id != theirs]
    assert _said(wide, ours) == _values("b")
    assert wide.one("select f59 from hub.contact where last_name = 'Theirs'") == "a59"
    assert _last_names(wide) == ["Ours", "Theirs"]

    acme.person_edit("Contact", ours, _values("c"))
    changed = ", ".join(f"f{i} = 'd{i}'" for i in range(NUMBER))
    wide.conn.execute(f"update hub.contact set {changed} where last_name = 'Theirs'")  # type: ignore[arg-type]
    edits = rounds(wide)
    assert _said(wide, theirs) == _values("d")
    assert wide.one("select f0 || f59 from hub.contact where last_name = 'Ours'") == "c0c59"
    undone(wide, edits)
    quiet(wide)
    assert (_said(wide, theirs), _said(wide, ours)) == (_values("a"), _values("b"))

    acme.person_delete("Contact", theirs)
    wide.conn.execute("delete from hub.contact where last_name = 'Ours'")
    deletions = rounds(wide)
    assert (_last_names(wide), acme.rows("Contact")) == ([], [])
    for side, kind in (("crm", "old_value"), ("hub", "new_value")):
        action = "delete" if side == "crm" else "create"
        query = f"select count(*) from sync.change, jsonb_object_keys({kind}::jsonb) k where side = %s and kind = %s and k ~ '^f[0-9]'"
        assert wide.one(query, side, action) == NUMBER
    with Store(wide.url, run_id="undo-deletions") as store:
        work = Undo(store, wide.system, wide.crms.__getitem__)
        work.plan(Selection(run_id=deletions), created=False)
        work.apply(Selection(run_id=deletions), "mina")
    quiet(wide)
    assert wide.one("select f59 from hub.contact where last_name = 'Theirs'") == "a59"


def test_a_create_that_hits_another_record_is_told_and_taken_back(wide: World) -> None:
    acme = wide.accounts["acme"]
    crm_id = acme.person_create("Contact", {"LastName": "Lee", **_values("a")})
    settle(wide)
    kim = uuid4()
    acme.person_edit("Contact", crm_id, {"Hub_Id": str(kim)})
    wide.conn.execute("insert into hub.contact (id, last_name, f59) values (%s, 'Kim', 'kim')", [kim])
    with Store(wide.url) as store:
        outbound(store, wide.crms["acme"], wide.system.stream("acme", "contact"), Options())
    assert _said(wide, crm_id)["F59"] == "kim"
    assert wide.one("select old_value from sync.change where field = 'f59' and new_value = 'kim'") == "a59"
    settle(wide)
    assert _said(wide, crm_id) == _values("a")
