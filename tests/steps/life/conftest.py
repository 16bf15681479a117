import pytest

from tests.steps.life.deleting import Make, text
from tests.steps.world import World


@pytest.fixture
def make(fresh_database_url: str) -> Make:
    made: list[World] = []

    def build(
        inbound: str = "archive", outbound: str = "review", names: tuple[str, ...] = ("acme",), more: str = ""
    ) -> World:
        world = World(fresh_database_url, names, text(inbound, outbound, more))
        made.append(world)
        return world

    yield build  # type: ignore[misc]
    for world in made:
        world.close()
