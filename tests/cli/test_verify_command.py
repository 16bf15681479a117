"""`crm-sync verify` on simulated accounts, from arguments to the repair."""

import json

from tests.cli.conftest import Place


def test_verify_finds_explains_and_repairs(place: Place) -> None:
    place.run("setup")
    for _ in range(2):
        assert place.run("sync").status == 0
    clean = place.run("verify", "--json")
    assert clean.status == 0, clean.out + clean.err
    assert "about" in clean.err
    told = {row["stream"]: row for row in json.loads(clean.out)}
    assert told["salesforce/contact"]["crm_records"] == told["hubspot/contact"]["linked"] > 0
    assert sum(row["unexplained"] for row in told.values()) == 0

    place.rows("set session_replication_role = replica; update hub.contact set last_name = 'Nobody saw it' where id ="
               " (select hub_id from hubspot.contact_base b join hub.contact h on h.id = b.hub_id order by 1 limit 1)")  # fmt: skip
    damaged = place.run("verify", "hubspot/contact")
    assert damaged.status == 1
    assert "Nobody saw it" in damaged.out
    assert "UNEXPLAINED" in damaged.out
    assert "100 %" in damaged.out

    masked = place.run("verify", "hubspot/contact", "--repair", "--yes")
    assert masked.status == 1
    assert "1 corrected" not in masked.err, "the mirror was right"
    waits = place.run("verify", "hubspot/contact")
    assert waits.status == 0
    assert "pending" in waits.out
    # The other CRM's copy was not looked at by that repair.
    assert place.run("verify", "salesforce/contact", "--repair", "--yes").status == 1
    for _ in range(2):
        assert place.run("sync").status == 0
    assert place.run("verify").status == 0


def test_a_budget_is_told_beforehand_and_kept(place: Place) -> None:
    place.run("setup")
    assert place.run("sync", "hubspot").status == 0
    told = place.run("verify", "hubspot", "--budget", "8")
    assert "everything would take about" in told.err
    assert "the budget is 8" in told.err
    assert place.run("verify", "nowhere").status == 2
    assert "no connection 'nowhere'" in place.run("verify", "nowhere").err
    assert place.run("verify", "--budget", "0").status == 2
