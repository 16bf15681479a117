"""The machine finds the faults that are put into the engine; else its silence would mean nothing.

`CAUGHT` says of each fault which invariant caught it, in which story, and the few steps that suffice. `make test` plays
these; `-m slow` looks for each fault anew, in stories of the usual kind, within the usual budget
(`python -m tests.machine --mutants` prints the table).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.campaign import hunt_here
from tests.machine.caught import CAUGHT
from tests.machine.ground import Ground
from tests.machine.mutants import MUTANTS
from tests.machine.oracle import Broken
from tests.machine.story import failure_of

BUDGET, LENGTH = 2_500, 25
"""Steps within which each fault must be found, in stories of this length."""
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "machine.md"


def rows() -> list[str]:
    """The table of the page, without its head."""
    told = []
    for name, mutant in MUTANTS.items():
        about = " ".join((mutant.__doc__ or "").split())
        caught = CAUGHT.get(name)
        figures = f"{caught.invariant} | {caught.steps} | {len(caught.short)}" if caught else " | | "
        told.append(f"| `{name}` | {about} | {figures.strip()} |")
    return told


@pytest.fixture
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    MUTANTS[request.param](monkeypatch)
    yield request.param
    monkeypatch.undo()


def test_there_are_faults_enough() -> None:
    assert len(MUTANTS) >= 20
    assert set(CAUGHT) == set(MUTANTS)


@pytest.mark.parametrize("fault", list(CAUGHT), indirect=True)
def test_a_fault_is_found_by_the_steps_that_found_it_first(ground: Ground, fault: str) -> None:
    failure = failure_of(ground, CAUGHT[fault].short)
    assert isinstance(failure, Broken), failure
    assert failure.invariant == CAUGHT[fault].invariant


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MUTANTS))
def test_every_fault_is_found_in_stories_of_the_usual_kind(ground: Ground, name: str) -> None:
    steps, told = hunt_here(ground, name, 1, BUDGET, LENGTH)
    assert told is not None, f"{MUTANTS[name].__doc__} Not found in {steps} steps."


def test_the_page_lists_every_fault() -> None:
    assert rows() == [line for line in PAGE.read_text().splitlines() if line.startswith("| `")], (
        "docs/reference/machine.md: replace its table by `python -m tests.machine.test_mutants`"
    )


if __name__ == "__main__":
    print("\n".join(rows()))
