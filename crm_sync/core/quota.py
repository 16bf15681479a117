"""How many calls a connection may make: the words for limits, and who stops first when they run low.

Here: what a vendor allows (`Quotas`), what a connection file narrows (`Limits`), what an answer tells (`Heard`), and
how much of a day each kind of work leaves to the more urgent ones. Not here: the counting (`hub/budget.py` for all
processes, `connectors/limiter.py` for one).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

BURST, SEARCH, DAILY, JOBS, REQUESTS = "burst", "search", "daily", "jobs", "requests"
"""Names of budgets: calls in a short window, searches, calls of a day, long-running jobs, requests at once."""

EVEN = 0.97
"""Calls are spread evenly over a window, at this part of what it allows. The rest is for the network: calls that
leave evenly do not arrive evenly, and the vendor counts arrivals. Of 190 calls in ten seconds it is a third of a
second."""


class Priority(StrEnum):
    """How urgent a run is. When limits run low the later ones stop first."""

    LIVE = "live"  # a change that somebody has just made: webhooks, edits of the hub
    SCHEDULED = "scheduled"  # the incremental sync, and what a person starts
    BACKFILL = "backfill"  # reading everything, or long past days


KEEPS: Mapping[Priority, float] = {Priority.LIVE: 0.0, Priority.SCHEDULED: 0.1, Priority.BACKFILL: 0.3}
"""The part of our share of a day that is left to more urgent work: there this priority stops."""

QUEUES: Mapping[Priority, float] = {Priority.LIVE: 5.0, Priority.SCHEDULED: 0.6, Priority.BACKFILL: 0.3}
"""How many seconds ahead a turn may be booked. Less urgent work books later, so that a live call waits no longer than
this for the others' turns."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `calls` calls begin in any `seconds` seconds, of which we spread `even` evenly. A call that would begin more
    than `late` seconds after its turn comes too near to the next ones, and takes another turn."""

    calls: int
    seconds: float
    even: float = EVEN
    late: float = 0.2


@dataclass(frozen=True, slots=True)
class Quotas:
    """What a vendor allows one account, as documented, until its answers say more.

    rates: by name of the budget. families: the budget of a family of calls, where it is not `burst`. slots: how many
    may be open at once, by name (`jobs`, `requests`).
    """

    rates: Mapping[str, Rate] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    slots: Mapping[str, int] = field(default_factory=dict)
    renewal: str = "when its day begins anew"  # for people: when the vendor's day ends

    def budget(self, family: str) -> str:
        return self.families.get(family, BURST)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection file says. reserve: the part of the vendor's day that is left to others, 0 to 1. daily: our own
    most calls in a UTC day. The others: at most so many, where the vendor allows more. None: as the vendor allows."""

    reserve: float = 0.2
    daily: int | None = None
    burst: int | None = None
    search: int | None = None
    jobs: int | None = None
    requests: int | None = None

    def most(self, name: str, allowed: int | None) -> int | None:
        """The smaller of what the file and the vendor allow for a rate or slot; None for no limit."""
        own: int | None = {
            BURST: self.burst,
            SEARCH: self.search,
            JOBS: self.jobs,
            REQUESTS: self.requests,
        }.get(name)
        return min((n for n in (own, allowed) if n is not None), default=None)

    def floor(self, priority: Priority) -> float:
        """The part of the vendor's day that must be left for a call of this priority."""
        return self.reserve + (1 - self.reserve) * KEEPS[priority]

    def share(self, priority: Priority) -> int | None:
        """How many of `daily` calls this priority may have made; None for no limit."""
        return None if self.daily is None else int(self.daily * (1 - KEEPS[priority]))


@dataclass(frozen=True, slots=True)
class Heard:
    """What an answer told of one budget: calls allowed in its window, and left of them."""

    budget: str
    allowed: int
    left: int
