"""The truth table of `decide`, row by row, and the laws that hold for everything it may be asked."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crm_sync.core.decide import OVERWRITES, OVERWRITTEN, Kind, Meaning, Verdict, decide, decide_all, meanings
from crm_sync.core.difference import Difference
from crm_sync.core.spec import Direction, FieldSpec, FieldType, Policy, StreamSpec, VendorField

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER, LATER = NOON - timedelta(minutes=1), NOON + timedelta(minutes=1)
ID = UUID(int=1)


def field(field_type: FieldType = FieldType.STRING, **more: object) -> FieldSpec:
    return FieldSpec("f", VendorField("F", field_type), **more)  # type: ignore[arg-type]


def difference(
    hub: tuple[str | None, str | None] = ("h", "h"),
    crm: tuple[str | None, str | None] = ("c", "c"),
    **more: object,
) -> Difference:
    """A difference of a field that was agreed on; each side is (now, then)."""
    d = Difference(ID, "1", "v", "f", *hub, *crm, hub[0] != hub[1], crm[0] != crm[1], agreed=True)
    return replace(d, **more)  # type: ignore[arg-type]


def asked(d: Difference, spec: FieldSpec, **flags: bool) -> Verdict:
    (meaning,) = meanings(spec, [d])
    return decide(d, spec, meaning, **flags)


MANUAL, HUB, CRM, BLANK, RECENT = (
    Policy.MANUAL, Policy.HUB_WINS, Policy.CRM_WINS, Policy.PREFER_CRM_UNLESS_BLANK, Policy.MOST_RECENT_WINS,
)  # fmt: skip
IN, OUT = Direction.INBOUND, Direction.OUTBOUND
BOTH = difference(("h2", "h1"), ("c2", "c1"))

# our side now/then    the CRM's now/then   the field            more facts                              verdict    value
TABLE = [
    # Agreed before.
    (("h1", "h1"), ("c1", "c2"), {}, {}, Kind.TAKE, "c1"),
    (("h1", "h1"), (None, "c2"), {}, {}, Kind.TAKE, None),
    (("h1", "h2"), ("c1", "c1"), {}, {}, Kind.PUSH, "h1"),
    ((None, "h2"), ("c1", "c1"), {}, {}, Kind.PUSH, None),
    (("x", "h1"), ("x", "c1"), {}, {}, Kind.CONVERGED, None),
    ((None, "h1"), (None, "c1"), {}, {}, Kind.CONVERGED, None),
    # Never agreed.
    (("x", None), ("x", None), {}, {"agreed": False}, Kind.CONVERGED, None),
    (("h", None), (None, None), {}, {"agreed": False}, Kind.PUSH, "h"),
    ((None, None), ("c", None), {}, {"agreed": False}, Kind.TAKE, "c"),
    (("h", None), ("c", None), {"policy": MANUAL}, {"agreed": False}, Kind.DISPUTE, "c"),
    # Both changed, differently: the policy.
    (("h2", "h1"), ("c2", "c1"), {"policy": MANUAL}, {}, Kind.DISPUTE, "c2"),
    (("h2", "h1"), ("c2", "c1"), {"policy": HUB}, {}, Kind.PUSH, "h2"),
    (("h2", "h1"), ("c2", "c1"), {"policy": CRM}, {}, Kind.TAKE, "c2"),
    (("h2", "h1"), ("c2", "c1"), {"policy": BLANK}, {}, Kind.TAKE, "c2"),
    (("h2", "h1"), (None, "c1"), {"policy": BLANK}, {}, Kind.PUSH, "h2"),
    ((None, "h1"), ("c2", "c1"), {"policy": BLANK}, {}, Kind.TAKE, "c2"),
    (("h2", "h1"), ("c2", "c1"), {"policy": RECENT}, {"hub_at": NOON, "crm_at": LATER}, Kind.TAKE, "c2"),
    (("h2", "h1"), ("c2", "c1"), {"policy": RECENT}, {"hub_at": NOON, "crm_at": EARLIER}, Kind.PUSH, "h2"),
    (("h2", "h1"), ("c2", "c1"), {"policy": RECENT}, {"hub_at": NOON, "crm_at": NOON}, Kind.DISPUTE, "c2"),
    (("h2", "h1"), ("c2", "c1"), {"policy": RECENT}, {"hub_at": None, "crm_at": NOON}, Kind.DISPUTE, "c2"),
    (("h2", "h1"), ("c2", "c1"), {"policy": RECENT}, {"hub_at": NOON, "crm_at": None}, Kind.DISPUTE, "c2"),
    # What a lost write of ours was to set is sent over again, unless people want to be asked.
    (("h2", "h1"), ("c2", "c1"), {"policy": CRM}, {"landed": True}, Kind.PUSH, "h2"),
    (("h1", "h1"), ("c2", "c1"), {"policy": RECENT}, {"landed": True, "crm_at": LATER}, Kind.PUSH, "h1"),
    (("h2", "h1"), ("c2", "c1"), {"policy": MANUAL}, {"landed": True}, Kind.DISPUTE, "c2"),
    (("h1", "h1"), ("c2", "c1"), {"policy": MANUAL}, {"landed": True}, Kind.DISPUTE, "c2"),
    # If the record was written to later still, the policy decides as of two changes; of times that say nothing, a person.
    (("h1", "h1"), ("c2", "c1"), {"policy": MANUAL}, {"maybe_landed": True}, Kind.DISPUTE, "c2"),
    (("h1", "h1"), ("c2", "c1"), {"policy": RECENT}, {"maybe_landed": True, "crm_at": LATER}, Kind.DISPUTE, "c2"),
    (("h1", "h1"), ("c2", "c1"), {"policy": CRM}, {"maybe_landed": True}, Kind.TAKE, "c2"),
    (("h1", "h1"), ("c2", "c1"), {"policy": HUB}, {"maybe_landed": True}, Kind.PUSH, "h1"),
    (("h1", "h1"), ("c2", "c1"), {"policy": MANUAL}, {"maybe_landed": True, "decision": "use_crm"}, Kind.TAKE, "c2"),
    # A person's decision ends a dispute, either way, over every policy.
    (("h2", "h1"), ("c2", "c1"), {"policy": HUB}, {"decision": "use_crm"}, Kind.TAKE, "c2"),
    (("h2", "h1"), ("c2", "c1"), {"policy": CRM}, {"decision": "use_hub"}, Kind.PUSH, "h2"),
    # Directions: one side is the authority, whatever the other did.
    (("h2", "h1"), ("c1", "c1"), {"direction": IN}, {}, Kind.TAKE, "c1"),
    (("h1", "h1"), ("c2", "c1"), {"direction": OUT}, {}, Kind.PUSH, "h1"),
    # An outbound field that the CRM rewrites is not sent for ever, as long as the hub says the same.
    (("h1", "h1"), ("c2", "c1"), {"direction": OUT}, {"overwrites": OVERWRITES - 1}, Kind.PUSH, "h1"),
    (("h1", "h1"), ("c2", "c1"), {"direction": OUT}, {"overwrites": OVERWRITES}, Kind.DISPUTE, "c2"),
    (("h2", "h1"), ("c2", "c1"), {"direction": OUT}, {"overwrites": OVERWRITES}, Kind.PUSH, "h2"),
    (("h1", "h1"), ("c2", "c1"), {"direction": OUT}, {"overwrites": 1, "made_by_crm": True}, Kind.CONVERGED, None),
    (("h2", "h1"), ("c2", "c1"), {"direction": OUT}, {"overwrites": 1, "made_by_crm": True}, Kind.PUSH, "h2"),
    (("h1", "h1"), ("c2", "c1"), {"direction": OUT}, {"decision": "use_hub", "overwrites": OVERWRITES}, Kind.PUSH, "h1"),
    (("h1", "h1"), ("c2", "c1"), {"direction": OUT}, {"decision": "use_crm", "overwrites": OVERWRITES}, Kind.CONVERGED, None),
]  # fmt: skip


@pytest.mark.parametrize(("hub", "crm", "rules", "facts", "kind", "value"), TABLE)
def test_the_truth_table(hub, crm, rules, facts, kind, value) -> None:  # type: ignore[no-untyped-def]
    verdict = asked(difference(hub, crm, **facts), field(**rules))
    assert (verdict.kind, verdict.value) == (kind, value)
    assert verdict.reason


def test_force_takes_the_value_of_the_crm_except_where_the_hub_is_the_authority() -> None:
    assert asked(difference(("h2", "h1")), field(), force=True).kind is Kind.TAKE
    assert asked(BOTH, field(policy=HUB), force=True).kind is Kind.TAKE
    assert asked(BOTH, field(direction=OUT), force=True).kind is Kind.PUSH


def test_only_a_policy_that_ended_a_dispute_is_counted_as_one() -> None:
    assert asked(BOTH, field(policy=CRM)).by_policy
    assert not asked(BOTH, field(policy=MANUAL)).by_policy
    assert not asked(difference(("h2", "h1")), field(policy=HUB)).by_policy


def test_the_suggestion_is_the_newer_side() -> None:
    d = replace(BOTH, hub_at=NOON, crm_at=LATER)
    assert asked(d, field(policy=MANUAL)).suggestion == "use_crm"
    assert asked(replace(d, crm_at=EARLIER), field(policy=MANUAL)).suggestion == "use_hub"


def test_the_reason_says_how_good_the_evidence_was() -> None:
    d = replace(BOTH, hub_at=NOON, crm_at=LATER)
    assert "hub record time" in asked(d, field()).reason
    assert "hub field time" in asked(replace(d, hub_at_is_of_field=True), field()).reason


STAGE = field(
    FieldType.PICKLIST,
    to_crm={"tour": "Appointment", "qualified": "Appointment", "won": "Won"},
    to_hub={"Appointment": "tour", "Won": "won"},
)


def test_two_of_our_stages_that_are_one_of_theirs_agree() -> None:
    assert asked(difference(("qualified", "tour"), ("Appointment",) * 2), STAGE).kind is Kind.CONVERGED
    assert asked(difference(("qualified", "won"), ("Appointment", "Won")), STAGE).kind is Kind.CONVERGED
    assert asked(difference(("qualified",) * 2, ("Won", "Appointment")), STAGE).value == "won"


def test_a_value_that_cannot_cross_is_invalid_on_its_way_only() -> None:
    there = asked(difference(("x", "won"), ("Won", "Won")), STAGE)
    assert (there.kind, there.side) == (Kind.INVALID, "hub")
    here = asked(difference(("won", "won"), ("Strange", "Won")), STAGE)
    assert (here.kind, here.side) == (Kind.INVALID, "crm")
    assert asked(difference(("x", "won"), ("Won", "Appointment")), replace(STAGE, policy=CRM)).value == "won"


def test_a_reference_waits_for_its_target_on_the_way_that_it_goes() -> None:
    company = field(FieldType.REFERENCE, entity="company")
    assert asked(difference(("h2", "h1")), company).kind is Kind.WAIT
    assert asked(difference(("h2", "h1"), hub_as_crm="c9"), company).value == "c9"
    assert asked(difference(crm=("c2", "c1"), crm_as_hub="h9"), company).value == "h9"
    assert (
        asked(difference(("h2", "h1"), ("c2", "c1"), hub_as_crm="c2", crm_as_hub="h2"), company).kind
        is Kind.CONVERGED
    )


# Laws -----------------------------------------------------------------------------------------------------------

values = st.sampled_from([None, "a", "b", "Appointment", "tour", "Won", "won"])
times = st.sampled_from([None, EARLIER, NOON, LATER])


@st.composite
def differences(draw: st.DrawFn) -> Difference:
    hub, crm = (draw(values), draw(values)), (draw(values), draw(values))
    d = difference(
        hub, crm,
        agreed=draw(st.booleans()), hub_at=draw(times), crm_at=draw(times),
        decision=draw(st.sampled_from([None, None, "use_hub", "use_crm"])), decided_by="mina",
        overwrites=draw(st.integers(0, OVERWRITES)), made_by_crm=draw(st.booleans()),
    )  # fmt: skip
    assume(d.hub_changed or d.crm_changed or not d.agreed)
    return d


specs = st.one_of(
    st.builds(field, policy=st.sampled_from(Policy), direction=st.sampled_from(Direction)),
    st.builds(lambda policy: replace(STAGE, policy=policy), st.sampled_from(Policy)),
)


@given(differences(), specs, st.booleans())
def test_it_always_has_the_same_answer(d: Difference, spec: FieldSpec, force: bool) -> None:
    verdict = asked(d, spec, force=force)
    assert verdict == asked(d, spec, force=force)
    assert verdict.reason
    assert (verdict.invalid is not None) == (verdict.kind is Kind.INVALID)
    assert verdict.side == {Kind.TAKE: "crm", Kind.PUSH: "hub"}.get(verdict.kind, verdict.side)


@given(differences(), specs)
def test_carried_out_nothing_is_left_and_both_sides_mean_the_same(d: Difference, spec: FieldSpec) -> None:
    """Merging its own output is a no-op: a value that was moved is, never agreed on, at once a convergence."""
    verdict = asked(d, spec)
    assume(verdict.kind in (Kind.TAKE, Kind.PUSH))
    hub, crm = (verdict.value, d.crm_now) if verdict.kind is Kind.TAKE else (d.hub_now, verdict.value)
    again = asked(difference((hub, None), (crm, None), agreed=False), spec)
    assert again.kind is Kind.CONVERGED


@given(st.lists(st.sampled_from(["edit", "rewrite", "hub"]), max_size=30), st.booleans())
def test_an_outbound_field_is_never_overwritten_for_ever(events: list[str], steady: bool) -> None:
    """A field and a CRM, sync after sync: whatever people do, and however the CRM rewrites what it is sent (always to the
    same, if steady, else never), there are at most so many writes in a row that the hub gave no reason for."""
    spec, rewrites = field(direction=OUT), False
    hub, then, crm, crm_then = "h0", "h0", "h0", "h0"
    written: list[
        tuple[str, bool]
    ] = []  # what each overwrite since the hub's last change replaced, and what came of it
    for number, event in enumerate(events + ["nothing"] * (OVERWRITES + 2)):
        if event == "edit":
            crm = f"edit {number}"
        elif event == "hub":
            hub = f"h{number + 1}"
        elif event == "rewrite":
            rewrites = True
        d = difference(
            (hub, then), (crm, crm_then), overwrites=len(written), made_by_crm=(crm, True) in written
        )
        if not (d.hub_changed or d.crm_changed):
            verdict = None
            continue
        verdict = asked(d, spec)
        match verdict.kind:
            case Kind.PUSH:
                made = hub if not rewrites else f"made of {hub}" if steady else f"made {number}"
                written = [*written, (crm, made != hub)] if verdict.reason == OVERWRITTEN else []
                then, crm_then, crm = hub, hub, made
            case Kind.CONVERGED:
                then, crm_then = hub, crm
        assert len(written) <= OVERWRITES
    assert verdict is None or verdict.kind is Kind.DISPUTE


@given(values, values, values, st.booleans(), st.sampled_from(Policy))
def test_a_side_that_did_not_change_never_wins_over_one_that_did(
    now: str | None, then: str | None, other: str | None, ours: bool, policy: Policy
) -> None:
    assume(now != then)
    d = difference((now, then), (other, other)) if ours else difference((other, other), (now, then))
    for spec in (field(policy=policy), replace(STAGE, policy=policy)):
        assert asked(d, spec).kind in (Kind.CONVERGED, Kind.INVALID, Kind.PUSH if ours else Kind.TAKE)


@given(st.permutations([("acme", EARLIER), ("beta", NOON), ("gamma", LATER)]))
def test_the_newest_wins_in_whatever_order_the_connections_are_looked_at(
    order: Sequence[tuple[str, datetime]],
) -> None:
    """Each connection in turn disputes the field with the hub; the hub then has its time."""
    hub, hub_at = "hub", NOON - timedelta(hours=1)
    for name, at in order:
        verdict = asked(difference((hub, "old"), (name, "old"), hub_at=hub_at, crm_at=at), field())
        if verdict.kind is Kind.TAKE:
            hub, hub_at = verdict.value or "", at
    assert hub == "gamma"


@given(st.lists(differences(), max_size=8))
def test_fields_are_decided_each_for_itself(found: list[Difference]) -> None:
    names = ("f", "g", "h")
    stream = StreamSpec(
        "acme", "memory", "contact", "Contact",
        tuple(replace(field(policy=p), name=n) for n, p in zip(names, (MANUAL, HUB, CRM), strict=True)),
    )  # fmt: skip
    spread = [replace(d, field=names[i % 3]) for i, d in enumerate(found)]
    together = list(decide_all(stream, spread))
    alone = [v for d in spread for v in decide_all(stream, [d])]
    assert sorted(map(repr, together)) == sorted(map(repr, alone))


def test_what_each_side_means_is_computed_once_per_column() -> None:
    (meaning,) = meanings(field(FieldType.EMAIL), [difference(("A@X.example", None), ("a@x.EXAMPLE", None))])
    assert meaning == Meaning("a@x.example", "a@x.example", "a@x.example")
