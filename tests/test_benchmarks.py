"""The benchmark still runs: every stage at a tiny size. What it measures here says nothing, and is not looked at."""

from collections.abc import Sequence
from typing import Any

import psycopg

from benchmarks.bench import Results, Settings, bench
from benchmarks.figures import Quota, Row, Sample, Speed, least_changed, least_full, least_written
from benchmarks.profiling import Profiler
from benchmarks.run import profile, read_settings
from benchmarks.simulators import speeds
from benchmarks.table import page, scaling, where


def sample(wall: float, calls: int = 1, **more: Any) -> Sample:
    return Sample(**{"wall": wall, "cpu": 2 * wall, "peak": 100.0, "calls": calls, "refused": 0,
                     "writes": None, "result": None} | more)  # fmt: skip


def row(size: int, *, ours: Sequence[float], floor: Sequence[float], changed: int = 100, **more: Any) -> Row:
    made = Row("salesforce", size, "100 changed in the CRM, staged", changed, **more)
    made.ours, made.floor = [sample(wall) for wall in ours], [sample(wall) for wall in floor]
    return made


def test_every_stage_on_salesforce(server_url: str) -> None:
    settings = Settings(sizes=(60,), vendors=("salesforce",), repeats=1, changes=(0, 5), quota_seconds=0,
                        simulators=False)  # fmt: skip
    results = bench(server_url, settings)
    assert [r.stage for r in results.rows] == [
        "first read, staged",
        "first read, merged",
        "first read, staged ÷ bare COPY",
        "first read, merged ÷ bare COPY",
        "nothing changed, staged",
        "nothing changed, merged",
        "5 changed in the CRM, staged",
        "5 changed in the CRM, merged",
        "5 changed in the hub",
        "6 changed in the hub",
        "creates in an empty CRM",
        "creates ÷ (calls + plain SQL)",
    ]
    assert all(len(r.ours) == len(r.floor) == 1 for r in results.rows)
    # Stages that are about writes wrote what differed, and nothing else.
    assert {r.writes_ratio for r in results.rows} == {1.0, None}
    assert "PostgreSQL" in page(results.rows, results.quotas, [], where(server_url))


def test_a_profile_names_functions_and_statements(server_url: str) -> None:
    with psycopg.connect(server_url) as conn, Profiler() as profiler:
        conn.execute("select %s::int +\n  1", [41])
        with conn.cursor().copy("copy (select 1) to stdout") as copy:
            list(copy)
    slow, slower = row(10_000, ours=[2.0], floor=[1.0]), row(100_000, ours=[5.0], floor=[1.0])
    results = Results(rows=[slow, slower], profiles={
        (r.vendor, r.size, r.stage): (1.0, profiler.text()) for r in (slow, slower)})  # fmt: skip
    text = profile(results, "here")
    assert "salesforce, 100,000 contacts" in text
    assert "select %s::int + 1" in text
    assert "copy (select 1) to stdout" in text
    assert "ncalls" in text


def test_ratios_are_medians_of_pairs() -> None:
    measured = row(10_000, ours=[2.0, 30.0, 3.0], floor=[1.0, 10.0, 2.0])
    assert measured.ratio == 2.0
    assert measured.cpu_ratio == 1.5


def test_an_aim_is_met_or_missed_on_the_page() -> None:
    text = page([row(10_000, ours=[1.0], floor=[1.0], aim=1.2), row(100_000, ours=[1.3], floor=[1.0], aim=1.2)],
                [Quota("first read", 570, 30.0, 19.0, 0), Quota("creates", 570, 60.0, 19.0, 3)],
                [Speed("pages a second", 310.0, least=300)], "here")  # fmt: skip
    assert "| pages a second | 310.0 | ≥ 300 met |" in text
    assert (
        "| staged ÷ floor | 1.2 | 1 of 2 | 1.30 | salesforce 100,000: 100 changed in the CRM, staged |"
        in text
    )
    assert "| first read | 570 | 30.0 | 1.00 | 100% | ≥ 95% met | 0 | 0 met |" in text
    assert "| creates | 570 | 60.0 | 2.00 | 50% | ≥ 95% **missed** | 3 | 0 **missed** |" in text


def test_scaling_compares_equal_change_only() -> None:
    small, large = row(10_000, ours=[1.0], floor=[1.0]), row(1_000_000, ours=[1.5], floor=[1.0])
    assert [ratio for _, _, ratio in scaling([small, large])] == [1.5]
    assert scaling([small, row(1_000_000, ours=[1.5], floor=[1.0], changed=100_000)]) == []


def test_the_least_calls_follow_the_vendors_batches() -> None:
    assert [least_full("salesforce", n) for n in (1, 50_000, 50_001)] == [3, 3, 4]
    assert [least_full("hubspot", n) for n in (0, 100, 101)] == [1, 1, 2]
    assert [least_changed("salesforce", 2_001), least_changed("hubspot", 201)] == [2, 2]
    assert [least_written("salesforce", n) for n in (200, 2_000, 2_001)] == [1, 10, 6]
    assert least_written("hubspot", 1_000) == 10


def test_settings_come_from_the_environment() -> None:
    found = read_settings({"SIZES": "10_000, 1_000_000", "REPEATS": "", "QUOTA_SECONDS": "0", "PROFILE": "1"})
    assert (found.sizes, found.repeats, found.quota_seconds, found.profile) == (
        (10_000, 1_000_000),
        3,
        0.0,
        True,
    )


def test_the_simulated_accounts_are_measured_too() -> None:
    told: list[str] = []
    found = speeds(told.append, contacts=50, pages=2)
    assert told == ["ready", "bulk", "list"]
    assert all(speed.value > 0 for speed in found)
    assert found[0].met, "fifty contacts take less than twenty seconds"
