"""Between two CRMs there is one order, whoever asks; and what a rule does to a dispute."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crm_sync.core.decide import Kind
from crm_sync.core.rivals import Claim, Weight, claim, stronger
from crm_sync.core.rules import Rule, When
from crm_sync.core.spec import Direction, Policy, Rival
from tests.core.test_decide import (
    BLANK,
    BOTH,
    CRM,
    EARLIER,
    HUB,
    IN,
    LATER,
    MANUAL,
    NOON,
    OUT,
    RECENT,
    asked,
    difference,
    field,
)

AUTOMATIC = [policy for policy in Policy if policy is not Policy.MANUAL]
rules = st.none() | st.builds(
    Rule, st.just(1), st.sampled_from(["use_hub", "use_crm", "most_recent_wins"]), st.just("anna")
)
claims = st.builds(
    claim,
    st.sampled_from([Direction.TWO_WAY, Direction.INBOUND]),
    st.sampled_from(AUTOMATIC),
    rules,
    st.sampled_from([None, "x"]),
    st.sampled_from([EARLIER, NOON, LATER]),
    st.just(0),
)


def _greatest(order: tuple[Claim, ...]) -> Claim:
    held = order[0]
    for one in order[1:]:
        won = stronger(one, held)
        assume(won is not None)
        held = one if won is not None and won.mine else held
    return held


@given(st.lists(claims, min_size=2, max_size=4))
def test_the_same_claim_is_left_in_whatever_order_they_meet(found: list[Claim]) -> None:
    placed = [replace(one, place=i) for i, one in enumerate(found)]
    by_time = [one.at for one in placed if one.weight is Weight.BY_TIME]
    assume(len(set(by_time)) == len(by_time))  # equal times are a person's
    assert len({_greatest(order) for order in permutations(placed)}) == 1


@given(claims, claims)
def test_both_sides_name_the_same_winner(one: Claim, two: Claim) -> None:
    two = replace(two, place=1)
    here, there = stronger(one, two), stronger(two, one)
    assert (here is None) == (there is None)
    assert here is None or there is None or (here.mine != there.mine and here.by == there.by)


def _rival(policy: Policy, *, place: int = 0, direction: Direction = Direction.TWO_WAY) -> dict[str, Rival]:
    return {"beta": Rival(place, direction, policy)}


OF_BETA = replace(BOTH, hub_by="beta", hub_at=NOON, crm_at=LATER, hub_at_is_of_field=True)


@pytest.mark.parametrize(
    ("mine", "other", "at", "kind", "reason"),
    [
        (CRM, CRM, LATER, Kind.TAKE, "crm_wins (hub field time, CRM record time): crm is newer"),
        (CRM, CRM, EARLIER, Kind.PUSH, "crm_wins (hub field time, CRM record time): hub is newer"),
        (CRM, CRM, NOON, Kind.PUSH, "crm_wins against crm_wins of beta: the file of beta comes first"),
        (CRM, RECENT, EARLIER, Kind.TAKE, "crm_wins against most_recent_wins of beta"),
        (RECENT, CRM, LATER, Kind.PUSH, "most_recent_wins against crm_wins of beta"),
        (HUB, RECENT, LATER, Kind.PUSH, "hub_wins against most_recent_wins of beta"),
        (RECENT, RECENT, NOON, Kind.DISPUTE, "most_recent_wins: the times are equal or unknown"),
        (RECENT, RECENT, None, Kind.DISPUTE, "most_recent_wins: the times are equal or unknown"),
        (CRM, CRM, None, Kind.PUSH, "crm_wins (hub field time, CRM unknown): hub is newer"),
        (CRM, MANUAL, LATER, Kind.DISPUTE, "manual"),
        (MANUAL, CRM, LATER, Kind.DISPUTE, "manual"),
    ],
)
def test_between_two_crms(mine: Policy, other: Policy, at: datetime | None, kind: Kind, reason: str) -> None:
    spec = field(policy=mine, place=1, rivals=_rival(other))
    verdict = asked(replace(OF_BETA, crm_at=at), spec)
    assert (verdict.kind, verdict.reason) == (kind, reason)


def test_the_first_of_two_authorities_counts() -> None:
    rivals = _rival(CRM, direction=IN)
    assert asked(OF_BETA, field(policy=CRM, place=1, rivals=rivals)).kind is Kind.PUSH
    assert asked(OF_BETA, field(direction=IN, place=1, rivals=rivals)).kind is Kind.CONVERGED
    assert (
        asked(replace(OF_BETA, hub_by="hub"), field(direction=IN, place=1, rivals=rivals)).kind is Kind.TAKE
    )
    later = {"beta": replace(rivals["beta"], place=2)}
    assert asked(OF_BETA, field(direction=IN, place=1, rivals=later)).kind is Kind.TAKE


# Rules ----------------------------------------------------------------------------------------------------------

KEEP = Rule(3, "use_hub", "anna")


def test_a_rule_goes_before_the_policy_and_says_whose_it_is() -> None:
    verdict = asked(replace(BOTH, rules=(KEEP,), conflict=7), field(policy=CRM))
    assert (verdict.kind, verdict.reason) == (Kind.PUSH, "rule #3 by anna: use_hub (conflict 7)")
    assert (verdict.rule, verdict.by_policy) == (KEEP, True)
    assert (
        asked(replace(BOTH, rules=(replace(KEEP, decision="use_crm"),)), field(policy=MANUAL)).kind
        is Kind.TAKE
    )


def test_a_rule_says_nothing_where_there_is_no_dispute() -> None:
    taken = replace(difference(crm=("c2", "c1")), rules=(KEEP,))
    assert (asked(taken, field()).kind, asked(taken, field()).rule) == (Kind.TAKE, None)
    assert asked(replace(BOTH, rules=(KEEP,)), field(direction=IN)).kind is Kind.TAKE
    outbound = replace(difference(crm=("c2", "c1")), rules=(KEEP,), overwrites=3)
    assert asked(outbound, field(direction=OUT)).kind is Kind.DISPUTE


def test_a_decision_and_a_skip_go_before_a_rule() -> None:
    ruled = replace(BOTH, rules=(KEEP,), decided_by="mina", conflict=7)
    decided = asked(replace(ruled, decision="use_crm"), field())
    assert (decided.kind, decided.reason) == (Kind.TAKE, "decided by mina (conflict 7)")
    assert asked(replace(ruled, decision="skip"), field(policy=MANUAL)).kind is Kind.DISPUTE


def test_what_somebody_skipped_no_rule_of_the_other_crm_ends() -> None:
    rival = {"hubspot": Rival(1, Direction.TWO_WAY, MANUAL)}
    between = replace(BOTH, hub_by="hubspot", hub_rules=(replace(KEEP, decision="use_crm"),))
    assert asked(between, field(policy=MANUAL, rivals=rival)).kind is Kind.PUSH
    assert asked(replace(between, decision="skip"), field(policy=MANUAL, rivals=rival)).kind is Kind.DISPUTE


def test_a_rule_holds_under_its_condition_only() -> None:
    blank = replace(KEEP, id=4, decision="use_crm", when=When.HUB_BLANK)
    both = (KEEP, blank)
    assert asked(replace(BOTH, rules=(blank,)), field(policy=MANUAL)).kind is Kind.DISPUTE
    cleared = replace(difference((None, "h1"), ("c2", "c1")), rules=both)
    assert asked(cleared, field(policy=MANUAL)).rule is blank
    assert asked(replace(BOTH, rules=both), field(policy=MANUAL)).rule is KEEP
    theirs = replace(KEEP, when=When.CRM_BLANK)
    assert (
        asked(replace(difference(("h2", "h1"), (None, "c1")), rules=(theirs,)), field(policy=CRM)).kind
        is Kind.PUSH
    )


def test_a_rule_by_time_leaves_equal_times_to_a_person() -> None:
    recent = replace(KEEP, decision="most_recent_wins")
    verdict = asked(replace(BOTH, rules=(recent,), hub_at=NOON, crm_at=NOON), field(policy=HUB))
    assert (verdict.kind, verdict.reason) == (
        Kind.DISPUTE,
        "rule #3 by anna: most_recent_wins: the times are equal or unknown",
    )
    assert (
        asked(replace(BOTH, rules=(recent,), hub_at=NOON, crm_at=LATER), field(policy=HUB)).kind is Kind.TAKE
    )


@pytest.mark.parametrize("policy", [MANUAL, HUB, RECENT, BLANK, CRM])
def test_a_rule_ends_a_dispute_between_two_crms_whichever_was_read_first(policy: Policy) -> None:
    """Beta keeps the hub's: so acme's edit counts, whatever acme's own policy says."""
    here = asked(replace(OF_BETA, hub_rules=(KEEP,)), field(policy=policy, place=1, rivals=_rival(MANUAL)))
    there = asked(replace(OF_BETA, rules=(KEEP,)), field(policy=MANUAL, place=1, rivals=_rival(policy)))
    assert (here.kind, there.kind) == (Kind.TAKE, Kind.PUSH)
    assert here.rule is there.rule is KEEP


def test_times_that_are_unknown_are_older_than_all() -> None:
    one = claim(Direction.TWO_WAY, CRM, None, "x", None, 0)
    two = replace(one, at=NOON - timedelta(days=900), place=1)
    assert stronger(one, two) == (False, "time")
    assert stronger(one, replace(two, at=None)) == (True, "place")
