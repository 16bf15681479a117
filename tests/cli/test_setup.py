"""A sync that failed for want of the property for our ids succeeds as soon as `crm-sync setup` was run."""

import re

import pytest

from crm_sync.commands.workspace import workspace
from tests.cli.conftest import Place


def remembered(place: Place) -> set[object]:
    return {row[0] for row in place.rows("select distinct connection from sync.answer")}


@pytest.mark.parametrize("by_hand", [False, True])
def test_syncs_go_on_right_after_setup_whoever_created_the_properties(place: Place, by_hand: bool) -> None:
    ours = f"crm_sync_id_{by_hand}".lower()
    file = place.folder / "connections" / "hubspot.yaml"
    text, changed = re.subn(
        r"( +)object: \w+\n", rf"\g<0>\1external_id: {ours}\n", file.read_text(encoding="utf-8")
    )
    assert changed == 3
    file.write_text(text, encoding="utf-8")
    assert place.run("setup", "--dry-run").status == 0
    place.rows(
        f"insert into hub.company (name, domain) values ('{ours}', '{ours.replace('_', '-')}.example')"
    )
    refused = place.run("sync", "hubspot/company")
    assert refused.status == 1, refused.out
    assert "run crm-sync setup. Give the CRM's user access" in " ".join(refused.err.split())
    if by_hand:
        here = workspace()
        with here.crm(here.connection("hubspot"), place.url) as crm:
            assert crm.setup(here.connection("hubspot").streams, dry_run=False)

    assert place.run("setup", "--dry-run").status == 0
    assert "hubspot" in remembered(place)
    done = place.run("setup").out
    assert (
        "hubspot: nothing to do" if by_hand else f"hubspot: companies: unique text property {ours}"
    ) in done
    assert remembered(place) == set()
    synced = place.run("sync", "hubspot/company")
    assert synced.status == 0, synced.err
