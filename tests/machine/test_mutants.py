"""The machine finds the faults that are put into the engine; else its silence would mean nothing."""

import pytest

from tests.machine.ground import Ground
from tests.machine.mutants import MUTANTS
from tests.machine.story import Story, invent

STEPS, BUDGET = 30, 60
QUICK = ("settled_unseen", "absent_is_null", "single_base")
"""Found within a story or two: these are in `make test`."""


def _found(ground: Ground, name: str, patch: pytest.MonkeyPatch) -> int | None:
    """The seed of the first story that fails."""
    MUTANTS[name](patch)
    for seed in range(BUDGET):
        try:
            Story(ground).play(invent(seed, STEPS))
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
