"""What the sensors have in common: from what waits in Postgres to runs of the connections it waits for. Pure but for
the last function."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import dagster as dg
import orjson

from crm_sync.assets import jobs, names
from crm_sync.assets.partitions import today
from crm_sync.core.spec import System


class Waits(Protocol):
    """Something waits for a stream; `newest` grows with everything that is added."""

    @property
    def connection(self) -> str: ...

    @property
    def entity(self) -> str: ...

    @property
    def newest(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run that should be made: of these entities of a connection. `newest` tells it from earlier ones."""

    connection: str
    entities: frozenset[str]
    newest: int


def due(
    waiting: Iterable[Waits], cursor: Mapping[str, int], busy: Collection[str], system: System
) -> tuple[list[Wanted], dict[str, int]]:
    """The runs to ask for, and the cursor afterwards.

    What waits is asked for once: if its run fails, the schedule comes by anyway. Connections with a run in flight
    are left for the next tick. Streams that are in no connection file any more are ignored.
    """
    known = {(stream.connection, stream.entity) for stream in system.streams}
    after = dict(cursor)
    fresh: dict[str, list[Waits]] = {}
    for item in waiting:
        stream = f"{item.connection}/{item.entity}"
        if (
            (item.connection, item.entity) in known
            and item.connection not in busy
            and item.newest > cursor.get(stream, 0)
        ):
            fresh.setdefault(item.connection, []).append(item)
            after[stream] = item.newest
    wanted = [
        Wanted(connection, frozenset(item.entity for item in items), max(item.newest for item in items))
        for connection, items in sorted(fresh.items())
    ]
    return wanted, after


def read_cursor(text: str | None) -> dict[str, int]:
    """The cursor by stream; empty if there is none, or one of another shape."""
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return {str(k): v for k, v in found.items() if isinstance(v, int)} if isinstance(found, dict) else {}


def write_cursor(cursor: Mapping[str, int]) -> str:
    return orjson.dumps(dict(sorted(cursor.items()))).decode()


def run_request(system: System, wanted: Wanted, *, sensor: str) -> dg.RunRequest:
    """The run: the sync of the connection, of these entities only, up to now."""
    return dg.RunRequest(
        run_key=f"{sensor}-{wanted.connection}-{wanted.newest}",
        job_name=names.sync_job(wanted.connection),
        asset_selection=jobs.connection_keys(system, wanted.connection, wanted.entities),
        asset_check_keys=jobs.connection_checks(system, wanted.connection, wanted.entities),
        partition_key=today(),
        tags={names.CONNECTION_TAG: wanted.connection},
    )
