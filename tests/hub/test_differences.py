"""The differences view: each field whose now differs from its then, on either side, and nothing else."""

from collections.abc import Iterator

import pytest

from crm_sync.hub import differences, review
from tests.steps.world import World


@pytest.fixture
def world(fresh_database_url: str) -> Iterator[World]:
    """One contact, linked and agreed on in every field."""
    world = World(fresh_database_url)
    world.accounts["acme"].person_create(
        "Contact",
        {"FirstName": "Ann", "LastName": "Lee", "Email": "lee@x.example", "Stage": "Appointment", "Interests": "a;b",
         "NextCall": "2026-03-29T01:30:00Z", "Born": "2000-02-29", "OptedOut": "true", "FullName": "Ann Lee"},
    )  # fmt: skip
    world.sync()
    yield world
    world.close()


def _found(world: World) -> list[tuple[object, ...]]:
    return world.conn.execute(
        "select field, hub_now, hub_then, crm_now, crm_then, hub_changed, crm_changed, agreed"
        " from acme.contact_differences order by field"
    ).fetchall()


def test_agreement_is_no_difference(world: World) -> None:
    assert _found(world) == []


def test_each_side_is_compared_with_its_own_then(world: World) -> None:
    world.conn.execute("update hub.contact set stage = 'qualified'")
    assert _found(world) == [("stage", "qualified", "tour", "Appointment", "Appointment", True, False, True)]
    world.conn.execute("update acme.contact set stage = 'Won'")
    assert _found(world) == [("stage", "qualified", "tour", "Won", "Appointment", True, True, True)]


def test_set_back_it_is_none_any_more(world: World) -> None:
    world.conn.execute("update hub.contact set stage = 'qualified'")
    world.conn.execute("update hub.contact set stage = 'tour'")
    assert _found(world) == []


@pytest.mark.parametrize(("column", "same"), [
    ("interests", "array['b', 'a', 'b']"), ("next_call", "timestamptz '2026-03-29 03:30:00+02'"), ("opted_out", "true"),
])  # fmt: skip
def test_the_same_value_in_another_spelling_never_moves(world: World, column: str, same: str) -> None:
    writes = world.writes()
    world.conn.execute(f"update hub.contact set {column} = {same}")  # type: ignore[arg-type]
    world.wait(minutes=5)
    world.sync()
    assert world.writes() == writes


def test_null_on_either_side_is_a_value_like_any_other(world: World) -> None:
    world.conn.execute("update hub.contact set born = null")
    world.conn.execute("update acme.contact set email = null")
    assert [(row[0], row[1], row[3]) for row in _found(world)] == [
        ("born", None, "2000-02-29"), ("email", "lee@x.example", None),
    ]  # fmt: skip


def test_a_computed_field_follows_its_parts(world: World) -> None:
    world.conn.execute("update hub.contact set first_name = null")
    assert [(row[0], row[1]) for row in _found(world)] == [("first_name", None), ("full_name", "Lee")]


def test_a_deleted_record_has_no_differences(world: World) -> None:
    world.conn.execute("update hub.contact set born = null")
    world.conn.execute("update acme.contact set deleted = true")
    assert _found(world) == []


def test_reading_tells_who_changed_our_side_and_how_well_we_know_it(world: World) -> None:
    stream = world.system.stream("acme", "contact")
    (hub_id,) = [row["id"] for row in world.hub("contact")]
    world.conn.execute("update acme.contact set born = '2001-01-01'")
    (d,) = differences.read(world.conn, stream, [hub_id])  # type: ignore[list-item]
    assert (d.hub_by, d.hub_at, d.hub_at_is_of_field) == ("acme", world.time, False)
    world.conn.execute("update hub.contact set born = '2002-02-02'")
    (d,) = differences.read(world.conn, stream, [hub_id])  # type: ignore[list-item]
    assert (d.hub_by, d.hub_at_is_of_field) == ("hub", True)


def test_a_decision_counts_for_the_two_values_it_was_made_about(world: World) -> None:
    stream = world.system.stream("acme", "contact")
    (hub_id,) = [row["id"] for row in world.hub("contact")]
    world.conn.execute("update hub.contact set phone = '+14155550001'")
    world.accounts["acme"].person_edit("Contact", "Contact-00000001", {"Phone": "+14155550002"})
    world.wait(minutes=1)
    world.sync()
    review.decide(world.conn, review.find(world.conn), "use_crm", "mina")
    (d,) = differences.read(world.conn, stream, [hub_id])  # type: ignore[list-item]
    assert (d.field, d.decision, d.decided_by) == ("phone", "use_crm", "mina")
    world.conn.execute("update hub.contact set phone = '+14155550003'")
    (d,) = differences.read(world.conn, stream, [hub_id])  # type: ignore[list-item]
    assert d.decision is None
