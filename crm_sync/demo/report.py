"""What the demo tells: tables on standard output, and how long each part took."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from rich.text import Text

from crm_sync.commands import console
from crm_sync.commands import report as run_report
from crm_sync.commands.runs import Run, Step
from crm_sync.core.spec import System
from crm_sync.demo.edits import Expected
from crm_sync.demo.verify import Proof

SHOWN = 20  # differences and parked records; there should be none, or few
_MEANING = {
    "bulk_query": "Bulk API 2.0, reading",
    "bulk_ingest": "Bulk API 2.0, writing",
    "query": "REST, reading",
    "collections": "REST, writing 200 at a time",
    "deleted": "log of deletions",
    "list": "listing",
    "search": "search by modification time",
    "associations": "associations in batches",
    "batch_write": "batches of 100",
    "pipelines": "names of pipelines and stages",
}


class Story:
    """Tells the demo phase by phase."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, *, spin: bool = False) -> Iterator[None]:
        """Measure a part of the demo; `spin` shows that something goes on, where no bar does."""
        console.err.print(f"[dim]… {name}[/]", markup=True)
        started = time.monotonic()
        with console.err.status(name) if spin else nullcontext():
            yield
        self._seconds[name] = time.monotonic() - started

    def tell_syncs(self, title: str, runs: Sequence[Run], system: System) -> None:
        """Counts and calls of a sync that went on until nothing was left to do."""
        again = len(runs) - 1
        console.out.print()
        console.out.print(run_report.steps(runs[0].steps, system.entities, title=title))
        for run in runs[1:-1]:
            console.out.print(run_report.steps(run.steps, system.entities, title=f"{title}, once more"))
        console.out.print(
            f"[dim]Run {again} more time{'s' if again != 1 else ''}, until nothing was written any more.[/]",
            markup=True,
        )
        self._tell_calls(runs)

    def _tell_calls(self, runs: Sequence[Run]) -> None:
        made: dict[str, Counter[str]] = {}
        for run in runs:
            for step in run.steps:
                if step.connection:
                    made.setdefault(step.connection, Counter()).update(step.calls)
        table = console.table("connection", "calls", "of them", title="Calls used", numbers=("calls",))
        for connection, families in made.items():
            told = [f"{n} {family} ({_MEANING.get(family, family)})" for family, n in families.most_common()]
            table.add_row(connection, f"{families.total():,}", ", ".join(told))
        console.out.print()
        console.out.print(table)

    def tell_edits(self, expected: Expected) -> None:
        sides = ", ".join(f"{n} in {side}" for side, n in expected.edits.items())
        console.out.print(
            f"\n[bold]People edit:[/] {sides}; {len(expected.disputes)} of the fields on two sides at once.",
            markup=True,
        )

    def tell_third(self, run: Run, system: System) -> None:
        """A sync with nothing to do: only listings."""
        idle = [
            Step(s.connection, s.direction, s.entity, {"read": s.counts.get("read", 0)}, s.calls)
            for s in run.steps
        ]
        console.out.print()
        console.out.print(
            run_report.steps(idle, system.entities, title="Third sync: nothing to write, only to list")
        )

    def tell_proof(self, proof: Proof) -> None:
        """What was compared, what waits, and what should not be."""
        table = console.table(
            "stream",
            "records",
            "fields compared",
            title="Read back and compared with the hub",
            numbers=("records", "fields compared"),
        )
        for stream, fields in proof.compared.items():
            table.add_row(stream, f"{proof.records[stream]:,}", f"{fields:,}")
        console.out.print()
        console.out.print(table)
        where = Counter(f"{connection}/{entity} {name}" for connection, entity, _, name in proof.conflicts)
        console.out.print(
            f"\n[bold]{len(proof.conflicts)} open conflicts[/] wait for a person: "
            + ", ".join(f"{n} {what}" for what, n in sorted(where.items())),
            markup=True,
        )
        parked = console.table(
            "stream", "field", "reason", title=f"{len(proof.parked)} parked, because a value is invalid"
        )
        for connection, entity, _, name, reason in proof.parked[:SHOWN]:
            parked.add_row(f"{connection}/{entity}", name, reason)
        console.out.print()
        console.out.print(parked)
        if proof.complaints:
            console.out.print(f"\n[bold red]{len(proof.complaints)} unexplained differences[/]", markup=True)
            for complaint in proof.complaints[:SHOWN]:
                console.out.print(f"  {complaint}", markup=False)
        else:
            console.out.print(
                "\n[bold green]Hub, Salesforce and HubSpot agree on every mapped field[/] apart from these.",
                markup=True,
            )

    def tell_times(self) -> None:
        table = console.table("", "seconds", title="Time", numbers=("seconds",))
        for name, seconds in self._seconds.items():
            table.add_row(name, f"{seconds:.1f}")
        table.add_row(Text("all", style="bold"), Text(f"{sum(self._seconds.values()):.1f}", style="bold"))
        console.out.print()
        console.out.print(table)
