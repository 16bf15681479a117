"""A machine that falls asleep while it reads: what changed meanwhile, or shows up late, is read by the next run."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace

import pytest

import crm_sync.steps.reached as reached
from crm_sync.connectors.crm import BatchPage, JobLog, ReadRequest
from crm_sync.connectors.memory import MemoryCrm
from tests.steps.world import World


class Sleepy(MemoryCrm):
    """A client whose machine sleeps after the last page of the next listing."""

    sleep: Callable[[], None] | None = None

    def changed(self, request: ReadRequest, job: JobLog) -> Iterator[BatchPage]:
        yield from super().changed(request, job)
        if self.sleep is not None:
            sleep, self.sleep = self.sleep, None
            sleep()


@pytest.fixture
def asleep(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose contact is Ann, read long ago. Of the machine's clocks the monotonic one stands still as it sleeps."""
    world.crms["acme"] = Sleepy(world.accounts["acme"], name="acme")
    clocks = SimpleNamespace(monotonic=lambda: 0.0, time=lambda: world.time.timestamp())
    monkeypatch.setattr(reached, "time", clocks)
    world.accounts["acme"].person_create("Contact", {"LastName": "Ann"})
    world.sync()
    world.wait(hours=3)
    return world


def edit_and_sleep(world: World, crm: Sleepy) -> None:
    """Ann becomes Bea, which the listing shows a minute late: it has been read by then, and the machine sleeps."""
    account = world.accounts["acme"]
    crm_id = account.rows("Contact")[0].id
    account.habits.lag = timedelta(minutes=1)
    account.person_edit("Contact", crm_id, {"LastName": "Bea"})
    account.habits.lag = timedelta()
    crm.sleep = lambda: world.wait(hours=3)
    world.sync("acme", "contact")
    world.sync("acme", "contact")


def test_a_change_that_shows_up_while_the_machine_sleeps_is_read(asleep: World) -> None:
    """Nothing was listed, so the watermark follows the clock: the one of the beginning, not of the awakening."""
    crm = asleep.crms["acme"]
    assert isinstance(crm, Sleepy)
    edit_and_sleep(asleep, crm)
    assert [row["last_name"] for row in asleep.hub("contact")] == ["Bea"]


def test_a_change_that_shows_up_while_no_clock_goes_on_is_read(
    asleep: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual machine that is halted has no clock that tells of it, but it has heard the vendor's with the first page."""
    monkeypatch.setattr(reached, "time", SimpleNamespace(monotonic=lambda: 0.0, time=lambda: 0.0))
    crm = asleep.crms["acme"]
    assert isinstance(crm, Sleepy)
    asleep.accounts["acme"].person_create("Contact", {"LastName": "Carl"})
    edit_and_sleep(asleep, crm)
    assert {row["last_name"] for row in asleep.hub("contact")} == {"Bea", "Carl"}
