"""The truth table of being there: every row, in both directions."""

from dataclasses import replace
from itertools import product
from uuid import UUID

import pytest

from crm_sync.core.decide import Kind, Verdict
from crm_sync.core.deletes import DeletePolicy, Deletes
from crm_sync.core.difference import Difference
from crm_sync.core.life import Here, Presence, decide
from crm_sync.core.rules import Rule
from crm_sync.core.spec import Direction, FieldSpec, FieldType, StreamSpec, VendorField

P, A, D = (str(here) for here in Here)
STREAM = StreamSpec(
    "acme", "memory", "contact", "Contact", (FieldSpec("name", VendorField("Name", FieldType.STRING)),)
)


def _stream(
    inbound: str = "propagate", outbound: str = "propagate", direction: str = "two_way"
) -> StreamSpec:
    deletes = Deletes(DeletePolicy(inbound), DeletePolicy(outbound))
    return replace(STREAM, deletes=deletes, direction=Direction(direction))


def _decide(
    then: tuple[str, str], now: tuple[str, str], stream: StreamSpec, *, edited: bool = False, **more: object
) -> Verdict:
    d = Difference(
        UUID(int=1),
        "1",
        "7",
        "*",
        now[0],
        then[0],
        now[1],
        then[1],
        now[0] != then[0],
        now[1] != then[1],
        agreed=True,
    )
    return decide(Presence(replace(d, **more), edited), stream)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("then", "now", "kind", "value"),
    [
        ((P, P), (P, D), Kind.TAKE, D),
        ((P, P), (D, P), Kind.PUSH, D),
        ((P, P), (A, P), Kind.PUSH, D),
        ((P, P), (D, D), Kind.CONVERGED, None),
        ((P, P), (A, D), Kind.CONVERGED, None),
        ((D, D), (D, P), Kind.TAKE, P),
        ((A, D), (A, P), Kind.TAKE, P),
        ((D, D), (P, D), Kind.PUSH, P),
        ((A, D), (P, D), Kind.PUSH, P),
        ((A, D), (D, D), Kind.CONVERGED, None),
        ((D, D), (P, P), Kind.CONVERGED, None),
        ((P, D), (P, P), Kind.CONVERGED, None),  # left apart, and together again
        ((P, D), (D, D), Kind.CONVERGED, None),
        ((D, P), (P, P), Kind.CONVERGED, None),
        ((D, P), (D, D), Kind.CONVERGED, None),
        ((A, P), (D, P), Kind.CONVERGED, None),  # gone is gone
        ((P, D), (D, P), Kind.DISPUTE, P),
        ((D, P), (P, D), Kind.DISPUTE, D),
    ],
)
def test_what_changed_on_one_side_follows_on_the_other(
    then: tuple[str, str], now: tuple[str, str], kind: Kind, value: str | None
) -> None:
    verdict = _decide(then, now, _stream())
    assert (verdict.kind, verdict.value) == (kind, value)


@pytest.mark.parametrize(
    ("policy", "kind", "value"),
    [
        ("archive", Kind.TAKE, A),
        ("propagate", Kind.TAKE, D),
        ("ignore", Kind.CONVERGED, None),
        ("review", Kind.DISPUTE, D),
    ],
)
def test_a_deletion_in_the_crm_follows_the_inbound_policy(policy: str, kind: Kind, value: str | None) -> None:
    verdict = _decide((P, P), (P, D), _stream(inbound=policy, outbound="review"))
    assert (verdict.kind, verdict.value) == (kind, value)


@pytest.mark.parametrize(
    ("policy", "kind", "value"),
    [("propagate", Kind.PUSH, D), ("ignore", Kind.CONVERGED, None), ("review", Kind.DISPUTE, P)],
)
@pytest.mark.parametrize("gone", [D, A])
def test_a_deletion_in_the_hub_follows_the_outbound_policy(
    policy: str, kind: Kind, value: str | None, gone: str
) -> None:
    verdict = _decide((P, P), (gone, P), _stream(outbound=policy))
    assert (verdict.kind, verdict.value) == (kind, value)


@pytest.mark.parametrize("policy", ["archive", "propagate", "review"])
def test_a_deletion_against_an_edit_asks(policy: str) -> None:
    found = _decide((P, P), (P, D), _stream(inbound=policy), edited=True)
    assert (found.kind, found.suggestion) == (Kind.DISPUTE, "use_hub")
    if policy != "archive":
        found = _decide((P, P), (D, P), _stream(outbound=policy), edited=True)
        assert (found.kind, found.suggestion) == (Kind.DISPUTE, "use_crm")
    assert _decide((P, P), (P, D), _stream(inbound="ignore"), edited=True).kind is Kind.CONVERGED


def test_what_came_back_was_edited_on_its_own_side() -> None:
    assert _decide((D, D), (D, P), _stream(), edited=True).kind is Kind.TAKE
    assert _decide((D, D), (P, D), _stream(), edited=True).kind is Kind.PUSH


@pytest.mark.parametrize("then", list(product((P, A, D), (P, D))))
@pytest.mark.parametrize("now", list(product((P, A, D), (P, D))))
def test_a_one_way_stream_never_writes_the_other_way(then: tuple[str, str], now: tuple[str, str]) -> None:
    for decision in (None, "use_hub", "use_crm"):
        inbound = _decide(
            then, now, _stream(direction="inbound"), edited=True, decision=decision, decided_by="ann"
        )
        assert inbound.kind is not Kind.PUSH
        outbound = _decide(
            then, now, _stream(direction="outbound"), edited=True, decision=decision, decided_by="ann"
        )
        assert outbound.kind is not Kind.TAKE


@pytest.mark.parametrize("policy", ["archive", "propagate", "ignore", "review"])
def test_a_persons_word_goes_before_every_policy(policy: str) -> None:
    stream = _stream(policy, "ignore")
    gone = A if policy == "archive" else D
    takes = _decide((P, P), (P, D), stream, edited=True, decision="use_crm", decided_by="ann")
    assert (takes.kind, takes.value) == (Kind.TAKE, gone)
    again = _decide((P, P), (P, D), stream, edited=True, decision="use_hub", decided_by="ann")
    assert (again.kind, again.value) == (Kind.PUSH, P)
    back = _decide((P, P), (D, P), stream, edited=True, decision="use_crm", decided_by="ann")
    assert (back.kind, back.value) == (Kind.TAKE, P)
    away = _decide((P, P), (D, P), stream, edited=True, decision="use_hub", decided_by="ann")
    assert (away.kind, away.value) == (Kind.PUSH, D)
    assert away.reason == "decided by ann"


def test_rules_settle_disputes_and_skipped_ones_stay() -> None:
    stream = _stream("review", "review")
    rule = Rule(3, "use_crm", "ann")
    found = _decide((P, P), (P, D), stream, rules=(rule,))
    assert (found.kind, found.value, found.reason) == (Kind.TAKE, D, "rule #3 by ann: use_crm")
    assert _decide((P, P), (P, D), stream, rules=(Rule(4, "use_hub", "ann"),)).kind is Kind.PUSH
    assert _decide((P, P), (P, D), stream, rules=(rule,), decision="skip").kind is Kind.DISPUTE
    assert _decide((P, P), (P, D), stream, rules=(Rule(5, "most_recent_wins", "ann"),)).kind is Kind.DISPUTE


@pytest.mark.parametrize("then", list(product((P, A, D), (P, D))))
def test_nothing_is_done_where_nothing_changed(then: tuple[str, str]) -> None:
    assert _decide(then, then, _stream()).kind is Kind.CONVERGED
