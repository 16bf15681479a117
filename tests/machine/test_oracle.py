"""What the oracle and the people of stories are lenient about, and that they are no more lenient than that."""

import random
import time

import psycopg
import pytest

from crm_sync.connectors.crm import Operation
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.hub import review
from tests.machine.ground import NAMES, Ground
from tests.machine.oracle import Broken
from tests.machine.parts import parts
from tests.machine.story import Story


def _linked(story: Story, name: str = "beta", also: dict[str, str | None] | None = None) -> tuple[str, str]:
    """A contact that both sides have: its ids in the hub and in this CRM."""
    crm_id = story._crm_insert(name, {"email": "p1@x.example", "title": "Dr", **(also or {})})
    story.run(parts(name))
    (hub_id,) = story.g.hub("contact")
    return hub_id, crm_id


def test_what_is_sent_to_a_deleted_record_overwrites_nothing(ground: Ground) -> None:
    story = Story(ground)
    hub_id, crm_id = _linked(story)
    operation = Operation(hub_id, "update", crm_id, {"Title": "Boss"})
    story._crm_write("beta", "contact", crm_id, {"title": "T1"})
    with pytest.raises(Broken, match="no blind overwrite"):
        story.oracle.before_write("beta", operation, raced=False)
    ground.accounts["beta"].person_delete("Contact", crm_id)
    story.oracle.before_write("beta", operation, raced=False)


def test_what_a_record_said_when_it_was_deleted_is_told_by_the_journal(ground: Ground) -> None:
    story = Story(ground)
    hub_id, crm_id = _linked(story)
    ground.accounts["beta"].person_delete("Contact", crm_id)
    ground.wait(61)
    story.run(parts("beta"))
    assert not ground.hub("contact")
    ground.accounts["beta"].person_restore("Contact", crm_id)
    ground.accounts["beta"].person_edit("Contact", crm_id, {"Title": "Boss"})
    ground.wait(61)
    story.run(parts("beta"))
    assert ground.hub("contact")[hub_id]["title"] == "Boss"
    assert story.oracle._is_current(("hub", hub_id, "title"), "Dr")
    assert not story.oracle._is_current(("hub", hub_id, "title"), "T1")


def test_an_edit_that_the_crm_had_not_heard_of_comes_back_with_the_record(ground: Ground) -> None:
    story = Story(ground)
    hub_id, crm_id = _linked(story)
    story.run(parts("acme"))
    story._hub_write("contact", hub_id, {"title": "T1"})
    ground.wait(61)
    story.run(parts("beta"))
    ground.accounts["beta"].person_delete("Contact", crm_id)
    ground.wait(61)
    story.run([*parts("beta"), *parts("acme")])
    assert not ground.hub("contact")
    review.decide(ground.conn, review.find(ground.conn, connection="acme"), "use_crm", "mina")
    story.run([("hub", "contact", "acme")])
    assert ground.hub("contact")[hub_id]["title"] == "T1"
    ground.conn.execute("update hub.contact set title = 'Dr'")  # all that acme knows of
    assert not story.oracle._is_current(("hub", hub_id, "title"), "T1")


def test_an_application_does_not_wait_for_a_transaction_that_waits_for_it(ground: Ground) -> None:
    story = Story(ground)
    hub_id, _ = _linked(story)
    begun = time.monotonic()
    with psycopg.connect(ground.url) as conn:
        conn.execute("select from hub.contact for update")
        assert not story._not_waiting(lambda: story._hub_write("contact", hub_id, {"title": "Boss"}))
    assert time.monotonic() - begun < 4  # less than the patience of an application by itself
    assert ("hub", hub_id, "title") not in story.diary.last
    assert story._not_waiting(lambda: story._hub_write("contact", hub_id, {"title": "Boss"}))
    assert story.diary.last["hub", hub_id, "title"] == "Boss"


def _landed_late(story: Story) -> tuple[str, str]:
    """A contact whose phone number was sent again when the first write got no answer; now that one has landed."""
    hub_id, crm_id = _linked(story)
    story._hub_write("contact", hub_id, {"phone": "+14155550002"})
    story.g.crms["beta"].postpone = story.g.postpone("beta", 90)
    story.run(parts("beta"))
    story._hub_write("contact", hub_id, {"phone": "+14155550001"})
    for _ in range(2):
        story.g.wait(40)
        story.run(parts("beta"))
    assert _phone(story, crm_id) == "+14155550001"
    story.g.wait(40)
    assert _phone(story, crm_id) == "+14155550002"
    return hub_id, crm_id


def _phone(story: Story, crm_id: str) -> str | None:
    return story.g.accounts["beta"].row("Contact", crm_id).values["Phone"]


def test_a_person_is_asked_about_a_phone_number_that_may_be_our_own(ground: Ground) -> None:
    """Its policy is manual: whether our write landed late or somebody typed it nobody can tell."""
    story = Story(ground)
    with story._watched():
        _, crm_id = _landed_late(story)
        story.run(parts("beta"))
    assert _phone(story, crm_id) == "+14155550002"
    assert ground.one("select suggestion from review.conflict where status = 'open'") == "use_hub"


@pytest.mark.parametrize("numbers", [[], ["+14155550003"], ["+14155550003", "+14155550002"]])
def test_a_phone_number_that_says_something_else_is_asked_about(ground: Ground, numbers: list[str]) -> None:
    story = Story(ground)
    with story._watched():
        hub_id, crm_id = _landed_late(story)
        for number in numbers:
            story._crm_write("beta", "contact", crm_id, {"phone": number})
        story.run([("inbound", "contact", "beta")])
    operation = Operation(hub_id, "update", crm_id, {"Phone": "+14155550001"})
    with pytest.raises(Broken, match="no blind overwrite"):
        story.oracle.before_write("beta", operation, raced=False)


def _created_twice(story: Story) -> str:
    """A contact that was created in acme once more when the first create got no answer, and then edited there; now that
    one has landed, over the edit."""
    story._hub_insert({"email": "p1@x.example", "title": "Dr", "phone": "+14155550001"})
    story.g.crms["acme"].postpone = story.g.postpone("acme", 90)
    for _ in range(2):
        story.run(parts("acme"))
    (crm_id,) = (row.id for row in story.g.accounts["acme"].rows("Contact"))
    story._crm_write("acme", "contact", crm_id, {"title": "Boss", "phone": "+14155550002"})
    story.g.wait(61)
    story.run(parts("acme"))
    story.g.wait(61)
    assert story.g.accounts["acme"].row("Contact", crm_id).values["Title"] == "Dr"
    return crm_id


def test_what_a_create_overwrites_that_lands_late_nobody_could_see(ground: Ground) -> None:
    story = Story(ground)
    with story._watched():
        crm_id = _created_twice(story)
        story.run(parts("acme"))
    assert ground.one("select crm_value from review.conflict where status = 'open'") == "(415) 555-0001"
    story.oracle._no_lost_update()
    story.oracle._nothing_invented()
    ground.accounts["acme"].person_edit("Contact", crm_id, {"Email": None})  # nobody's edit that is noted
    story.diary.last["acme", crm_id, "email"] = "p2@x.example"
    with pytest.raises(Broken, match="no lost update"):
        story.oracle._no_lost_update()


def test_what_landed_late_is_taken_only_as_of_two_changes(ground: Ground) -> None:
    """Whose last name it is nobody can tell any more, for somebody has edited the record since. Its policy is crm_wins."""
    story = Story(ground)
    hub_id, crm_id = _linked(story, "acme", {"last_name": "Kim"})
    story._hub_write("contact", hub_id, {"last_name": "Lee"})
    story.g.crms["acme"].postpone = story.g.postpone("acme", 90)
    story.run(parts("acme"))
    story._hub_write("contact", hub_id, {"last_name": "L1"})
    with story._watched():
        story.run(parts("acme"))
        story._hub_write("contact", hub_id, {"last_name": "L2"})
        ground.wait(4000)
        story._crm_write("acme", "contact", crm_id, {"first_name": "Ann"})
        story.run(parts("acme"))
    assert ground.hub("contact")[hub_id]["last_name"] == "Lee"
    assert ground.one("select reason from sync.change where new_value = 'Lee' and side = 'hub'") == "crm_wins"
    story.oracle._nothing_invented()
    ground.conn.execute(
        "insert into sync.change (connection, entity, hub_id, crm_id, field, side, kind, new_value, reason) values"
        " ('acme', 'contact', %s, %s, 'last_name', 'hub', 'update', 'Lee', 'changed in the CRM')",
        [hub_id, crm_id],
    )
    with pytest.raises(Broken, match="nobody wrote 'Lee'"):
        story.oracle._nothing_invented()


def test_a_create_that_lands_late_overwrites_nothing_where_ids_are_not_known(ground: Ground) -> None:
    story = Story(ground)
    story._hub_insert({"email": "p1@x.example", "title": "Dr"})
    for _ in range(2):
        story.run(parts("beta"))
    (hub_id,) = (row.values["Hub_Id"] for row in ground.accounts["beta"].rows("Contact"))
    assert hub_id is not None
    story.oracle.before_landing("beta", Operation(hub_id, "create", None, {"Title": "Boss"}))
    assert not story.diary.unseen


def _sent_without_an_answer(story: Story) -> str:
    """A contact of beta over whose title "Dr" we have written, of which no answer has come."""
    hub_id, crm_id = _linked(story)
    story._hub_write("contact", hub_id, {"title": "Boss"})
    story.g.crms["beta"].faults.timeout = "after"
    story.run(parts("beta"))
    story.g.crms["beta"].faults.timeout = None
    assert story.g.accounts["beta"].row("Contact", crm_id).values["Title"] == "Boss"
    return crm_id


def test_what_a_person_puts_back_before_our_write_has_an_answer_is_not_lost(ground: Ground) -> None:
    """Not even if the record then ends in a merge, so that the hub's value is not sent again."""
    story = Story(ground)
    crm_id = _sent_without_an_answer(story)
    story._crm_write("beta", "contact", crm_id, {"title": "Dr"})
    ground.accounts["beta"].person_merge("Contact", story._crm_insert("beta", {"email": None}), crm_id)
    for _ in range(2):
        ground.wait(61)
        story.run(parts("beta"))
    story.oracle._no_lost_update()


def test_what_a_person_puts_back_is_lost_if_it_is_overwritten_untold(ground: Ground) -> None:
    story = Story(ground)
    crm_id = _sent_without_an_answer(story)
    story._crm_write("beta", "contact", crm_id, {"title": "Dr"})
    ground.accounts["beta"].person_edit("Contact", crm_id, {"Title": "Boss"})  # nobody's edit that is noted
    with pytest.raises(Broken, match="no lost update"):
        story.oracle._no_lost_update()


@pytest.mark.parametrize(("answered", "title"), [(False, "T1"), (True, "Dr")])
def test_what_our_write_replaced_is_lost_if_it_is_not_put_back_or_has_an_answer(
    ground: Ground, answered: bool, title: str
) -> None:
    story = Story(ground)
    crm_id = _sent_without_an_answer(story)
    if answered:  # and yet the journal does not tell
        ground.conn.execute("delete from sync.intent")
    story._crm_write("beta", "contact", crm_id, {"title": title})
    with pytest.raises(Broken, match="no lost update"):
        story.oracle._no_lost_update()


def _throttled(story: Story) -> None:
    """The last run of beta was told that there are too many calls."""
    error = CrmError(ErrorClass.RATE_LIMIT, "too many calls", status=429, retry_after=1)
    story.g.crms["beta"].fails = 1, "throttled", error
    story.run(parts("beta"))
    assert story.g.crms["beta"].throttled


def test_the_next_process_may_call_a_crm_that_told_the_last_one_of_too_many_calls(ground: Ground) -> None:
    story = Story(ground)
    _linked(story)
    beta = next(n for n in range(99) if random.Random(n).choice(NAMES) == "beta")
    for next_process in (lambda: story.hint(random.Random(beta)), lambda: story.run(parts("beta"))):
        _throttled(story)
        before = sum(ground.crms["beta"].calls.values())
        next_process()
        assert sum(ground.crms["beta"].calls.values()) > before
        story.oracle.each_step()


def test_a_run_that_goes_on_although_there_are_too_many_calls_is_seen(ground: Ground) -> None:
    story = Story(ground)
    _linked(story)
    _throttled(story)
    list(ground.crms["beta"].by_ids(ground.system.stream("beta", "contact"), ["Contact-00000001"]))
    with pytest.raises(Broken, match="budget"):
        story.oracle.each_step()
