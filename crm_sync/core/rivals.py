"""Between two CRMs: whose value counts when both changed a field, and the hub has already taken the one of them that
happened to be read first.

Every value in such a contest has a place in one order, so that the last one standing is the same however the reads
and writes of the connections follow each other (docs/decisions/0016-three-systems.md):

    inbound > rule use_crm > crm_wins > (the hub and most_recent_wins, by time) > hub_wins > rule use_hub > blank

where `prefer_crm_unless_blank` is `crm_wins` for a value and the last of all for a blank. Within one class the newer
value is the stronger one, and of two equally old ones that of the connection whose file comes first; only between two
of `most_recent_wins` equal or unknown times are left to a person.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from crm_sync.core.rules import Rule
from crm_sync.core.spec import Direction, Policy


class Weight(IntEnum):
    """The classes of the order, weakest first."""

    BLANK = 0
    RULE_HUB = 1
    HUB_WINS = 2
    BY_TIME = 3
    CRM_WINS = 4
    RULE_CRM = 5
    INBOUND = 6


@dataclass(frozen=True, slots=True)
class Claim:
    """A CRM's value in a contest. at: when it was changed; place: position of the connection; said: the policy or rule
    behind it."""

    weight: Weight | None  # None: a person decides, unless a rule of the other's does
    at: datetime | None
    place: int
    said: str
    ruled: bool


def claim(
    direction: Direction,
    policy: Policy,
    rule: Rule | None,
    value: str | None,
    at: datetime | None,
    place: int,
) -> Claim:
    """What a CRM's value may claim by the rules of its own stream."""
    said = rule.said if rule is not None else str(policy)
    if direction is Direction.INBOUND:
        return Claim(Weight.INBOUND, at, place, "inbound", ruled=False)
    weight = _weight(policy if rule is None else rule.policy, rule, value)
    return Claim(weight, at, place, said, ruled=rule is not None)


def _weight(policy: Policy, rule: Rule | None, value: str | None) -> Weight | None:
    match policy:
        case Policy.MANUAL:
            return None
        case Policy.MOST_RECENT_WINS:
            return Weight.BY_TIME
        case Policy.HUB_WINS:
            return Weight.HUB_WINS if rule is None else Weight.RULE_HUB
        case Policy.PREFER_CRM_UNLESS_BLANK if value is None:
            return Weight.BLANK
        case Policy.PREFER_CRM_UNLESS_BLANK | Policy.CRM_WINS:
            return Weight.CRM_WINS if rule is None else Weight.RULE_CRM


class Won(NamedTuple):
    """Whether `mine` is the stronger claim, and what told: "weight", "time" or "place"."""

    mine: bool
    by: str


def stronger(mine: Claim, other: Claim) -> Won | None:
    """Which of two claims counts; the same one if they are given the other way round. None: a person decides."""
    one, two = _among(mine, other), _among(other, mine)
    if one is None or two is None:
        return None
    if one is not two:
        return Won(one > two, "weight")
    by_time = one is Weight.BY_TIME
    if mine.at != other.at:
        if mine.at is None or other.at is None:
            return None if by_time else Won(other.at is None, "time")
        return Won(mine.at > other.at, "time")
    return None if by_time else Won(mine.place < other.place, "place")


def told(mine: Claim, other: Claim, won: Won, name: str, evidence: str) -> str:
    """The reason, for the journal. name: the other connection. evidence: what the times tell."""
    against = f"{mine.said} against {other.said} of {name}"
    match won.by:
        case "weight":
            return against
        case "place":
            return f"{against}: the file of {'this connection' if won.mine else name} comes first"
        case _:
            said = mine.said if mine.said == other.said else against
            return f"{said} ({evidence}): {'crm' if won.mine else 'hub'} is newer"


def _among(claim: Claim, rival: Claim) -> Weight | None:
    """The weight of a claim; a field that wants a person has one of the middle where something else leaves no choice."""
    if claim.weight is None and (rival.ruled or rival.weight is Weight.INBOUND):
        return Weight.BY_TIME
    return claim.weight
