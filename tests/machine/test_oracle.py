"""What the oracle and the people of stories are lenient about, and that they are no more lenient than that."""

import time

import psycopg
import pytest

from crm_sync.connectors.crm import Operation
from tests.machine.ground import Ground
from tests.machine.oracle import Broken
from tests.machine.parts import parts
from tests.machine.story import Story


def _linked(story: Story) -> tuple[str, str]:
    """A contact that both sides have: its ids in the hub and in beta."""
    crm_id = story._crm_insert("beta", {"email": "p1@x.example", "title": "Dr"})
    story.run(parts("beta"))
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
