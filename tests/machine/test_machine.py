"""The machine: invented stories, each played to its end, after which everything must agree.

`make test` plays the same stories every time. More, and longer ones, with `make soak SEED=... STEPS=...`. A story that
fails is made short and told; it then becomes a named test in tests/steps/test_found.py.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.machine.campaign import Tally, Task, Told, played, tasks
from tests.machine.ground import Ground
from tests.machine.oracle import Broken, Invariant
from tests.machine.story import Story, invent, kind, shrink

STORIES, STEPS = 8, 30  # in make test: about two seconds a story


@pytest.mark.parametrize(
    "task", list(tasks(0, STORIES * STEPS, length=STEPS)), ids=lambda task: str(task.number)
)
def test_a_story_ends_in_agreement(ground: Ground, task: Task) -> None:
    told = played(ground, task)
    assert told.failure is None, f"{told.failure}\nshort: {told.short}\n{told.trace}"


def _campaign(server_url: str, *arguments: str) -> str:
    """The last line that a campaign says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.machine", *arguments],
        env={**os.environ, "CRM_SYNC_TEST_DATABASE_URL": server_url},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def test_a_campaign_ends_with_its_figures_whoever_plays_the_stories(server_url: str) -> None:
    """The same seed and steps give the same line with one worker and with two."""
    told = [
        _campaign(server_url, "--seed", "1", "--steps", "40", "--length", "20", "--workers", workers)
        for workers in ("1", "2")
    ]
    assert told[0] == told[1]
    assert told[0].startswith("stories 2, steps 40, faults ")
    assert told[0].endswith(", violations 0")


def test_a_campaign_goes_over_https(server_url: str) -> None:
    """Through the simulators and their faults, with the connectors as they are: as far as a short story gets."""
    told = _campaign(
        server_url, "--https", "--seed", "5", "--steps", "12", "--length", "12", "--workers", "1"
    )
    assert told.startswith("stories 1, steps 12, faults ")
    assert told.endswith(", violations 0")


def test_figures_add_up() -> None:
    tally = Tally()
    for task in tasks(7, 250, length=100):
        told = Told(task, kills=2, failure="Broken" if task.number == 1 else None)
        told.hits["refused"] = 3
        tally.add(told)
    assert tally.line() == "stories 3, steps 250, faults 9 (refused 9), kill -9 6, violations 1"


def test_a_story_is_always_the_same(ground: Ground) -> None:
    """Without this, a seed would say nothing."""
    ends = []
    for _ in range(2):
        Story(ground).play(invent(3, 20))
        ends.append(
            ground.rows(
                "select connection, side, kind, hub_id, crm_id, field, old_value, new_value, reason from sync.change order by id"
            )
        )
    assert ends[0] == ends[1]
    assert ends[0]


def test_a_failing_story_is_made_short() -> None:
    steps = [(name, i) for i, name in enumerate("abcdefgh")]
    needed = {("c", 2), ("g", 6)}
    assert shrink(steps, lambda fewer: needed <= set(fewer)) == [("c", 2), ("g", 6)]


def test_failures_of_one_kind_are_told_from_others() -> None:
    """Their texts may begin alike, and hold records and values that differ from story to story."""

    def back(record: int) -> NoReturn:
        raise Broken(Invariant.ATOMIC_PROGRESS, f"the mirror of acme {record} went back in time")

    def wrong(record: int) -> NoReturn:
        raise Broken(Invariant.CONVERGENCE, f"the mirror of acme {record} is not what is there")

    def found(breaks: Callable[[int], NoReturn], record: int) -> Exception:
        with pytest.raises(Broken) as caught:
            breaks(record)
        return caught.value

    assert kind(found(back, 1)) == kind(found(back, 2))
    assert kind(found(wrong, 1)) == kind(found(wrong, 2)) != kind(found(back, 1))
    assert kind(None) != kind(found(back, 1))
