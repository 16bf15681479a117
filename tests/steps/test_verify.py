"""Verify: a clean world has no difference; every damage is found, and explained or not as it must be; repair heals."""

import copy
import secrets
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import count
from typing import Any

import psycopg
import pytest

from crm_sync.core.errors import CrmError, ErrorClass, RecordError
from crm_sync.core.parity import Found, What, Why
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import embedded
from crm_sync.hub.store import Store
from crm_sync.steps.allowance import Share, allot
from crm_sync.steps.repair import Repaired, repair
from crm_sync.steps.verify import Parity, known_records, verify
from tests.steps.world import CONNECTION, World

PEOPLE = 250


@pytest.fixture(scope="module")
def filled(server_url: str) -> Iterator[World]:
    """People in the CRM and in the hub, companies, references; synced until nothing is left to do. Not to be touched."""
    name = f"crm_sync_test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"create database {name} template template0")  # type: ignore[arg-type]
        world = World(embedded.with_database(server_url, name))
        fill(world)
        world.close()  # nobody may be in a database that is copied
        yield world
        server.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


@pytest.fixture
def clean(filled: World, server_url: str) -> Iterator[World]:
    """A copy of it."""
    name = f"crm_sync_test_{secrets.token_hex(6)}"
    origin = psycopg.conninfo.conninfo_to_dict(filled.url)["dbname"]
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"create database {name} template {origin}")  # type: ignore[arg-type]
        world = World(embedded.with_database(server_url, name))
        world.time = filled.time
        account = world.accounts["acme"]
        account._versions = copy.deepcopy(filled.accounts["acme"]._versions)
        account._ids = count(1_000)
        yield world
        world.close()
        server.execute(f"drop database {name} with (force)")  # type: ignore[arg-type]


def fill(world: World) -> None:
    acme = world.accounts["acme"]
    company = acme.person_create("Account", {"Name": "Lee Ltd", "Website": "lee.example", "Revenue": "10.50"})
    for i in range(PEOPLE):
        acme.person_create(
            "Contact",
            {"FirstName": f"F{i}", "LastName": f"L{i}", "Email": f"P{i}@X.example", "Phone": "(415) 555-0100",
             "Stage": "Appointment", "Interests": "b;a", "OptedOut": "false", "AccountId": company},
        )  # fmt: skip
    world.conn.execute(
        "insert into hub.contact (first_name, last_name, email, stage, born)"
        " select 'H' || i, 'Lee', 'h' || i || '@x.example', 'tour', '1990-02-03' from generate_series(1, 20) i"
    )
    settle(world)
    last = world.one("select crm_id from acme.contact order by crm_id desc limit 1")
    acme.person_edit(
        "Contact", str(last), {"LastName": "Last"}
    )  # the watermark is as far as the newest change
    settle(world)


def settle(world: World) -> None:
    for _ in range(2):
        world.wait(hours=1)
        world.sync()
    world.wait(hours=1)  # beyond the overlap


def whole(store: Store, stream: StreamSpec, budget: int | None = None) -> Share:
    return allot([stream], {stream.name: known_records(store, stream)}, budget)[stream.name]


def look(world: World, entity: str = "contact", budget: int | None = None, shift: float = 0.0) -> Parity:
    stream = world.system.stream("acme", entity)
    with Store(world.url) as store:
        return verify(store, world.crms["acme"], stream, whole(store, stream, budget), shift=shift)


def mend(world: World, found: Parity) -> Repaired:
    with Store(world.url) as store:
        return repair(store, world.crms["acme"], world.system.stream("acme", "contact"), found)


def silently(world: World, statement: str, *args: Any) -> None:
    """Change rows as no application can: no trigger notices."""
    with world.conn.transaction():
        world.conn.execute("set local session_replication_role = replica")
        assert world.conn.execute(statement, args).rowcount  # type: ignore[arg-type]


def told(found: Parity) -> list[tuple[What, Why | None, str]]:
    return sorted({(one.what, one.why, one.field) for one in [*found.unexplained, *found.explained]}, key=str)


def only(found: Sequence[Found]) -> Found:
    (one,) = found
    return one


def assert_clean(world: World) -> None:
    for entity in world.system.entities:
        found = look(world, entity)
        assert (found.open, found.ranges_differing, dict(found.counts)) == (0, 0, {}), found.unexplained
        assert found.compared == 1.0


def test_a_clean_world_has_no_difference_and_nothing_is_written(clean: World) -> None:
    marks = clean.one("select last_value from sync.dirty_version")
    assert_clean(clean)
    found = look(clean)
    assert (found.crm_records, found.linked, found.ranges) == (PEOPLE + 20, PEOPLE + 20, 2)
    assert clean.one("select last_value from sync.dirty_version") == marks
    assert clean.one("select count(*) from sync.job") == 0


def test_nothing_at_all(world: World) -> None:
    found = look(world)
    assert (found.open, found.crm_records, dict(found.counts)) == (0, 0, {})
    found = look(world, budget=50)
    assert found.open == 0


OF = "from acme.contact_base b where b.hub_id = h.id and b.crm_id = %s"
DAMAGES = (
    ("update acme.contact set last_name = 'Wrong' where crm_id = %s", What.MIRROR, "last_name"),
    (
        "update acme.contact set last_name = 'Wrong', modified_at = '2030-01-01Z' where crm_id = %s",
        What.MIRROR,
        "last_name",
    ),
    ("update acme.contact set deleted = true where crm_id = %s", What.MIRROR, ""),
    ("delete from acme.contact where crm_id = %s", What.MIRROR, ""),
    (f"update hub.contact h set last_name = 'Wrong' {OF}", What.VALUE, "last_name"),
    (f"update hub.contact h set opted_out = true {OF}", What.VALUE, "opted_out"),
    (f"update hub.contact h set company = null {OF}", What.VALUE, "company"),
    ("delete from acme.contact_base where crm_id = %s", What.NOT_IN_HUB, ""),
    ("delete from acme.contact_base where crm_id = %s", What.NOT_IN_HUB, ""),
)


def test_damage_that_nobody_noticed_is_unexplained_and_repaired(clean: World) -> None:
    ids = [row.id for row in clean.accounts["acme"].rows("Contact")[100:]]
    for (statement, _, _), crm_id in zip(DAMAGES, ids, strict=False):
        silently(clean, statement, crm_id)
    found = look(clean)
    shown = {(one.crm_id, one.what, one.field) for one in found.unexplained}
    assert {(i, what, field) for (_, what, field), i in zip(DAMAGES, ids, strict=False)} <= shown
    assert len({one.crm_id for one in found.unexplained if one.crm_id}) == len(DAMAGES)
    assert (found.ranges_differing, found.explained) == (1, [])
    assert mend(clean, found).refreshed == 4
    assert look(clean).open == 0  # explained: the next sync looks at them
    settle(clean)
    assert_clean(clean)
    names = [row.values["LastName"] for row in clean.accounts["acme"].rows("Contact")[100:109]]
    assert names == [f"L{i}" if i != 104 else "Wrong" for i in range(100, 109)]  # what the hub says is sent
    assert clean.one("select count(*) from hub.contact") == PEOPLE + 20


def test_a_base_that_says_something_else_while_both_sides_agree_is_no_harm(clean: World) -> None:
    silently(
        clean,
        "update acme.contact_base set first_name_crm = 'x', last_name_hub = 'y' where crm_id like '%%7'",
    )
    found = look(clean)
    assert found.open == 0
    assert {why for _, why in found.counts} == {Why.NORMALISED}


def test_sides_that_were_noted_as_agreeing_though_they_differ_are_unexplained(clean: World) -> None:
    """A lost dispute: each half of the base is what its side says, so that no sync would ever look at it."""
    crm_id = clean.accounts["acme"].rows("Contact")[7].id
    silently(clean, "update hub.contact h set last_name = 'Ours', phone = '+14155550101', opted_out = null"
                    f" {OF}", crm_id)  # fmt: skip
    silently(clean, "update acme.contact_base b set last_name_hub = h.last_name, opted_out_hub = null"
                    " from hub.contact h where h.id = b.hub_id and b.crm_id = %s", crm_id)  # fmt: skip
    found = look(clean)
    assert {(one.what, one.field) for one in found.unexplained} >= {
        (What.APART, "last_name"),
        (What.APART, "opted_out"),
    }
    mend(clean, found)
    settle(clean)
    assert look(clean).open == 0
    theirs = clean.accounts["acme"].row("Contact", crm_id).values
    ours = clean.conn.execute(
        f"select h.last_name, h.phone, h.opted_out::text from hub.contact h join acme.contact_base b on b.hub_id = h.id where b.crm_id = '{crm_id}'"
    ).fetchone()
    assert ours == (theirs["LastName"], theirs["Phone"], theirs["OptedOut"])


def test_an_edit_in_the_crm_after_the_sync_waits(clean: World) -> None:
    acme = clean.accounts["acme"]
    acme.person_edit("Contact", acme.rows("Contact")[3].id, {"LastName": "New"})
    acme.person_create("Contact", {"LastName": "Newer", "Email": "newer@x.example"})
    found = look(clean)
    assert dict(found.counts) == {(What.VALUE, Why.PENDING): 1, (What.NOT_IN_HUB, Why.PENDING): 1}
    settle(clean)
    assert_clean(clean)


def test_an_edit_that_the_sync_has_passed_over_is_unexplained(clean: World) -> None:
    """Its stamp lies behind the watermark: no incremental sync would ever read it again."""
    acme = clean.accounts["acme"]
    later = clean.time
    clean.time -= timedelta(hours=20)
    acme.person_edit("Contact", acme.rows("Contact")[3].id, {"LastName": "Lost"})
    acme.person_create("Contact", {"LastName": "Lost too", "Email": "lost@x.example"})
    clean.time = later
    found = look(clean)
    assert told(found) == [(What.VALUE, None, "last_name"), (What.NOT_IN_HUB, None, "")] or found.open == 2
    mend(clean, found)
    settle(clean)
    assert_clean(clean)
    assert clean.one("select count(*) from hub.contact where last_name like 'Lost%%'") == 2


def test_an_edit_in_the_hub_waits(clean: World) -> None:
    clean.conn.execute("update hub.contact set first_name = 'Anna' where email = 'p3@x.example'")
    clean.conn.execute("insert into hub.contact (last_name) values ('New')")
    found = look(clean)
    assert dict(found.counts) == {(What.VALUE, Why.PENDING): 2, (What.NOT_IN_CRM, Why.PENDING): 1}
    assert told(found)[0][2] in {"", "first_name", "full_name"}


def test_a_hub_record_that_no_queue_knows_is_unexplained(clean: World) -> None:
    silently(clean, "insert into hub.contact (last_name) values ('Forgotten')")
    found = look(clean)
    one = only(found.unexplained)
    assert (one.what, one.crm_id) == (What.NOT_IN_CRM, None)
    mend(clean, found)
    settle(clean)
    assert_clean(clean)


def test_a_conflict_and_a_parked_record_explain_themselves(clean: World) -> None:
    acme = clean.accounts["acme"]
    first, second = (row.id for row in acme.rows("Contact")[:2])
    acme.person_edit("Contact", first, {"Phone": "+14155552671"})
    acme.person_edit("Contact", second, {"Email": "no address"})
    acme.person_create("Contact", {"LastName": "New", "Email": "no address either"})
    clean.conn.execute("update hub.contact set phone = '+14155552672' where email = 'p0@x.example'")
    settle(clean)
    found = look(clean)
    number = clean.one("select id from review.conflict where status = 'open'")
    assert {(one.what, one.explanation.partition(" (")[0]) for one in found.explained} >= {
        (What.VALUE, f"open conflict #{number}")
    }
    assert found.open == 0
    assert found.counts[What.VALUE, Why.PARKED] == 1
    assert found.counts[What.NOT_IN_HUB, Why.PARKED] == 1
    assert not any("no address" in one.detail for one in found.explained)


def test_a_record_that_the_crm_refuses_is_parked_in_the_hub(clean: World) -> None:
    clean.conn.execute(
        "insert into hub.contact (id, last_name) values ('00000000-0000-0000-0000-000000000001', 'No')"
    )
    refusal = RecordError(ErrorClass.VALIDATION, "not like this", "RULE")
    clean.crms["acme"].faults.reject["00000000-0000-0000-0000-000000000001"] = refusal
    settle(clean)
    found = look(clean)
    assert dict(found.counts) == {(What.NOT_IN_CRM, Why.PARKED): 1}


def test_deleted_and_merged(clean: World) -> None:
    acme = clean.accounts["acme"]
    rows = acme.rows("Contact")
    acme.person_delete("Contact", rows[0].id)
    acme.person_merge("Contact", rows[2].id, rows[1].id)
    found = look(clean)
    assert found.open == 0
    assert found.counts[What.NO_CRM, Why.PENDING] == 2  # the next sync hears of it
    settle(clean)
    clean.conn.execute("delete from hub.contact where email = 'p7@x.example'")
    found = look(clean)
    assert found.open == 0
    assert (found.counts[What.NO_CRM, Why.DELETED], found.counts[What.NO_HUB, Why.HUB_DELETED]) == (1, 1)


def test_what_the_crm_does_not_have_any_more_is_unexplained_until_the_mirror_knows(clean: World) -> None:
    """Purged: no listing will ever tell, and no deletion either."""
    acme = clean.accounts["acme"]
    rows = acme.rows("Contact")
    for row in rows[5:7]:
        del acme._versions["Contact"][row.id]
    silently(clean, "delete from acme.contact where crm_id = %s", rows[6].id)
    acme.person_delete("Contact", rows[8].id)  # told by a listing, but long ago
    silently(
        clean, "update sync.watermark set position = position + interval '1 day' where entity = 'contact'"
    )
    for _ in range(2):  # and not only once
        found = look(clean)
        assert {(one.crm_id, one.what, one.why) for one in found.unexplained} == {
            (row.id, What.NO_CRM, None) for row in (rows[5], rows[6], rows[8])
        }
        assert any(
            "does not have it any more, and the mirror does not know" in one.detail
            for one in found.unexplained
        )
    assert mend(clean, found).refreshed == 3
    deleted = "select array_agg(crm_id order by crm_id) from acme.contact where deleted"
    assert clean.one(deleted) == sorted(row.id for row in (rows[5], rows[6], rows[8]))
    assert clean.one("select count(*) from sync.mark where crm_id = %s", rows[5].id)  # the policy acts on it
    found = look(clean)
    assert dict(found.counts) == {(What.NO_CRM, Why.DELETED): 3}


def test_a_record_that_left_the_filter(fresh_database_url: str) -> None:
    text = CONNECTION.replace(
        "    object: Contact\n",
        "    object: Contact\n    filter:\n      - {field: Stage, operator: eq, value: New}\n",
    )
    world = World(fresh_database_url, text=text)
    acme = world.accounts["acme"]
    ids = [
        acme.person_create("Contact", {"LastName": f"L{i}", "Stage": "New", "Email": f"p{i}@x.example"})
        for i in range(3)
    ]
    settle(world)
    acme.person_edit("Contact", ids[1], {"Stage": "Won", "LastName": "Left"})
    settle(world)
    found = look(world)
    assert dict(found.counts) == {(What.NO_CRM, Why.FILTERED): 1}
    silently(world, "update acme.contact set outside = true where crm_id = %s", ids[1])
    calls = dict(world.crms["acme"].calls)
    found = look(world)
    assert dict(found.counts) == {(What.NO_CRM, Why.FILTERED): 1}
    assert "by_ids" not in {n for n, c in world.crms["acme"].calls.items() if c != calls.get(n)}
    silently(world, "update acme.contact set outside = true where crm_id = %s", ids[2])
    found = look(world)
    assert dict(found.counts) == {(What.NO_CRM, Why.FILTERED): 1, (What.MIRROR, None): 1}
    assert "left the mapping's filter" in only(found.unexplained).detail
    silently(world, "update acme.contact set outside = false")
    found = look(world, budget=4)
    assert found.compared == 0.0
    assert "filter" in only(found.notes)  # type: ignore[arg-type]
    world.close()


def test_a_frozen_field_is_not_compared(clean: World) -> None:
    acme = clean.accounts["acme"]
    acme.habits.hidden = frozenset({"FirstName"})
    found = look(clean)
    assert found.open == 0
    assert "first_name" in only(found.notes)  # type: ignore[arg-type]
    clean.wait(hours=1)
    clean.sync(full=True)
    clean.conn.execute("update hub.contact set first_name = 'X' where last_name = 'Lee'")
    clean.wait(hours=1)
    acme.habits.hidden = frozenset()
    found = look(clean)
    assert found.open == 0
    assert found.counts[What.VALUE, Why.FROZEN] == 19


def test_a_stream_of_one_direction(fresh_database_url: str) -> None:
    text = CONNECTION.replace(
        "    object: Contact\n", "    object: Contact\n    direction: inbound\n"
    ).replace('      full_name: {computed: "{first_name} {last_name}", field: FullName}\n', "")
    world = World(fresh_database_url, text=text)
    world.conn.execute("insert into hub.contact (last_name) values ('Ours'), ('Ours too')")
    settle(world)
    assert dict(look(world).counts) == {(What.NOT_IN_CRM, Why.ONE_WAY): 2}
    world.close()


def test_what_changes_while_everything_is_read_is_no_difference(clean: World, monkeypatch: Any) -> None:
    """Edited in the CRM after its page was read, and synced before it is compared."""
    acme, crm = clean.accounts["acme"], clean.crms["acme"]
    changed = crm.changed

    def meanwhile(*args: Any) -> Any:
        yield from changed(*args)
        monkeypatch.setattr(crm, "changed", changed)
        acme.person_edit("Contact", acme.rows("Contact")[3].id, {"LastName": "Meanwhile"})
        acme.person_delete("Contact", acme.rows("Contact")[9].id)
        settle(clean)

    monkeypatch.setattr(crm, "changed", meanwhile)
    found = look(clean)
    assert dict(found.counts) == {(What.NO_CRM, Why.DELETED): 1}


def test_two_crm_records_of_one_hub_record(clean: World) -> None:
    acme = clean.accounts["acme"]
    key = str(clean.one("select hub_id from acme.contact_base limit 1"))
    acme.person_edit("Contact", acme.rows("Contact")[3].id, {"Hub_Id": key})
    acme.person_edit("Contact", acme.rows("Contact")[4].id, {"Hub_Id": key})
    found = look(clean)
    assert [one.what for one in found.unexplained] == [What.SAME_HUB_ID]
    assert not found.crm_ids, "looking at it again would not help"


def test_a_budget_that_does_not_suffice_compares_shares_of_it(clean: World) -> None:
    acme = clean.accounts["acme"]
    silently(clean, "update acme.contact set last_name = 'Wrong'")
    crm = clean.crms["acme"]
    crm.knobs.page_size = 50
    seen: set[str | None] = set()
    for shift in (0.0, 0.99):
        before = sum(crm.calls.values())
        found = look(clean, budget=6, shift=shift)
        assert sum(crm.calls.values()) - before <= 6
        assert 0 < found.compared < 1
        assert "compared 135 of 270 records" in found.notes[0]
        seen |= {one.crm_id for one in [*found.unexplained, *found.explained]}
    assert seen == {row.id for row in acme.rows("Contact")}


def test_a_refused_read_leaves_nothing_behind(clean: World) -> None:
    clean.crms["acme"].faults.read_error = CrmError(ErrorClass.AUTH, "no", status=401)
    stream = clean.system.stream("acme", "contact")
    with Store(clean.url) as store:
        with pytest.raises(CrmError):
            verify(store, clean.crms["acme"], stream, whole(store, stream))
        assert store.conn.execute("select to_regclass('parity_seen')").fetchone() == (None,)
        assert verify(store, clean.crms["acme"], stream, whole(store, stream)).open == 0


def test_hostile_ids_and_values(clean: World) -> None:
    acme = clean.accounts["acme"]
    nasty = "'; drop table hub.contact; -- \\ \" \n\t{0} %s 💥"
    crm_id = acme.person_create("Contact", {"LastName": nasty, "Email": "n@x.example"})
    settle(clean)
    assert_clean(clean)
    silently(clean, "update hub.contact set last_name = %s where email = 'n@x.example'", nasty + "!")
    found = look(clean)
    assert {one.crm_id for one in found.unexplained} == {crm_id}
    mend(clean, found)
    settle(clean)
    assert_clean(clean)
