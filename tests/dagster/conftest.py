from collections.abc import Callable, Iterator

import dagster as dg
import pytest

from tests.dagster.project import Project
from tests.steps.world import CONNECTION, World


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def make(fresh_database_url: str, instance: dg.DagsterInstance) -> Iterator[Callable[..., Project]]:
    """Makes a project with connections of these names (acme if none) and settings; text: their connection file."""
    made: list[World] = []

    def project(*connections: str, text: str = CONNECTION, **env: str) -> Project:
        made.append(World(fresh_database_url, connections or ("acme",), text))
        return Project(made[-1], instance, **env)

    yield project
    for world in made:
        world.close()


@pytest.fixture
def project(make: Callable[..., Project]) -> Project:
    return make()
