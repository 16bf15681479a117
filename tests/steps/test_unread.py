"""Before a stream was read to its end nothing is created in its CRM: what the hub has may be there already."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from crm_sync.core.guard import Limit
from crm_sync.hub import dirty, watermark
from crm_sync.hub.store import Store
from crm_sync.steps import outbound as sending
from crm_sync.steps import unread
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.match import preview
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound
from tests.steps.plan_world import applied, nothing_planned, planned, read, rows, streams_of
from tests.steps.world import CONNECTION, World

NUMBER = 6
DAY = timedelta(days=1)
NOTE = "not created: acme/contact was never read to its end; run crm-sync sync acme/contact"


def both(world: World) -> None:
    """Records that hub and CRM both have, older and newer ones, and one that only the hub has."""
    for n in range(NUMBER):
        values = {"LastName": f"P{n}", "Email": f"p{n}@x.example"}
        world.accounts["acme"].person_create("Contact", values)
        world.wait(days=1)
        person(world, n)
    person(world, NUMBER)


def person(world: World, number: int) -> None:
    world.conn.execute(
        "insert into hub.contact (last_name, email) values (%s, %s)", [f"P{number}", f"p{number}@x.example"]
    )


def emails(world: World) -> Counter[str | None]:
    return Counter(row.values.get("Email") for row in world.accounts["acme"].rows("Contact"))


def is_one_of_each(world: World) -> bool:
    """Nothing is doubled, nobody is missing, and nothing is left to do."""
    one_each = Counter(f"p{n}@x.example" for n in range(NUMBER + 1))
    return (
        emails(world) == one_each
        and world.one("select count(*) from hub.contact") == NUMBER + 1
        and world.one("select count(*) from sync.dirty where entity = 'contact'") == 0
    )


def syncs(world: World, number: int = 2) -> None:
    for _ in range(number):
        world.wait(minutes=5)
        world.sync("acme", "contact")


def read_and_sent(world: World, options: Options | None = None, **window: object) -> Report:
    """All steps of the contacts, over a partition; the report of the outbound one."""
    stream, crm, options = world.system.stream("acme", "contact"), world.crms["acme"], options or Options()
    with Store(world.url, run_id="r") as store:
        inbound(store, crm, stream, options, **window)  # type: ignore[arg-type]
        hub(store, stream, options)
        return outbound(store, crm, stream, options)


def yesterday() -> tuple[datetime, datetime]:
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - DAY, day


def past_day(world: World) -> tuple[datetime, datetime]:
    """A day of which the CRM has one record."""
    day = world.time.replace(hour=0, minute=0, second=0, microsecond=0) - 2 * DAY
    return day, day + DAY


def with_a_limit(world: World) -> Report:
    return world.sync("acme", "contact", max_records=2)["outbound contact"]


def with_a_limit_and_full(world: World) -> Report:
    return world.sync("acme", "contact", max_records=2, full=True)["outbound contact"]


def since_a_date(world: World) -> Report:
    return world.sync("acme", "contact", start_date=world.time - 2 * DAY)["outbound contact"]


def of_a_past_day(world: World) -> Report:
    return read_and_sent(world, partition=past_day(world))


def of_a_backfill(world: World) -> Report:
    return read_and_sent(world, Options(full=True), partition=past_day(world), backfill=True)


def outbound_alone(world: World) -> Report:
    with Store(world.url) as store:
        return outbound(store, world.crms["acme"], world.system.stream("acme", "contact"), Options())


WAYS = [with_a_limit, with_a_limit_and_full, since_a_date, of_a_past_day, of_a_backfill, outbound_alone]


@pytest.mark.parametrize("first", WAYS)
def test_what_was_not_read_is_not_created_beside(world: World, first: Callable[[World], Report]) -> None:
    both(world)
    for _ in range(2):
        sent = first(world)
        if world.one("select count(*) from sync.watermark") == 0:
            assert sent.counts["created"] == 0
            assert sent.counts["waiting"] > 0
            assert NOTE in sent.notes
            assert emails(world).total() == NUMBER
        world.wait(minutes=5)
    syncs(world)
    assert is_one_of_each(world)


def test_with_a_limit_the_first_read_comes_to_its_end_by_and_by(world: World) -> None:
    """Hub records that wait are oldest in the queue, and do not use the limit up."""
    for n in range(NUMBER + 1):
        person(world, n)
    for n in range(NUMBER):
        world.accounts["acme"].person_create("Contact", {"LastName": f"P{n}", "Email": f"p{n}@x.example"})
        world.wait(minutes=1)
    linked = []
    for _ in range(3):
        world.sync("acme", "contact", max_records=2)
        world.wait(minutes=5)
        linked.append(world.one("select count(*) from acme.contact_base"))
    assert linked == [2, 4, 6]
    for _ in range(8):
        world.sync("acme", "contact", max_records=2)
        world.wait(minutes=5)
    assert is_one_of_each(world)


def test_what_is_linked_is_sent_before_the_rest_was_read(world: World) -> None:
    both(world)
    with_a_limit(world)
    hub_id = world.one("select hub_id from acme.contact_base limit 1")
    world.conn.execute("update hub.contact set first_name = 'Ann' where id = %s", [hub_id])
    world.wait(minutes=5)
    sent = outbound_alone(world)
    assert (sent.counts["updated"], sent.counts["created"], sent.counts["waiting"]) == (1, 0, NUMBER - 1)


def test_a_run_over_midnight_reads_everything(world: World) -> None:
    """The partition was today's when the run began."""
    both(world)
    begun = yesterday()[1] - timedelta(seconds=1)
    sent = read_and_sent(world, partition=yesterday(), begun=begun)
    assert (sent.counts["created"], sent.notes) == (1, [])
    syncs(world)
    assert is_one_of_each(world)


def test_a_full_read_is_one_whatever_the_day(world: World) -> None:
    both(world)
    syncs(world)
    with Store(world.url) as store:
        report = inbound(
            store,
            world.crms["acme"],
            world.system.stream("acme", "contact"),
            Options(full=True),
            partition=yesterday(),
        )
    assert report.counts["read"] == NUMBER + 1


def test_once_it_was_read_a_later_full_read_holds_nothing_up(world: World) -> None:
    both(world)
    syncs(world)
    person(world, NUMBER + 1)
    with Store(world.url) as store:  # a full read that has stopped in the middle
        stream = world.system.stream("acme", "contact")
        inbound(store, world.crms["acme"], stream, Options(full=True, max_records=1))
        assert outbound(store, world.crms["acme"], stream, Options()).counts["created"] == 1


def test_after_the_watermark_was_taken_away_creates_wait_for_the_next_read(world: World) -> None:
    both(world)
    syncs(world)
    world.conn.execute("delete from sync.watermark")
    person(world, NUMBER + 1)
    assert outbound_alone(world).counts["created"] == 0
    syncs(world, 1)
    assert emails(world)[f"p{NUMBER + 1}@x.example"] == 1


def test_a_stream_that_only_sends_is_read_first_too(fresh_database_url: str) -> None:
    text = CONNECTION.replace("object: Contact", "object: Contact\n    direction: outbound")
    world = World(fresh_database_url, text=text)
    both(world)
    assert outbound_alone(world).counts["created"] == 0
    with_a_limit(world)
    syncs(world)
    assert is_one_of_each(world)
    world.close()


def test_a_dry_run_says_what_the_run_would_do(world: World) -> None:
    both(world)
    limited = world.sync("acme", "contact", dry_run=True, max_records=2)["outbound contact"]
    assert (NOTE in limited.notes, [row for row in limited.plan if row.action == "create"]) == (True, [])
    whole = world.sync("acme", "contact", dry_run=True)["outbound contact"]
    assert whole.notes == []
    assert len({row.key for row in whole.plan if row.action == "create"}) == 1


def test_a_plan_has_no_creates_before_the_first_read(world: World) -> None:
    both(world)
    assert nothing_planned(world)
    with Store(world.url) as store:
        assert unread.told(store, streams_of(world)) == [NOTE]
        read(world)
        assert unread.told(store, streams_of(world)) == []
    plan = planned(world)
    assert {row.target for row in rows(world, plan) if row.action == "create"} == {"crm"}
    applied(world, plan)
    syncs(world)
    assert is_one_of_each(world)


def test_a_plan_that_was_made_before_creates_nothing_either(world: World) -> None:
    """Its creates were planned when the stream had been read, and it is to be read again."""
    both(world)
    read(world)
    plan = planned(world)
    world.conn.execute("delete from sync.watermark")
    applied(world, plan)
    assert emails(world).total() == NUMBER


def test_a_preview_that_reads_nothing_counts_no_creates(world: World) -> None:
    both(world)
    said = []
    for reads in (False, True):
        with Store(world.url, dry_run=True) as store:
            streams = [s for s in streams_of(world) if s.entity == "contact"]
            found = preview(store, world.crms.__getitem__, world.system, streams, read=reads)
            said.append(found.streams[0].create_crm)
    assert said == [0, 1]


def test_the_guard_does_not_count_what_waits(world: World) -> None:
    both(world)
    stream = world.system.stream("acme", "contact")
    stream = replace(stream, guard=replace(stream.guard, creates=Limit(number=0)))
    with Store(world.url) as store:
        assert outbound(store, world.crms["acme"], stream, Options()).counts["created"] == 0
    assert world.one("select count(*) from sync.hold") == 0


def test_children_are_created_when_their_parents_are(world: World) -> None:
    world.accounts["acme"].person_create("Account", {"Name": "Acme", "Website": "https://acme.example"})
    world.conn.execute("insert into hub.company (name, website) values ('Acme', 'https://acme.example')")
    world.conn.execute(
        "insert into hub.contact (last_name, email, company) select 'Lee', 'l@x.example', id from hub.company"
    )
    world.sync("acme", "contact")
    assert outbound_of(world, "company").counts["created"] == 0
    for _ in range(2):
        world.wait(minutes=5)
        world.sync()
    assert len(world.accounts["acme"].rows("Account")) == 1
    (lee,) = world.accounts["acme"].rows("Contact")
    assert lee.values["AccountId"] == world.accounts["acme"].rows("Account")[0].id


def outbound_of(world: World, entity: str) -> Report:
    with Store(world.url) as store:
        return outbound(store, world.crms["acme"], world.system.stream("acme", entity), Options())


def test_what_waits_is_neither_fetched_nor_planned(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million hub records without a link cost a count, run after run."""
    both(world)
    with_a_limit(world)
    fetched: list[int] = []
    chunks = dirty.chunks

    def seen(*args: object, **flags: object) -> object:
        for entries in chunks(*args, **flags):  # type: ignore[arg-type]
            fetched.extend(e.version for e in entries if e.crm_id is None)
            yield entries

    monkeypatch.setattr(sending.dirty, "chunks", seen)
    for step in (outbound_alone, partial(read_and_sent, options=Options(max_records=1))):
        step(world)
    assert fetched == []
    with Store(world.url) as store:
        assert watermark.position(store, world.system.stream("acme", "contact")) is None
