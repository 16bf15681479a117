"""`crm-sync merges` on simulated accounts: both vendors, from the merge in the browser to one hub record."""

import json
from collections.abc import Mapping

import pytest

from crm_sync.simulators.serve import Simulator
from tests.cli.conftest import Place

TWO = "select crm_id, hub_id::text from {}.contact_base order by crm_id limit 2"


def test_two_hub_records_of_one_contact_are_shown_and_made_one(
    place: Place, simulators: Mapping[str, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run("setup")
    assert place.run("sync").status == 0
    assert (place.run("merges").status, place.run("merges").out.strip()) == (0, "no merges to settle")
    (kept, stays), (lost, goes) = place.rows(TWO.format("salesforce"))
    told = {"object": "Contact", "master": kept, "losers": [lost]}
    simulators["salesforce"].control("merge", told)
    before = place.rows("select count(*) from hub.contact")
    assert place.run("sync", "salesforce").status == 0
    said = place.run("merges", "salesforce/contact", "--json")
    (merge,) = json.loads(said.out)
    assert said.status == 1
    assert (merge["record"], merge["survivor"]) == (lost, kept)
    assert (merge["kept"]["hub_id"], merge["other"]["hub_id"]) == (stays, goes)
    email = merge["other"]["values"]["email"]
    assert email in place.run("merges").out
    monkeypatch.setenv("CRM_SYNC_MASK_REVIEW", "on")
    assert email not in place.run("merges").out
    decided = place.run("merges", "decide", str(merge["id"]), "--merge")
    assert "decided: 1; the next sync follows" in decided.out, decided.err
    assert place.run("sync", "salesforce").status == 0
    after = place.rows("select count(*) from hub.contact")
    assert int(str(after[0][0])) == int(str(before[0][0])) - 1
    assert place.rows(f"select count(*) from hub.contact where id = '{goes}'") == [(0,)]
    assert place.run("merges").status == 0
    # HubSpot has both still: the other one is shown as a double, and stays.
    place.run("sync", "hubspot")
    assert place.rows(
        "select count(*) from sync.parked where code = 'DOUBLE' and connection = 'hubspot'"
    ) == [(1,)]
    assert "merged into" in place.run("why", "contact", goes).out
    simulators["salesforce"].control("edit", {"object": "Contact", "operation": "undelete", "id": lost})


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["decide", "1"], "either --merge or --apart"),
        (["decide", "--merge"], "which? Give numbers"),
        (["decide", "12", "--apart"], "not open, or not there: 12"),
        (["--apart"], "go with decide"),
        (["pipedrive"], "there is no connection 'pipedrive'"),
    ],
)
def test_wrong_words_are_explained(place: Place, words: list[str], complaint: str) -> None:
    said = place.run("merges", *words)
    assert said.status == 2
    assert complaint in said.err
