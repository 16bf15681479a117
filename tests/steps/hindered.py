"""An application that holds a table for a while, and what the sync does meanwhile."""

from collections.abc import Callable

import psycopg
from psycopg.conninfo import make_conninfo

from crm_sync.hub.store import Store
from tests.steps.world import World


def given(world: World, setting: str) -> str:
    """The address of the database for a role that was given a setting."""
    return make_conninfo(world.url, options=f"-c {setting}")


def hindered(
    world: World, application: psycopg.Connection, table: str, work: Callable[[Store], object]
) -> list[float]:
    """The pauses that the work makes while an application holds all rows of a table, until the third."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            application.rollback()

    application.execute(f"lock table {table} in exclusive mode")
    with Store(given(world, "lock_timeout=50ms"), run_id="hindered", sleep=sleep) as store:
        work(store)
    return pauses
