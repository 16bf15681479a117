"""The ready-made plans: everything is switched on, and strikes something that a client really does."""

from pathlib import Path

import pytest

from crm_sync.simulators.fault_plan import load

PLANS = Path(__file__).parents[2] / "benchmarks" / "faults"
DONE = {
    "salesforce": [
        ("POST", "/services/oauth2/token", ""),
        ("GET", "/services/data/v68.0/query", "q=SELECT"),
        ("GET", "/services/data/v68.0/query/01gSm0000000001IAA-2000", ""),
        ("POST", "/services/data/v68.0/composite/sobjects", ""),
        ("PATCH", "/services/data/v68.0/composite/sobjects/Contact/crm_sync_id__c", ""),
        ("POST", "/services/data/v68.0/jobs/query", ""),
        ("GET", "/services/data/v68.0/jobs/query/750Sm0000000001AAA/results", "locator=x"),
    ],
    "hubspot": [
        ("POST", "/oauth/v3/token", ""),
        ("GET", "/crm/objects/2026-09/contacts", "limit=100&after=50000000101"),
        ("POST", "/crm/objects/2026-09/contacts/search", ""),
        ("POST", "/crm/objects/2026-09/contacts/batch/read", ""),
        ("POST", "/crm/objects/2026-09/contacts/batch/upsert", ""),
    ],
}
EVERYWHERE = {
    "status 401", "status 429", "status 500", "status 502", "status 503", "retry_after", "html", "delay", "stall", "drop before",
    "drop after", "late", "truncate", "bad_gzip", "charset", "rows repeat", "rows lose", "rows shuffle", "act expire",
    "act clock", "act hide", "act retire", "act retype", "act remove", "refuse", "hang_up", "mute", "status 403", "status 413", "late commit", "equal stamps", "validation rule", "rewrite", "shuffled results",
}  # fmt: skip
OF_VENDOR = {
    "salesforce": {"row lock", "bulk job", "duplicate rule", "act rename"},
    "hubspot": {"locked", "index lag", "status 477", "status 409"},
}


def kinds(fault):
    """What a fault does, in words."""
    if fault.event is not None:
        return {fault.event}
    effect = fault.effect
    found = {f"act {name}" for name in effect.act or {}}
    found |= {f"{name} {value}" for name in ("status", "drop", "rows") if (value := getattr(effect, name))}
    names = (
        "retry_after",
        "html",
        "delay",
        "stall",
        "refuse",
        "hang_up",
        "mute",
        "late",
        "truncate",
        "bad_gzip",
        "charset",
    )
    return found | {name for name in names if getattr(effect, name)}


@pytest.mark.parametrize("vendor", DONE)
def test_a_plan_has_every_fault_at_a_rate_that_can_be_survived(vendor):
    plan = load(PLANS / f"{vendor}.yaml")
    assert set.union(*map(kinds, plan.faults)) >= EVERYWHERE | OF_VENDOR[vendor]
    assert all(0.05 <= fault.probability <= 0.2 for fault in plan.faults)
    names = [fault.name for fault in plan.faults]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("vendor", DONE)
def test_every_fault_on_requests_can_strike(vendor):
    for fault in load(PLANS / f"{vendor}.yaml").faults:
        requests = [dict(zip(("method", "path", "query"), done, strict=True)) for done in DONE[vendor]]
        assert fault.event or any(
            all(pattern.search(request[name]) for name, pattern in fault.patterns.items())
            for request in requests
        ), fault.name


def test_one_clock_is_behind_and_the_other_ahead():
    skews = {vendor: load(PLANS / f"{vendor}.yaml").settings["clock_skew"] for vendor in DONE}
    assert skews == {"salesforce": -300, "hubspot": 300}
