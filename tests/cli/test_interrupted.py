"""Ctrl-C and kill -9 in the middle of a sync: the command ends, and the next one works and waits for nobody."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from crm_sync.commands import instance, interrupted
from crm_sync.settings import Settings
from crm_sync.simulators.serve import Simulator
from tests.cli.conftest import Place

CLI = [sys.executable, "-c", "import sys; from crm_sync.cli import main; sys.exit(main())"]


@pytest.mark.parametrize(
    ("number", "status", "recorded"), [(signal.SIGINT, 130, "CANCELED"), (signal.SIGKILL, -9, "FAILURE")]
)
def test_a_sync_that_is_ended_leaves_nothing_locked(
    place: Place, simulators: Mapping[str, Simulator], number: signal.Signals, status: int, recorded: str
) -> None:
    assert place.run("setup").status == 0
    instance.prepare(Settings.from_env(os.environ), place.url)
    slow = simulators["salesforce"]
    slow.control("settings", {"latency": 2.0})
    try:
        process = subprocess.Popen([*CLI, "sync", "salesforce/company"], stderr=subprocess.DEVNULL)
        running = "select 1 from sync.history where status = 'running' and crm_source = 'salesforce'"
        _until(lambda: bool(place.rows(running)), process)
        process.send_signal(number)
        assert process.wait(20) == status
    finally:
        slow.control("settings", {"latency": 0.0})

    again = place.run("sync", "salesforce/company")
    assert again.status == 0, again.err
    statuses = place.rows("select status from dagster.runs order by id")
    assert statuses == [(recorded,), ("SUCCESS",)]
    assert place.rows("select count(*) from hub.company") != [(0,)]


def test_what_a_run_raises_is_raised_where_it_is_waited_for() -> None:
    assert interrupted.wait_for(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        interrupted.wait_for(lambda: 1 // 0)


def _until(happened: object, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while not happened():  # type: ignore[operator]
        assert process.poll() is None, "the sync ended before it was interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert Path("/proc", str(process.pid)).exists()
