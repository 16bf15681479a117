"""The leash: nothing that a command started outlives it, not even what does not want to end."""

import os
import subprocess
import sys
import time
from pathlib import Path

from crm_sync.demo import leash

STUBBORN = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " signal.signal(signal.SIGINT, signal.SIG_IGN);"
    " open(sys.argv[1], 'w').write('up'); time.sleep(120)"
)
PARENT = (
    "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[3]]);"
    " open(sys.argv[2], 'w').write(str(child.pid)); time.sleep(120)"
)


def test_what_hangs_while_it_ends_is_killed(tmp_path: Path) -> None:
    number, up, log = tmp_path / "pid", tmp_path / "up", tmp_path / "log"
    command = [sys.executable, "-c", PARENT, STUBBORN, str(number), str(up)]
    with log.open("wb") as stream:
        process = leash.start(command, dict(os.environ), stream.fileno())
    until = time.monotonic() + 60
    while not up.exists() or not number.exists() or not number.read_text():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)
    pid = int(number.read_text())
    try:
        leash.stop(process)
        until = time.monotonic() + 10
        while _alive(pid) and time.monotonic() < until:
            time.sleep(0.1)
        assert not _alive(pid)
    finally:
        if _alive(pid):
            os.kill(pid, 9)


def _alive(pid: int) -> bool:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip()) and not done.stdout.strip().startswith("Z")
