"""What a CRM says in its answers reaches the mirror, and what it leaves out stays as it was."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from crm_sync.connectors.crm import Operation, Result
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import VendorField
from crm_sync.hub import intents
from crm_sync.hub.intents import Intent
from crm_sync.hub.store import Store
from crm_sync.steps.answers import Answers
from crm_sync.steps.options import Report
from tests.steps.world import World


def test_answers_with_different_fields_and_absent_is_not_null(world: World) -> None:
    acme = world.accounts["acme"]
    for n in range(3):
        acme.person_create(
            "Contact",
            {"FirstName": f"F{n}", "LastName": f"L{n}", "Email": f"p{n}@a.example", "Phone": "+14155550100"},
        )
    world.sync()
    found = world.conn.execute("select hub_id, crm_id from acme.contact_base b join hub.contact h on h.id = b.hub_id"
                               " order by h.last_name").fetchall()  # fmt: skip
    answers = [
        (found[0], {"FirstName": "New", "Unmapped": "x"}, {"first_name": "New"}),
        (found[1], {"LastName": "New", "Phone": None}, {"last_name": "New", "phone": None}),
        (found[2], {}, {"first_name": "F2"}),
        ((uuid4(), "unseen"), {"LastName": "Fresh"}, {"last_name": "Fresh"}),
    ]
    record(world, answers)
    rows = world.conn.execute(
        "select first_name, last_name, email, phone, hub_id from acme.contact order by email nulls last"
    ).fetchall()
    assert [row[:4] for row in rows] == [
        ("New", "L0", "p0@a.example", "+14155550100"),
        ("F1", "New", "p1@a.example", None),
        ("F2", "L2", "p2@a.example", "+14155550100"),
        (None, "Fresh", None, None),
    ]
    assert rows[-1][4] == str(answers[3][0][0])


def test_an_answer_that_is_older_than_the_mirror_changes_nothing_there(world: World) -> None:
    crm_id = world.accounts["acme"].person_create("Contact", {"LastName": "Lee"})
    world.sync()
    hub_id = world.one("select hub_id from acme.contact_base")
    assert isinstance(hub_id, UUID)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    record(world, [((hub_id, crm_id), {"LastName": "Old"}, {"last_name": "Old"})], modified_at=long_ago)
    assert world.one("select last_name from acme.contact") == "Lee"


def test_parts_of_a_computed_value_are_not_filled_in(world: World) -> None:
    """They are not in the mirror: the next inbound reads the whole."""
    stream = world.system.stream("acme", "contact")
    computed = replace(stream.field("full_name"), computed=None, vendor=VendorField("computed:full_name", stream.field("full_name").type, template="{A} {B}"))  # fmt: skip
    stream = replace(stream, fields=(*(f for f in stream.fields if f.name != "full_name"), computed))
    record(world, [((uuid4(), "1"), {"A": "x", "LastName": "Lee"}, {"last_name": "Lee"})], stream=stream)
    assert world.conn.execute("select last_name, full_name from acme.contact").fetchall() == [("Lee", None)]


def test_what_was_answered_before_a_failure_is_recorded_and_nothing_more_is_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CRM may just have said that there are too many calls."""

    def not_now(*_: object) -> None:
        raise AssertionError("asked behind a failure")

    def answers() -> Iterator[list[Result]]:
        yield [Result(sent.key, ok=True, crm_id="1", created=True)]
        raise login

    monkeypatch.setattr(world.crms["acme"], "by_ids", not_now)
    login = CrmError(ErrorClass.AUTH, "not accepted")
    stream, hub_id = world.system.stream("acme", "contact"), uuid4()
    sent = Operation(str(hub_id), "create", None, {})
    with Store(world.url) as store:
        intents.note(store.conn, stream, [Intent(hub_id, None, "create", {}, {})], None)
        with pytest.raises(CrmError) as caught:
            Answers(store, world.crms["acme"], stream, Report()).record_all([sent], answers())
    assert caught.value is login
    assert world.one("select count(*) from sync.intent") == 0
    assert world.one("select crm_id from acme.contact_base") == "1"


def record(world, answers, stream=None, modified_at=None):
    """Record answers, one transaction for all: ((hub id, CRM id), what was returned, what was sent)."""
    stream = stream or world.system.stream("acme", "contact")
    known = {row[0] for row in world.conn.execute("select hub_id from acme.contact_base").fetchall()}
    planned = []
    for (hub_id, crm_id), _, sent in answers:
        kind = "update" if hub_id in known else "create"
        planned.append(Intent(hub_id, crm_id if hub_id in known else None, kind, sent, sent))
    operations = [Operation(str(i.hub_id), i.kind, i.crm_id, {}) for i in planned]
    results = [
        Result(o.key, ok=True, crm_id=crm_id, created=o.kind == "create", returned=returned, modified_at=modified_at)
        for o, ((_, crm_id), returned, _) in zip(operations, answers, strict=True)
    ]  # fmt: skip
    with Store(world.url) as store:
        intents.note(store.conn, stream, planned, None)
        Answers(store, world.crms["acme"], stream, Report()).record_all(operations, [results])
    assert world.one("select count(*) from sync.intent") == 0
