"""Every fault at once, shortly; `make campaign FAULTS=1` goes on until each has struck."""

from tests.campaign.faults import Campaign
from tests.campaign.ground import server


def test_faults_lose_nothing_and_double_nothing() -> None:
    told: list[str] = []
    with server() as postgres:
        campaign = Campaign(postgres, seed=2, records=40, rounds=1, most=1, tell=told.append)
        outcome = campaign.run()
    assert not outcome.wrong, "\n".join([*told, *outcome.wrong])
    assert outcome.end.compared > 0
    assert sum(outcome.hits.values()) > 0
