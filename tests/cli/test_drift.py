"""`crm-sync check` tells what changed in the CRM since the last sync, and takes that somebody has seen it."""

import re
from collections.abc import Mapping

from crm_sync.simulators.serve import Simulator
from tests.cli.conftest import Place


def test_drift_is_listed_before_and_after_a_sync_and_acknowledged(
    place: Place, simulators: Mapping[str, Simulator]
) -> None:
    assert place.run("sync", "salesforce/company").status == 0
    assert place.run("check", "salesforce").status == 0
    control = simulators["salesforce"].control
    act = {"retire": {"object": "Account", "field": "Industry", "value": "Energy"}}
    control("faults", [{"limit": 1, "effect": {"act": act}}])
    said = place.run("check", "salesforce")
    control("faults", [])
    assert said.status == 1
    assert "✗ new company: Account.Industry picklist values removed: Energy" in said.out
    place.rows("delete from sync.answer")  # a quarter of an hour later
    assert place.run("sync", "salesforce/company").status == 0
    said = place.run("check", "salesforce")
    found = re.search(r"✗ #(\d+) company: Account.Industry picklist values removed: Energy", said.out)
    assert found is not None, said.out
    assert "✗ new" not in said.out
    wrong = place.run("check", "salesforce", "--acknowledge", found[1], "--acknowledge", "4711")
    assert (wrong.status, "no open change has the id 4711" in wrong.err) == (2, True)
    assert "Acknowledged by" not in place.run("check", "salesforce").out  # all or none
    said = place.run("check", "salesforce", "--acknowledge", found[1])
    assert f"acknowledged: {found[1]}" in said.out
    assert f"✓ #{found[1]} company" in said.out
    place.run("sync", "salesforce/company")
    assert "picklist values removed" not in place.run("check", "salesforce").out
