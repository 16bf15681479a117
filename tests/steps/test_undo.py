"""Undo: what the sync wrote goes back on all sides, what was edited since stays, and afterwards everything is quiet."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count

import psycopg
import pytest

from crm_sync.connectors.crm import BatchPage
from crm_sync.connectors.memory import MemoryCrm
from crm_sync.core.errors import BusyError, CrmError, ErrorClass
from crm_sync.core.parity import What, Why
from crm_sync.core.spec import StreamSpec
from crm_sync.core.undo import Fate
from crm_sync.hub import dirty, review, undo
from crm_sync.hub.store import Store
from crm_sync.hub.undo import Selection
from crm_sync.steps.allowance import allot
from crm_sync.steps.undo import Undo
from crm_sync.steps.undo_told import Applied, Planned
from crm_sync.steps.verify import verify
from tests.steps.world import CONNECTION, World

NUMBERS = count(1)


def person(world: World, name: str = "acme", **values: str) -> str:
    """Somebody in a CRM, linked with the hub, with nothing to do."""
    crm_id = world.accounts[name].person_create(
        "Contact", {"FirstName": "Ann", "LastName": "Lee", "Email": "lee@x.example", "Stage": "New", **values}
    )
    settle(world)
    return crm_id


def settle(world: World) -> None:
    for _ in range(2):
        for name in world.accounts:
            world.sync(name)
            world.wait(minutes=1)


def rounds(world: World) -> str:
    """One run over every connection; its id. (`World.sync` names a run after the time.)"""
    run = f"run-{world.time:%H%M%S}"
    for name in world.accounts:
        world.sync(name)
    world.wait(minutes=1)
    return run


def undone(world: World, selection: Selection | str, *, batch: int = 100) -> tuple[Planned, Applied, str]:
    """Plan and apply; the plan, what was done, and the undo's own run id."""
    if isinstance(selection, str):
        selection = Selection(run_id=selection)
    run = f"undo-{next(NUMBERS)}"
    with Store(world.url, run_id=run) as store:
        work = Undo(store, world.system, world.crms.__getitem__, batch=batch)
        planned = work.plan(selection)
        applied = work.apply(selection, "mina")
        after = work.planned(planned.journal_rows)
    assert planned.number(Fate.UNDO) == applied.fields + planned_but_left(planned, after)
    return planned, applied, run


def planned_but_left(planned: Planned, after: Planned) -> int:
    return planned.number(Fate.UNDO) - after.number(Fate.UNDO)


def reasons(planned: Planned) -> dict[str, str]:
    """Field → fate and why, without what only follows."""
    told = [t for t in planned.totals if t.fate != Fate.FOLLOWS]
    return {t.field: f"{t.fate}: {t.about}" if t.about else t.fate for t in told}


def quiet(world: World) -> None:
    """A round that may still settle, and one that writes nothing; all sides agree."""
    rounds(world)
    before = {name: world.writes(name) for name in world.accounts}
    journal = world.one("select count(*) from sync.change")
    rounds(world)
    assert {name: world.writes(name) for name in world.accounts} == before
    assert world.one("select count(*) from sync.change") == journal
    assert world.one("select count(*) from sync.dirty") == 0
    for stream in world.system.streams:
        assert world.one(f"select count(*) from {stream.connection}.{stream.entity}_differences") == 0


def value(world: World, crm_id: str, field: str, name: str = "acme") -> str | None:
    return world.accounts[name].row("Contact", crm_id).values.get(field)


def test_a_take_goes_back_on_both_sides(world: World) -> None:
    ann = person(world, Phone="+14155550000")
    world.accounts["acme"].person_edit("Contact", ann, {"LastName": "Li", "Phone": None})
    run = rounds(world)
    planned, applied, own = undone(world, run)
    assert planned.number(Fate.UNDO) == applied.fields == 2
    assert planned.systems == {"hub": 2, "acme": 2}
    assert world.hub("contact", "last_name, phone") == [{"last_name": "Lee", "phone": "+14155550000"}]
    assert (value(world, ann, "LastName"), value(world, ann, "Phone")) == ("Lee", "+14155550000")
    assert value(world, ann, "FullName") == "Ann Lee"  # follows, though it is nobody's to undo
    told = world.conn.execute(
        "select side, old_value, new_value, reason from sync.change where run_id = %s and field = 'last_name' order by id",
        [own],
    ).fetchall()
    assert told == [
        ("hub", "Li", "Lee", f"undo of run {run} by mina"),
        ("crm", "Li", "Lee", "changed in the hub"),
    ]
    assert (
        world.one("select status from sync.history where run_id = %s and sync_type = 'undo'", own)
        == "success"
    )
    quiet(world)
    assert world.one("select last_name from hub.contact") == "Lee"


def test_a_push_goes_back_on_both_sides(world: World) -> None:
    ann = person(world)
    world.conn.execute(
        "update hub.contact set last_name = 'Li', born = '2000-02-29', opted_out = true, interests = '{b,a}'"
    )
    run = rounds(world)
    assert value(world, ann, "Interests") == "a;b"
    planned, applied, _ = undone(world, run)
    assert planned.number(Fate.FOLLOWS) == 1
    # The hub's blanks are blank again: the CRM had none of them.
    assert applied.fields == 4
    assert world.hub("contact", "last_name, born, opted_out, interests") == [
        {"last_name": "Lee", "born": None, "opted_out": None, "interests": None}
    ]
    assert [value(world, ann, n) for n in ("LastName", "Born", "OptedOut", "Interests", "FullName")] == [
        "Lee", None, None, None, "Ann Lee",
    ]  # fmt: skip
    quiet(world)


def test_three_systems_go_back_together(two: World) -> None:
    ann = person(two)
    (other,) = two.accounts["beta"].rows("Contact")
    two.accounts["acme"].person_edit("Contact", ann, {"LastName": "Li"})
    run = rounds(two)
    assert value(two, other.id, "LastName", "beta") == "Li"
    planned, applied, _ = undone(two, run)
    assert planned.systems == {"hub": 1, "acme": 1, "beta": 1}
    assert applied.fields == 1
    assert two.one("select last_name from hub.contact") == "Lee"
    assert value(two, ann, "LastName") == value(two, other.id, "LastName", "beta") == "Lee"
    quiet(two)


def test_what_one_of_three_was_not_sent_yet_is_not_sent(two: World) -> None:
    ann = person(two)
    (other,) = two.accounts["beta"].rows("Contact")
    two.accounts["acme"].person_edit("Contact", ann, {"LastName": "Li"})
    run = f"run-{two.time:%H%M%S}"
    two.sync("acme")  # beta's turn never comes
    writes = two.writes("beta")
    planned, _, _ = undone(two, run)
    assert planned.systems == {"hub": 1, "acme": 1}
    assert two.writes("beta") == writes
    quiet(two)
    assert value(two, other.id, "LastName", "beta") == two.one("select last_name from hub.contact") == "Lee"


def test_what_was_edited_since_in_the_hub_stays(world: World) -> None:
    ann = person(world)
    world.accounts["acme"].person_edit("Contact", ann, {"LastName": "Li", "FirstName": "Bo"})
    run = rounds(world)
    world.conn.execute("update hub.contact set last_name = 'Lim'")
    planned, applied, _ = undone(world, run)
    assert reasons(planned)["last_name"] == "edited since: edited since in the hub"
    assert applied.fields == 1
    assert world.hub("contact", "first_name, last_name") == [{"first_name": "Ann", "last_name": "Lim"}]
    quiet(world)
    assert value(world, ann, "LastName") == "Lim"


def test_what_was_edited_since_in_a_crm_stays_though_no_sync_saw_it(two: World) -> None:
    ann = person(two)
    (other,) = two.accounts["beta"].rows("Contact")
    two.accounts["acme"].person_edit("Contact", ann, {"LastName": "Li", "FirstName": "Bo"})
    run = rounds(two)
    two.accounts["beta"].person_edit("Contact", other.id, {"LastName": "Lim"})
    planned, applied, _ = undone(two, run)
    assert reasons(planned) == {"first_name": "undo", "last_name": "edited since: edited since in beta"}
    assert applied.fields == 1
    quiet(two)
    assert two.hub("contact", "first_name, last_name") == [{"first_name": "Ann", "last_name": "Lim"}]
    assert value(two, ann, "LastName") == "Lim"
    # A sync has brought it everywhere, and the reason is still the same.
    planned, applied, _ = undone(two, run)
    assert reasons(planned) == {"first_name": "already so", "last_name": "edited since: edited since in beta"}
    assert applied.fields == 0


def test_an_edit_between_plan_and_apply_stays(world: World) -> None:
    ann = person(world)
    world.accounts["acme"].person_edit("Contact", ann, {"LastName": "Li", "FirstName": "Bo", "Stage": "Won"})
    run = rounds(world)
    with Store(world.url, run_id="undo") as store:
        work = Undo(store, world.system, world.crms.__getitem__)
        planned = work.plan(Selection(run_id=run))
        assert planned.number(Fate.UNDO) == 3
        world.accounts["acme"].person_edit("Contact", ann, {"LastName": "Lim"})
        world.conn.execute("update hub.contact set first_name = 'Bob'")
        assert work.apply(Selection(run_id=run), "mina").fields == 1
        assert reasons(work.planned(0)) == {
            "first_name": "edited since: edited since in the hub",
            "last_name": "edited since: edited since in acme",
            "stage": "undo",
        }
    quiet(world)
    assert world.hub("contact", "first_name, last_name, stage") == [
        {"first_name": "Bob", "last_name": "Lim", "stage": "lead"}
    ]


def test_references_go_back(world: World) -> None:
    acme = world.accounts["acme"]
    first = acme.person_create("Account", {"Name": "First"})
    second = acme.person_create("Account", {"Name": "Second"})
    ann = person(world, AccountId=first)
    acme.person_edit("Contact", ann, {"AccountId": second})
    run = rounds(world)
    undone(world, run)
    assert value(world, ann, "AccountId") == first
    world.conn.execute("update hub.contact set company = (select id from hub.company where name = 'Second')")
    run = rounds(world)
    assert value(world, ann, "AccountId") == second
    planned, _, _ = undone(world, run)
    assert reasons(planned) == {"company": "undo"}
    assert value(world, ann, "AccountId") == first
    quiet(world)
    assert world.one("select name from hub.company h join hub.contact c on c.company = h.id") == "First"


def test_a_reference_to_what_is_gone_is_left(world: World) -> None:
    acme = world.accounts["acme"]
    first = acme.person_create("Account", {"Name": "First"})
    second = acme.person_create("Account", {"Name": "Second"})
    ann = person(world, AccountId=first)
    acme.person_edit("Contact", ann, {"AccountId": second, "LastName": "Li"})
    run = rounds(world)
    world.conn.execute("delete from hub.company where name = 'First'")
    planned, applied, _ = undone(world, run)
    assert planned.number(Fate.UNDO) == 2
    assert applied.fields == 1  # the foreign key refuses the other
    assert world.one("select last_name from hub.contact") == "Lee"
    assert world.one("select name from hub.company h join hub.contact c on c.company = h.id") == "Second"


def test_picklists_of_which_two_of_ours_are_one_of_theirs(world: World) -> None:
    ann = person(world)
    world.conn.execute("update hub.contact set stage = 'qualified'")
    run = rounds(world)
    assert value(world, ann, "Stage") == "Appointment"
    undone(world, run)
    assert (world.one("select stage from hub.contact"), value(world, ann, "Stage")) == ("lead", "New")
    # Qualified and tour are the same over there: no write of ours, yet an edit in the hub.
    world.conn.execute("update hub.contact set stage = 'qualified'")
    run = rounds(world)
    world.conn.execute("update hub.contact set stage = 'tour'")
    planned, _, _ = undone(world, run)
    assert reasons(planned) == {"stage": "edited since: edited since in the hub"}
    quiet(world)


def test_a_value_that_the_crm_could_not_hold_is_left(world: World) -> None:
    ann = person(world)
    world.conn.execute("update hub.contact set stage = 'our own word'")  # parked: not in the map
    rounds(world)
    world.time = datetime(2126, 1, 1, tzinfo=UTC)  # the CRM's is newer
    world.accounts["acme"].person_edit("Contact", ann, {"Stage": "Won"})
    run = rounds(world)
    assert world.one("select stage from hub.contact") == "won"
    planned, applied, _ = undone(world, run)
    assert reasons(planned)["stage"] == "not undone: acme cannot hold the old value"
    assert applied.fields == 0


@pytest.mark.parametrize("decision", ["use_hub", "use_crm"])
def test_a_decision_of_a_persons_goes_back_to_the_other_value(
    world: World, decision: review.Decision
) -> None:
    ann = person(world, Phone="+14155550000")
    world.accounts["acme"].person_edit("Contact", ann, {"Phone": "+14155550001"})
    world.conn.execute("update hub.contact set phone = '+14155550002'")
    rounds(world)
    review.decide(world.conn, review.find(world.conn), decision, "paul")
    run = rounds(world)
    undone(world, run)
    other = "+14155550001" if decision == "use_hub" else "+14155550002"
    assert world.one("select phone from hub.contact") == value(world, ann, "Phone") == other
    quiet(world)
    assert review.find(world.conn) == []


def test_an_open_conflict_is_left_to_its_person(world: World) -> None:
    ann = person(world, Phone="+14155550000")
    world.accounts["acme"].person_edit("Contact", ann, {"Phone": "+14155550001"})
    run = rounds(world)
    world.accounts["acme"].person_edit("Contact", ann, {"Phone": "+14155550003"})
    world.conn.execute("update hub.contact set phone = '+14155550002'")
    rounds(world)
    assert len(review.find(world.conn)) == 1
    planned, _, _ = undone(world, run)
    assert reasons(planned) == {"phone": "edited since: edited since in the hub"}
    assert len(review.find(world.conn)) == 1


def test_undo_of_an_undo_and_again(world: World) -> None:
    ann = person(world)
    world.accounts["acme"].person_edit("Contact", ann, {"LastName": "Li"})
    run = rounds(world)
    _, _, first = undone(world, run)
    again, _, _ = undone(world, run)
    assert reasons(again) == {"last_name": "already so"}
    rounds(world)
    _, applied, second = undone(world, first)
    assert applied.fields == 1
    assert world.one("select last_name from hub.contact") == value(world, ann, "LastName") == "Li"
    undone(world, second)
    assert world.one("select last_name from hub.contact") == value(world, ann, "LastName") == "Lee"
    quiet(world)


def records(planned: Planned) -> dict[str, int]:
    """Fate and why of links and new records, with their number."""
    told: Counter[str] = Counter()
    for t in planned.records:
        told[f"{t.kind} {t.fate}: {t.about}" if t.about else f"{t.kind} {t.fate}"] += t.number
    return dict(told)


def test_what_a_run_created_in_a_crm_stays_and_is_told(two: World) -> None:
    run = f"run-{two.time:%H%M%S}"
    two.conn.execute("insert into hub.contact (last_name, email) values ('Doe', 'doe@x.example')")
    rounds(two)
    planned, applied, _ = undone(two, run)
    assert (applied.fields, applied.links, applied.deleted) == (0, 0, 0)
    assert {left.about for left in planned.left} >= {
        "records created in acme stay; --created deletes them there"
    }
    assert len(two.accounts["acme"].rows("Contact")) == 1


def test_a_link_is_pulled_apart_and_not_made_again(two: World) -> None:
    """Found by its e-mail; somebody else's, as it turned out."""
    two.conn.execute("insert into hub.contact (last_name, email) values ('Doe', 'doe@x.example')")
    (ours,) = [row["id"] for row in two.hub("contact")]
    two.sync("acme")
    two.wait(minutes=1)
    run = f"run-{two.time:%H%M%S}"
    theirs = two.accounts["beta"].person_create(
        "Contact", {"LastName": "Doe", "Email": "doe@x.example", "FirstName": "J"}
    )
    two.sync("beta")
    assert two.one("select hub_id from beta.contact_base where crm_id = %s", theirs) == ours
    assert two.one("select first_name from hub.contact") == "J"
    two.wait(minutes=1)
    two.sync("acme")
    two.wait(minutes=1)
    planned, applied, own = undone(two, run)
    assert records(planned) == {"link undo": 1}
    assert reasons(planned)["first_name"] == "undo"  # what came from there goes, from the other CRM too
    assert (applied.links, applied.deleted, applied.fields) == (1, 0, 1)
    assert two.one("select first_name from hub.contact where id = %s", ours) is None
    assert two.accounts["acme"].rows("Contact")[0].values.get("FirstName") is None
    assert two.accounts["beta"].row("Contact", theirs).values["FirstName"] == "J"
    assert two.one("select reason from sync.change where kind = 'unlink'") == f"undo of run {run} by mina"
    two.wait(minutes=1)
    quiet(two)
    hub_id = two.one("select hub_id from beta.contact_base where crm_id = %s", theirs)
    assert hub_id not in (None, ours)  # somebody else
    assert (
        two.one("select count(*) from beta.contact_base where hub_id = %s", ours) == 1
    )  # whom beta has got anew
    assert records(undone(two, run)[0]) == {"link already so: not linked any more": 1}
    planned, applied, _ = undone(two, own)
    assert "what was pulled apart is not linked again: `crm-sync match` shows who is who" in {
        left.about for left in planned.left
    }


def test_a_link_stays_if_the_crm_says_so_itself_or_values_went_through_it_since(world: World) -> None:
    world.conn.execute(
        "insert into hub.contact (last_name, email) values ('Doe', 'd@x.example'), ('Lee', 'l@x.example')"
    )
    doe, lee = (row["id"] for row in sorted(world.hub("contact"), key=lambda row: str(row["email"])))
    acme = world.accounts["acme"]
    acme.person_create("Contact", {"LastName": "Doe", "Hub_Id": str(doe)})
    theirs = acme.person_create("Contact", {"LastName": "Lee", "Email": "l@x.example"})
    run = rounds(world)
    acme.person_edit("Contact", theirs, {"LastName": "Li"})
    rounds(world)
    planned, applied, _ = undone(world, run)
    assert applied.links == 0
    assert records(planned) == {
        "link not undone: the record in acme carries the id of the hub record": 1,
        "link edited since: values went from one to the other since": 1,
    }
    assert {left.about for left in planned.left} >= {"values went from one to the other since"}
    assert world.one("select hub_id from acme.contact_base where crm_id = %s", theirs) == lee
    quiet(world)


def test_what_a_run_created_in_the_hub_is_deleted_and_stays_away(world: World) -> None:
    acme = world.accounts["acme"]
    lee = acme.person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    run = rounds(world)
    planned, applied, own = undone(world, run)
    assert (records(planned), applied.deleted) == ({"created undo": 1}, 1)
    assert world.hub("contact") == []
    assert world.one("select count(*) from acme.contact_base") == 0
    assert len(acme.rows("Contact")) == 1  # it is the CRM's own
    kind, was = world.conn.execute(
        "select kind, old_value from sync.change where run_id = %s", [own]
    ).fetchall()[0]
    assert (kind, "lee@x.example" in was) == ("delete", True)
    quiet(world)
    world.sync(full=True)
    with Store(world.url) as store:
        dirty.mark_all(store.conn, world.system.stream("acme", "contact"))
    quiet(world)
    assert world.hub("contact") == []
    with Store(world.url) as store:
        stream = world.system.stream("acme", "contact")
        parity = verify(
            store, world.crms["acme"], stream, allot([stream], {stream.name: 1}, None)[stream.name]
        )
    assert (parity.open, dict(parity.counts)) == (0, {(What.NOT_IN_HUB, Why.FILTERED): 1})
    acme.person_edit("Contact", lee, {"FirstName": "Ann"})  # somebody wants it
    quiet(world)
    assert [row["first_name"] for row in world.hub("contact")] == ["Ann"]


def test_a_hub_record_stays_if_it_was_edited_or_is_needed(two: World) -> None:
    acme = two.accounts["acme"]
    firms = [
        acme.person_create("Account", {"Name": f"Firm {n}", "Website": f"f{n}.example"}) for n in range(3)
    ]
    ids = {
        name: acme.person_create(
            "Contact", {"LastName": name, "Email": f"{name}@x.example", "AccountId": firm}
        )
        for name, firm in zip(("edited", "goes", "own"), (firms[0], firms[1], None), strict=True)
    }
    run = f"run-{two.time:%H%M%S}"
    two.sync("acme")
    two.conn.execute("update hub.contact set first_name = 'X' where last_name = 'edited'")
    two.conn.execute("alter table hub.contact add score int")
    two.conn.execute("update hub.contact set score = 7 where last_name = 'own'")  # no field of ours
    planned, applied, _ = undone(two, run)
    assert records(planned) == {
        "created edited since: edited since in the hub": 2,
        "created not undone: other records refer to it": 1,
        "created undo": 3,
    }
    assert applied.deleted == 3  # a contact and its firm, and the firm of nobody
    assert {row["last_name"] for row in two.hub("contact")} == {"edited", "own"}
    assert [row["name"] for row in two.hub("company")] == ["Firm 0"]
    assert len(acme.rows("Contact")) == len(ids)
    two.wait(minutes=1)
    quiet(two)


def test_what_completed_a_new_record_stays_with_it(world: World) -> None:
    ann = world.accounts["acme"].person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    rounds(world)
    world.accounts["acme"].person_edit("Contact", ann, {"LastName": "Li"})
    rounds(world)
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    rounds(world)
    planned, applied, _ = undone(world, Selection(since=datetime(2020, 1, 1, tzinfo=UTC)))
    assert records(planned) == {"created edited since: edited since in the hub": 1}
    assert (
        applied.fields == 1
    )  # what was sent, to the CRM; nobody takes the name from before the record was there
    assert world.hub("contact", "first_name, last_name") == [{"first_name": None, "last_name": "Li"}]
    quiet(world)


def test_a_hub_record_that_another_crm_has_or_a_table_needs_stays(two: World) -> None:
    run = f"run-{two.time:%H%M%S}"
    two.accounts["acme"].person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    rounds(two)
    assert records(undone(two, run)[0]) == {"created not undone: beta has it too": 1}
    run = f"run-{two.time:%H%M%S}"
    two.accounts["acme"].person_create("Contact", {"LastName": "Doe", "Email": "doe@x.example"})
    two.sync("acme")
    two.conn.execute(
        "create function keep() returns trigger language plpgsql as $$ begin raise exception 'kept'; end $$;"
        "create trigger keep before delete on hub.contact for each row execute function keep()"
    )
    planned, applied, _ = undone(two, run)
    assert (records(planned), applied.deleted) == ({"created undo": 1}, 0)
    assert two.one("select count(*) from hub.contact where last_name = 'Doe'") == 1
    assert two.one("select count(*) from acme.contact_base") == 2
    assert two.one("select count(*) from sync.kept_out") == 0


def test_inbound_and_outbound_fields_that_cannot_go_back_are_told(fresh_database_url: str) -> None:
    text = CONNECTION.replace(
        "first_name: FirstName", "first_name: {field: FirstName, direction: inbound}"
    ).replace("last_name: LastName", "last_name: {field: LastName, direction: outbound}")
    world = World(fresh_database_url, text=text)
    ann = person(world)
    world.conn.execute("update hub.contact set last_name = 'Ours'")
    rounds(world)
    world.accounts["acme"].person_edit("Contact", ann, {"FirstName": "Bo", "LastName": "Theirs"})
    run = rounds(world)
    assert value(world, ann, "LastName") == "Ours"
    planned, applied, _ = undone(world, run)
    assert (
        reasons(planned)["first_name"]
        == "not undone: inbound from acme: its value would come back with the next sync"
    )
    assert "outbound field: the hub would overwrite acme again" in {left.about for left in planned.left}
    assert applied.fields == 0
    world.close()


def test_records_that_are_gone_are_told(world: World) -> None:
    ann = person(world)
    world.conn.execute("update hub.contact set last_name = 'Li'")
    pushed = rounds(world)
    world.accounts["acme"].person_edit("Contact", ann, {"FirstName": "Bo"})
    taken = rounds(world)
    world.accounts["acme"].person_delete("Contact", ann)
    planned, _, _ = undone(world, pushed)
    assert (
        reasons(planned)["last_name"]
        == "not undone: the record is gone from acme, takes no part there, or is not linked any more"
    )
    planned, _, _ = undone(world, taken)
    assert planned.systems == {"hub": 1}  # the hub's goes back; there is nobody to send it to
    assert world.one("select first_name from hub.contact") == "Ann"
    world.conn.execute("delete from hub.contact")
    planned, _, _ = undone(world, taken)
    assert reasons(planned)["first_name"] == "not undone: the hub record is gone"


def test_a_value_that_the_hub_refuses_is_left_alone_with_its_reason(world: World) -> None:
    acme = world.accounts["acme"]
    ids = [person(world, Email=f"p{i}@x.example", LastName=f"Name {i}") for i in range(7)]
    for crm_id in ids:
        acme.person_edit("Contact", crm_id, {"LastName": "New", "FirstName": "New"})
    run = rounds(world)
    world.conn.execute("alter table hub.contact add check (last_name <> 'Name 3') not valid")
    with Store(world.url, run_id="undo") as store:
        work = Undo(store, world.system, world.crms.__getitem__)
        work.plan(Selection(run_id=run))
        assert work.apply(Selection(run_id=run), "mina").fields == 13
        (row,) = undo.rows(store.conn, [Fate.LEFT], 10)[-1:]
        assert row.about == "the hub refuses the old value"
        assert "Name 3" not in row.detail
        assert "contact_last_name_check" in row.detail
    assert world.one("select count(*) from hub.contact where first_name = 'Ann'") == 7
    assert world.one("select status from sync.history where sync_type = 'undo'") == "partial"
    quiet(world)


class Dying(MemoryCrm):
    """Loses its network at the n-th look."""

    looks = 0

    def by_ids(self, stream: StreamSpec, crm_ids: Sequence[str]) -> Iterator[BatchPage]:
        Dying.looks += 1
        if Dying.looks == 7:
            raise CrmError(ErrorClass.TRANSIENT, "no network")
        yield from super().by_ids(stream, crm_ids)


def test_killed_in_the_middle_and_run_again_it_ends_the_same(world: World) -> None:
    ids = [person(world, Email=f"p{i}@x.example", LastName=f"Name {i}") for i in range(8)]
    for crm_id in ids:
        world.accounts["acme"].person_edit("Contact", crm_id, {"LastName": "New"})
    run = rounds(world)
    whole = world.crms["acme"]
    world.crms["acme"] = Dying(world.accounts["acme"], name="acme")
    with pytest.raises(CrmError, match="no network"):  # four batches are planned, two of them put back
        undone(world, run, batch=2)
    world.crms["acme"] = whole
    assert world.one("select count(*) from hub.contact where last_name = 'New'") == 4
    assert {value(world, crm_id, "LastName") for crm_id in ids} == {"New"}
    assert world.one("select status from sync.history where sync_type = 'undo'") == "failed"
    planned, applied, _ = undone(world, run, batch=2)
    assert (planned.number(Fate.ALREADY), applied.fields) == (4, 4)
    assert [value(world, crm_id, "LastName") for crm_id in ids] == [f"Name {i}" for i in range(8)]
    quiet(world)


def test_a_period_is_undone_to_what_was_before_it(world: World) -> None:
    ann = person(world)
    started = world.one("select clock_timestamp()")
    assert isinstance(started, datetime)
    for name in ("Li", "Lim", "Lin"):
        world.accounts["acme"].person_edit("Contact", ann, {"LastName": name})
        rounds(world)
    world.conn.execute("update hub.contact set last_name = 'Ours'")
    rounds(world)
    nothing, _, _ = undone(world, Selection(since=started + timedelta(hours=1)))
    assert nothing.journal_rows == 0
    other, _, _ = undone(world, Selection(since=started, field="phone"))
    assert other.journal_rows == 0
    planned, _, _ = undone(world, Selection(since=started, entity="contact", field="last_name"))
    assert (planned.journal_rows, planned.number(Fate.UNDO)) == (4, 1)
    assert world.one("select last_name from hub.contact") == value(world, ann, "LastName") == "Lee"
    quiet(world)


def test_one_run_out_of_several_is_only_undone_if_it_was_the_last(world: World) -> None:
    ann = person(world)
    runs = []
    for name in ("Li", "Lim", "Lin"):
        world.accounts["acme"].person_edit("Contact", ann, {"LastName": name})
        runs.append(rounds(world))
    planned, _, _ = undone(world, runs[1])
    assert reasons(planned) == {"last_name": "edited since: edited since in the hub"}
    planned, _, _ = undone(world, runs[2])
    assert reasons(planned) == {"last_name": "undo"}
    assert world.one("select last_name from hub.contact") == "Lim"


def test_a_dry_run_changes_nothing_and_the_leases_are_kept(world: World) -> None:
    ann = person(world)
    world.accounts["acme"].person_edit("Contact", ann, {"LastName": "Li"})
    run = rounds(world)
    world.accounts["acme"].person_edit("Contact", ann, {"FirstName": "Unseen"})
    state = world.one("select (select count(*) from sync.mark) + (select sum(token) from sync.lease)")
    with Store(world.url, dry_run=True, run_id="dry") as store:
        planned = Undo(store, world.system, world.crms.__getitem__).plan(Selection(run_id=run))
        assert planned.number(Fate.UNDO) == 1
        (row,) = undo.rows(store.conn, [Fate.UNDO], 10)
        assert (row.old, row.value, row.writes["acme"]["new"]) == ("Li", "Lee", "Lee")
    assert world.one("select (select count(*) from sync.mark) + (select sum(token) from sync.lease)") == state
    with Store(world.url, run_id="sync") as other, other.exclusive("hub contact"), pytest.raises(BusyError):
        undone(world, run)
    assert world.one("select last_name from hub.contact") == "Li"


def test_a_crm_that_does_not_take_it_is_told_and_gets_it_later(world: World) -> None:
    ann = person(world)
    world.accounts["acme"].person_edit("Contact", ann, {"LastName": "Li"})
    run = rounds(world)
    with Store(world.url, run_id="sync") as other, Store(world.url, run_id="undo") as store:
        work = Undo(store, world.system, world.crms.__getitem__)
        work.plan(Selection(run_id=run))

        held = ExitStack()

        def crm(name: str) -> MemoryCrm:
            """Asked for when hub and look are done: somebody is quicker than outbound."""
            if world.one("select last_name from hub.contact") == "Lee":
                held.enter_context(other.exclusive("acme/contact"))
            return world.crms[name]

        work.crm = crm
        applied = work.apply(Selection(run_id=run), "mina")
        assert applied.fields == 1
        assert list(applied.failures) == ["acme/contact"]
        held.close()
    assert value(world, ann, "LastName") == "Li"
    quiet(world)
    assert value(world, ann, "LastName") == "Lee"


def test_runs_are_found_by_the_beginning_of_their_id(conn: psycopg.Connection, world: World) -> None:
    world.accounts["acme"].person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    run = rounds(world)
    assert undo.run_ids(world.conn, run) == undo.run_ids(world.conn, run[:9]) == [run]
    assert undo.run_ids(world.conn, "nobody") == undo.run_ids(world.conn, "%") == []
    assert [name for name, _ in undo.last_runs(world.conn, 5)] == [run]


def test_the_guard_lets_through_what_a_person_has_seen_in_the_plan(world: World) -> None:
    acme = world.accounts["acme"]
    ids = [
        acme.person_create("Contact", {"LastName": f"L{i}", "Email": f"l{i}@x.example"}) for i in range(40)
    ]
    settle(world)
    for i, crm_id in enumerate(ids):
        acme.person_edit("Contact", crm_id, {"Phone": f"+1415555{i:04}"})
    run = rounds(world)
    planned, applied, _ = undone(world, run)
    assert planned.systems == {"hub": 40, "acme": 40}
    assert (applied.failures, applied.reports["acme/contact"].counts["updated"]) == ({}, 40)
    assert world.one("select count(phone) from hub.contact") == 0
    quiet(world)


def test_what_nobody_can_tell_about_is_left(world: World) -> None:
    ann = person(world)
    world.accounts["acme"].person_edit("Contact", ann, {"LastName": "Li", "FirstName": "Bo"})
    run = rounds(world)
    world.accounts["acme"].habits.hidden = frozenset({"LastName"})  # no permission any more
    planned, applied, _ = undone(world, run)
    assert reasons(planned) == {
        "first_name": "undo",
        "last_name": "not undone: acme does not let us read it now",
    }
    assert applied.fields == 1
    world.accounts["acme"].habits.hidden = frozenset()
    rounds(world)
    world.conn.execute(
        "insert into sync.intent (connection, entity, hub_id, crm_id, kind, sent, hub_values, reasons, old_values)"
        " select 'acme', 'contact', id, %s, 'update', '{\"born\": null}', '{\"born\": null}', '{}', '{}' from hub.contact",
        [ann],
    )
    planned, _, _ = undone(world, run)
    assert (
        reasons(planned)["last_name"]
        == "not undone: a write to acme has no answer yet: sync, then undo again"
    )
    quiet(world)
    assert world.one("select last_name from hub.contact") == "Li"
