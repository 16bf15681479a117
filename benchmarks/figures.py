"""What was measured: samples, the rows of the tables, and what the project aims at."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Any

MEMORY = 250.0
"""Aim: peak memory of our process in MB, at any size."""
STAGED, MERGED, OUTBOUND = 1.2, 2.0, 1.5
"""Aims: our wall time over the floor's."""
CALLS, SCALING = 1.1, 1.2
"""Aims: calls over the least there can be; time at the largest size over that at the smallest, for equal change."""
RATE = 0.95
"""Aim: share of the vendor's rate that is used when it is what bounds us, with no call refused."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one side. wall, cpu: seconds; cpu covers the side's own process and the database server
    (None if that is elsewhere). peak: MB. calls: requests that the CRM got; refused: those it answered with 429.
    writes: records that the CRM wrote (None: it does not count them)."""

    wall: float
    cpu: float | None
    peak: float
    calls: int
    refused: int
    writes: int | None
    result: Any
    profile: str = ""

    def __add__(self, other: "Sample") -> "Sample":
        """Two steps, one after the other."""
        return Sample(
            self.wall + other.wall,
            None if self.cpu is None or other.cpu is None else self.cpu + other.cpu,
            max(self.peak, other.peak),
            self.calls + other.calls,
            self.refused + other.refused,
            None if self.writes is None or other.writes is None else self.writes + other.writes,
            other.result,
            self.profile,
        )


@dataclass(slots=True)
class Row:
    """One stage at one size. changed: records that the stage is about. least: calls that it needs at the least.
    different, written: fields (of creates: records) that differed, and that were written. aim: for the ratio to
    the floor, None where there is none."""

    vendor: str
    size: int
    stage: str
    changed: int
    aim: float | None = None
    least: int | None = None
    different: int | None = None
    written: int | None = None
    ours: list[Sample] = field(default_factory=list)
    floor: list[Sample] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Wall time of ours over the floor's, pair by pair; the median."""
        return median(mine.wall / theirs.wall for mine, theirs in zip(self.ours, self.floor, strict=True))

    @property
    def cpu_ratio(self) -> float | None:
        mine, theirs = cpu(self.ours), cpu(self.floor)
        return None if mine is None or not theirs else mine / theirs

    @property
    def calls_ratio(self) -> float | None:
        return None if self.least is None else median(s.calls for s in self.ours) / self.least

    @property
    def writes_ratio(self) -> float | None:
        return None if not self.different or self.written is None else self.written / self.different

    @property
    def peak(self) -> float:
        return max(sample.peak for sample in self.ours)


def wall(samples: Sequence[Sample]) -> float:
    return median(sample.wall for sample in samples)


def cpu(samples: Sequence[Sample]) -> float | None:
    known = [sample.cpu for sample in samples if sample.cpu is not None]
    return median(known) if known else None


@dataclass(frozen=True, slots=True)
class Quota:
    """A run that the vendor's rate bounds. rate: calls a second that the vendor allows."""

    stage: str
    calls: int
    wall: float
    rate: float
    refused: int

    @property
    def used(self) -> float:
        """Share of the allowed rate."""
        return self.calls / self.wall / self.rate


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a simulated account is at something, and what it has to reach: `most` (of seconds) or `least`."""

    what: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )


# ---- the least number of calls, by the vendor's own batch sizes ----


def least_full(vendor: str, records: int) -> int:
    """A full read. Salesforce: a Bulk job is made, looked at once, and its pages of 50,000 rows fetched."""
    return max(1, ceil(records / 100)) if vendor == "hubspot" else 2 + max(1, ceil(records / 50_000))


def least_changed(vendor: str, records: int) -> int:
    """A read of what changed: pages of a search (200) or of a query (2,000)."""
    return max(1, ceil(records / (200 if vendor == "hubspot" else 2_000)))


def least_written(vendor: str, records: int) -> int:
    """Writes: batches of 100 or 200; above 2,000 a Bulk job of Salesforce for each 500,000 records (an upload holds
    100 MB), which is made, filled, closed, looked at once, and has two lists of results."""
    if vendor == "hubspot":
        return max(1, ceil(records / 100))
    return 6 * ceil(records / 500_000) if records > 2_000 else max(1, ceil(records / 200))
