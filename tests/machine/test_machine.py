"""The machine: invented stories, each played to its end, after which everything must agree.

`make test` plays the same stories every time. More, and longer ones, with `make soak SEED=... STEPS=...` (the
variables SOAK_SEED, SOAK_STEPS and SOAK_STORIES). A story that fails is made short and told; it then becomes a
named test in tests/steps/test_found.py.
"""

import os
from collections.abc import Callable
from typing import NoReturn

import pytest

from tests.machine.ground import Ground
from tests.machine.oracle import Broken
from tests.machine.story import Story, failure_of, invent, kind, shrink

STORIES, STEPS = 8, 30  # in make test: about two seconds a story
SOAK_SEED = int(os.environ.get("SOAK_SEED") or 10_000)
SOAK_STEPS = int(os.environ.get("SOAK_STEPS") or 60)
SOAK_STORIES = int(os.environ.get("SOAK_STORIES") or 200)


def _play(ground: Ground, seed: int, length: int) -> None:
    steps = invent(seed, length)
    failure = failure_of(ground, steps)
    if failure is None:
        return
    short = shrink(steps, lambda fewer: kind(failure_of(ground, fewer)) == kind(failure))
    again = failure_of(ground, short) or failure
    pytest.fail(f"seed {seed}, {length} steps: {type(again).__name__}: {again}\nshort: {short}")


@pytest.mark.parametrize("seed", range(STORIES))
def test_a_story_ends_in_agreement(ground: Ground, seed: int) -> None:
    _play(ground, seed, STEPS)


@pytest.mark.slow
def test_many_long_stories_end_in_agreement(ground: Ground) -> None:
    for seed in range(SOAK_SEED, SOAK_SEED + SOAK_STORIES):
        _play(ground, seed, SOAK_STEPS)


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
        raise Broken(f"the mirror of acme {record} went back in time")

    def wrong(record: int) -> NoReturn:
        raise Broken(f"the mirror of acme {record} is not what is there")

    def found(breaks: Callable[[int], NoReturn], record: int) -> Exception:
        with pytest.raises(Broken) as caught:
            breaks(record)
        return caught.value

    assert kind(found(back, 1)) == kind(found(back, 2))
    assert kind(found(wrong, 1)) == kind(found(wrong, 2)) != kind(found(back, 1))
    assert kind(None) != kind(found(back, 1))
