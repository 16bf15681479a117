"""Stories that the engine did not survive once, each as short as it became."""

import pytest

from tests.machine.ground import Ground
from tests.machine.story import Step, failure_of

LANDED_OVER_AN_EDIT: list[Step] = [
    ("crm_create", 600816), ("trouble", 516790), ("hint", 889125), ("hint", 690694), ("wait", 626179),
    ("trouble", 941693), ("same_second", 612214),
]  # fmt: skip
"""A write of ours gets no answer, and is not there; a person edits the field in the CRM, and the hub takes that; minutes
later our write takes effect over it. It passed for somebody's edit: the hub took back what nobody wrote."""

SETTLED_TWICE: list[Step] = [("kill", 221580), ("sync", 77490), ("trouble", 919560), ("both", 613313)]
"""A create gets no answer. Of two processes the one's hub step sees it in the mirror while the other's outbound finds it by
its external id: the journal told of it twice."""
MERGED_INTO_OUR_CREATE: list[Step] = [
    ("hub_insert", 780187), ("crm_create", 902141), ("sync", 59643), ("both", 862609), ("decide", 598685), ("hide", 785175),
    ("trouble", 783450), ("crm_merge", 630924),
]  # fmt: skip
"""A create gets no answer, and people merge another record into what it has made: that one's hub record took its place, and
what the other hub record says."""
KEPT = {
    "landed over an edit": LANDED_OVER_AN_EDIT,
    "settled twice": SETTLED_TWICE,
    "merged into our create": MERGED_INTO_OUR_CREATE,
}


@pytest.mark.parametrize("steps", KEPT.values(), ids=KEPT)
def test_a_story_that_was_not_survived_is(ground: Ground, steps: list[Step]) -> None:
    failure = failure_of(ground, steps)
    if failure is not None:
        raise failure
