"""Standing decisions: what a person decided about one dispute and wants to hold for all that are like it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from crm_sync.core.spec import Policy


class When(StrEnum):
    """For which disputes a rule holds."""

    ANY = "any"
    HUB_BLANK = "hub_blank"
    CRM_BLANK = "crm_blank"


POLICIES = {
    "use_hub": Policy.HUB_WINS,
    "use_crm": Policy.CRM_WINS,
    "most_recent_wins": Policy.MOST_RECENT_WINS,
    "prefer_crm_unless_blank": Policy.PREFER_CRM_UNLESS_BLANK,
}
"""What a rule may say, in the words of decisions, and the policy that means it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of `review.rule` that is in force. decision: a key of POLICIES. by: who made it."""

    id: int
    decision: str
    by: str
    when: When = When.ANY

    @property
    def policy(self) -> Policy:
        return POLICIES[self.decision]

    @property
    def name(self) -> str:
        return f"rule #{self.id} by {self.by}"

    @property
    def said(self) -> str:
        """As the journal has it."""
        return f"{self.name}: {self.decision}"

    def holds(self, hub: str | None, crm: str | None) -> bool:
        """Whether the rule is about a dispute between these two values."""
        return {When.ANY: True, When.HUB_BLANK: hub is None, When.CRM_BLANK: crm is None}[self.when]


def of(rules: Iterable[Rule], hub: str | None, crm: str | None) -> Rule | None:
    """The rule that ends a dispute between these values: one with a condition before one without."""
    held = [rule for rule in rules if rule.holds(hub, crm)]
    return min(held, key=lambda rule: (rule.when is When.ANY, rule.id), default=None)
