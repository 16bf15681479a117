"""Measuring one call of one side: its process, the database server, and what reached the CRM."""

from typing import Any

import psycopg

from benchmarks.figures import Sample
from benchmarks.usage import ServerCpu
from benchmarks.worker import Worker
from crm_sync.simulators.serve import Simulator

_RESET = {"salesforce": "stats", "hubspot": "stats/reset"}


class Meter:
    """For one simulated account and one database server."""

    def __init__(self, vendor: str, simulator: Simulator, server_url: str) -> None:
        self.vendor = vendor
        self.simulator = simulator
        self._server_url = server_url
        self._server = ServerCpu(server_url)

    def sample(self, worker: Worker, method: str, *args: object, profile: bool = False) -> Sample:
        """Call the method and measure. A checkpoint comes first, so that nobody pays for another's writes."""
        with psycopg.connect(self._server_url, autocommit=True) as admin:
            admin.execute("checkpoint")
        self.simulator.control(_RESET[self.vendor], {})
        before = self._server.seconds()
        done = worker.call(method, *args, profile=profile)
        after = self._server.seconds()
        stats = self.simulator.control("stats")
        cpu = None if before is None or after is None else done.cpu + after - before
        statuses: dict[str, int] = stats["statuses"]
        return Sample(
            wall=done.wall,
            cpu=cpu,
            peak=done.peak,
            calls=stats["total"],
            refused=statuses.get("429", 0),
            writes=stats.get("writes"),
            result=done.result,
            profile=done.profile,
        )

    def now(self) -> str:
        """The account's clock, as its queries want it."""
        stats: dict[str, Any] = self.simulator.control("stats")
        return f"{stats['now'][:19]}Z" if self.vendor == "salesforce" else str(stats["clock"])

    def pass_time(self, hours: float) -> None:
        """Let the account's clock go forward, so that what was modified lately is no longer read again."""
        self.simulator.control("clock", {"advance": hours * 3600})
