"""Runs that HubSpot's own limit bounds: 190 calls in ten seconds of a private app, every answer late as over a network.

There is no floor beside it: the vendor's rate is the floor.
"""

from collections.abc import Callable

from benchmarks.figures import Quota
from benchmarks.ground import account, place
from benchmarks.meter import Meter
from benchmarks.ours import Ours
from benchmarks.stages import check, fill_hub
from benchmarks.worker import Worker

RATE = 19.0
"""Calls a second, of a private app."""
CALL = 100


def quota(server_url: str, seconds: float, latency: float, advance: Callable[[str], None]) -> list[Quota]:
    """A first read, and as many creates, each of as many records as the limit lets through in so many seconds."""
    records = int(RATE * seconds) * CALL
    found = []
    with Worker("ours") as ours:
        for stage, held in (("first read", records), ("creates", 0)):
            with (
                account("hubspot", held, limits=True, latency=latency) as simulator,
                place(server_url, "hubspot", simulator, "crm_sync_bench_quota", limits=True) as here,
            ):
                if not held:
                    with here.connect() as conn:
                        fill_hub(conn, records, "quota.")
                ours.open(Ours, here)
                try:
                    sample = Meter("hubspot", simulator, server_url).sample(
                        ours, "inbound" if held else "outbound"
                    )
                finally:
                    ours.shut()
                check(f"{stage} under the limit", sample.result["created"], records)
                searches = simulator.control("stats")["requests"].get(
                    "search", 0
                )  # these have a limit of their own
                name = f"{stage}, {records:,} contacts, {latency * 1000:.0f} ms an answer"
                found.append(Quota(name, sample.calls - searches, sample.wall, RATE, sample.refused))
            advance(stage)
    return found
