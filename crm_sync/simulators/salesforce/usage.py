"""What the org's clients used: the rolling 24-hour limit, and counts per kind of request for tests."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.settings import Settings

DAY = 86_400.0


@dataclass(slots=True)
class Usage:
    """Counts of API calls. ``now`` gives seconds since the epoch."""

    settings: Settings
    now: Callable[[], float]
    minutes: deque[list[float]] = field(default_factory=deque)  # [minute, calls]
    calls: int = 0
    by_client: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    families: Counter[str] = field(default_factory=Counter)
    jobs: Counter[str] = field(default_factory=Counter)

    def charge(self, client: str) -> None:
        """Count one API call. Raises REQUEST_LIMIT_EXCEEDED (403) when the day's are used up."""
        self._forget_old()
        if self.calls >= self.settings.daily_api_requests:
            raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        minute = self.now() // 60
        if not self.minutes or self.minutes[-1][0] != minute:
            self.minutes.append([minute, 0])
        self.minutes[-1][1] += 1
        self.calls += 1
        self.by_client[client] += 1

    def _forget_old(self) -> None:
        horizon = (self.now() - DAY) // 60
        while self.minutes and self.minutes[0][0] < horizon:
            self.calls -= int(self.minutes.popleft()[1])

    def header(self, client: str) -> str:
        """The value of ``Sforce-Limit-Info``."""
        text = f"api-usage={self.calls}/{self.settings.daily_api_requests}"
        if self.settings.per_app_limit is not None:
            text += f"; per-app-api-usage={self.by_client[client]}/{self.settings.per_app_limit}(appName={client})"
        return text

    def count(self, family: str, method: str, template: str, status: int) -> None:
        self.families[family] += 1
        self.requests[f"{method} {template}"] += 1
        self.statuses[str(status)] += 1

    def reset(self) -> None:
        """Start the test's counters anew (not the 24-hour limit)."""
        for counter in (self.requests, self.statuses, self.families, self.jobs):
            counter.clear()

    def document(self) -> dict[str, Any]:
        return {
            "total": sum(self.families.values()),
            "families": dict(self.families),
            "requests": dict(self.requests),
            "statuses": dict(self.statuses),
            "bulk_jobs": dict(self.jobs),
            "api_calls_24h": self.calls,
            "by_client": dict(self.by_client),
        }
