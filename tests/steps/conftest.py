from collections.abc import Iterator

import pytest

from crm_sync.simulators.serve import Simulator, running
from tests.steps.world import World


@pytest.fixture
def world(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url)
    yield world
    world.close()


@pytest.fixture
def two(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url, ("acme", "beta"))
    yield world
    world.close()


@pytest.fixture(scope="module")
def org() -> Iterator[Simulator]:
    """A simulated Salesforce with few records."""
    with running("salesforce", records=10) as simulator:
        yield simulator
