"""Runs: what the history, and Dagster if its storage is in the same database, know of those that touched a record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from psycopg import Connection

Seen: TypeAlias = dict[tuple[str, str], datetime]
"""When each run (its id, and a connection) first touched a record."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the history of its streams has it. started_by: what Dagster knows of it: "schedule <name>", "sensor
    <name>", "backfill <id>", "a person"; None if it does not."""

    run_id: str
    started_at: datetime
    status: str
    configuration: Mapping[str, Any]
    started_by: str | None = None


def of_record(conn: Connection, entity: str, seen: Seen) -> list[Run]:
    """What the history knows of these runs. It is read backwards from the moment that a run touched the record, which
    is hardly ever more than a few rows."""
    rows = conn.execute(
        "select distinct on (r.run_id) r.run_id, h.start_time, h.status, h.configuration"
        " from unnest(%s::text[], %s::text[], %s::timestamptz[]) r (run_id, connection, at)"
        " cross join lateral (select start_time, status, configuration from sync.history h"
        " where h.crm_source = r.connection and h.entity = %s and h.start_time <= r.at"
        " and h.start_time > r.at - interval '2 days' and h.run_id = r.run_id order by h.start_time desc limit 1) h"
        " order by r.run_id, h.start_time",
        [[run for run, _ in seen], [connection for _, connection in seen], list(seen.values()), entity],
    ).fetchall()
    by = _started_by(conn, [row[0] for row in rows])
    found = [
        Run(run_id, at, status, configuration, by.get(run_id)) for run_id, at, status, configuration in rows
    ]
    return sorted(found, key=lambda run: run.started_at)


def _started_by(conn: Connection, run_ids: Sequence[str]) -> dict[str, str]:
    """Dagster's own tags of these runs, if its storage is in this database."""
    known = conn.execute("select to_regclass('dagster.runs') is not null").fetchone()
    if not run_ids or not known or not known[0]:
        return {}
    rows = conn.execute(
        "select r.run_id, min(split_part(split_part(t.key, '/', 2), '_', 1) || ' ' || t.value) from dagster.runs r"
        " left join dagster.run_tags t on t.run_id = r.run_id"
        " and t.key in ('dagster/schedule_name', 'dagster/sensor_name', 'dagster/backfill')"
        " where r.run_id = any(%s) group by r.run_id",
        [list(run_ids)],
    ).fetchall()
    return {run_id: by or "a person" for run_id, by in rows}
