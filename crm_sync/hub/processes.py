"""What the operating system knows about a process: enough to tell a live server from a stale process id.

A number in a pid file proves nothing: the process may be dead and not yet reaped (a zombie answers to signals),
or the number may belong to somebody else by now (a restarted container, a reboot).
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A live process: its arguments, and an opaque mark of when it started that no other process shares."""

    argv: tuple[str, ...]
    started: str


def look_up(pid: int) -> Process | None:
    """The process with this id, or None if there is none, it is a zombie, or it cannot be seen."""
    return _from_proc(pid) if (_PROC / "self" / "stat").exists() else _from_ps(pid)


def _from_proc(pid: int) -> Process | None:
    try:
        status = (_PROC / str(pid) / "stat").read_text(errors="replace")
        arguments = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return None
    # The second field is the program's name in brackets, which may itself hold spaces and brackets.
    fields = status.rpartition(")")[2].split()
    state, ticks_since_boot = fields[0], fields[19]
    if state in "ZX":
        return None
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    argv = tuple(os.fsdecode(part) for part in arguments.rstrip(b"\0").split(b"\0"))
    return Process(argv, f"{boot}:{ticks_since_boot}")


def _from_ps(pid: int) -> Process | None:
    """The same from `ps`, for systems without /proc (macOS); arguments are split at blanks there."""
    answer = subprocess.run(  # noqa: S603 - fixed program, a number as its argument
        ["/bin/ps", "-ww", "-o", "stat=,lstart=,args=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    words = answer.stdout.split()
    if answer.returncode != 0 or len(words) < 7 or words[0].startswith("Z"):
        return None
    return Process(tuple(words[6:]), " ".join(words[1:6]))
