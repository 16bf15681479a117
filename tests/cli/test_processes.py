"""Commands that stay: simulate and dev, as processes with signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.cli.conftest import Place

CLI = [sys.executable, "-c", "import sys; from crm_sync.cli import main; sys.exit(main())"]


def test_simulate_says_in_its_first_line_where_it_is(tmp_path: Path) -> None:
    command = [*CLI, "simulate", "hubspot", "--port", "0", "--records", "5", "--seed", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        info = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert info["kind"] == "hubspot"
    assert info["base_url"].startswith("https://127.0.0.1:")
    assert info["access_token"]


def test_simulate_shows_its_own_help(empty: Place) -> None:
    said = empty.run("simulate", "--help")
    assert said.status == 0
    assert "--no-tls" in said.out


def test_dev_serves_the_interface_and_ends_with_all_its_processes(place: Place) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*CLI, "dev", "--port", str(port)],
        cwd=place.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/server_info", process)
        assert place.rows("select to_regclass('dagster.runs') is not null") == [(True,)]
        # What the command line runs from now on is recorded where the interface looks.
        assert place.run("setup").status == 0
        assert place.run("sync", "hubspot/company").status == 0
        assert place.rows("select status from dagster.runs where pipeline_name = 'sync_hubspot'") == [
            ("SUCCESS",)
        ]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    deadline = time.monotonic() + 15
    while _members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _members(process.pid)


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, "dev ended early"
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise AssertionError("the interface did not answer")


def _members(group: int) -> list[int]:
    """Processes of a group that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (
                    os.getpgid(int(entry.name)) == group
                    and (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
                ):
                    found.append(int(entry.name))
            except (ProcessLookupError, FileNotFoundError):
                continue
    return found
