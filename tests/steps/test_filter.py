"""Records that leave a mapping's filter take no part any more; those that enter (again) do, with what they were agreed on."""

from collections.abc import Iterator

import pytest

from crm_sync.core.parity import Why
from crm_sync.hub.store import Store
from crm_sync.mapping.load import load_texts
from crm_sync.steps import why
from crm_sync.steps.allowance import Share
from crm_sync.steps.listing import sweep_ids
from crm_sync.steps.options import Options
from crm_sync.steps.story import State
from crm_sync.steps.verify import verify
from tests.steps.world import World

CUSTOMERS = """
kind: memory
entities:
  contact:
    object: Contact
    match: [[email]]
    external_id: Hub_Id
    filter:
      - {field: Kind, value: customer}
    fields:
      last_name: LastName
      email: {field: Email, type: email}
      phone: {field: Phone, policy: manual}
      kind: Kind
"""


@pytest.fixture
def customers(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url, text=CUSTOMERS)
    yield world
    world.close()


def ann(world: World, kind: str | None = "customer") -> str:
    """A contact in the CRM and, if it is a customer, in the hub."""
    values = {"LastName": "Ann", "Email": "ann@x.example", "Kind": kind, "Phone": "1"}
    crm_id = world.accounts["acme"].person_create("Contact", values)
    later(world)
    later(world)
    return crm_id


def later(world: World, **flags: object) -> dict[str, int]:
    """A sync, a while later."""
    world.wait(minutes=30)
    reports = world.sync(**flags)
    return {k: v for report in reports.values() for k, v in report.counts.items() if v}


def outside(world: World, crm_id: str) -> object:
    return world.one("select outside from acme.contact where crm_id = %s", crm_id)


def edit(world: World, crm_id: str, **values: str | None) -> None:
    world.wait(minutes=1)
    world.accounts["acme"].person_edit("Contact", crm_id, values)


def differences(world: World) -> dict[str, Why | None]:
    with Store(world.url) as store:
        stream = world.system.stream("acme", "contact")
        found = verify(store, world.crms["acme"], stream, Share(1000, 0, 1000, whole=True))
    return {one.crm_id or "": one.why for one in (*found.unexplained, *found.explained)}


def test_a_record_that_leaves_takes_no_part(customers: World) -> None:
    crm_id = ann(customers)
    assert outside(customers, crm_id) is False
    edit(customers, crm_id, Kind="former", LastName="Changed")
    assert later(customers)["left"] == 1
    assert outside(customers, crm_id) is True
    writes = customers.writes()
    customers.conn.execute("update hub.contact set phone = '2'")
    for _ in range(2):
        later(customers)
    assert customers.writes() == writes, "nothing is pushed to what is outside"
    assert customers.hub("contact", "last_name, kind") == [{"last_name": "Ann", "kind": "customer"}]
    assert customers.one("select count(*) from acme.contact_base") == 1, "the link is kept"
    assert customers.one("select count(*) from sync.dirty") == 0


def test_a_record_that_comes_back_is_decided_from_what_was_agreed_on(customers: World) -> None:
    """Meanwhile both sides changed: one field here, one there, one on both."""
    crm_id = ann(customers)
    edit(customers, crm_id, Kind="former")
    later(customers)
    customers.conn.execute("update hub.contact set email = 'new@x.example', phone = '2'")
    later(customers)
    edit(customers, crm_id, LastName="Married", Phone="3")
    later(customers)
    edit(customers, crm_id, Kind="customer")
    for _ in range(2):
        later(customers)
    assert outside(customers, crm_id) is False
    assert customers.hub("contact", "last_name, email, kind") == [
        {"last_name": "Married", "email": "new@x.example", "kind": "customer"}
    ]
    assert customers.accounts["acme"].row("Contact", crm_id).values["Email"] == "new@x.example"
    assert customers.one("select field from review.conflict where status = 'open'") == "phone"
    assert customers.one("select count(*) from acme.contact_base") == 1


def test_a_conflict_of_a_record_that_left_is_closed(customers: World) -> None:
    crm_id = ann(customers)
    customers.conn.execute("update hub.contact set phone = '2'")
    edit(customers, crm_id, Phone="3")
    later(customers)
    assert customers.one("select count(*) from review.conflict where status = 'open'") == 1
    edit(customers, crm_id, Kind=None)
    later(customers)
    assert customers.one("select count(*) from review.conflict where status = 'open'") == 0


def test_a_blank_is_outside_too_and_one_that_never_took_part_is_nothing(customers: World) -> None:
    crm_id = ann(customers)
    other = ann(customers, "other")
    edit(customers, crm_id, Kind=None)
    edit(customers, other, LastName="Else")
    later(customers)
    assert outside(customers, crm_id) is True
    assert outside(customers, other) is None


def test_a_record_that_our_own_write_moves_out_is_outside_from_the_next_window_on(customers: World) -> None:
    crm_id = ann(customers)
    customers.conn.execute("update hub.contact set kind = 'former'")
    later(customers)
    assert customers.accounts["acme"].row("Contact", crm_id).values["Kind"] == "former"
    later(customers)
    assert outside(customers, crm_id) is True


def test_a_new_hub_record_that_does_not_fit_is_created_and_then_outside(customers: World) -> None:
    customers.conn.execute("insert into hub.contact (last_name, kind) values ('Bo', 'prospect')")
    later(customers)
    (row,) = customers.accounts["acme"].rows("Contact")
    assert row.values["Kind"] == "prospect"
    later(customers)
    assert outside(customers, row.id) is True
    customers.conn.execute("update hub.contact set last_name = 'Bob'")
    later(customers)
    assert customers.accounts["acme"].row("Contact", row.id).values["LastName"] == "Bo"
    assert len(customers.accounts["acme"].rows("Contact")) == 1


def test_an_idle_cycle_makes_two_calls_and_asks_about_nobody(customers: World) -> None:
    crm_id = ann(customers)
    ann(customers, "other")
    edit(customers, crm_id, Kind="former")
    later(customers)
    before = dict(customers.crms["acme"].calls)
    customers.wait(minutes=1)
    customers.sync("acme")
    calls = customers.crms["acme"].calls
    made = {k: n - before.get(k, 0) for k, n in calls.items() if n > before.get(k, 0) and k != "describe"}
    assert made == {"changed": 1, "left": 1}


def test_without_a_filter_nobody_is_asked(world: World) -> None:
    world.accounts["acme"].person_create("Contact", {"LastName": "Ann"})
    for _ in range(3):
        world.wait(minutes=5)
        world.sync()
    assert not {"left", "fulfilling", "references"} & set(world.crms["acme"].calls)


def test_another_filter_is_settled_by_the_next_full_read(customers: World) -> None:
    crm_id, other = ann(customers), ann(customers, "partner")
    customers.system = load_texts(
        {"acme.yaml": CUSTOMERS.replace("value: customer", "operator: in, values: [partner, friend]")}
    )
    later(customers)
    assert outside(customers, crm_id) is False, "no window has shown it"
    assert later(customers, full=True)["left"] == 1
    assert (outside(customers, crm_id), outside(customers, other)) == (True, False)
    customers.system = load_texts({"acme.yaml": CUSTOMERS})
    later(customers, full=True)
    assert (outside(customers, crm_id), outside(customers, other)) == (False, True)
    later(customers)
    assert customers.one("select count(*) from sync.dirty") == 0


def test_one_that_comes_back_without_a_trace_is_found_by_a_sweep(customers: World) -> None:
    """By a formula, or a field of another record: its modification time says nothing."""
    crm_id, other = ann(customers), ann(customers)
    for one in (crm_id, other):
        edit(customers, one, Kind="former", LastName="Changed")
    later(customers)
    ann(customers, "other")  # the windows go on from here
    customers.accounts["acme"].row("Contact", crm_id).values["Kind"] = "customer"
    later(customers)
    assert outside(customers, crm_id) is True, "no window has shown it"
    stream = customers.system.stream("acme", "contact")
    with Store(customers.url, run_id="sweep") as store:
        assert sweep_ids(store, customers.crms["acme"], stream, Options()).counts["updated"] == 1
        assert sweep_ids(store, customers.crms["acme"], stream, Options()).counts["updated"] == 0
    assert (outside(customers, crm_id), outside(customers, other)) == (False, True)
    later(customers)
    assert {row["last_name"] for row in customers.hub("contact")} == {"Ann", "Changed"}
    assert customers.one("select count(*) from sync.dirty") == 0


def test_one_that_is_deleted_outside_is_deleted(customers: World) -> None:
    crm_id = ann(customers)
    edit(customers, crm_id, Kind="former")
    later(customers)
    customers.accounts["acme"].person_delete("Contact", crm_id)
    later(customers)
    assert customers.one("select deleted from acme.contact where crm_id = %s", crm_id) is True


def test_verify_and_why_say_that_it_is_filtered(customers: World) -> None:
    crm_id = ann(customers)
    edit(customers, crm_id, Kind="former", LastName="Changed")
    later(customers)
    customers.conn.execute("update hub.contact set phone = '2'")
    assert set(differences(customers).values()) == {Why.FILTERED}
    with Store(customers.url) as store:
        (one,) = why.find(store, customers.system, "contact", crm_id)
        story = why.why(store, customers.system, "contact", one)
    assert {side.state for field in story.fields for side in field.sides} == {State.OUTSIDE}
    assert "outside the mapping's filter" in story.links[0].what
