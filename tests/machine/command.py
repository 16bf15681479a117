"""Play a campaign of stories: `python -m tests.machine --seed 1 --steps 10000`, or `make soak SEED=1 STEPS=10000`.

The last line on standard output holds the figures, the same for the same seed and number of steps on every machine and
with any number of workers. A story that fails is told when it happens, made short, with how to play it again. The exit
status is 0 only if no invariant was violated.
"""

import argparse
import ast
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from crm_sync.hub import embedded
from tests.machine.campaign import LENGTH, Task, Told, hunts, run, seed_of, tasks
from tests.machine.mutants import MUTANTS

EVERY = 60.0  # seconds between two words about how it goes

MEMORY = Path("/dev/shm")
"""Files in memory, where Linux has them."""
ROOM = 2 << 30
"""Bytes that must be free there: ten times what the data of a few workers need."""


@contextmanager
def server() -> Iterator[str]:
    """A Postgres in a temporary home, stopped and removed at the end; or the developer's own."""
    if own := os.environ.get("CRM_SYNC_TEST_DATABASE_URL"):
        yield own
        return
    home = Path(tempfile.mkdtemp(prefix="crm_sync-machine-", dir=_quick()))
    home.chmod(0o711)  # as root, the server's own account has to pass through
    try:
        url = embedded.ensure_running(home)
        with psycopg.connect(url, autocommit=True) as conn:
            # These data are thrown away: a power cut may take them. What is killed here are processes.
            for setting in (
                "fsync = off",
                "synchronous_commit = off",
                "full_page_writes = off",
                "max_wal_size = '256MB'",
            ):
                conn.execute(f"alter system set {setting}")  # type: ignore[call-overload]
            conn.execute("select pg_reload_conf()")
        yield url
    finally:
        embedded.remove(home)
        shutil.rmtree(home, ignore_errors=True)


def _quick() -> Path | None:
    """Where files are in memory, None if there is no room: each step makes and removes dozens of temporary tables, and
    a file system on a disk takes longer to find them a place than Postgres to fill them."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return None
    found = os.statvfs(MEMORY)  # programs that are copied there for the server's account must run
    return MEMORY if found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC else None


class _Teller:
    """Says on standard error how it goes, and on standard output what went wrong."""

    def __init__(self, campaign: int) -> None:
        self.campaign = campaign
        self.begun = self.last = time.monotonic()
        self.steps = self.kills = self.wrong = 0

    def __call__(self, told: Told) -> None:
        self.steps += told.task.length
        self.kills += told.kills
        if told.failure is not None:
            self.wrong += 1
            print(_violation(self.campaign, told), flush=True)
        if time.monotonic() - self.last >= EVERY:
            self.last = time.monotonic()
            self.say()

    def say(self) -> None:
        seconds = time.monotonic() - self.begun
        print(
            f"{self.steps} steps in {seconds:.0f} s ({self.steps / seconds:.1f} a second),"
            f" kill -9 {self.kills}, violations {self.wrong}",
            file=sys.stderr,
            flush=True,
        )


def _violation(campaign: int, told: Told) -> str:
    task = told.task
    https = " --https" if task.https else ""
    return (
        f"VIOLATION in story {task.number} (seed {task.seed}): {told.failure}\n{told.trace}"
        f"  again: python -m tests.machine --seed {campaign} --story {task.number} --length {task.length}{https}\n"
        f'  short: python -m tests.machine{https} --play "{told.short}"'
    )


def _hunt(told: argparse.Namespace, url: str) -> int:
    """A table of the faults that are put into the engine: which invariant caught each, after how many steps."""
    missed = 0
    names = told.mutants or list(MUTANTS)
    for name, steps, found in hunts(
        names, url, seed=told.seed, budget=told.steps, length=told.length, workers=told.workers
    ):
        missed += found is None
        if found is None:
            print(f"{name}: NOT FOUND in {steps} steps", flush=True)
            continue
        print(
            f"{name}: {found.invariant}; seed {told.seed} story {found.task.number}, {steps} steps\n"
            f"    {found.failure}\n    {found.short}",
            flush=True,
        )
    print(f"faults {len(names)}, found {len(names) - missed}")
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.machine", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the number that the whole campaign follows from")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--length", type=int, default=LENGTH, help="steps of a story")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--https", action="store_true", help="through the simulators, their faults on")
    parser.add_argument("--story", type=int, help="only this story of the campaign")
    parser.add_argument("--play", help="only these steps, as a violation tells them: [('sync', 1), ...]")
    parser.add_argument(
        "--mutants", nargs="*", help="put faults into the engine, and say which story finds each"
    )
    told = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda number, _: sys.exit(128 + number)
    )  # so that the server stops as well
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores in the background
    if told.mutants is not None:
        with server() as url:
            return _hunt(told, url)
    if told.play is not None:
        steps = tuple(ast.literal_eval(told.play))
        todo = iter([Task(0, 0, len(steps), told.https, steps)])
    elif told.story is not None:
        todo = iter([Task(told.story, seed_of(told.seed, told.story), told.length, told.https)])
    else:
        todo = tasks(told.seed, told.steps, length=told.length, https=told.https)
    teller = _Teller(told.seed)
    with server() as url:
        tally = run(todo, url, workers=told.workers, tell=teller)
    teller.say()
    print(tally.line(), flush=True)
    return 1 if tally.violations else 0
