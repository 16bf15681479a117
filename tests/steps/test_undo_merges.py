"""Undo beside merges and conversions: it takes nobody along who was merged in meanwhile, and shows what it will do."""

import pytest

from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.undo import Fate
from crm_sync.hub.store import Store
from crm_sync.hub.undo import Selection
from crm_sync.steps.undo import Undo
from tests.steps.test_conversion import _convert, _lead, leads  # noqa: F401 - a fixture
from tests.steps.test_filter import ann, customers, edit  # noqa: F401 - a fixture
from tests.steps.test_merges import LI, _decide, _linked, _two
from tests.steps.test_undo import person, quiet, reasons, rounds, settle, undone
from tests.steps.world import World


def test_what_a_merge_filled_in_stays(world: World) -> None:
    """The row that it came from is gone, so the value was nowhere any more."""
    acme = world.accounts["acme"]
    kept, lost = _two(world)
    world.conn.execute("update hub.contact set born = '1990-02-03' where id = %s", [_linked(world, lost)])
    acme.person_merge("Contact", kept, lost)
    world.wait(minutes=1)
    world.sync()
    _decide(world, "merge")
    run = rounds(world)
    assert acme.row("Contact", kept).values["Born"] == "1990-02-03"
    planned, _, _ = undone(world, run)
    assert "born" not in reasons(planned)
    assert "merges are not taken apart" in {left.about for left in planned.left}
    quiet(world)
    assert str(world.one("select born from hub.contact")) == "1990-02-03"
    assert acme.row("Contact", kept).values["Born"] == "1990-02-03"

    began = world.one("select clock_timestamp()")
    acme.person_edit("Contact", kept, {"Born": "1991-02-03"})  # what was typed over it is taken back
    world.wait(minutes=1)
    rounds(world)
    undone(world, Selection(since=began))  # type: ignore[arg-type]
    assert str(world.one("select born from hub.contact")) == "1990-02-03"


@pytest.mark.parametrize("decided", [True, False])
def test_a_new_hub_record_into_which_another_was_merged_is_not_deleted(world: World, decided: bool) -> None:
    """With it went the hub record that was there before, its values, and all that had referred to it."""
    acme = world.accounts["acme"]
    world.conn.execute("insert into hub.contact (last_name, email) values ('Li', 'li@x.example')")
    settle(world)
    (lost,) = (row.id for row in acme.rows("Contact"))
    kept = acme.person_create("Contact", {**LI, "Email": "other@x.example"})
    run = rounds(world)
    acme.person_merge("Contact", kept, lost)
    rounds(world)
    if decided:
        _decide(world, "merge")
    settle(world)
    planned, applied, _ = undone(world, run)
    assert applied.deleted == 0
    assert {(r.kind, r.fate, r.about) for r in planned.records} == {
        ("created", Fate.LEFT, "another hub record was merged into it, or is to be (`crm-sync merges`)")
    }
    assert len(world.hub("contact")) == (1 if decided else 2)
    assert _linked(world, kept)
    quiet(world)


def test_what_a_broken_off_undo_pulled_apart_still_goes_back(two: World) -> None:
    """ "Run the same command again", it says; what the link had brought into the hub stayed there, with a reason that was
    none: that the other side would lose it."""
    two.conn.execute("insert into hub.contact (last_name, email) values ('Doe', 'doe@x.example')")
    settle(two)
    (ours,) = (row["id"] for row in two.hub("contact"))
    two.conn.execute("delete from beta.contact_base")
    for row in two.accounts["beta"].rows("Contact"):
        two.accounts["beta"].person_purge("Contact", row.id)
    two.conn.execute("delete from beta.contact")
    two.accounts["beta"].person_create(
        "Contact", {"LastName": "Doe", "Email": "doe@x.example", "FirstName": "J"}
    )
    run = f"run-{two.time:%H%M%S}"
    two.sync("beta")
    two.wait(minutes=1)
    two.sync("acme")
    assert two.one("select first_name from hub.contact") == "J"
    with Store(two.url, run_id="broken off") as store:
        work = Undo(store, two.system, two.crms.__getitem__)
        work.plan(Selection(run_id=run))
        two.crms["acme"].faults.read_error = CrmError(ErrorClass.TRANSIENT, "no network")
        with pytest.raises(CrmError, match="no network"):
            work.apply(Selection(run_id=run), "mina")
    assert two.one("select first_name from hub.contact where id = %s", ours) == "J"
    planned, applied, _ = undone(two, run)
    assert (reasons(planned)["first_name"], applied.fields) == ("undo", 1)
    assert two.one("select first_name from hub.contact where id = %s", ours) is None


def test_a_converted_lead_goes_back_in_the_hub_alone_and_the_plan_says_so(leads: World) -> None:  # noqa: F811
    crm_id = _lead(leads)
    leads.wait(minutes=1)
    leads.accounts["acme"].person_edit("Lead", crm_id, {"Status": "converted"})
    run = rounds(leads)
    _convert(leads, crm_id)
    rounds(leads)
    planned, applied, _ = undone(leads, run)
    assert (planned.systems, applied.fields) == ({"hub": 1}, 1)
    assert [row["status"] for row in leads.hub("lead")] == ["open"]
    assert leads.accounts["acme"].row("Lead", crm_id).values["Status"] == "converted"


def test_a_record_outside_the_filter_goes_back_in_the_hub_alone(customers: World) -> None:  # noqa: F811
    crm_id = ann(customers)
    edit(customers, crm_id, LastName="Li")
    run = rounds(customers)
    edit(customers, crm_id, Kind="partner")
    rounds(customers)
    rounds(customers)
    planned, applied, _ = undone(customers, run)
    assert (planned.systems, applied.fields) == ({"hub": 1}, 1)
    assert customers.accounts["acme"].row("Contact", crm_id).values["LastName"] == "Li"
    edit(
        customers, crm_id, Kind="customer"
    )  # it is a change in the hub, sent when the record takes part again
    rounds(customers)
    rounds(customers)
    assert customers.accounts["acme"].row("Contact", crm_id).values["LastName"] == "Ann"


def test_whatever_way_the_hub_refuses_it_is_told(world: World) -> None:
    """A failed assertion in a trigger ended the undo with a traceback."""
    crm_id = person(world)
    world.accounts["acme"].person_edit("Contact", crm_id, {"LastName": "Li"})
    run = rounds(world)
    world.conn.execute(
        "create function public.asserts() returns trigger language plpgsql as $$ begin"
        " assert new.last_name <> 'Lee', 'no Lee here'; return new; end $$;"
        "create trigger asserts before update on hub.contact for each row execute function public.asserts()"
    )
    _, applied, _ = undone(world, run)
    assert applied.fields == 0
    assert world.one("select last_name from hub.contact") == "Li"
