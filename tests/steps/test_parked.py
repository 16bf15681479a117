"""What a CRM refuses: tried again after growing pauses if it may pass, parked if not, and tried at once when it changes."""

from datetime import timedelta
from uuid import UUID

import pytest

from crm_sync.core.catalogue import BACKOFF, BY_CLASS, OWN, Owner, entry
from crm_sync.core.errors import ErrorClass, RecordError
from crm_sync.hub import error_codes, parked, parked_list
from crm_sync.hub.parked_list import Which
from crm_sync.steps.options import Report
from tests.steps.world import World

LOCKED = RecordError(ErrorClass.TRANSIENT, "UNABLE_TO_LOCK_ROW", "somebody holds the row")
RULE = RecordError(ErrorClass.VALIDATION, "A_RULE", "a rule of theirs", ("LastName",))


@pytest.fixture
def lee(world: World) -> UUID:
    """A contact on both sides that the CRM will refuse to change."""
    world.conn.execute("insert into hub.contact (last_name, email) values ('Lee', 'lee@x.example')")
    world.sync()
    error_codes.fill(world.conn, {})
    hub_id = world.one("select id from hub.contact")
    assert isinstance(hub_id, UUID)
    return hub_id


def refuse(world: World, hub_id: UUID, error: RecordError) -> None:
    world.crms["acme"].faults.reject[str(hub_id)] = error


def sent(world: World) -> dict[str, int]:
    """One more run; what outbound did."""
    world.wait(minutes=5)
    report: Report = world.sync("acme", "contact")["outbound contact"]
    return {name: report.counts[name] for name in ("records", "updated", "retry", "parked")}


def row(world: World) -> tuple[str, int, float | None]:
    """State, attempts, and in how many seconds it is tried again."""
    found = world.conn.execute(
        "select state, attempts, extract(epoch from next_try - last_at)::float8 from review.parked"
    ).fetchall()
    ((state, attempts, pause),) = found
    return state, attempts, None if pause is None else round(pause)


def pass_time(world: World) -> None:
    """The pause of what waits is over."""
    world.conn.execute("update sync.parked set next_try = clock_timestamp() where next_try is not null")


NONE = {"records": 0, "updated": 0, "retry": 0, "parked": 0}


def test_what_may_pass_is_tried_again_after_growing_pauses_and_then_parked(world: World, lee: UUID) -> None:
    refuse(world, lee, LOCKED)
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    assert sent(world) == {"records": 1, "updated": 0, "retry": 1, "parked": 0}
    assert row(world) == ("queued", 1, 0)
    assert world.one("select count(*) from sync.dirty") == 0
    writes = world.writes()
    assert sent(world)["retry"] == 1, "the next run tries it once more"
    assert row(world) == ("waits", 2, 60)
    assert sent(world) == NONE, "no run does before its time"
    assert world.writes() == writes + 1
    pauses = []
    for attempts in range(3, BACKOFF.tries):
        pass_time(world)
        assert sent(world)["retry"] == 1
        state, counted, pause = row(world)
        assert (state, counted) == ("waits", attempts)
        pauses.append(timedelta(seconds=pause or 0))
    assert pauses == [BACKOFF.pause(attempts) for attempts in range(3, BACKOFF.tries)]
    pass_time(world)
    assert sent(world)["retry"] == 1
    assert row(world) == ("parked", BACKOFF.tries, None)
    assert sent(world) == NONE

    world.crms["acme"].faults.reject.clear()
    assert parked_list.requeue(world.conn, Which(code=LOCKED.code)) == 1
    assert sent(world)["updated"] == 1
    assert world.one("select count(*) from sync.parked") == 0


@pytest.mark.parametrize("fields", [(), ("LastName",)])
def test_reasons_in_turn_are_counted_together(world: World, lee: UUID, fields: tuple[str, ...]) -> None:
    """Else each would be a first one, and be tried with every run for ever."""
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    for attempts in range(1, BACKOFF.tries + 1):
        turn = ("A", ()) if attempts % 2 else ("B", fields)
        refuse(world, lee, RecordError(ErrorClass.TRANSIENT, turn[0], "busy", turn[1]))
        assert sent(world)["retry"] == 1
        assert row(world)[:2] == (
            ("queued", 1) if attempts == 1 else ("waits" if attempts < BACKOFF.tries else "parked", attempts)
        )
        pass_time(world)
    assert sent(world) == NONE
    refuse(world, lee, RULE)
    world.conn.execute("update hub.contact set first_name = 'Bob'")
    sent(world)
    assert row(world) == ("parked", 1, None), "another refusal, which is certain, begins anew"


def test_what_changes_is_tried_at_once(world: World, lee: UUID) -> None:
    refuse(world, lee, LOCKED)
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    sent(world)
    sent(world)
    assert row(world)[0] == "waits"
    world.crms["acme"].faults.reject.clear()
    world.conn.execute("update hub.contact set first_name = 'Bob'")
    assert sent(world)["updated"] == 1
    assert world.one("select count(*) from sync.parked") == 0
    pass_time(world)
    assert sent(world) == NONE


def test_a_record_that_is_refused_again_and_again_is_known_since_the_first_time(
    world: World, lee: UUID
) -> None:
    refuse(world, lee, RULE)
    world.conn.execute("update hub.contact set last_name = 'Li'")
    assert sent(world)["parked"] == 1
    first = world.one("select first_at from review.parked")
    assert sent(world) == NONE, "what will be refused again is not tried"
    for attempts in (2, 3):
        world.conn.execute("update hub.contact set last_name = last_name || 'i'")
        assert sent(world)["parked"] == 1
        assert row(world) == ("parked", attempts, None)
    assert world.one("select first_at from review.parked") == first
    refuse(world, lee, RecordError(ErrorClass.VALIDATION, "ANOTHER", "another", ("LastName",)))
    world.conn.execute("update hub.contact set last_name = 'Lii'")
    sent(world)
    assert row(world) == ("parked", 1, None)
    assert world.one("select first_at from review.parked") != first


def test_a_reason_that_is_over_goes_although_another_field_is_refused(world: World, lee: UUID) -> None:
    refuse(world, lee, RULE)
    world.conn.execute("update hub.contact set last_name = 'Li'")
    sent(world)
    refuse(world, lee, RecordError(ErrorClass.VALIDATION, "A_RULE", "their phone", ("Phone",)))
    world.conn.execute("update hub.contact set phone = '+14155550100'")
    sent(world)
    assert world.one("select array_agg(field) from sync.parked") == ["phone"]
    world.crms["acme"].faults.reject.clear()
    world.conn.execute("update hub.contact set phone = '+14155550101'")
    assert sent(world)["updated"] == 1
    assert world.one("select count(*) from sync.parked") == 0


def test_a_run_that_is_stopped_does_not_mark_what_is_due_over_and_over(world: World, lee: UUID) -> None:
    refuse(world, lee, LOCKED)
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    sent(world)
    stream = world.system.stream("acme", "contact")
    for _ in range(3):
        parked.mark_due(world.conn, stream)
    assert world.one("select count(*) from sync.mark") == 1


def test_the_view_says_what_to_do(world: World, lee: UUID) -> None:
    error_codes.fill(
        world.conn,
        {"memory": [entry("A_RULE", ErrorClass.VALIDATION, "Theirs.", "Ask them.", Owner.CRM_ADMIN)]},
    )
    refuse(world, lee, RULE)
    world.conn.execute("update hub.contact set last_name = 'Li'")
    world.conn.execute(f"insert into hub.contact (first_name, last_name) values ('{'x' * 21}', 'Long')")
    world.accounts["acme"].person_create(
        "Contact", {"LastName": "Lo", "Email": "lo@x.example", "NextCall": "soon"}
    )
    sent(world)
    rows = world.conn.execute(
        "select side, code, field, cause, fix, owner, retryable from review.parked order by code"
    )
    assert rows.fetchall() == [
        ("hub", "A_RULE", "last_name", "Theirs.", "Ask them.", "CRM admin", "when the record changes"),
        ("crm", "INVALID_VALUE", "next_call", *_shown("INVALID_VALUE")),
        ("hub", "STRING_TOO_LONG", "first_name", *_shown("STRING_TOO_LONG")),
    ]
    error_codes.fill(world.conn, {})
    fallback = BY_CLASS[ErrorClass.VALIDATION]
    assert world.one("select fix from review.parked where code = 'A_RULE'") == fallback.fix
    listed = parked_list.find(world.conn, Which(owner="data owner"))
    assert {one.code for one in listed} == {"A_RULE", "INVALID_VALUE", "STRING_TOO_LONG"}
    assert [one.code for one in parked_list.find(world.conn, Which(code="A_RULE", entity="contact"))] == [
        "A_RULE"
    ]
    assert parked_list.find(world.conn, Which(connection="other")) == []
    stream = world.system.stream("acme", "contact")
    assert parked_list.by_owner(world.conn, stream) == {"data owner": 3}
    assert [(group.code, group.records) for group in parked_list.groups(world.conn, Which(connection="acme"))] == [
        ("A_RULE", 1), ("INVALID_VALUE", 1), ("STRING_TOO_LONG", 1),
    ]  # fmt: skip


def _shown(code: str) -> tuple[str, str, str, str]:
    (found,) = [one for one in OWN if one.code == code]
    return found.cause, found.fix, found.owner, found.retryable


def test_what_came_from_a_crm_is_requeued_too(world: World) -> None:
    acme = world.accounts["acme"]
    acme.person_create("Contact", {"LastName": "Foo", "Email": "foo@x.example"})
    world.conn.execute("alter table hub.contact add constraint no_foo check (last_name <> 'Foo')")
    world.sync()
    assert world.one("select count(*) from sync.parked") == 1
    world.conn.execute("alter table hub.contact drop constraint no_foo")
    world.sync()
    assert world.one("select count(*) from sync.parked") == 1, "nobody has said that it is mended"
    number = world.one("select id from sync.parked")
    assert isinstance(number, int)
    assert parked_list.requeue(world.conn, Which(ids=(number,))) == 1
    assert row(world)[0] == "queued"
    world.sync()
    assert world.one("select count(*) from hub.contact") == 1
    assert world.one("select count(*) from sync.parked") == 0
