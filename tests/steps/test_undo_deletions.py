"""Undo of deletions, and of records that were created in a CRM: what a run took away comes back, what it made goes."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from psycopg import sql

from crm_sync.connectors.crm import JobLog, Operation, Result
from crm_sync.connectors.memory import MemoryCrm
from crm_sync.core.errors import CrmError, ErrorClass, RecordError
from crm_sync.core.spec import StreamSpec
from crm_sync.core.undo import Fate
from crm_sync.hub import review
from crm_sync.hub.store import Store
from crm_sync.hub.undo import Selection
from crm_sync.steps.allowance import allot
from crm_sync.steps.undo import Undo
from crm_sync.steps.undo_told import Applied, Planned
from crm_sync.steps.verify import verify
from tests.steps.test_undo import person, quiet, records, rounds, settle
from tests.steps.world import CONNECTION, World

NUMBERS = count(1)
EVER = Selection(since=datetime(2020, 1, 1, tzinfo=UTC))

Make = Callable[..., World]


@pytest.fixture
def make(fresh_database_url: str) -> Iterator[Make]:
    made: list[World] = []

    def build(
        inbound: str = "archive", outbound: str = "review", names: tuple[str, ...] = ("acme",)
    ) -> World:
        deletes = f"    deletes: {{inbound: {inbound}, outbound: {outbound}}}\n"
        text = CONNECTION.replace("    object: Account\n", f"    object: Account\n{deletes}")
        text = text.replace("    object: Contact\n", f"    object: Contact\n{deletes}")
        made.append(World(fresh_database_url, names, text))
        return made[-1]

    yield build
    for world in made:
        world.close()


def undone(
    world: World, selection: Selection | str, *, created: bool = False
) -> tuple[Planned, Applied, Planned]:
    """Plan and apply; the plan, what was done, and the plan afterwards."""
    chosen = Selection(run_id=selection) if isinstance(selection, str) else selection
    with Store(world.url, run_id=f"undo-{next(NUMBERS)}") as store:
        work = Undo(store, world.system, world.crms.__getitem__)
        planned = work.plan(chosen, created=created)
        applied = work.apply(chosen, "mina")
        return planned, applied, work.planned(planned.journal_rows)


def alive(world: World, name: str = "acme", object_name: str = "Contact") -> list[str]:
    return [row.id for row in world.accounts[name].rows(object_name)]


def states(world: World, name: str = "acme") -> list[tuple[str, str]]:
    query = sql.SQL("select hub_state, crm_state from {}.contact_base order by hub_id")
    return world.conn.execute(query.format(sql.Identifier(name))).fetchall()


def test_what_was_archived_comes_back_and_is_not_archived_again(world: World) -> None:
    ann = person(world)
    world.accounts["acme"].person_delete("Contact", ann)
    run = rounds(world)
    world.conn.execute(
        "update hub.contact set first_name = 'New'"
    )  # in the archive, which loses nobody anything
    planned, applied, after = undone(world, run)
    assert (records(planned), applied.back) == ({"archived undo": 1}, 1)
    assert (planned.left, after.left) == ([], [])
    assert world.hub("contact", "first_name, archived_at") == [{"first_name": "New", "archived_at": None}]
    assert world.conn.execute(
        "select connection, side, reason from sync.change where kind = 'restore'"
    ).fetchall() == [("acme", "hub", f"undo of run {run} by mina")]
    assert states(world) == [("present", "deleted")]
    quiet(world)
    world.sync(full=True)
    quiet(world)
    assert world.one("select archived_at from hub.contact") is None
    assert (alive(world), review.find(world.conn)) == ([], [])
    with Store(world.url) as store:
        stream = world.system.stream("acme", "contact")
        share = allot([stream], {stream.name: 1}, None)[stream.name]
        assert verify(store, world.crms["acme"], stream, share).open == 0
    assert records(undone(world, run)[0]) == {"archived already so: not archived any more": 1}
    world.accounts["acme"].person_restore("Contact", ann)  # both have it again
    settle(world)
    assert states(world) == [("present", "present")]
    assert world.accounts["acme"].row("Contact", ann).values["FirstName"] == "New"


def test_what_an_application_archived_since_stays_in_the_archive(world: World) -> None:
    ann = person(world)
    world.accounts["acme"].person_delete("Contact", ann)
    run = rounds(world)
    world.conn.execute("update hub.contact set archived_at = null")
    world.conn.execute("update hub.contact set archived_at = now()")
    planned, applied, _ = undone(world, run)
    why = "archived in the hub by an application since"
    assert (records(planned), applied.back) == ({f"archived edited since: {why}": 1}, 0)
    assert [left.about for left in planned.left] == [why]
    assert world.one("select archived_at is not null from hub.contact") is True


def test_one_deletion_of_several_is_only_undone_if_it_was_the_last(world: World) -> None:
    ann = person(world)
    started = world.one("select clock_timestamp()")
    assert isinstance(started, datetime)
    world.accounts["acme"].person_delete("Contact", ann)
    first = rounds(world)
    world.accounts["acme"].person_restore("Contact", ann)
    rounds(world)
    world.accounts["acme"].person_delete("Contact", ann)
    rounds(world)
    why = "archived edited since: archived, deleted or brought back since"
    assert records(undone(world, first)[0]) == {why: 1}
    planned, applied, _ = undone(world, Selection(since=started))
    assert records(planned) == {"archived already so: a later one counts": 1, "archived undo": 1}
    assert applied.back == 1
    quiet(world)


def test_deleted_rows_come_back_with_their_ids_and_all_that_refers_to_them(make: Make) -> None:
    world = make("propagate")
    acme = world.accounts["acme"]
    world.conn.execute(
        "alter table hub.contact add column note text, add column boss uuid references hub.contact on delete set null,"
        " add shout text generated always as (upper(note)) stored"
    )
    firm = acme.person_create("Account", {"Name": "Firm"})
    ids = {name: acme.person_create("Contact", {"LastName": name, "Email": f"{name}@x.example", "AccountId": firm})
           for name in ("Ann", "Bo", "Cy")}  # fmt: skip
    settle(world)
    world.conn.execute(
        "update hub.contact set note = lower(last_name), interests = '{a,b}' where last_name <> 'Cy'"
    )
    settle(world)
    before = {row["id"]: row for row in world.hub("contact")}
    companies = world.hub("company", "id, name, created_at")
    for name in ("Ann", "Bo"):  # Cy is still there
        acme.person_delete("Contact", ids[name])
    acme.person_delete("Account", firm)
    run = rounds(world)
    assert [row["last_name"] for row in world.hub("contact")] == ["Cy"]
    assert world.one("select company from hub.contact") is None
    world.conn.execute(
        "alter table hub.contact add check (note <> 'bo'), add column young text default 'yes'"
    )
    planned, applied, after = undone(world, run)
    assert (records(planned), applied.back) == ({"deleted undo": 3}, 2)
    assert any("contact_note_check" in left.about for left in after.left)
    assert world.hub("company", "id, name, created_at") == companies
    rows = {str(row["last_name"]): row for row in world.hub("contact")}
    assert sorted(rows) == ["Ann", "Cy"]
    for row in rows.values():
        assert row.pop("young") == "yes"
        was = before[row["id"]]
        assert {**row, "updated_at": 0} == {**was, "updated_at": 0}
        assert row["company"] == companies[0]["id"]
    quiet(world)
    world.sync(full=True)
    quiet(world)
    assert (len(world.hub("contact")), alive(world), alive(world, object_name="Account")) == (
        2,
        [ids["Cy"]],
        [],
    )
    assert records(undone(world, run)[0])["deleted already so: there again"] == 2


def test_a_reference_follows_when_its_target_is_back(make: Make) -> None:
    world = make("propagate", "ignore", ("acme", "beta"))
    acme = world.accounts["acme"]
    firm = acme.person_create("Account", {"Name": "Firm"})
    ann = person(world, AccountId=firm)
    (before,) = [row["company"] for row in world.hub("contact")]
    acme.person_delete("Contact", ann)
    first = rounds(world)
    acme.person_delete("Account", firm)
    second = rounds(world)
    undone(world, first)
    assert world.hub("contact", "last_name, company") == [{"last_name": "Lee", "company": None}]
    quiet(world)
    (there,) = world.accounts["beta"].rows("Contact")
    assert there.values["AccountId"] is not None  # the blank is nobody's, and beta deletes nothing
    undone(world, second)
    assert [row["company"] for row in world.hub("contact")] == [before]
    quiet(world)


def test_what_was_carried_into_another_crm_is_created_there_once_more(make: Make) -> None:
    world = make("archive", "propagate", ("acme", "beta"))
    ann = person(world)
    (theirs,) = alive(world, "beta")
    world.accounts["acme"].person_delete("Contact", ann)
    run = rounds(world)
    assert alive(world, "beta") == []
    planned, applied, after = undone(world, run)
    assert records(planned) == {"archived undo": 1, "removed undo": 1}
    assert applied.reports["beta/contact"].counts["created"] == 1
    assert after.records_to_undo() == 0
    (new,) = alive(world, "beta")
    assert new != theirs
    assert world.accounts["beta"].row("Contact", new).values["Email"] == "lee@x.example"
    quiet(world)
    assert (alive(world), alive(world, "beta")) == ([], [new])  # its own people deleted it from acme
    assert world.one("select archived_at from hub.contact") is None


def test_what_another_crm_was_asked_about_is_not_asked_any_more(make: Make) -> None:
    world = make(names=("acme", "beta"))
    ann = person(world)
    world.accounts["acme"].person_delete("Contact", ann)
    run = rounds(world)
    assert len(review.find(world.conn, field="*")) == 1
    undone(world, run)
    quiet(world)
    assert review.find(world.conn, field="*") == []
    assert (len(alive(world, "beta")), states(world, "beta")) == (1, [("present", "present")])


def test_what_a_person_had_deleted_in_a_crm_is_asked_about(make: Make) -> None:
    world = make(names=("acme", "beta"))
    ann = person(world)
    started = world.one("select clock_timestamp()")
    assert isinstance(started, datetime)
    world.accounts["acme"].person_delete("Contact", ann)
    rounds(world)
    review.decide(world.conn, review.find(world.conn, field="*"), "use_hub", "paul")
    rounds(world)
    assert alive(world, "beta") == []
    planned, _, _ = undone(world, Selection(since=started))
    why = "whether beta gets it once more is asked for review (deletes: outbound: review)"
    assert records(planned) == {"archived undo": 1, f"removed not undone: {why}": 1}
    quiet(world)
    (conflict,) = review.find(world.conn, field="*")
    assert (conflict.connection, conflict.hub_value, conflict.crm_value) == ("beta", "present", "deleted")
    assert (alive(world), alive(world, "beta")) == ([], [])


def test_a_deletion_of_ours_long_ago_does_not_bring_back_what_a_person_deleted_since(make: Make) -> None:
    world = make("archive", "propagate")
    ann = person(world)
    acme = world.accounts["acme"]
    world.conn.execute("update hub.contact set archived_at = now()")
    rounds(world)
    assert alive(world) == []
    acme.person_restore("Contact", ann)
    settle(world)
    acme.person_delete("Contact", ann)
    run = rounds(world)
    _, applied, _ = undone(world, run)
    assert (applied.back, alive(world)) == (1, [])
    assert states(world) == [("present", "deleted")]
    quiet(world)
    assert alive(world) == []


def test_fields_of_a_record_that_comes_back_go_back_with_the_next_undo(make: Make) -> None:
    world = make("propagate")
    ann = person(world)
    started = world.one("select clock_timestamp()")
    assert isinstance(started, datetime)
    world.accounts["acme"].person_edit("Contact", ann, {"LastName": "Li"})
    rounds(world)
    world.accounts["acme"].person_delete("Contact", ann)
    rounds(world)
    planned, _, _ = undone(world, Selection(since=started))
    assert (records(planned), planned.number(Fate.LEFT)) == ({"deleted undo": 1}, 1)
    assert world.one("select last_name from hub.contact") == "Li"
    assert undone(world, Selection(since=started))[1].fields == 1
    assert world.one("select last_name from hub.contact") == "Lee"
    quiet(world)


def test_what_a_crm_said_anew_of_a_record_that_it_brought_back_goes_back(make: Make) -> None:
    world = make("propagate", "propagate")
    ann = person(world)
    world.conn.execute("delete from hub.contact")
    rounds(world)
    acme = world.accounts["acme"]
    acme.person_restore("Contact", ann)
    acme.person_edit("Contact", ann, {"LastName": "Li"})
    run = rounds(world)
    assert world.one("select last_name from hub.contact") == "Li"
    assert undone(world, run)[1].fields == 1
    assert world.one("select last_name from hub.contact") == "Lee"
    quiet(world)
    assert acme.row("Contact", ann).values["LastName"] == "Lee"


def test_what_the_hub_deleted_in_a_crm_is_told(make: Make) -> None:
    world = make("archive", "propagate")
    person(world)
    world.conn.execute("delete from hub.contact")
    run = rounds(world)
    assert alive(world) == []
    planned, _, _ = undone(world, run)
    why = "the hub has deleted it: bring it back in the hub, or take it out of the recycle bin of acme"
    assert records(planned) == {f"removed not undone: {why}": 1}
    assert [left.about for left in planned.left] == [why]
    quiet(world)


def test_what_was_not_there_before_does_not_come_back(make: Make) -> None:
    world = make("propagate")
    ann = person(world)
    world.accounts["acme"].person_delete("Contact", ann)
    rounds(world)
    planned, applied, _ = undone(world, EVER)
    assert (records(planned), applied.back) == ({"created already so: gone already": 1}, 0)
    assert world.hub("contact") == []
    quiet(world)


def test_what_was_created_in_crms_is_deleted_there_if_asked_for(make: Make) -> None:
    world = make(names=("acme", "beta"))
    world.time = datetime.now(UTC)  # that of the journal
    run = f"run-{world.time:%H%M%S}"
    world.conn.execute(
        "insert into hub.contact (last_name, email) values ('Doe', 'd@x.example'), ('Lee', 'l@x.example')"
    )
    rounds(world)
    rounds(world)
    assert records(undone(world, run)[0]) == {}
    (lee,) = [row.id for row in world.accounts["beta"].rows("Contact") if row.values["LastName"] == "Lee"]
    world.wait(minutes=5)
    world.accounts["beta"].person_edit("Contact", lee, {"FirstName": "Ann"})  # no sync has read it
    planned, applied, after = undone(world, run, created=True)
    assert records(planned) == {"made undo": 3, "made edited since: modified since in beta": 1}
    assert applied.deleted_in_crms == 3
    assert [left.about for left in after.left] == ["modified since in beta"]
    assert (alive(world), alive(world, "beta")) == ([], [lee])
    assert world.conn.execute(
        "select distinct kind, side, reason, answer ->> 'deleted' from sync.change where run_id like 'undo-%'"
    ).fetchall() == [("delete", "crm", f"undo of run {run} by mina", "by this call")]
    assert states(world) == [("present", "deleted")] * 2
    quiet(world)
    world.sync(full=True)
    quiet(world)
    assert (len(world.hub("contact")), alive(world), len(alive(world, "beta"))) == (2, [], 1)
    assert world.one("select count(*) from sync.parked") == 0
    again = records(undone(world, run, created=True)[0])
    assert again == {"made already so: gone already": 3, "made edited since: edited since in beta": 1}


def test_a_list_that_was_imported_goes_from_everywhere_else(make: Make) -> None:
    world = make(names=("acme", "beta"))
    acme, beta = world.accounts["acme"], world.accounts["beta"]
    world.time = datetime.now(UTC)
    run = f"run-{world.time:%H%M%S}"
    firm = acme.person_create("Account", {"Name": "Firm"})
    for number in range(3):
        acme.person_create(
            "Contact", {"LastName": f"L{number}", "Email": f"l{number}@x.example", "AccountId": firm}
        )
    rounds(world)
    (kept,) = [row.id for row in beta.rows("Contact") if row.values["LastName"] == "L0"]
    world.wait(minutes=5)
    beta.person_edit("Contact", kept, {"Phone": "+14155550000"})
    planned, applied, after = undone(world, run, created=True)
    # Who was edited stays, and the firm that he refers to.
    assert records(planned) == {
        "created not undone: beta has it too": 2,
        "created undo": 2,
        "made edited since: modified since in beta": 1,
        "made not undone: other records in beta refer to it": 1,
        "made undo": 2,
    }
    assert (applied.deleted_in_crms, applied.deleted) == (2, 2)
    assert after.records_to_undo() == 0
    assert alive(world, "beta") == [kept]
    assert len(world.hub("company")) == 1
    quiet(world)
    assert [row["last_name"] for row in world.hub("contact")] == ["L0"]
    assert len(alive(world)) == 3


def test_the_guard_and_the_time_of_the_last_modification_forbid_a_deletion(make: Make) -> None:
    world = make()
    world.time = datetime.now(UTC)
    run = f"run-{world.time:%H%M%S}"
    world.conn.execute(
        "insert into hub.contact (last_name, email) select 'L' || n, n || '@x.example' from generate_series(1, 40) n"
    )
    world.sync()
    planned, applied, _ = undone(world, run, created=True)
    (said,) = records(planned)
    assert "too many for the guard of acme/contact: 40 records would be deleted" in said
    assert (applied.deleted_in_crms, len(alive(world))) == (0, 40)
    doe = world.one(
        "select crm_id from acme.contact_base b join hub.contact h on h.id = b.hub_id where last_name = 'L7'"
    )
    world.conn.execute("delete from hub.contact where last_name <> 'L7'")
    world.time += timedelta(minutes=10)
    world.accounts["acme"].person_edit("Contact", str(doe), {"Nickname": "not mapped"})
    planned, applied, _ = undone(world, run, created=True)
    assert any("modified since in acme" in why for why in records(planned))
    assert applied.deleted_in_crms == 0


class Refusing(MemoryCrm):
    """Refuses the first of all operations, and does the others."""

    def write(
        self,
        stream: StreamSpec,
        operations: Sequence[Operation],
        job: JobLog,
        *,
        batch_size: int | None = None,
    ) -> Iterator[list[Result]]:
        yield from super().write(stream, operations[1:], job, batch_size=batch_size)
        yield [Result.refused(operations[0], RecordError(ErrorClass.PERMISSION, "NO", "not you"))]


class Dying(MemoryCrm):
    """Does what it is asked for, and does not live to say so."""

    def write(
        self,
        stream: StreamSpec,
        operations: Sequence[Operation],
        job: JobLog,
        *,
        batch_size: int | None = None,
    ) -> Iterator[list[Result]]:
        list(super().write(stream, operations, job, batch_size=batch_size))
        raise CrmError(ErrorClass.UNKNOWN_OUTCOME, "no answer")
        yield


def test_deletions_without_an_answer_are_looked_up_by_the_next_sync(make: Make) -> None:
    world = make()
    run = f"run-{world.time:%H%M%S}"
    world.conn.execute("insert into hub.contact (last_name) values ('Doe'), ('Lee')")
    rounds(world)
    whole = world.crms["acme"]
    world.crms["acme"] = Dying(world.accounts["acme"], name="acme")
    with pytest.raises(CrmError, match="no answer"):
        undone(world, run, created=True)
    world.crms["acme"] = whole
    why = "made not undone: a write to acme has no answer yet: sync, then undo again"
    assert records(undone(world, run, created=True)[0]) == {why: 2}
    quiet(world)
    assert (alive(world), states(world)) == ([], [("present", "deleted")] * 2)
    assert (
        world.one("select count(*) from sync.change where kind = 'delete' and reason like 'undo of run%%'")
        == 2
    )
    assert records(undone(world, run, created=True)[0]) == {"made already so: gone already": 2}


def test_a_deletion_that_a_crm_refuses_is_told(make: Make) -> None:
    world = make()
    run = f"run-{world.time:%H%M%S}"
    world.conn.execute("insert into hub.contact (last_name) values ('Doe'), ('Lee')")
    rounds(world)
    whole = world.crms["acme"]
    world.crms["acme"] = Refusing(world.accounts["acme"], name="acme")
    planned, applied, after = undone(world, run, created=True)
    assert (records(planned), applied.deleted_in_crms) == ({"made undo": 2}, 1)
    assert [left.about for left in after.left] == ["acme refuses to delete it: not you"]
    assert world.one("select count(*) from sync.intent") == 0
    world.crms["acme"] = whole
    assert undone(world, run, created=True)[1].deleted_in_crms == 1
    assert sum(t.number for t in after.records if t.fate == Fate.LEFT) == 1
    quiet(world)
