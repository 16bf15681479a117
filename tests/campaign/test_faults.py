"""Every fault at once, shortly; `make campaign FAULTS=1` goes on until each has struck."""

import pytest

from tests.campaign.faults import Campaign
from tests.campaign.ground import server


@pytest.mark.slow
@pytest.mark.xfail(
    strict=True,
    reason="open: with seed 2 deals differ in `description` on Salesforce after everything is quiet; with seed 1, 60"
    " records and two rounds five HubSpot contacts are blank in the mirror, and the blanks are taken into the hub",
)
def test_faults_lose_nothing_and_double_nothing() -> None:
    told: list[str] = []
    with server() as postgres:
        campaign = Campaign(postgres, seed=2, records=40, bulk=30, rounds=1, most=1, tell=told.append)
        outcome = campaign.run()
    assert not outcome.wrong, "\n".join([*told, *outcome.wrong])
    assert outcome.compared > 0
    assert sum(outcome.hits.values()) > 0
