"""What is to happen with a record that was deleted, archived or brought back on one side. Nothing else decides.

Being there is one more pair of now and then. The hub says present, archived or deleted, a CRM present or deleted, and
the base keeps what both said when they last agreed. `decide` is pure, and its verdicts are those of a field (core/decide.py):
the pseudo field `*` of the record, so that the review table, the rules and the commands know them already.
Why it works this way: docs/decisions/0017-deletions.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from crm_sync.core import rules
from crm_sync.core.decide import Kind, Verdict
from crm_sync.core.deletes import DeletePolicy
from crm_sync.core.difference import Difference
from crm_sync.core.rules import Rule
from crm_sync.core.spec import Direction, Policy, StreamSpec


class Here(StrEnum):
    """Whether a side has the record. Archived: the hub keeps it, but it takes no part in the sync."""

    PRESENT = "present"
    ARCHIVED = "archived"
    DELETED = "deleted"


APART = "both sides stay as they are"


@dataclass(frozen=True, slots=True)
class Presence:
    """The difference in being there of a linked record: `difference` has the field `*`, and a `Here` in each of its four
    values. edited: the side that still has the record says in some field what the other never heard of."""

    difference: Difference
    edited: bool = False


def decide(p: Presence, stream: StreamSpec) -> Verdict:  # noqa: PLR0911 - the truth table, one line a row
    """The verdict about being there: take (what becomes of the hub record, as `value`), push (of the CRM's), converged
    (only the base moves), dispute."""
    d = p.difference
    sends, takes = stream.direction is not Direction.INBOUND, stream.direction is not Direction.OUTBOUND
    hub_gone, crm_gone = _gone(d.hub_now), _gone(d.crm_now)
    if hub_gone == crm_gone:
        return Verdict(d, Kind.CONVERGED, f"both sides say {'gone' if hub_gone else 'present'}")
    if d.decision == "use_crm":
        return _take(d, stream, d.decided) if takes else _apart(d, d.decided)
    if d.decision == "use_hub":
        return _push(d, d.decided) if sends else _apart(d, d.decided)
    by_hub, by_crm = hub_gone != _gone(d.hub_then), crm_gone != _gone(d.crm_then)
    if not by_hub and not by_crm:
        return _apart(d, "no side changed whether it has the record")
    if by_hub and by_crm:
        return _dispute(d, stream, "deleted on one side and brought back on the other", "use_crm")
    deletes = stream.deletes
    policy = deletes.inbound if by_crm else deletes.outbound
    deleted = crm_gone if by_crm else hub_gone
    what = f"{'deleted' if deleted else 'brought back'} in the {'CRM' if by_crm else 'hub'}"
    if policy is DeletePolicy.IGNORE or not (takes if by_crm else sends):
        return _apart(d, f"{what}: {_why_apart(stream, policy)}")
    if deleted and p.edited:
        return _dispute(
            d, stream, f"{what}, and edited on the other side", "use_hub" if by_crm else "use_crm"
        )
    if policy is DeletePolicy.REVIEW:
        return _dispute(d, stream, f"{what}: deletes: review", "use_crm" if by_crm else "use_hub")
    return (
        _take(d, stream, f"{what}: deletes: {policy}") if by_crm else _push(d, f"{what}: deletes: {policy}")
    )


def decide_all(presences: Iterable[Presence], stream: StreamSpec) -> Iterator[Verdict]:
    """Verdicts about many records."""
    return (decide(presence, stream) for presence in presences)


def _gone(here: str | None) -> bool:
    return here != Here.PRESENT


def _why_apart(stream: StreamSpec, policy: DeletePolicy) -> str:
    one_way = stream.direction is not Direction.TWO_WAY and policy is not DeletePolicy.IGNORE
    return f"{stream.direction} stream" if one_way else "deletes: ignore"


def _take(d: Difference, stream: StreamSpec, reason: str, rule: Rule | None = None) -> Verdict:
    """The CRM's word holds. The hub keeps a record that its policy archives; another one goes."""
    gone = Here.ARCHIVED if stream.deletes.inbound is DeletePolicy.ARCHIVE else Here.DELETED
    value = gone if _gone(d.crm_now) else Here.PRESENT
    return Verdict(d, Kind.TAKE, reason, value, side="crm", by_policy=rule is not None, rule=rule)


def _push(d: Difference, reason: str, rule: Rule | None = None) -> Verdict:
    value = Here.DELETED if _gone(d.hub_now) else Here.PRESENT
    return Verdict(d, Kind.PUSH, reason, value, side="hub", by_policy=rule is not None, rule=rule)


def _apart(d: Difference, reason: str) -> Verdict:
    return Verdict(d, Kind.CONVERGED, f"{reason}; {APART}")


def _dispute(d: Difference, stream: StreamSpec, reason: str, suggestion: str) -> Verdict:
    """A rule that a person made ends it, or a person does."""
    rule = None if d.decision == "skip" else rules.of(d.rules, d.hub_now, d.crm_now)
    if rule is not None and stream.direction is Direction.TWO_WAY:
        side = _winner(d, rule)
        if side is not None:
            said = d.named(rule.said)
            return _take(d, stream, said, rule) if side == "crm" else _push(d, said, rule)
    return Verdict(d, Kind.DISPUTE, reason, d.crm_now, suggestion)


def _winner(d: Difference, rule: Rule) -> str | None:
    """The side whose word holds by a rule; None if the times do not tell."""
    match rule.policy:
        case Policy.HUB_WINS:
            return "hub"
        case Policy.CRM_WINS | Policy.PREFER_CRM_UNLESS_BLANK:  # being there, or not, is never blank
            return "crm"
        case _:
            if d.hub_at is None or d.crm_at is None or d.hub_at == d.crm_at:
                return None
            return "crm" if d.crm_at > d.hub_at else "hub"
