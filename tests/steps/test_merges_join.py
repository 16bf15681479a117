"""Two hub records become one: what the user's database refuses, links that lead to nothing any more, references to itself."""

from collections.abc import Iterator

import pytest

from crm_sync.hub import merges
from crm_sync.hub.store import Store
from tests.steps.world import CONNECTION, World

LEE = {"LastName": "Lee", "Email": "lee@x.example"}
LI = {"LastName": "Li", "Email": "li@x.example"}
FORBIDS = (
    "create function public.forbids() returns trigger language plpgsql as $$ begin"
    " if old.last_name in ('Lee', 'Li') then raise exception 'Lee is not to be touched'; end if;"
    " return case tg_op when 'DELETE' then old else new end; end $$;"
    "create trigger forbids before update or delete on hub.contact for each row execute function public.forbids()"
)


def _world(url: str, names: tuple[str, ...] = ("acme",), deletes: str = "", text: str = CONNECTION) -> World:
    if deletes:
        for object_name in ("Account", "Contact"):
            line = f"    object: {object_name}\n"
            text = text.replace(line, f"{line}    deletes: {deletes}\n")
    return World(url, names, text)


@pytest.fixture
def one(fresh_database_url: str) -> Iterator[World]:
    world = _world(fresh_database_url, deletes="{inbound: propagate, outbound: review}")
    yield world
    world.close()


def _settle(world: World, rounds: int = 1) -> list[str]:
    """Some minutes later everything is synced; the notes of the last round."""
    notes: list[str] = []
    for _ in range(rounds):
        world.wait(minutes=20)
        notes = [n for name in world.accounts for r in world.sync(name).values() for n in r.notes]
    return notes


def _decide(world: World) -> None:
    with Store(world.url) as store, store.transaction() as conn:
        for merge in merges.find(conn):
            merges.decide(conn, merge, "merge", "ann")


def _two(world: World) -> tuple[str, str]:
    acme = world.accounts["acme"]
    kept, lost = acme.person_create("Contact", LEE), acme.person_create("Contact", LI)
    _settle(world, 2)
    return kept, lost


def _there(world: World, crm_id: str) -> str:
    """The id in beta of the contact with this id in acme."""
    return str(
        world.one(
            "select b.crm_id from beta.contact_base b join acme.contact_base a using (hub_id) where a.crm_id = %s",
            crm_id,
        )
    )


def test_what_a_trigger_forbids_is_parked_and_the_others_go_on(one: World) -> None:
    acme = one.accounts["acme"]
    kept, lost = _two(one)
    one.conn.execute(FORBIDS)
    acme.person_edit("Contact", kept, {"FirstName": "Ann"})
    acme.person_delete("Contact", lost)
    other = acme.person_create("Contact", {"LastName": "Other", "Email": "other@x.example"})
    _settle(one)
    acme.person_edit("Contact", other, {"FirstName": "Bo"})
    _settle(one)
    assert one.one("select first_name from hub.contact where last_name = 'Other'") == "Bo"
    parked = one.conn.execute("select crm_id, code, reason from sync.parked order by crm_id").fetchall()
    assert [row[:2] for row in parked] == [(kept, "HUB_REFUSED"), (lost, "HUB_REFUSED")]
    assert "Lee" not in str(parked)  # a trigger's words may quote values
    assert "trigger" in parked[0][2]


@pytest.mark.parametrize("trigger", [True, False])
def test_a_merge_that_is_refused_is_open_again_and_says_why(one: World, *, trigger: bool) -> None:
    acme = one.accounts["acme"]
    kept, lost = _two(one)
    if trigger:
        one.conn.execute(FORBIDS)
    else:
        one.conn.execute("create table public.card (contact uuid unique references hub.contact (id))")
        one.conn.execute("insert into public.card select id from hub.contact")
    acme.person_merge("Contact", kept, lost)
    _settle(one)
    _decide(one)
    (note,) = _settle(one)
    with Store(one.url) as store:
        (merge,) = merges.find(store.conn)
    assert (merge.status, merge.decision, merge.decided_by) == ("open", None, None)
    assert merge.note in note
    assert ("a trigger forbids it" if trigger else "card_contact_key") in merge.note
    assert len(one.hub("contact")) == 2
    one.conn.execute("drop trigger forbids on hub.contact" if trigger else "drop table public.card")
    _decide(one)
    _settle(one)
    assert one.conn.execute("select status, note from review.merge").fetchall() == [("applied", "")]
    assert len(one.hub("contact")) == 1


def test_no_record_becomes_its_own_parent(fresh_database_url: str) -> None:
    parent = "      parent: {field: ParentId, type: reference, entity: company}\n"
    world = _world(
        fresh_database_url, text=CONNECTION.replace("      website: {", parent + "      website: {", 1)
    )
    acme = world.accounts["acme"]
    kept = acme.person_create("Account", {"Name": "Big", "Website": "big.example"})
    lost = acme.person_create("Account", {"Name": "Small", "Website": "small.example", "ParentId": kept})
    _settle(world, 2)
    acme.person_merge("Account", kept, lost)
    acme.person_edit("Account", kept, {"ParentId": None})
    _settle(world)
    _decide(world)
    _settle(world, 2)
    assert world.hub("company", "name, parent") == [{"name": "Big", "parent": None}]
    assert acme.row("Account", kept).values["ParentId"] is None
    world.close()


@pytest.mark.parametrize("inbound", ["archive", "ignore"])
def test_the_living_link_and_the_living_record_win(fresh_database_url: str, inbound: str) -> None:
    world = _world(fresh_database_url, ("acme", "beta"), f"{{inbound: {inbound}, outbound: ignore}}")
    kept, lost = _two(world)
    acme, beta = world.accounts["acme"], world.accounts["beta"]
    dead, living = _there(world, kept), _there(world, lost)
    beta.person_delete("Contact", dead)
    _settle(world, 2)
    assert world.one("select archived_at is not null from hub.contact where last_name = 'Lee'") is (
        inbound == "archive"
    )
    acme.person_merge("Contact", kept, lost)
    _settle(world)
    _decide(world)
    _settle(world, 2)
    assert world.hub("contact", "last_name, archived_at") == [{"last_name": "Lee", "archived_at": None}]
    links = world.conn.execute("select crm_id, hub_state, crm_state from beta.contact_base").fetchall()
    assert links == [(living, "present", "present")]
    assert world.one("select count(*) from sync.parked") == 0
    world.conn.execute("update hub.contact set first_name = 'New'")
    _settle(world, 2)
    assert {a.row("Contact", i).values["FirstName"] for a, i in ((acme, kept), (beta, living))} == {"New"}
    assert len(beta.rows("Contact")) == 1
    assert world.one("select count(*) from sync.mark") == 0
    world.close()


def test_a_double_that_somebody_deletes_is_shown_no_longer(fresh_database_url: str) -> None:
    world = _world(fresh_database_url, ("acme", "beta"))
    kept, lost = _two(world)
    double = _there(world, lost)
    world.accounts["acme"].person_merge("Contact", kept, lost)
    _settle(world)
    _decide(world)
    _settle(world)
    assert world.conn.execute("select code, crm_id from sync.parked").fetchall() == [("DOUBLE", double)]
    world.accounts["beta"].person_delete("Contact", double)
    _settle(world)
    assert world.one("select count(*) from sync.parked") == 0
    assert len(world.hub("contact")) == len(world.accounts["beta"].rows("Contact")) == 1
    world.close()
