"""Reading that stops on the way, by a limit or by the end of the process, goes on where it was."""

from dataclasses import replace
from datetime import datetime

import pytest

from crm_sync.connectors.crm import Page
from crm_sync.hub import mirror
from crm_sync.hub.store import Store
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from tests.steps.world import World


class Killed(BaseException):
    """The process ends here."""


def people(world: World, count: int) -> list[str]:
    acme = world.accounts["acme"]
    ids = []
    for number in range(count):
        world.wait(seconds=1)
        ids.append(acme.person_create("Contact", {"LastName": f"P{number}", "Email": f"p{number}@x.example"}))
    return ids


def read(world: World, **flags: object) -> dict[str, int]:
    with Store(world.url) as store:
        stream = world.system.stream("acme", "contact")
        return inbound(store, world.crms["acme"], stream, Options(**flags)).counts  # type: ignore[arg-type]


def mirrored(world: World) -> int:
    return int(str(world.one("select count(*) from acme.contact")))


def watermark(world: World) -> object:
    return world.one("select position from sync.watermark where entity = 'contact'")


def test_runs_with_a_limit_move_on(world: World) -> None:
    people(world, 7)
    for expected in (3, 6, 7):
        assert watermark(world) is None, "rows are left unread"
        read(world, max_records=3)
        assert mirrored(world) == expected
    assert watermark(world) is not None
    assert world.one("select count(*) from sync.job") == 0


def test_a_limit_moves_on_even_within_the_overlap(world: World) -> None:
    """More records than the limit lie within the overlap: from the watermark alone no run would ever get past them."""
    people(world, 10)
    read(world)
    before = watermark(world)
    people(world, 2)
    for _ in range(20):
        if watermark(world) != before:
            break
        read(world, max_records=2)
    assert mirrored(world) == 12
    assert watermark(world) != before


def test_a_run_without_a_limit_finishes_what_others_began(world: World) -> None:
    people(world, 7)
    read(world, max_records=3)
    assert read(world)["read"] == 4
    assert mirrored(world) == 7
    assert watermark(world) is not None


def test_a_read_of_other_fields_begins_anew(world: World) -> None:
    """What was read before the mapping changed lacks the new field."""
    people(world, 7)
    read(world, max_records=3)
    stream = world.system.stream("acme", "contact")
    without = replace(stream, fields=tuple(spec for spec in stream.fields if spec.name != "stage"))
    with Store(world.url) as store:
        assert inbound(store, world.crms["acme"], without, Options()).counts["read"] == 7


def test_what_changes_behind_the_reader_is_found_later(world: World) -> None:
    first, *_ = people(world, 6)
    read(world, max_records=3)
    world.wait(seconds=5)
    world.accounts["acme"].person_edit("Contact", first, {"LastName": "Changed"})
    read(world)
    assert world.one("select last_name from acme.contact where crm_id = %s", first) == "Changed"


def test_a_killed_read_goes_on_with_the_page_that_was_not_taken_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's rows and the place behind it are one transaction: killed before its end, both are missing."""
    people(world, 7)
    world.crms["acme"].knobs.page_size = 2
    merge, pages = mirror.merge, list[Page]()

    def dying(conn, stream, page, **more):
        pages.append(page)
        merged = merge(conn, stream, page, **more)
        if len(pages) == 3:
            raise Killed
        return merged

    with monkeypatch.context() as patch:
        patch.setattr(mirror, "merge", dying)
        with pytest.raises(Killed):
            read(world)
    assert mirrored(world) == 4
    assert watermark(world) is None
    assert read(world)["read"] == 3
    assert mirrored(world) == 7
    assert isinstance(watermark(world), datetime)
