"""What is to happen with a field whose sides differ from what they last agreed on. Nothing else decides.

`decide` is pure: (difference, what each side's value means on the other, the field's rules) → verdict. The hub
asset applies the takes, the conflicts check records the disputes, the outbound asset sends the pushes; each of
them asks again, so that running any of them twice, late or after a crash is harmless.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from crm_sync.core import rivals, rules
from crm_sync.core.difference import Difference
from crm_sync.core.normalise import Invalid, to_crm, to_hub
from crm_sync.core.rules import Rule
from crm_sync.core.spec import Direction, FieldSpec, FieldType, Policy, Rival, StreamSpec

OVERWRITES = 3
"""So often in a row is a change in the CRM of an outbound field overwritten; then a person decides."""

OVERWRITTEN = "outbound field: the hub overwrites what was changed in the CRM"
"""The reason of such a write; the journal is asked by it how often that was."""

LANDED = "a write of ours whose answer was lost landed late in the CRM: the hub's value is sent again"
LANDED_OR_TYPED = "the CRM says what a lost write of ours was to set: it came late, or somebody typed it"


class Kind(StrEnum):
    TAKE = "take"  # the CRM's value goes into the hub
    PUSH = "push"  # the hub's value goes to the CRM
    CONVERGED = "converged"  # both mean the same: only the base moves
    DISPUTE = "dispute"  # a person decides
    WAIT = "wait"  # a reference whose target is not linked yet
    INVALID = "invalid"  # the value that would move cannot be accepted by the other side


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to happen with one difference, and why. `value` is in the terms of the side it goes to (take: the
    hub's, push: the CRM's); in a dispute it is the CRM's value in the hub's terms, where it has one. `side` is
    where the value comes from: "crm" for what would be taken, "hub" for what would be pushed.
    """

    difference: Difference
    kind: Kind
    reason: str
    value: str | None = None
    suggestion: str = ""
    invalid: Invalid | None = None
    side: str = ""
    by_policy: bool = False  # both sides had changed, and a policy settled it
    rule: Rule | None = None  # or a rule that a person made


@dataclass(frozen=True, slots=True)
class Meaning:
    """What each side's value is in the terms of the other; WAITING for a reference without a link."""

    crm_as_hub: "str | Invalid | Waiting | None"
    hub_as_crm: "str | Invalid | Waiting | None"
    hub_plain: str | None  # our value in canonical form, however an application spelled it


class Waiting:
    """The target of a reference is not linked on this connection yet."""

    __slots__ = ()


WAITING = Waiting()


def decide(  # noqa: C901, PLR0911 - the truth table, one line a row
    d: Difference, spec: FieldSpec, meaning: Meaning, *, force: bool = False
) -> Verdict:
    """The verdict about one field: the whole truth table of the design, in order."""
    if _same(d, meaning):
        return Verdict(d, Kind.CONVERGED, "both sides mean the same")
    if force and spec.direction is not Direction.OUTBOUND:
        return _take(d, meaning, "force: the CRM's value overwrites")
    if d.decision == "use_crm" and spec.direction is not Direction.OUTBOUND:
        return _take(d, meaning, d.decided)
    if d.decision == "use_hub":
        return _push(d, meaning, d.decided)
    if spec.direction is Direction.INBOUND:
        if d.hub_by in spec.masters:
            return Verdict(d, Kind.CONVERGED, f"inbound field: {d.hub_by} is the authority before this CRM")
        return _take(d, meaning, "inbound field: the CRM is the authority")
    if spec.direction is Direction.OUTBOUND:
        return _outbound(d, meaning)
    if d.landed or d.maybe_landed:
        return _landed(d, spec, meaning)
    if d.agreed and not d.hub_changed:
        return _take(d, meaning, "changed in the CRM")
    if d.agreed and not d.crm_changed:
        return _push(d, meaning, "changed in the hub")
    if not d.agreed and d.crm_now is None:
        return _push(d, meaning, "first agreement: blank in the CRM")
    if not d.agreed and d.hub_now is None:
        return _take(d, meaning, "first agreement: blank in the hub")
    return _dispute(d, spec, meaning)


def _landed(d: Difference, spec: FieldSpec, meaning: Meaning) -> Verdict:
    """The CRM says what a lost write of ours was to set. Nobody can tell whether that landed late or somebody typed it: who
    wants to be asked is asked. Where the record was written to later still, perhaps in other fields, its time says nothing
    about this one, and the field's policy decides as of two changes."""
    rule = None if d.decision == "skip" else rules.of(d.rules, d.hub_now, d.crm_now)
    policy = spec.policy if rule is None else rule.policy
    if d.landed and (policy is not Policy.MANUAL or rule is not None):
        return _push(d, meaning, LANDED)
    if policy in (Policy.MANUAL, Policy.MOST_RECENT_WINS):
        return _open(d, meaning, Policy.MANUAL, LANDED_OR_TYPED)
    return _dispute(d, spec, meaning)


def _outbound(d: Difference, meaning: Meaning) -> Verdict:
    """The hub is the authority; but against a rule of the CRM's that rewrites what is sent nothing is sent for ever
    (docs/decisions/0013-rewritten-outbound-fields.md)."""
    if d.decision == "use_crm":
        return Verdict(d, Kind.CONVERGED, f"{d.decided}: the CRM keeps its value")
    if d.hub_changed or not d.agreed:
        return _push(d, meaning, "outbound field: the hub is the authority")
    if d.made_by_crm:
        return Verdict(d, Kind.CONVERGED, "outbound field: the CRM makes this of what is sent")
    if d.overwrites < OVERWRITES:
        return _push(d, meaning, OVERWRITTEN)
    value = meaning.crm_as_hub if isinstance(meaning.crm_as_hub, str) else None
    return Verdict(
        d,
        Kind.DISPUTE,
        f"outbound field: changed in the CRM after {d.overwrites} overwrites",
        value,
        "use_hub",
    )


def _dispute(d: Difference, spec: FieldSpec, meaning: Meaning) -> Verdict:
    """Both sides changed, differently: a rule that a person made, or the field's policy ends it, or a person."""
    # Who skipped a conflict wants both values left as they are, whatever holds for others of its kind.
    rule = None if d.decision == "skip" else rules.of(d.rules, d.hub_now, d.crm_now)
    rival = spec.rivals.get(d.hub_by or "")
    if rival is not None:
        return _between(d, spec, meaning, rule, rival)
    policy = spec.policy if rule is None else rule.policy
    said = str(policy) if rule is None else rule.said
    match policy:
        case Policy.HUB_WINS:
            side: str | None = "hub"
        case Policy.CRM_WINS:
            side = "crm"
        case Policy.PREFER_CRM_UNLESS_BLANK:
            side = "hub" if d.crm_now is None else "crm"
        case Policy.MOST_RECENT_WINS:
            side = _newer(d)
            if side is not None:
                said = f"{said} ({d.evidence}): {side} is newer"
        case Policy.MANUAL:
            side = None
    return _settled(d, meaning, side, said, rule) if side is not None else _open(d, meaning, policy, said)


def _between(d: Difference, spec: FieldSpec, meaning: Meaning, rule: Rule | None, rival: Rival) -> Verdict:
    """What the hub has is another CRM's value: the same one of the two counts, whichever was read first."""
    theirs = None if d.decision == "skip" else rules.of(d.hub_rules, d.crm_now, d.hub_now)
    mine = rivals.claim(spec.direction, spec.policy, rule, d.crm_now, d.crm_at, spec.place)
    other = rivals.claim(rival.direction, rival.policy, theirs, d.hub_now, d.hub_at, rival.place)
    won = rivals.stronger(mine, other)
    if won is None:
        if mine.weight is None or other.weight is None:
            return _open(d, meaning, Policy.MANUAL, "manual")
        return _open(d, meaning, Policy.MOST_RECENT_WINS, mine.said)
    said = rivals.told(mine, other, won, d.hub_by or "", d.evidence)
    return _settled(d, meaning, "crm" if won.mine else "hub", said, rule or theirs)


def _settled(d: Difference, meaning: Meaning, side: str, reason: str, rule: Rule | None) -> Verdict:
    chosen = _take if side == "crm" else _push
    verdict = chosen(d, meaning, reason if rule is None else d.named(reason))
    return replace(verdict, by_policy=True, rule=rule)


def _open(d: Difference, meaning: Meaning, policy: Policy, said: str) -> Verdict:
    reason = said if policy is Policy.MANUAL else f"{said}: the times are equal or unknown"
    value = meaning.crm_as_hub if isinstance(meaning.crm_as_hub, str) else None
    return Verdict(d, Kind.DISPUTE, reason, value, {"crm": "use_crm"}.get(_newer(d) or "", "use_hub"))


def _newer(d: Difference) -> str | None:
    if d.landed or d.maybe_landed:  # when it was sent the hub's was not there yet
        return "hub"
    if d.hub_at is None or d.crm_at is None or d.hub_at == d.crm_at:
        return None
    return "crm" if d.crm_at > d.hub_at else "hub"


def _same(d: Difference, meaning: Meaning) -> bool:
    """Whether the two sides say the same, seen from either one (a lossy picklist makes only one of them true)."""
    if d.hub_now is None and d.crm_now is None:
        return True
    crm, hub = meaning.crm_as_hub, meaning.hub_as_crm
    if isinstance(crm, str) and crm in (d.hub_now, meaning.hub_plain):
        return True
    return isinstance(hub, str) and hub == d.crm_now


def _take(d: Difference, meaning: Meaning, reason: str) -> Verdict:
    return _moved(d, Kind.TAKE, meaning.crm_as_hub, reason)


def _push(d: Difference, meaning: Meaning, reason: str) -> Verdict:
    return _moved(d, Kind.PUSH, meaning.hub_as_crm, reason)


def _moved(d: Difference, kind: Kind, value: "str | Invalid | Waiting | None", reason: str) -> Verdict:
    side = "crm" if kind is Kind.TAKE else "hub"
    if isinstance(value, Waiting):
        return Verdict(d, Kind.WAIT, "the referenced record is not linked yet", side=side)
    if isinstance(value, Invalid):
        return Verdict(d, Kind.INVALID, reason, invalid=value, side=side)
    return Verdict(d, kind, reason, value, side=side)


def decide_all(
    stream: StreamSpec, differences: Sequence[Difference], *, force: bool = False, check: bool = True
) -> Iterator[Verdict]:
    """Verdicts about many differences; values are normalised column by column, which is what costs time."""
    by_field: dict[str, list[Difference]] = {}
    for difference in differences:
        by_field.setdefault(difference.field, []).append(difference)
    for spec in stream.fields:
        column = by_field.get(spec.name, [])
        for difference, meaning in zip(column, meanings(spec, column, check=check), strict=True):
            yield decide(difference, spec, meaning, force=force)


def meanings(spec: FieldSpec, column: Sequence[Difference], *, check: bool = True) -> Iterable[Meaning]:
    """What both values of each difference of one field are in the terms of the other side."""
    if spec.type is FieldType.REFERENCE:
        return [
            Meaning(_link(d.crm_now, d.crm_as_hub), _link(d.hub_now, d.hub_as_crm), d.hub_now) for d in column
        ]
    ours = [d.hub_now for d in column]
    plain = to_hub(replace(spec, to_hub=None), ours)
    return [
        Meaning(crm, hub, None if isinstance(same, Invalid) else same)
        for crm, hub, same in zip(
            to_hub(spec, [d.crm_now for d in column], check=check),
            to_crm(spec, ours, check=check),
            plain,
            strict=True,
        )
    ]


def _link(value: str | None, translated: str | None) -> str | Waiting | None:
    return WAITING if value is not None and translated is None else translated
