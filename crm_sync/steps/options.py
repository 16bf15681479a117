"""The flags that every sync understands, and the report that every step gives."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from crm_sync.core.approval import PlanRow

PREVIEW_ROWS = 20


@dataclass(frozen=True, slots=True)
class Options:
    """full: ignore the watermark, read everything. force: the CRM's value overwrites every difference. dry_run: plan
    everything, write nothing, show the plan. batch_size: records per call to a CRM (None: the vendor's maximum).
    max_records: at most so many records per step (None: all). start_date: lower bound of the modification time
    (UTC). skip_validation: let values through that break our rules. debug: log every step in detail."""

    full: bool = False
    force: bool = False
    dry_run: bool = False
    batch_size: int | None = None
    max_records: int | None = None
    start_date: datetime | None = None
    skip_validation: bool = False
    debug: bool = False

    def as_configuration(self) -> dict[str, Any]:
        """For the history: what was asked for, as JSON values."""
        values = asdict(self)
        values["start_date"] = self.start_date.isoformat() if self.start_date else None
        return values


@dataclass(slots=True)
class Report:
    """What a step did: counts by name, records changed (ids only) for the preview, the plan of a dry run, calls to
    the CRM by family (would_cost: those that the plan costs)."""

    counts: dict[str, int] = field(default_factory=dict)
    preview: list[dict[str, str]] = field(default_factory=list)
    plan: list[PlanRow] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    would_cost: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, number: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + number

    def show(self, **row: str) -> None:
        """Add a row to the preview while there is room."""
        if len(self.preview) < PREVIEW_ROWS:
            self.preview.append(row)

    def include(self, other: "Report") -> None:
        """Add another report's figures to this one."""
        for name, number in other.counts.items():
            self.add(name, number)
        for name, number in other.calls.items():
            self.calls[name] = self.calls.get(name, 0) + number
        for name, number in other.would_cost.items():
            self.would_cost[name] = self.would_cost.get(name, 0) + number
        for row in other.preview:
            self.show(**row)
        self.plan.extend(other.plan)
        self.notes.extend(other.notes)


def calls_since(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """Calls by family made since `before`; families without any are left out."""
    made = {family: count - before.get(family, 0) for family, count in now.items()}
    return {family: count for family, count in made.items() if count}
