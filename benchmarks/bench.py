"""The plan of a benchmark: which stages at which size, how often, and how far it has come."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from benchmarks import stages
from benchmarks.figures import Quota, Row, Speed
from benchmarks.ground import account
from benchmarks.meter import Meter
from benchmarks.quota import quota
from benchmarks.simulators import speeds
from benchmarks.stages import Sides
from benchmarks.worker import Worker

CHANGES = (0, 100, 1_000)
ONE_TURN_FROM = 1_000_000
"""Sizes from here on are measured once; one turn is long enough to be no accident."""
PROFILED_UP_TO = 100_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure. sizes: contacts. hubspot_most: HubSpot is measured up to this size, because its floor is
    100 records a call. repeats: turns of each pair. quota_seconds: how long a run under HubSpot's limits shall
    take (0: none). latency: seconds of each answer in that run. profile: one more turn of every stage up to 10^5
    under the profiler. simulators: also how fast the simulated accounts are."""

    sizes: tuple[int, ...] = (10_000, 100_000)
    hubspot_most: int = 20_000
    vendors: tuple[str, ...] = ("salesforce", "hubspot")
    repeats: int = 3
    changes: tuple[int, ...] = CHANGES
    quota_seconds: float = 30.0
    latency: float = 0.1
    profile: bool = False
    simulators: bool = True


@dataclass(slots=True)
class Results:
    """What came of it. profiles: (vendor, size, stage) to seconds under the profiler, and text."""

    rows: list[Row] = field(default_factory=list)
    quotas: list[Quota] = field(default_factory=list)
    speeds: list[Speed] = field(default_factory=list)
    profiles: dict[tuple[str, int, str], tuple[float, str]] = field(default_factory=dict)


def bench(server_url: str, settings: Settings) -> Results:
    """Measure everything."""
    results = Results()
    with _progress() as bar:
        if settings.simulators:
            with _shown(bar, "the simulated accounts", 3) as advance:
                results.speeds += speeds(advance)
        for vendor in settings.vendors:
            for size in _sizes(vendor, settings):
                with _shown(bar, f"{vendor} {size:,}", _turns(size, settings)) as advance:
                    _one_size(server_url, vendor, size, settings, results, advance)
        if settings.quota_seconds and "hubspot" in settings.vendors:
            with _shown(bar, "hubspot under its limits", 2) as advance:
                results.quotas += quota(server_url, settings.quota_seconds, settings.latency, advance)
    return results


def _sizes(vendor: str, settings: Settings) -> list[int]:
    most = settings.hubspot_most
    return list(dict.fromkeys(min(size, most) if vendor == "hubspot" else size for size in settings.sizes))


def _changes(size: int, settings: Settings) -> list[int]:
    return [number for number in settings.changes if number <= size // 2]


def _sent(size: int, settings: Settings) -> list[int]:
    """How many changes go out: as many as come in at the most, and a tenth of all."""
    return sorted({max(_changes(size, settings)), size // 10} - {0})


def _turns(size: int, settings: Settings) -> int:
    repeats = 1 if size >= ONE_TURN_FROM else settings.repeats
    profiled = settings.profile and size <= PROFILED_UP_TO
    each = 2 + len(_changes(size, settings)) + len(_sent(size, settings))
    small = (
        settings.repeats - repeats
    )  # what changes with the change and not with the size is repeated all the same
    return each * (repeats + profiled) + small * len(_changes(size, settings))


def _one_size(
    server_url: str,
    vendor: str,
    size: int,
    settings: Settings,
    results: Results,
    advance: Callable[[str], None],
) -> None:
    repeats = 1 if size >= ONE_TURN_FROM else settings.repeats
    with ExitStack() as stack:
        ours, floor = (stack.enter_context(Worker(name)) for name in ("ours", "floor"))
        with account(vendor, size) as simulator:
            meter = Meter(vendor, simulator, server_url)
            sides = Sides(meter, ours, floor, server_url, size, repeats, done=advance)
            _inbound_and_back(sides, settings)
        with account(vendor, 0) as simulator:
            sides.meter = Meter(vendor, simulator, server_url)
            for turn in range(repeats):
                stages.creates(sides, turn)
            if _profiled(sides, settings):
                stages.creates(replace(sides, profile=True, rows={}), repeats)
    results.rows += sides.rows.values()
    results.profiles |= {(vendor, size, stage): found for stage, found in sides.profiles.items()}


def _inbound_and_back(sides: Sides, settings: Settings) -> None:
    """First reads in databases of their own; what changes afterwards in the last of them."""
    profiled = _profiled(sides, settings)
    if profiled:
        with sides.fresh("profile"):
            stages.first_read(replace(sides, profile=True, rows={}), 0)
    for turn in range(sides.repeats):
        with sides.fresh(f"in_{turn}") as (_, conn):
            stages.first_read(sides, turn)
            if turn < sides.repeats - 1:
                continue
            conn.execute("vacuum analyze")  # as the server does by itself a little later
            scratch = replace(sides, profile=True, rows={})
            for changes in _changes(sides.size, settings):
                for again in range(settings.repeats):
                    stages.changed_in_crm(sides, conn, again, changes)
                if profiled:
                    stages.changed_in_crm(scratch, conn, settings.repeats, changes)
            for changes in _sent(sides.size, settings):
                for again in range(sides.repeats):
                    stages.changed_in_hub(sides, conn, again, changes)
                if profiled:
                    stages.changed_in_hub(scratch, conn, sides.repeats, changes)


def _profiled(sides: Sides, settings: Settings) -> bool:
    return settings.profile and sides.size <= PROFILED_UP_TO


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True),
    )  # fmt: skip


@contextlib.contextmanager
def _shown(bar: Progress, what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar for one size; call what it yields after each pair, with the stage's name."""
    task = bar.add_task(f"{what}: starting", total=total)

    def advance(stage: str) -> None:
        bar.update(task, advance=1, description=f"{what}: {stage}")

    yield advance
    bar.update(task, description=what, completed=total)
