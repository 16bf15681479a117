"""Where the time of one call goes: functions by cProfile, SQL statements by the time that our process waits for them.

The statements are timed at the client, so that it works on every server without an extension. What triggers do is
part of the statement that fires them.
"""

import cProfile
import io
import pstats
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from unittest import mock

import psycopg

LINES = 15
WIDTH = 150


class Profiler:
    """A context manager that profiles the calling thread."""

    def __init__(self) -> None:
        self._functions = cProfile.Profile()
        self._statements: dict[str, list[float]] = {}
        self._patches: list[Any] = []

    def __enter__(self) -> Self:
        self._patches = [
            mock.patch.object(psycopg.Cursor, name, self._timed(getattr(psycopg.Cursor, name)))
            for name in ("execute", "executemany")
        ]
        self._patches.append(mock.patch.object(psycopg.Cursor, "copy", self._timed_copy(psycopg.Cursor.copy)))
        for patch in self._patches:
            patch.start()
        self._functions.enable()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._functions.disable()
        for patch in self._patches:
            patch.stop()

    def text(self) -> str:
        """The top functions by their own time, and the top statements."""
        out = io.StringIO()
        stats = pstats.Stats(self._functions, stream=out)
        stats.strip_dirs().sort_stats("tottime").print_stats(LINES)
        found = out.getvalue()
        table = found[found.find("ncalls") :].rstrip()
        rows = sorted(self._statements.items(), key=lambda item: -sum(item[1]))[:LINES]
        lines = [f"{sum(times):9.3f} {len(times):7,}  {statement}" for statement, times in rows]
        return "\n".join(["Functions, by seconds of their own (waiting for Postgres included):", "", table, "",
                          "Statements, by seconds waited for:", "", "  seconds   calls  statement", *lines])  # fmt: skip

    def _note(self, connection: Any, query: object, begun: float) -> None:
        as_string = getattr(query, "as_string", None)
        text = as_string(connection) if as_string is not None else str(query)
        self._statements.setdefault(_short(text), []).append(time.perf_counter() - begun)

    def _timed(self, original: Any) -> Any:
        def timed(cursor: Any, query: Any, *args: Any, **more: Any) -> Any:
            begun = time.perf_counter()
            try:
                return original(cursor, query, *args, **more)
            finally:
                self._note(cursor.connection, query, begun)

        return timed

    def _timed_copy(self, original: Any) -> Any:
        @contextmanager
        def timed(cursor: Any, statement: Any, *args: Any, **more: Any) -> Iterator[Any]:
            begun = time.perf_counter()
            try:
                with original(cursor, statement, *args, **more) as copy:
                    yield copy
            finally:
                self._note(cursor.connection, statement, begun)

        return timed


def _short(text: str) -> str:
    """One line. Values are bound, and those that are not are names of ours, so there is nothing private in it."""
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= WIDTH else f"{line[: WIDTH // 2]} … {line[-WIDTH // 2 :]}"
