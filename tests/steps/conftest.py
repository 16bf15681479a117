from collections.abc import Iterator

import pytest

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
