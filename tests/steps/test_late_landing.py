"""A write of ours that was lost takes effect long after, over what was written since: it passes for nobody's edit."""

from dataclasses import replace

import pytest

from crm_sync.core.decide import LANDED_OR_TYPED
from crm_sync.core.errors import CrmError
from crm_sync.core.spec import Policy
from crm_sync.hub import dirty, doubts, review
from crm_sync.steps.resolve import choice
from tests.steps.world import World


@pytest.fixture
def lost(world: World) -> World:
    """A contact whose first name went One, Two, Three in the hub; the write of Two was lost on its way."""
    world.conn.execute(
        "insert into hub.contact (last_name, email, first_name) values ('A', 'a@x.example', 'One')"
    )
    world.sync()
    world.conn.execute("update hub.contact set first_name = 'Two'")
    world.crms["acme"].faults.timeout = "before"
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    world.conn.execute("update hub.contact set first_name = 'Three'")
    world.wait(minutes=1)
    world.sync()
    assert first_name(world) == "Three"
    return world


def first_name(world: World) -> object:
    return world.accounts["acme"].rows("Contact")[0].values.get("FirstName")


def say(world: World, value: str) -> None:
    """The CRM says so from now on, by whomsoever."""
    account = world.accounts["acme"]
    account.person_edit("Contact", account.rows("Contact")[0].id, {"FirstName": value})


def test_our_old_value_that_lands_late_is_overwritten_by_what_the_hub_says(lost: World) -> None:
    lost.wait(minutes=1)
    say(lost, "Two")
    for _ in range(2):
        lost.wait(minutes=1)
        lost.sync()
    assert lost.one("select first_name from hub.contact") == "Three"
    assert first_name(lost) == "Three"
    reason = lost.one("select reason from sync.change where side = 'crm' order by id desc limit 1")
    assert "landed late" in str(reason)
    lost.wait(minutes=1)
    lost.sync()
    assert lost.one("select count(*) from sync.dirty") == 0


def test_another_value_is_a_persons_edit(lost: World) -> None:
    lost.wait(minutes=1)
    say(lost, "Four")
    lost.wait(minutes=1)
    lost.sync()
    assert lost.one("select first_name from hub.contact") == "Four"


def test_the_same_value_hours_later_is_a_persons_edit(lost: World) -> None:
    lost.wait(minutes=120)
    lost.sync()  # everything is read that may have landed
    lost.wait(minutes=1)
    say(lost, "Two")
    lost.wait(minutes=1)
    lost.sync()
    assert lost.one("select first_name from hub.contact") == "Two"
    assert first_name(lost) == "Two"
    assert lost.one("select count(*) from sync.doubt") == 0


def test_what_landed_is_not_taken_because_the_record_was_edited_later(lost: World) -> None:
    """The CRM's time is that of its last edit, here of another field: nobody can tell whose the value is."""
    lost.wait(minutes=1)
    say(lost, "Two")
    lost.wait(minutes=120)
    account = lost.accounts["acme"]
    account.person_edit("Contact", account.rows("Contact")[0].id, {"LastName": "B"})
    for _ in range(3):
        lost.wait(minutes=5)
        lost.sync()
    assert lost.hub("contact", "first_name, last_name") == [{"first_name": "Three", "last_name": "B"}]
    (conflict,) = review.find(lost.conn)
    assert (conflict.field, conflict.suggestion, conflict.reason) == (
        "first_name",
        "use_hub",
        LANDED_OR_TYPED,
    )
    review.decide(lost.conn, [conflict], "use_crm", "mina")
    lost.sync()
    assert lost.one("select first_name from hub.contact") == "Two"
    lost.wait(minutes=120)
    lost.sync()
    assert lost.one("select count(*) from sync.doubt") == 0


def test_a_value_that_was_sent_again_and_arrived_is_nobodys_doubt(lost: World) -> None:
    lost.conn.execute("update hub.contact set first_name = 'Two'")
    lost.wait(minutes=120)
    lost.sync()
    lost.wait(minutes=120)
    lost.sync()
    assert (first_name(lost), lost.one("select count(*) from sync.doubt")) == ("Two", 0)


@pytest.fixture
def asked(world: World) -> World:
    """A contact whose phone number, of which the policy is manual, may be our late write or typed."""
    world.wait(days=36500)  # by the clocks the CRM's change is the later one
    world.conn.execute("insert into hub.contact (last_name, phone) values ('A', '+4930111')")
    world.sync()
    world.conn.execute("update hub.contact set phone = '+4930222'")
    world.crms["acme"].faults.timeout = "before"
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    world.conn.execute("update hub.contact set phone = '+4930333'")
    for _ in range(2):
        world.wait(minutes=1)
        world.sync()
    account = world.accounts["acme"]
    account.person_edit("Contact", account.rows("Contact")[0].id, {"Phone": "+4930222"})
    for _ in range(2):
        world.wait(minutes=1)
        world.sync()
    return world


def still_asked(world: World, status: str = "open") -> None:
    found = world.conn.execute(
        "select status, hub_value, crm_value, suggestion, reason from review.conflict"
    ).fetchall()
    assert found == [(status, "+4930333", "+4930222", "use_hub", LANDED_OR_TYPED)]
    assert world.accounts["acme"].rows("Contact")[0].values["Phone"] == "+4930222"
    assert world.one("select phone from hub.contact") == "+4930333"


def test_who_wants_to_be_asked_is_asked_whether_it_is_ours_or_typed(asked: World) -> None:
    still_asked(asked)


def test_who_settles_it_by_time_keeps_what_the_hub_said_later(asked: World) -> None:
    """The CRM's time is that of the late write."""
    (conflict,) = review.find(asked.conn, newer="hub")
    assert review.find(asked.conn, newer="crm") == []
    assert choice(conflict, Policy.MOST_RECENT_WINS) == "use_hub"


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("what", ["CRM", "hub", "all"])
def test_the_question_stays_open_when_the_record_is_edited(asked: World, what: str, *, skip: bool) -> None:
    """Also when what was sent is known no more."""
    if skip:
        review.decide(asked.conn, review.find(asked.conn), "skip", "mina")
    asked.wait(minutes=30)
    if what == "hub":
        asked.conn.execute("update hub.contact set first_name = 'Ada'")
    else:
        say(asked, "Ada")
    if what == "all":
        asked.conn.execute("delete from sync.doubt")
        dirty.mark_all(asked.conn, asked.system.stream("acme", "contact"))
    for _ in range(3):
        asked.wait(minutes=5)
        asked.sync()
    still_asked(asked, "skipped" if skip else "open")
    assert (first_name(asked), asked.one("select first_name from hub.contact")) == ("Ada", "Ada")


def spelled(text: str | None) -> str | None:
    """As Salesforce writes phone numbers."""
    return text and f"({text[2:5]}) {text[5:8]}-{text[8:]}"


@pytest.mark.parametrize("minutes", [1, 30])
def test_what_the_crm_spells_in_its_own_way_is_known_as_ours(world: World, minutes: int) -> None:
    """A contact was created once more when the first create got no answer, then edited in the CRM; the first one lands."""
    account = world.accounts["acme"]
    account.habits.normalisers = {"Phone": lambda text: spelled(text) if text.startswith("+") else text}
    world.sync()
    world.conn.execute("insert into hub.contact (last_name, phone) values ('A', '+14155550001')")
    world.crms["acme"].faults.timeout = "before"
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    world.sync()
    (row,) = account.rows("Contact")
    assert row.values["Phone"] == "(415) 555-0001"
    world.wait(minutes=1)
    account.person_edit("Contact", row.id, {"Phone": "+14155550002"})
    for _ in range(2):
        world.wait(minutes=1)
        world.sync()
    assert world.one("select phone from hub.contact") == "+14155550002"
    account.person_edit("Contact", row.id, {"Phone": "+14155550001"})
    for _ in range(3):
        world.wait(minutes=minutes)
        world.sync()
    assert world.one("select phone from hub.contact") == "+14155550002"
    (conflict,) = review.find(world.conn)
    assert (conflict.suggestion, conflict.reason) == ("use_hub", LANDED_OR_TYPED)
    assert world.one("select count(*) from sync.doubt where field = 'phone'") == 1
    review.decide(world.conn, [conflict], "use_hub", "mina")
    for _ in range(3):
        world.wait(minutes=30)
        world.sync()
    assert account.rows("Contact")[0].values["Phone"] == "(415) 555-0002"
    assert world.one("select count(*) from sync.doubt") == 0


def test_another_option_that_means_the_same_in_the_hub_is_a_persons_choice(world: World) -> None:
    stream = world.system.stream("acme", "contact")
    stage = replace(stream.field("stage"), to_hub={"New": "lead", "Fresh": "lead"})
    assert doubts._alike(stage, ["New", "New", None], ["New", "Fresh", None]) == [True, False, False]


def test_what_the_hub_says_again_by_now_is_agreed(lost: World) -> None:
    lost.wait(minutes=1)
    say(lost, "Two")
    lost.conn.execute("update hub.contact set first_name = 'Two'")
    for _ in range(2):
        lost.wait(minutes=1)
        lost.sync()
    assert lost.one("select first_name from hub.contact") == "Two"
    assert first_name(lost) == "Two"
