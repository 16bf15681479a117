"""One side of a comparison in a process of its own, so that its memory and CPU time are its own alone.

The process holds one object at a time (`benchmarks.ours.Ours` or a floor), opened on a place and kept between
calls, so that importing and connecting are not measured.
"""

import gc
import multiprocessing
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from benchmarks.place import Place
from benchmarks.profiling import Profiler
from benchmarks.usage import forget_peak, own_cpu, own_peak


class Side(Protocol):
    """Ours, or the floor."""

    def close(self) -> None: ...


Open = Callable[[Place], Side]
"""A side's class; it is sent by name."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a call took. wall and cpu in seconds, peak in MB (since the call began, what was resident before it
    included). result: what the method returned. profile: text, if asked for."""

    wall: float
    cpu: float
    peak: float
    result: Any
    profile: str = ""


class Worker:
    """The process, seen from outside. An exception in it is raised here."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pipe, theirs = multiprocessing.Pipe()
        # Not a multiprocessing.Process: that would import the benchmark's own main module, and all it needs.
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from benchmarks.worker import serve; serve({theirs.fileno()})"],
            cwd=Path(__file__).parents[1],
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def open(self, side: Open, place: Place) -> None:
        """Close what is open, and open this side on this place."""
        self._ask(("open", side, place))

    def shut(self) -> None:
        """Close what is open, so that its database can be dropped."""
        self._ask(("shut",))

    def call(self, method: str, *args: object, profile: bool = False) -> Done:
        """Call a method of what is open."""
        done: Done = self._ask(("call", method, args, profile))
        return done

    def _ask(self, request: tuple[Any, ...]) -> Any:
        self._pipe.send(request)
        try:
            ok, answer = self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"{self._name} ended with status {self._process.wait(10)}") from None
        if not ok:
            raise answer
        return answer


def serve(descriptor: int) -> None:
    """The process itself: answer what comes through the pipe until that is closed."""
    pipe: Connection[Any, Any] = Connection(descriptor)
    side: Side | None = None
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            what, *rest = pipe.recv()
            try:
                answer: object = None
                if what == "call":
                    answer = _measured(side, *rest)
                else:
                    if side is not None:
                        side.close()
                    side = rest[0](rest[1]) if what == "open" else None
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again on the other side
                failure = RuntimeError(f"{what} {rest[:1]}: {type(error).__name__}: {error}")
                failure.add_note(traceback.format_exc())
                pipe.send((False, failure))
            else:
                pipe.send((True, answer))
    if side is not None:
        side.close()


def _measured(side: Side | None, method: str, args: tuple[object, ...], profile: bool) -> Done:
    work = getattr(side, method)
    gc.collect()
    forget_peak()
    profiler = Profiler() if profile else None
    cpu, begun = own_cpu(), time.perf_counter()
    if profiler is None:
        result = work(*args)
    else:
        with profiler:
            result = work(*args)
    wall, used = time.perf_counter() - begun, own_cpu() - cpu
    return Done(wall, used, own_peak(), result, profiler.text() if profiler else "")
