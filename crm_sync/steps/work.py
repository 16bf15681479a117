"""What the parts of the hub step share while they work on one chunk."""

from dataclasses import dataclass, field

import psycopg

from crm_sync.core.spec import StreamSpec
from crm_sync.hub.parked import Parked
from crm_sync.hub.store import Store
from crm_sync.steps.options import Options, PlanRow, Report


@dataclass(slots=True)
class Work:
    """One chunk of a stream in its transaction; `failed` are the records that could not go on, and why."""

    store: Store
    stream: StreamSpec
    options: Options
    report: Report
    failed: list[Parked] = field(default_factory=list)

    @property
    def conn(self) -> psycopg.Connection:
        return self.store.conn

    def plan(
        self, action: str, record: str, name: str, old: str | None, new: str | None, reason: str
    ) -> None:
        """Add a field write to the hub to the plan of a dry run."""
        self.report.plan.append(PlanRow(self.stream.name, "hub", action, record, name, old, new, reason))
