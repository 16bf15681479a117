"""Which story found each fault of `mutants.py`, and by which invariant: what `make mutants` said last."""

from dataclasses import dataclass

from tests.machine.oracle import Invariant
from tests.machine.story import Step


@dataclass(frozen=True, slots=True)
class Caught:
    """The invariant that did not hold; the steps until then, of stories of 25 steps from seed 1; the few that suffice."""

    invariant: Invariant
    steps: int
    short: tuple[Step, ...]


CAUGHT: dict[str, Caught] = {}
