"""Bad values, refusals, lost answers, late references: the others go on, nothing is lost, nothing is doubled."""

import secrets

import pytest

from crm_sync.core.errors import BusyError, CrmError, ErrorClass, RecordError
from crm_sync.hub import dirty
from crm_sync.hub.store import Store
from tests.steps.world import World


def test_an_invalid_value_parks_its_record_and_the_others_go_on(world: World) -> None:
    acme = world.accounts["acme"]
    bad = acme.person_create("Contact", {"LastName": "Bad", "Email": "no address"})
    nul = acme.person_create("Contact", {"LastName": "N\0ul", "Email": "nul@x.example"})
    long = acme.person_create("Contact", {"LastName": "x" * 140_000, "Email": "long@x.example"})
    acme.person_create("Contact", {"LastName": "Good", "Email": "good@x.example"})
    reports = world.sync()
    assert [row["last_name"] for row in world.hub("contact")] == ["Good"]
    parked = dict(world.conn.execute("select record_id, value_class from sync.parked").fetchall())
    assert set(parked) == {bad, nul, long}
    assert "NUL" in parked[nul]
    assert "140,000" in parked[long]
    assert "no address" not in str(world.conn.execute("select * from sync.parked").fetchall())
    assert reports["hub contact acme"].counts["parked"] == 3
    acme.person_edit("Contact", bad, {"Email": "now@x.example"})
    world.wait(minutes=5)
    world.sync()
    assert world.one("select count(*) from hub.contact") == 2
    assert world.one("select count(*) from sync.parked") == 2


def test_a_huge_value_in_a_match_field_stops_nothing(world: World) -> None:
    acme = world.accounts["acme"]
    acme.person_create("Account", {"Name": "n" * 140_000})
    acme.person_create("Account", {"Name": "m" * 30_000})
    acme.person_create("Account", {"Name": "Small"})
    world.sync("acme", "company")
    assert sorted(len(str(row["name"])) for row in world.hub("company")) == [5, 30_000]
    assert world.one("select count(*) from sync.parked") == 1


def test_skip_validation_lets_through_what_postgres_can_hold(world: World) -> None:
    acme = world.accounts["acme"]
    acme.person_create("Contact", {"LastName": "Bad", "Email": "no address"})
    acme.person_create("Contact", {"LastName": "Worse", "Born": "yesterday"})
    world.sync()
    assert world.hub("contact") == []
    world.wait(minutes=1)
    world.sync(skip_validation=True)
    assert world.hub("contact", "last_name, email") == [{"last_name": "Bad", "email": "no address"}]
    assert world.one("select field from sync.parked") == "born"


def test_a_constraint_of_the_users_parks_the_one_record(world: World) -> None:
    world.conn.execute("alter table hub.contact add constraint no_foo check (last_name <> 'Foo')")
    for i in range(20):
        world.accounts["acme"].person_create(
            "Contact", {"LastName": "Foo" if i == 7 else f"P{i}", "Email": f"p{i}@x.example"}
        )
    world.sync()
    assert world.one("select count(*) from hub.contact") == 19
    assert world.one("select code from sync.parked") == "HUB_CHECK"
    assert "no_foo" in str(world.one("select reason from sync.parked"))


def test_a_refused_record_is_parked_with_the_vendors_reason(world: World) -> None:
    world.conn.execute(
        "insert into hub.contact (last_name, email) values ('A', 'a@x.example'), ('B', 'b@x.example')"
    )
    bad = str(world.one("select id from hub.contact where last_name = 'A'"))
    world.crms["acme"].faults.reject[bad] = RecordError(
        ErrorClass.VALIDATION, "NO_A", "no A please", ("LastName",)
    )
    world.sync()
    assert [row.values["LastName"] for row in world.accounts["acme"].rows("Contact")] == ["B"]
    assert world.conn.execute("select code, field from sync.parked").fetchone() == ("NO_A", "last_name")
    assert world.one("select count(*) from sync.dirty") == 0


def test_a_reconcile_takes_off_the_list_what_is_parked_without_need(world: World) -> None:
    """What was refused may be as it should be by now, without any change that we would hear of."""
    acme = world.accounts["acme"]
    acme.person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    world.sync()
    (hub_id,) = (row["id"] for row in world.hub("contact"))
    world.conn.execute(
        "insert into sync.parked (connection, entity, side, record_id, hub_id, error_class, code, reason)"
        " values ('acme', 'contact', 'hub', %s::text, %s::uuid, 'permission', 'GONE', 'a field was gone')",
        [hub_id, hub_id],
    )
    world.sync()
    assert world.one("select count(*) from sync.parked") == 1
    assert dirty.mark_all(world.conn, world.system.stream("acme", "contact")) == 1
    world.sync()
    assert world.one("select count(*) from sync.parked") == 0
    assert world.one("select count(*) from sync.mark") == 0


def test_what_the_crm_would_refuse_is_known_before_the_call(world: World) -> None:
    world.conn.execute(f"insert into hub.contact (first_name, last_name) values ('{'x' * 21}', 'Long')")
    world.conn.execute("insert into hub.contact (first_name) values ('No last name')")
    writes = world.writes()
    world.sync()
    codes = sorted(code for (code,) in world.conn.execute("select code from sync.parked"))
    assert codes == ["REQUIRED_FIELD_MISSING", "STRING_TOO_LONG"]
    assert world.writes() == writes


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_create_without_an_answer_is_not_repeated_blindly(world: World, moment: str) -> None:
    world.conn.execute("insert into hub.contact (last_name, email) values ('Once', 'once@x.example')")
    world.crms["acme"].faults.timeout = moment  # type: ignore[assignment]
    with pytest.raises(CrmError) as failure:
        world.sync("acme", "contact")
    assert failure.value.error_class is ErrorClass.UNKNOWN_OUTCOME
    assert world.one("select count(*) from sync.intent") == 1
    assert world.one("select status from sync.history order by id desc limit 1") == "failed"
    world.conn.execute("update hub.contact set first_name = 'Edited meanwhile'")
    world.wait(minutes=1)
    world.sync()
    world.wait(minutes=1)
    world.sync()
    (row,) = world.accounts["acme"].rows("Contact")
    assert row.values["FirstName"] == "Edited meanwhile"
    assert world.one("select count(*) from sync.intent") == 0
    assert world.one("select count(*) from hub.contact") == 1


def _lose_a_create(world: World) -> None:
    """A new contact is sent and created, but the answer never comes."""
    world.conn.execute(
        "insert into hub.contact (last_name, email, first_name) values ('A', 'a@x.example', 'Old')"
    )
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        world.sync("acme", "contact")


def test_an_update_whose_answer_was_lost_and_that_the_hub_undid_ends_as_the_hub_says(world: World) -> None:
    """A create was lost, then the hub cleared a field: the cleared value must not come back."""
    _lose_a_create(world)
    world.conn.execute("update hub.contact set first_name = null")
    world.wait(minutes=1)
    world.sync()
    world.wait(minutes=1)
    world.sync()
    assert world.accounts["acme"].rows("Contact")[0].values.get("FirstName") is None
    assert world.one("select first_name from hub.contact") is None


def test_a_person_edits_between_the_lost_create_and_its_adoption(world: World) -> None:
    _lose_a_create(world)
    (row,) = world.accounts["acme"].rows("Contact")
    world.wait(minutes=1)
    world.accounts["acme"].person_edit("Contact", row.id, {"FirstName": None})
    for _ in range(3):
        world.wait(minutes=1)
        world.sync()
    assert world.one("select first_name from hub.contact") is None
    assert world.accounts["acme"].rows("Contact")[0].values.get("FirstName") is None


def test_a_reference_waits_for_its_target(world: World) -> None:
    acme = world.accounts["acme"]
    acme.person_create(
        "Contact", {"LastName": "Early", "Email": "e@x.example", "AccountId": "Account-00000002"}
    )
    reports = world.sync()
    assert reports["hub contact acme"].counts["waiting"] == 1
    assert world.one("select company from hub.contact") is None
    acme.person_create("Account", {"Name": "Late"})
    world.wait(minutes=1)
    world.sync()
    assert world.one("select company from hub.contact") == world.one("select id from hub.company")
    assert world.one("select count(*) from sync.dirty") == 0


def test_a_dry_run_plans_what_the_real_run_does_and_changes_nothing(two: World) -> None:
    acme = two.accounts["acme"]
    acme.person_create("Contact", {"LastName": "FromCrm", "Email": "c@x.example"})
    two.conn.execute("insert into hub.contact (last_name, email) values ('FromHub', 'h@x.example')")
    before = [
        two.one(f"select count(*) from {t}")
        for t in ("sync.dirty", "acme.contact", "sync.history", "sync.watermark")
    ]
    dry = two.sync(dry_run=True)
    assert [
        two.one(f"select count(*) from {t}")
        for t in ("sync.dirty", "acme.contact", "sync.history", "sync.watermark")
    ] == before
    assert two.writes() == 0
    planned = {(p.field, p.new) for p in dry["outbound contact"].plan}
    two.sync()
    done = two.conn.execute(
        "select e.key, e.value from sync.change, jsonb_each_text(new_value::jsonb) e where side = 'crm' and kind = 'create'"
        " union select field, new_value from sync.change where side = 'crm' and kind = 'update'"
    ).fetchall()
    assert planned == set(done)
    assert {p.field for p in dry["hub contact acme"].plan} == {"last_name", "email"}


def test_two_runs_of_one_stream_never_overlap(world: World) -> None:
    with (
        Store(world.url) as other,
        other.exclusive("acme/contact"),
        pytest.raises(BusyError, match="another process"),
    ):
        world.sync("acme", "contact")


def test_the_journal_cannot_be_rewritten(world: World) -> None:
    import psycopg

    world.accounts["acme"].person_create("Contact", {"LastName": "A"})
    world.sync()
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        world.conn.execute("delete from sync.change")


def test_a_merge_of_ours_is_no_change_by_an_application(world: World) -> None:
    acme = world.accounts["acme"]
    crm_id = acme.person_create("Contact", {"LastName": "A", "Email": "a@x.example"})
    world.sync()
    world.wait(minutes=5)
    acme.person_edit("Contact", crm_id, {"LastName": "B"})
    world.sync()
    changed = world.conn.execute(
        "select changed_by, changed_at from sync.provenance where field = 'last_name'"
    ).fetchone()
    assert changed == ("acme", world.time)


def test_matching_links_and_fills_blanks_from_both_sides(two: World) -> None:
    two.accounts["acme"].person_create(
        "Contact", {"LastName": "Lee", "Email": "LEE@x.example", "FirstName": "Ann"}
    )
    two.accounts["beta"].person_create(
        "Contact", {"LastName": "Lee", "Email": "lee@X.example", "Phone": "(415) 555-2671"}
    )
    for name in ("acme", "beta", "acme"):
        two.sync(name)
        two.wait(minutes=1)
    (contact,) = two.hub("contact")
    assert (contact["first_name"], contact["phone"]) == ("Ann", "+14155552671")
    assert two.accounts["beta"].rows("Contact")[0].values["FirstName"] == "Ann"
    assert two.accounts["acme"].rows("Contact")[0].values["Phone"] == "+14155552671"


def test_a_vendor_that_rewrites_values_causes_no_ping_pong(world: World) -> None:
    acme = world.accounts["acme"]
    acme.habits.normalisers = {"Phone": lambda v: f"({v[2:5]}) {v[5:8]}-{v[8:]}", "LastName": str.upper}
    world.conn.execute("insert into hub.contact (last_name, phone) values ('Lee', '+14155552671')")
    for _ in range(3):
        world.sync()
        world.wait(minutes=1)
    writes = world.writes()
    world.sync()
    assert world.writes() == writes
    assert world.hub("contact", "last_name, phone") == [{"last_name": "LEE", "phone": "+14155552671"}]


def test_a_deleted_record_is_neither_taken_nor_pushed(world: World) -> None:
    acme = world.accounts["acme"]
    crm_id = acme.person_create("Contact", {"LastName": "A", "Email": "a@x.example"})
    world.sync()
    world.wait(minutes=5)
    acme.person_delete("Contact", crm_id)
    world.conn.execute("update hub.contact set last_name = 'B'")
    writes = world.writes()
    world.sync()
    assert world.writes() == writes
    assert world.one("select deleted from acme.contact")
    assert world.one("select count(*) from hub.contact") == 1


def test_deletions_that_are_listed_apart_are_asked_for_once_an_hour(world: World) -> None:
    acme = world.accounts["acme"]
    world.crms["acme"].knobs.deletions_in_changed = False
    gone = acme.person_create("Contact", {"LastName": "A", "Email": "a@x.example"})
    world.sync()
    world.wait(minutes=30)
    acme.person_delete("Contact", gone)
    world.sync()
    assert not world.one("select deleted from acme.contact")
    world.wait(minutes=31)
    world.sync()
    assert world.one("select deleted from acme.contact")


def test_a_growing_mapping_agrees_on_the_new_field(world: World) -> None:
    from dataclasses import replace

    from crm_sync.hub import tables
    from crm_sync.mapping.load import load_texts
    from tests.steps.world import CONNECTION

    acme = world.accounts["acme"]
    acme.person_create("Contact", {"LastName": "A", "Email": "a@x.example", "Title": "Boss"})
    world.sync()
    world.system = load_texts({"acme.yaml": CONNECTION + "      title: Title\n"})
    acme.fields["Contact"]["Title"] = replace(
        acme.fields["Contact"]["LastName"], name="Title", required=False
    )
    tables.ensure(world.conn, world.system)
    world.wait(minutes=5)
    world.sync(full=True)
    assert world.one("select title from hub.contact") == "Boss"


def test_long_texts_where_an_index_is_stop_nothing(world: World) -> None:
    """An index takes texts of a few thousand characters; anybody may type longer ones, which do not compress."""
    acme = world.accounts["acme"]
    long = secrets.token_hex(20_000)
    acme.person_create("Contact", {"LastName": "Id", "Email": "id@x.example", "Hub_Id": long})
    acme.person_create("Contact", {"LastName": "Mail", "Email": f"{long}@x.example"})
    acme.person_create("Contact", {"LastName": "Good", "Email": "good@x.example"})
    acme.person_create("Account", {"Name": long})
    for _ in range(2):
        world.sync()
        world.wait(minutes=20)
    assert [row["last_name"] for row in world.hub("contact")] == ["Id", "Good"]
    assert [len(str(row["name"])) for row in world.hub("company")] == [40_000]
    assert [row[0] for row in world.conn.execute("select code from sync.parked").fetchall()] == [
        "INVALID_VALUE"
    ]
