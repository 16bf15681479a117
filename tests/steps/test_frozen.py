"""A field that a CRM does not show for a while is frozen; nobody's value in it is lost or blanked."""

from datetime import timedelta

import pytest

from crm_sync.core.errors import CrmError
from crm_sync.hub import breaker
from tests.steps.world import World


@pytest.fixture
def world(fresh_database_url):
    world = World(fresh_database_url)
    world.accounts["acme"].person_create(
        "Contact", {"FirstName": "Ann", "LastName": "Lee", "Email": "ann@example.com", "Stage": "New"}
    )
    world.sync()
    world.wait(minutes=20)
    yield world
    world.close()


def hide(world, *names):
    world.accounts["acme"].habits.hidden = frozenset(names)
    world.wait(minutes=20)


def contact(world):
    (row,) = world.hub("contact")
    return row


def theirs(world):
    (row,) = world.accounts["acme"].rows("Contact")
    return row.values


def test_what_both_sides_write_meanwhile_meets_when_the_field_is_back(world):
    hide(world, "FirstName")
    world.accounts["acme"].person_edit(
        "Contact", "Contact-00000001", {"FirstName": "Anna", "LastName": "Leigh"}
    )
    world.conn.execute("update hub.contact set first_name = 'Annie', opted_out = true")
    reports = world.sync()
    assert reports["inbound contact"].notes == ["frozen, because they cannot be read: first_name"]
    assert (
        "Frozen, because they cannot be read: contact.first_name" in breaker.health(world.conn, "acme").reason
    )
    assert (contact(world)["first_name"], contact(world)["last_name"]) == ("Annie", "Leigh")
    row = theirs(world)
    assert (row["FirstName"], row["OptedOut"]) == (
        "Anna",
        "true",
    )  # nothing is sent over what nobody could see
    hide(world)
    world.sync()
    world.wait(minutes=20)
    world.sync()
    assert contact(world)["first_name"] == theirs(world)["FirstName"]
    replaced = world.one("select count(*) from sync.change where field = 'first_name' and kind = 'update'")
    assert replaced == 1
    assert world.one("select count(*) from sync.frozen") == 0


def test_only_what_was_modified_meanwhile_is_read_again(world):
    for number in range(5):
        world.accounts["acme"].person_create("Contact", {"LastName": f"Old {number}", "Stage": "New"})
    world.sync()
    world.wait(hours=3)
    world.sync()
    hide(world, "FirstName")
    world.sync()
    world.accounts["acme"].person_edit("Contact", "Contact-00000001", {"FirstName": "Anna"})
    world.wait(days=2)
    world.sync()
    hide(world)
    reports = world.sync()
    assert reports["inbound contact"].counts["read"] < 6
    assert contact_named(world, "Lee")["first_name"] == "Anna"


def contact_named(world, last_name):
    return next(row for row in world.hub("contact") if row["last_name"] == last_name)


def test_a_record_that_came_without_the_field_gets_it_later(world):
    hide(world, "FirstName")
    world.accounts["acme"].person_create("Contact", {"FirstName": "Bo", "LastName": "New", "Stage": "New"})
    world.wait(minutes=20)
    world.sync()
    assert contact_named(world, "New")["first_name"] is None
    hide(world)
    world.sync()
    assert contact_named(world, "New")["first_name"] == "Bo"


def test_one_field_thaws_while_another_stays_away(world):
    hide(world, "FirstName", "Phone")
    world.sync()
    assert frozen(world) == ["first_name", "phone"]
    hide(world, "Phone")
    world.sync()
    assert frozen(world) == ["phone"]


def frozen(world):
    rows = world.conn.execute("select field from sync.frozen where entity = 'contact' order by field")
    return [row[0] for row in rows]


def test_a_create_without_an_answer_that_is_found_without_the_field_blanks_nothing(world):
    """No listing had shown yet that the field was away when the look-up brought the record without it: the mirror then
    said it was blank, and the hub took that."""
    acme, crm = world.accounts["acme"], world.crms["acme"]
    acme.habits.lag = timedelta(minutes=50)
    world.conn.execute("insert into hub.contact (first_name, last_name) values ('Bo', 'New')")
    crm.faults.timeout = "after"
    with pytest.raises(CrmError):
        world.sync()
    hide(world, "FirstName")
    for _ in range(3):  # found by its external id; seen again while the listing does not show it yet; listed
        world.sync()
        assert contact_named(world, "New")["first_name"] == "Bo"
        hide(world)
    world.sync()
    assert contact_named(world, "New")["first_name"] == "Bo"
    assert world.one("select count(*) from acme.contact where first_name = 'Bo'") == 1
    assert world.one("select count(*) from sync.change where side = 'hub' and kind = 'update'") == 0


@pytest.mark.parametrize("edited", [False, True])
def test_what_an_update_without_an_answer_overwrote_is_told_though_the_field_is_away(world, edited):
    """The mirror still said what had stood there before the write, as if nothing had arrived: the value that we had
    replaced was gone without a trace."""
    acme = world.accounts["acme"]
    acme.person_edit("Contact", "Contact-00000001", {"Phone": "+14155550001"})
    world.sync()
    world.wait(minutes=20)
    world.conn.execute("update hub.contact set phone = '+14155550002'")
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        world.sync()
    if edited:
        world.wait(minutes=1)
        acme.person_edit("Contact", "Contact-00000001", {"Phone": "+14155550003"})
    hide(world, "Phone")
    world.sync()
    assert frozen(world) == ["phone"]
    assert sent(world) == [("phone", "+14155550001", "+14155550002", "unknown: no answer came")]
    hide(world)
    world.sync()
    assert theirs(world)["Phone"] == ("+14155550003" if edited else "+14155550002")
    assert world.one("select count(*) from review.conflict") == edited


@pytest.mark.parametrize("now", ["Annie", "Anna"])
def test_an_update_that_another_field_shows_to_have_arrived_wrote_the_one_that_is_away_too(world, now):
    """Else our own value, when it can be seen again, looks like somebody's edit, and is taken over the hub's next one."""
    world.conn.execute("update hub.contact set first_name = 'Annie', last_name = 'Li'")
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        world.sync()
    world.wait(minutes=1)
    world.accounts["acme"].person_edit("Contact", "Contact-00000001", {"FirstName": now})
    hide(world, "FirstName")
    world.sync()
    assert sorted(row[:3] for row in sent(world)) == [
        ("first_name", "Ann", "Annie"),
        ("last_name", "Lee", "Li"),
    ]
    if now == "Annie":
        world.conn.execute("update hub.contact set first_name = 'Anne'")
    hide(world)
    for _ in range(2):
        world.sync()
        world.wait(minutes=20)
    kept = (
        "Anne" if now == "Annie" else "Anna"
    )  # what somebody wrote after it is that person's edit, and no conflict
    assert contact(world)["first_name"] == theirs(world)["FirstName"] == kept
    assert world.one("select count(*) from review.conflict") == 0


def sent(world):
    return world.conn.execute(
        "select field, old_value, new_value, answer ->> 'settled' from sync.change where side = 'crm' and kind = 'update'"
        " and field <> 'full_name'"
    ).fetchall()
