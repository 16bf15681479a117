"""The machine finds the faults that are put into the engine; else its silence would mean nothing."""

from itertools import count, islice

import pytest

from tests.machine.ground import Ground
from tests.machine.mutants import MUTANTS
from tests.machine.story import Story, invent

STEPS, BUDGET = 30, 60
NEEDS = {"absent_is_null": "hide", "listing_believed": "same_second"}
"""The step without which a story cannot find a fault; other stories are left out."""
QUICK = ("settled_unseen", "single_base")
"""Found within a story or two: these are in `make test`."""


def _found(ground: Ground, name: str, patch: pytest.MonkeyPatch) -> int | None:
    """The seed of the first story that fails."""
    MUTANTS[name](patch)
    stories = ((seed, invent(seed, STEPS)) for seed in count())
    fitting = (s for s in stories if name not in NEEDS or NEEDS[name] in dict(s[1]))
    for seed, steps in islice(fitting, BUDGET):
        try:
            Story(ground).play(steps)
        except Exception:
            return seed
    return None


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_is_found(ground: Ground, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert _found(ground, name, monkeypatch) is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in QUICK])
def test_every_fault_is_found(ground: Ground, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert _found(ground, name, monkeypatch) is not None, MUTANTS[name].__doc__
