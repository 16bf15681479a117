"""Where a process is: noted before and after every statement, commit and request, and where it dies if it shall.

Put around psycopg and httpx in the child process of a campaign, never into the product. The note is one line of a
file, written in place, which a SIGKILL cannot take back.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg import sql

_LINE = 160


class Trail:
    """Counts the places where the process could die; at place `die_at` it does, by SIGKILL. At the first place whose
    name has `stop_at` in it, it stops, by SIGSTOP, until somebody wakes it."""

    def __init__(self, path: Path, die_at: int | None = None, stop_at: str | None = None) -> None:
        self.count = 0
        self._die_at = die_at
        self._stop_at = stop_at
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)

    def mark(self, where: str) -> None:
        self.count += 1
        line = f"{self.count:7d} {' '.join(where.split())}"
        os.pwrite(self._file, line[:_LINE].ljust(_LINE).encode()[:_LINE], 0)
        if self.count == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._stop_at is not None and self._stop_at in line:
            self._stop_at = None
            os.kill(os.getpid(), signal.SIGSTOP)


def read(path: Path) -> tuple[int, str]:
    """How many places the process passed, and the last one."""
    text = path.read_bytes().decode(errors="replace") if path.exists() else ""
    number, _, where = text.strip().partition(" ")
    return int(number or 0), where


def follow(trail: Trail) -> None:
    """Mark every statement, commit and request of this process from now on."""

    def around(owner: Any, name: str, label: Callable[..., str]) -> None:
        original = getattr(owner, name)

        def traced(self: Any, *args: Any, **kwargs: Any) -> Any:
            where = label(self, *args)
            trail.mark(f"before {where}")
            result = original(self, *args, **kwargs)
            trail.mark(f"after {where}")
            return result

        setattr(owner, name, traced)

    for name in ("execute", "executemany", "copy"):
        around(psycopg.Cursor, name, _statement)
    around(psycopg.Transaction, "__exit__", lambda _self, kind, *_: "roll-back" if kind else "commit")
    around(httpx.Client, "send", lambda _self, request: f"{request.method} {request.url.path}")


def _statement(cursor: Any, query: Any, *_: Any) -> str:
    return query.as_string(cursor.connection) if isinstance(query, sql.Composable) else str(query)
