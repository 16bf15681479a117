"""A few kills of each kind, and a run that was thought dead; `make campaign` has a hundred."""

from collections.abc import Iterator

import pytest

from tests.campaign.ground import Server, server
from tests.campaign.kills import Campaign


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.mark.slow
def test_a_few_kills_change_nothing(postgres: Server) -> None:
    told: list[str] = []
    campaign = Campaign(postgres, seed=7, records=50, initial=50, bulk=40, tell=told.append)
    outcome = campaign.run(6, scenes=("batches",))
    assert not outcome.wrong, "\n".join([*told, *outcome.wrong])
    assert len(outcome.kills) == 6
