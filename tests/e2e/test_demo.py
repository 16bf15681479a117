"""The demo as a newcomer starts it, on a database of the user's and on its own; nothing of it may be left running."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psycopg

DEMO = [sys.executable, "-c", "import sys; from crm_sync.cli import main; sys.exit(main())", "demo"]


def test_on_a_database_of_the_users_all_sides_agree(tmp_path: Path, fresh_database_url: str) -> None:
    done = subprocess.run(
        [*DEMO, "--exit", "--records", "200"],
        cwd=tmp_path,
        env={**os.environ, "CRM_SYNC_DATABASE_URL": fresh_database_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Hub, Salesforce and HubSpot agree on every mapped field" in done.stdout
    assert "12 open conflicts" in done.stdout
    assert "2 parked" in done.stdout
    assert not (tmp_path / ".crm_sync" / "demo").exists()
    with psycopg.connect(fresh_database_url) as conn:
        runs = conn.execute("select count(*) from dagster.runs where status = 'SUCCESS'").fetchone()
    assert runs is not None
    assert runs[0] >= 5  # the syncs show in the UI


def test_on_its_own_database_it_serves_the_review_and_ends_completely(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path / "demo"
    log = tmp_path / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*DEMO, "--records", "100", "--port", str(port), "--home", str(home)],
            cwd=tmp_path,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        link = _link(log, process)
        assert f"127.0.0.1:{port}/assets/hub/contact" in link
        with urllib.request.urlopen(link, timeout=30) as page:
            assert page.status == 200
        mine = _descendants(process.pid)
        assert len(mine) >= 6  # three simulators, dagster's four
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    deadline = time.monotonic() + 20
    while _alive(mine) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _alive(mine)
    assert not home.exists()


def _link(log: Path, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        if "Ctrl-C ends" in text:
            found = re.search(r"Review the open conflicts: (\S+)", text)
            assert found is not None, text
            return found[1]
        assert process.poll() is None, text
        time.sleep(0.3)
    raise AssertionError(log.read_text(errors="replace"))


def _descendants(root: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except FileNotFoundError:
                continue
    found = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - {root}
        found |= more


def _alive(pids: set[int]) -> set[int]:
    found = set()
    for pid in pids:
        try:
            if (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.add(pid)
        except FileNotFoundError:
            continue
    return found
