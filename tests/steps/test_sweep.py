"""The sweep: records that vanished without a trace are found by a complete listing, and by nothing less."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from crm_sync.connectors.crm import JobLog, Page, ReadRequest
from crm_sync.core.errors import CrmError, ErrorClass, HeldBackError
from crm_sync.hub import mirror
from crm_sync.hub.store import Store
from crm_sync.steps.inbound import inbound
from crm_sync.steps.listing import sweep_ids
from crm_sync.steps.options import Options
from tests.steps.world import World


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def seven(world: World) -> list[str]:
    """Seven contacts, in the CRM and in the hub."""
    ids = []
    for number in range(7):
        world.wait(seconds=1)
        values = {"LastName": f"P{number}", "Email": f"p{number}@x.example"}
        ids.append(world.accounts["acme"].person_create("Contact", values))
    for _ in range(2):
        world.wait(minutes=30)
        world.sync()
    world.crms["acme"].knobs.page_size = 2
    return ids


def read(world: World, **flags: object) -> dict[str, int]:
    with Store(world.url) as store:
        stream = world.system.stream("acme", "contact")
        return inbound(store, world.crms["acme"], stream, Options(full=True, **flags)).counts  # type: ignore[arg-type]


def gone(world: World) -> list[str]:
    """What the mirror has as deleted."""
    return [r[0] for r in world.conn.execute("select crm_id from acme.contact where deleted order by crm_id")]


def looked_up(world: World) -> int:
    return world.crms["acme"].calls.get("by_ids", 0)


def notes(world: World) -> object:
    return world.one(
        "select (select count(*) from sync.listing) + (select count(*) from sync.seen)"
        " + (select count(*) from sync.job)"
    )


def test_a_record_that_vanished_is_deleted_in_the_mirror_after_a_look(world: World, seven: list[str]) -> None:
    world.accounts["acme"].person_purge("Contact", seven[3])
    world.wait(minutes=5)
    world.sync()
    assert gone(world) == [], "no window shows what is not there"
    before = looked_up(world)
    assert read(world)["deleted"] == 1
    assert gone(world) == [seven[3]]
    assert looked_up(world) == before + 1
    assert world.one("select modified_at from acme.contact where crm_id = %s", seven[3]) == world.time
    assert world.one("select count(*) from sync.mark where crm_id = %s", seven[3]) == 1
    assert notes(world) == 0


def test_a_full_read_that_misses_nothing_asks_for_nothing(world: World, seven: list[str]) -> None:
    world.wait(minutes=5)
    before = looked_up(world)
    read(world)
    assert (looked_up(world), gone(world), notes(world)) == (before, [], 0)


def test_a_job_that_is_lost_on_the_way_is_listed_from_its_beginning(
    world: World, seven: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Salesforce's results that have expired between two pages: what was shown before does not count."""
    crm = world.crms["acme"]
    changed = crm.changed

    def lost(request: ReadRequest, job: JobLog) -> Iterator[Page]:
        pages = changed(request, job)
        yield from (next(pages), next(pages))
        job.clear()
        world.accounts["acme"].person_purge("Contact", seven[0])
        yield from changed(replace(request, job=None), job)

    monkeypatch.setattr(crm, "changed", lost)
    world.wait(minutes=5)
    assert read(world)["deleted"] == 1
    assert (gone(world), notes(world)) == ([seven[0]], 0)


def test_a_listing_that_forgets_records_deletes_nothing(
    world: World, seven: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is lost on the way, and nobody notices: the records are asked about, and are there."""
    listed = world.accounts["acme"].listed

    def forgetful(name, window):
        return (row for row in listed(name, window) if row.id != seven[5])

    monkeypatch.setattr(world.accounts["acme"], "listed", forgetful)
    before = looked_up(world)
    read(world)
    assert gone(world) == []
    assert looked_up(world) == before + 1


def test_an_incomplete_listing_says_nothing(world: World, seven: list[str]) -> None:
    world.accounts["acme"].person_purge("Contact", seven[6])
    world.wait(minutes=5)
    read(world, max_records=3)
    assert gone(world) == []
    world.crms["acme"].faults.read_error = CrmError(ErrorClass.TRANSIENT, "later")
    with pytest.raises(CrmError):
        read(world)
    assert gone(world) == []
    assert read(world)["deleted"] == 1  # goes on behind the third record, and knows those before it
    assert gone(world) == [seven[6]]


def test_a_window_says_nothing_about_what_is_missing(world: World, seven: list[str]) -> None:
    world.accounts["acme"].person_purge("Contact", seven[2])
    with Store(world.url) as store:
        stream = world.system.stream("acme", "contact")
        inbound(store, world.crms["acme"], stream, Options(full=True, start_date=world.time))
    assert gone(world) == []


def test_a_killed_read_goes_on_and_the_sweep_knows_all_pages(
    world: World, seven: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages before and after the kill count; the page that died with it is noted once it is taken in."""
    world.accounts["acme"].person_purge("Contact", seven[0])
    merge, pages = mirror.merge, list[Page]()

    def dying(conn, stream, page, **more):
        pages.append(page)
        merged = merge(conn, stream, page, **more)
        if len(pages) == 2:
            raise Killed
        return merged

    with monkeypatch.context() as patch:
        patch.setattr(mirror, "merge", dying)
        with pytest.raises(Killed):
            read(world)
    assert gone(world) == []
    assert world.one("select count(*) from sync.seen") == 1
    before = looked_up(world)
    counts = read(world)
    assert (counts["read"], counts["deleted"]) == (4, 1)
    assert gone(world) == [seven[0]]
    assert looked_up(world) == before + 1
    assert world.one("select count(*) from acme.contact where not deleted") == 6


def test_a_read_whose_notes_are_lost_sweeps_nothing(world: World, seven: list[str]) -> None:
    """As after an upgrade in the middle of it, or if somebody emptied the table: half a listing is no listing."""
    world.accounts["acme"].person_purge("Contact", seven[6])
    read(world, max_records=3)
    world.conn.execute("delete from sync.listing")
    read(world)
    assert gone(world) == []
    read(world)
    assert gone(world) == [seven[6]]


def test_what_came_into_the_mirror_meanwhile_is_not_missed(world: World, seven: list[str]) -> None:
    """Created behind the reader's back, in a part of the listing that was read already."""
    read(world, max_records=6)
    world.conn.execute(
        "insert into acme.contact (crm_id, modified_at, last_name) values ('Contact-0', %s, 'New')",
        [world.time],
    )
    before = looked_up(world)
    read(world)
    assert gone(world) == []
    assert looked_up(world) == before


def test_what_can_be_seen_again_is_not_deleted_any_more(world: World, seven: list[str]) -> None:
    """A permission was lost and given back: the record comes with a stamp from before it was missed."""
    acme = world.accounts["acme"]
    versions = acme._versions["Contact"]
    kept = versions.pop(seven[1])
    world.wait(minutes=5)
    read(world)
    assert gone(world) == [seven[1]]
    versions[seven[1]] = kept
    world.wait(minutes=5)
    assert read(world)["updated"] == 1
    assert gone(world) == []
    assert world.one("select modified_at from acme.contact where crm_id = %s", seven[1]) == kept[-1].modified


def test_a_crm_that_shows_nothing_is_a_fault_and_nobody_is_asked(world: World, seven: list[str]) -> None:
    for number in range(60):
        world.accounts["acme"].person_create("Contact", {"LastName": f"More {number}"})
    world.sync()
    kept = dict(world.accounts["acme"]._versions["Contact"])
    world.accounts["acme"]._versions["Contact"].clear()
    before = looked_up(world)
    with pytest.raises(HeldBackError, match="a full read brought 0 records"):
        read(world)
    assert gone(world) == []
    assert looked_up(world) == before
    assert notes(world) == 0
    world.accounts["acme"]._versions["Contact"].update(kept)
    read(world)
    assert gone(world) == []


def test_a_dry_run_finds_them_and_writes_nothing(world: World, seven: list[str]) -> None:
    world.accounts["acme"].person_purge("Contact", seven[3])
    with Store(world.url, dry_run=True) as store:
        stream = world.system.stream("acme", "contact")
        report = inbound(store, world.crms["acme"], stream, Options(full=True, dry_run=True))
    assert report.counts["deleted"] == 1
    assert (gone(world), notes(world)) == ([], 0)


def test_ids_alone_are_enough_to_sweep(world: World, seven: list[str]) -> None:
    """The mirror is not touched by such a listing, and one that was interrupted is gone on with."""
    crm, stream = world.crms["acme"], world.system.stream("acme", "contact")
    world.accounts["acme"].person_purge("Contact", seven[4])
    world.wait(minutes=5)
    world.accounts["acme"].person_edit("Contact", seven[0], {"LastName": "Changed"})

    def dying(*_: object) -> list[object]:
        raise Killed

    by_ids, crm.by_ids = crm.by_ids, dying  # type: ignore[method-assign,assignment]
    with Store(world.url) as store, pytest.raises(Killed):
        sweep_ids(store, crm, stream, Options())
    assert gone(world) == []
    crm.by_ids = by_ids  # type: ignore[method-assign]
    with Store(world.url) as store:
        report = sweep_ids(store, crm, stream, Options())
    assert (report.counts["read"], report.counts["deleted"], report.calls["by_ids"]) == (6, 1, 1)
    assert gone(world) == [seven[4]]
    assert world.one("select last_name from acme.contact where crm_id = %s", seven[0]) == "P0"
    assert notes(world) == 0
    world.sync()
    assert world.one("select last_name from acme.contact where crm_id = %s", seven[0]) == "Changed"
