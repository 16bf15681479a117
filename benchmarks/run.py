"""How fast the sync is, beside the least that any program has to do.

    make bench                                  10^4 and 10^5 contacts
    make bench SIZES="10000 1000000"            other sizes
    make bench PROFILE=1                        also says where the time of the slowest stage goes

More in the environment: HUBSPOT_MOST (largest size on HubSpot, 20000), REPEATS (3), VENDORS, QUOTA_SECONDS (30, 0 for
none), LATENCY (seconds of an answer under quota, 0.1), SIMULATORS (0: do not measure them). The database is an embedded one, or CRM_SYNC_DATABASE_URL's
server. The tables are printed and written to benchmarks/RESULTS.md, the profile to benchmarks/PROFILE.md.
"""

import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping
from pathlib import Path

from benchmarks.bench import Results, Settings, bench
from benchmarks.ground import server
from benchmarks.table import page, where

HERE = Path(__file__).parent


def main(folder: Path = HERE, environment: Mapping[str, str] = os.environ) -> None:
    """Measure, print, write."""
    settings = read_settings(environment)
    with server() as url:
        results = bench(url, settings)
        place = where(url)
    text = page(results.rows, results.quotas, results.speeds, place)
    (folder / "RESULTS.md").write_text(text, encoding="utf-8")
    sys.stdout.write(f"\n{text}")
    if settings.profile:
        (folder / "PROFILE.md").write_text(profile(results, place), encoding="utf-8")


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment; what is not there, or empty, keeps its default."""

    def words(name: str, default: str) -> list[str]:
        return (environment.get(name) or default).replace("_", "").replace(",", " ").split()

    return Settings(
        sizes=tuple(map(int, words("SIZES", "10000 100000"))),
        hubspot_most=int(words("HUBSPOT_MOST", "20000")[0]),
        vendors=tuple(words("VENDORS", "salesforce hubspot")),
        repeats=int(words("REPEATS", "3")[0]),
        quota_seconds=float(words("QUOTA_SECONDS", "30")[0]),
        latency=float(words("LATENCY", "0.1")[0]),
        profile=bool(environment.get("PROFILE")),
        simulators=(environment.get("SIMULATORS") or "1") != "0",
    )


def profile(results: Results, place: str) -> str:
    """The slowest stage's profile: the one that takes the longest for what its floor takes."""
    excess = {
        (row.vendor, row.size, row.stage): sum(s.wall for s in row.ours) / len(row.ours)
        - sum(s.wall for s in row.floor) / len(row.floor)
        for row in results.rows
        if (row.vendor, row.size, row.stage) in results.profiles
    }
    vendor, size, stage = max(excess, key=lambda key: excess[key])
    seconds, text = results.profiles[vendor, size, stage]
    return (
        f"# Where the time of the slowest stage goes\n\n{place}\n\n{vendor}, {size:,} contacts, {stage}:"
        f" {excess[vendor, size, stage]:.2f} s more than its floor, the most of all stages up to 10^5. Of merged stages this"
        f" is the step into the hub alone. {seconds:.2f} s under the profiler, which slows Python down.\n\n"
        f"```\n{text}\n```\n"
    )


if __name__ == "__main__":
    # All settings are in the environment: this answers --help, and refuses what would be ignored.
    ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter).parse_args()
    main()
