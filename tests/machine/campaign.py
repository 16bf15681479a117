"""A campaign: stories invented from one number, played by several workers, and what came of it in one line of figures.

The figures depend on the seed and the number of steps alone: each story has a seed of its own, begins with everything
empty, and is told from nothing else, whichever worker plays it.
"""

import atexit
import os
import random
import secrets
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED as FIRST
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, count
from multiprocessing import get_context

import psycopg
import pytest

from crm_sync.hub import embedded
from tests.machine import hurry
from tests.machine.far import FarGround
from tests.machine.far_story import FarStory
from tests.machine.ground import Ground
from tests.machine.mutants import MUTANTS
from tests.machine.oracle import Broken, Invariant
from tests.machine.story import Step, Story, failure_of, invent, kind, shrink

LENGTH = 100
"""Steps of a story: long enough that its end, at which everybody stops and all must agree, costs little."""

TRIES = {
    False: 150,
    True: 10,
}  # shorter stories that are tried to make one that fails short: in memory, over HTTPS
PATIENCE = 120.0  # seconds for that; the worker has other stories to play


@dataclass(frozen=True, slots=True)
class Task:
    """One story: its number in the campaign, its seed, its length; over HTTPS or in memory."""

    number: int
    seed: int
    length: int
    https: bool = False
    steps: tuple[Step, ...] = ()  # if they are not to be invented
    mutant: str | None = None  # a fault that is put into the engine first


@dataclass(slots=True)
class Told:
    """What came of one story. failure: how it ended, None if all is well; short: the steps that suffice for that."""

    task: Task
    hits: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    failure: str | None = None
    invariant: str = ""
    trace: str = ""
    short: list[Step] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """The figures of a campaign."""

    stories: int = 0
    steps: int = 0
    kills: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    violations: int = 0

    def add(self, told: Told) -> None:
        self.stories += 1
        self.steps += told.task.length
        self.kills += told.kills
        self.hits.update(told.hits)
        self.violations += told.failure is not None

    def line(self) -> str:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.hits.items()))
        return (
            f"stories {self.stories}, steps {self.steps}, faults {self.hits.total()} ({kinds or 'none'}),"
            f" kill -9 {self.kills}, violations {self.violations}"
        )


def tasks(seed: int, steps: int, *, length: int = LENGTH, https: bool = False) -> Iterator[Task]:
    """The stories of a campaign; the last one may be shorter."""
    for number, first in enumerate(range(0, steps, length)):
        yield Task(number, seed_of(seed, number), min(length, steps - first), https)


def seed_of(seed: int, number: int) -> int:
    """The seed of a campaign's story of this number."""
    return random.Random(f"story {number} of {seed}").randrange(2**32)


def run(
    todo: Iterator[Task], url: str, *, workers: int, tell: Callable[[Told], None] = lambda _: None
) -> Tally:
    """Play all stories, each on one of so many workers with a database of its own on the server at `url`."""
    tally = Tally()
    first = next(todo)
    with _pool(url, workers, https=first.https) as pool:
        running: set[Future[Told]] = set()
        for task in chain([first], todo):
            running.add(pool.submit(_play, task))
            if len(running) > 2 * workers:
                done, running = wait(running, return_when=FIRST)
                _collect(done, tally, tell)
        _collect(running, tally, tell)
    return tally


@contextmanager
def _pool(url: str, workers: int, *, https: bool = False) -> Iterator[ProcessPoolExecutor]:
    # The order of a set of texts differs from process to process otherwise, and with it who is looked at first.
    os.environ["PYTHONHASHSEED"] = "0"
    begin = hurry.begin if https else open_database
    with ProcessPoolExecutor(workers, get_context("spawn"), begin, (url,)) as pool:
        try:
            yield pool
        except BaseException:  # somebody has had enough: nobody waits for stories that have begun
            for worker in list(pool._processes.values()):
                worker.terminate()
            raise


def _collect(futures: set[Future[Told]], tally: Tally, tell: Callable[[Told], None]) -> None:
    for future in futures:
        told = future.result()
        tally.add(told)
        tell(told)


# In a worker -------------------------------------------------------------------------------------------------------


class _Worker:
    """What a worker has: a database of its own, made with its first story."""

    url = ""
    ground: Ground | None = None


def open_database(url: str) -> None:
    """What a worker begins with."""
    _Worker.url = database(url)


def database(url: str) -> str:
    """The address of a new database on the server at `url`."""
    name = f"machine_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"create database {name} template template0")  # type: ignore[call-overload]
    return embedded.with_database(url, name)


def _play(task: Task) -> Told:
    if _Worker.ground is None:
        _Worker.ground = FarGround(_Worker.url) if task.https else Ground(_Worker.url)
        atexit.register(_Worker.ground.close)
    return played(_Worker.ground, task)


def hunt(mutant: str, seed: int, budget: int, length: int) -> tuple[int, Told | None]:
    """In a worker: see `hunt_here`."""
    if _Worker.ground is None:
        _Worker.ground = Ground(_Worker.url)
    return hunt_here(_Worker.ground, mutant, seed, budget, length)


def hunt_here(ground: Ground, mutant: str, seed: int, budget: int, length: int) -> tuple[int, Told | None]:
    """The steps until a story of the campaign `seed` finds this fault of the engine, and what came of that story."""
    for task in tasks(seed, budget, length=length):
        told = played(ground, replace(task, mutant=mutant))
        if told.failure is not None:
            return (task.number + 1) * length, told
    return budget, None


def hunts(
    names: Sequence[str], url: str, *, seed: int, budget: int, length: int, workers: int
) -> Iterator[tuple[str, int, Told | None]]:
    """Hunt for each of these faults."""
    with _pool(url, workers) as pool:
        found = [(name, pool.submit(hunt, name, seed, budget, length)) for name in names]
        for name, future in found:
            yield name, *future.result()


def played(ground: Ground, task: Task) -> Told:
    """Play a story; if it fails, look for fewer steps that fail in the same way."""
    story = FarStory if task.https else Story
    steps = task.steps or invent(task.seed, task.length, story.weights)
    with pytest.MonkeyPatch.context() as patch:
        if task.mutant is not None:
            MUTANTS[task.mutant](patch)
        failure = failure_of(ground, steps, story)
        told = Told(task, Counter(ground.hits), ground.kills)
        if failure is not None:
            _explain(ground, told, steps, failure, story)
    return told


def _explain(
    ground: Ground, told: Told, steps: Sequence[Step], failure: Exception, story: type[Story]
) -> None:
    """Make a story that failed short, and say how."""
    said, tries, most = kind(failure), count(), TRIES[told.task.https]
    until = time.monotonic() + PATIENCE

    def fails(fewer: Sequence[Step]) -> bool:
        more = next(tries) < most and time.monotonic() < until
        return more and kind(failure_of(ground, fewer, story)) == said

    told.short = shrink(steps, fails)
    again = failure if told.task.https else failure_of(ground, told.short, story) or failure
    told.failure = f"{type(again).__name__}: {again}"
    told.invariant = str(again.invariant if isinstance(again, Broken) else Invariant.NO_FAILURE)
    told.trace = "".join(traceback.format_exception(again))
