"""The results as a page of Markdown: one table a vendor, scaling, limits, and the aims with what became of them."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks.figures import (
    CALLS,
    MEMORY,
    MERGED,
    OUTBOUND,
    RATE,
    SCALING,
    STAGED,
    Quota,
    Row,
    Speed,
    cpu,
    wall,
)

HEAD = (
    "| contacts | stage | floor s | ours s | ÷ floor | aim | CPU s, ours | ÷ floor | calls: ours, floor | least |"
    " ÷ least | written ÷ different | peak MB |\n"
    "|---:|---|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|"
)
NOTES = """\
How to read it: both sides work on the same simulated account, which shares the machine's cores, in the same database,
in turns (floor first, then ours first, ...); seconds are medians, `÷ floor` is the median of the pairs' ratios. The
floor is a hand-written script that keeps the least promise it can: a Bulk query's bytes, or the pages of a list, by
COPY into a logged table of text with a primary key (staged); from there by plain SQL into a table like the hub's, with
a link and a journal row each, in one transaction (merged); one Bulk ingest job, or batch calls one after the other,
and each record's new id, or that it is done, into the logged table that what to send was read from (outbound).
"Calls + plain SQL" also keeps a link, what the CRM says now and a journal row of each record created; it has no aim.
"Bare COPY" is a script that keeps no promise: into an unlogged table without a key, gone after a crash, and no hub at
all; it has no aim. CPU is that of the side's own process and of all Postgres processes. Least calls are counted with
the vendors' batch sizes (`benchmarks/figures.py`). Written ÷ different counts fields, for creates records, in the
journal, and on Salesforce the records that the CRM wrote if these are more. Peak is our process's resident memory during the
stage. Both sides are connected before the clock starts."""


def page(rows: Sequence[Row], quotas: Sequence[Quota], speeds: Sequence[Speed], where: str) -> str:
    """Everything; `where` says on what machine and when."""
    parts = ["# Results of `make bench`", where]
    for vendor in dict.fromkeys(row.vendor for row in rows):
        mine = [row for row in rows if row.vendor == vendor]
        parts.append("\n".join([f"## {vendor}", "", HEAD, *map(_line, mine)]))
    scaled = scaling(rows)
    if scaled:
        head = "| vendor | stage | from | to | time ÷ time | aim |\n|---|---|---:|---:|---:|---|"
        parts.append("\n".join(["## Equal change, more records", "", head, *(
            f"| {row.vendor} | {row.stage} | {small:,} | {row.size:,} | {ratio:.2f} | {_met(ratio <= SCALING, f'≤ {SCALING}')} |"
            for row, small, ratio in scaled)]))  # fmt: skip
    if quotas:
        head = (
            "| run | calls | seconds | wall ÷ (calls ÷ rate) | rate used | aim | refused with 429 | aim |"
            "\n|---|---:|---:|---:|---:|---|---:|---|"
        )
        parts.append(
            "\n".join(["## HubSpot's limit of 190 calls in 10 s", "", head, *map(_quota_line, quotas)])
        )
    if speeds:
        parts.append("\n".join(["## The simulated accounts", "", "| what | figure | aim |\n|---|---:|---|", *(
            f"| {speed.what} | {speed.value:.1f} | {_speed_aim(speed)} |" for speed in speeds)]))  # fmt: skip
    parts += ["\n".join(["## Aims", "", *_aims(rows, quotas)]), NOTES]
    return "\n\n".join(parts) + "\n"


def _line(row: Row) -> str:
    calls = f"{row.ours[0].calls}, {row.floor[0].calls}" if row.least is not None else ""
    aim = "" if row.aim is None else _met(row.ratio <= row.aim, f"≤ {row.aim}")
    cells = [
        f"{row.size:,}",
        row.stage,
        f"{wall(row.floor):.3f}",
        f"{wall(row.ours):.3f}",
        f"{row.ratio:.2f}",
        aim,
        _number(cpu(row.ours)),
        _number(row.cpu_ratio),
        calls,
        "" if row.least is None else str(row.least),
        _number(row.calls_ratio),
        _number(row.writes_ratio),
        f"{row.peak:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _quota_line(quota: Quota) -> str:
    return (
        f"| {quota.stage} | {quota.calls:,} | {quota.wall:.1f} | {1 / quota.used:.2f} | {quota.used:.0%} |"
        f" {_met(quota.used >= RATE, f'≥ {RATE:.0%}')} | {quota.refused} | {_met(quota.refused == 0, '0')} |"
    )


def scaling(rows: Sequence[Row]) -> list[tuple[Row, int, float]]:
    """For every stage with the same change at several sizes: the largest size's row, the smallest size, and the
    ratio of their times."""
    found = []
    for vendor, stage in dict.fromkeys((row.vendor, row.stage) for row in rows):
        same = sorted((r for r in rows if (r.vendor, r.stage) == (vendor, stage)), key=lambda r: r.size)
        small, large = same[0], same[-1]
        if small.size < large.size and small.changed == large.changed:
            found.append((large, small.size, wall(large.ours) / wall(small.ours)))
    return found


def _aims(rows: Sequence[Row], quotas: Sequence[Quota]) -> list[str]:
    """One line for each aim: how often it was met, and the worst."""
    found: list[tuple[str, list[tuple[float, str]], float]] = []
    for name, aim in (("staged ÷ floor", STAGED), ("merged ÷ floor", MERGED), ("outbound ÷ floor", OUTBOUND)):
        found.append((name, [(row.ratio, _name(row)) for row in rows if row.aim == aim], aim))
    found += [
        ("calls ÷ least", [(r, _name(row)) for row in rows if (r := row.calls_ratio) is not None], CALLS),
        ("larger ÷ smaller, equal change", [(ratio, _name(row)) for row, _, ratio in scaling(rows)], SCALING),
        (
            "written ÷ different",
            [(r, _name(row)) for row in rows if (r := row.writes_ratio) is not None],
            1.0,
        ),
        ("peak memory, MB", [(row.peak, _name(row)) for row in rows], MEMORY),
        ("wall ÷ (calls ÷ rate)", [(1 / quota.used, quota.stage) for quota in quotas], 1 / RATE),
        ("refused with 429", [(float(quota.refused), quota.stage) for quota in quotas], 0.0),
    ]
    lines = ["| aim | at most | met | worst | where |", "|---|---:|---|---:|---|"]
    for name, values, aim in found:
        if values:
            met = sum(value <= aim for value, _ in values)
            worst, where = max(values)
            lines.append(f"| {name} | {aim:.4g} | {met} of {len(values)} | {worst:.2f} | {where} |")
    return lines


def _name(row: Row) -> str:
    return f"{row.vendor} {row.size:,}: {row.stage}"


def _met(met: bool, aim: str) -> str:
    return f"{aim} {'met' if met else '**missed**'}"


def _speed_aim(speed: Speed) -> str:
    bound = f"≥ {speed.least:g}" if speed.least is not None else f"≤ {speed.most:g}"
    return _met(speed.met, bound)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


# ---- where and when ----


def where(server_url: str) -> str:
    """Machine, versions, date and commit, as one paragraph."""
    with psycopg.connect(server_url) as conn:
        version = str(conn.info.server_version // 10_000) + f".{conn.info.server_version % 10_000}"
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC at commit {_commit()} on {_machine()}; {platform.system()}"
        f" {platform.release()}, Python {platform.python_version()}, PostgreSQL {version}."
    )


def _machine() -> str:
    found = f"{os.cpu_count()} cores"
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.partition(":")[2].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        found += f" of {models[0]}" if models else ""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{found}, {pages / 2**30:.0f} GiB"


def _commit() -> str:
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=here, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip()
