"""`python -m crm_sync.demo.leash COMMAND ...`: run a command that ends when the process that asked for it does.

For commands that cannot promise this themselves. The command leads a process group of its own; SIGINT and SIGTERM are
handed on to it as SIGINT, which every server here takes as "end in order". Whatever is left of the group then is told
to end, and killed if it does not: a code server of Dagster's may hang while it ends. Needs a POSIX system.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

GRACE = 10.0
REST = 3.0  # seconds that what the command left behind has to end
TICK = 0.3


def start(command: Sequence[str], env: dict[str, str], log: int) -> subprocess.Popen[bytes]:
    """Start `command` on a leash held by this process; its output goes to the open file `log`."""
    return subprocess.Popen(  # noqa: S603 - our own commands
        [sys.executable, "-m", "crm_sync.demo.leash", str(os.getpid()), *command],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the command and everything it started; returns when it is gone."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(GRACE + REST + 5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main(argv: Sequence[str]) -> int:
    """Run argv[1:] until it ends, this process is told to, or the process numbered argv[0] is gone."""
    holder, command = int(argv[0]), argv[1:]
    told = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal told
        told = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    child = subprocess.Popen(command, process_group=0)  # noqa: S603 - our own commands
    while child.poll() is None and not told and os.getppid() == holder:
        time.sleep(TICK)
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
    status = child.wait()
    _clear(child.pid)
    return status


def _clear(group: int) -> None:
    """End what is left of a process group."""
    with suppress(ProcessLookupError, PermissionError):  # nothing is left; or only what has ended, says macOS
        os.killpg(group, signal.SIGTERM)
        until = time.monotonic() + REST
        while time.monotonic() < until:
            time.sleep(TICK)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
