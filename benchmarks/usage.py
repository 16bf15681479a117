"""What a process, and the database server, have used. Linux tells it in /proc; elsewhere some of it is unknown."""

import os
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import psycopg

_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")


def own_cpu() -> float:
    """CPU seconds of this process so far, user and system, all threads."""
    return time.process_time()


def own_peak() -> float:
    """Peak resident memory of this process, in MB.

    From VmHWM where there is one: ru_maxrss of a started process also covers the process that started it.
    """
    with suppress(OSError, StopIteration):
        lines = (_PROC / "self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def forget_peak() -> None:
    """Let the peak start anew from what is resident now, where the system can do that."""
    with suppress(OSError):
        (_PROC / "self/clear_refs").write_text("5")


class ServerCpu:
    """CPU seconds of a Postgres server on this machine: the postmaster, its living processes and the ended ones."""

    def __init__(self, url: str) -> None:
        self._postmaster: int | None = None
        with psycopg.connect(url) as conn, suppress(OSError, ValueError):
            status = _stat(conn.info.backend_pid)
            if "postgres" in status[0]:
                self._postmaster = int(status[2])

    def seconds(self) -> float | None:
        """So far; None if the server is elsewhere."""
        if self._postmaster is None:
            return None
        ended = sum(map(int, _stat(self._postmaster)[14:16])) / _TICK
        total = ended + _seconds(self._postmaster)
        for entry in _PROC.iterdir():
            if entry.name.isdecimal():
                with suppress(OSError):
                    if int(_stat(int(entry.name))[2]) == self._postmaster:
                        total += _seconds(int(entry.name))
        return total


def _seconds(pid: int) -> float:
    """User and system time of a process; to the nanosecond where the kernel keeps that, else to the tick."""
    with suppress(OSError, ValueError):
        return int((_PROC / str(pid) / "schedstat").read_text().split()[0]) / 1e9
    return sum(map(int, _stat(pid)[12:14])) / _TICK


def _stat(pid: int) -> list[str]:
    """Name, state, parent, ... as in proc_pid_stat(5); the name may contain spaces."""
    text = (_PROC / str(pid) / "stat").read_text()
    name, _, rest = text.partition("(")[2].rpartition(")")
    return [name, *rest.split()]
