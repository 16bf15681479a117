"""Running Dagster's jobs in this process, watching them, and reading their results."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import dagster as dg
from rich.progress import Progress, TaskID

from crm_sync.assets import jobs, names
from crm_sync.assets.partitions import today
from crm_sync.commands import interrupted
from crm_sync.core.spec import System
from crm_sync.resources.options import run_config

_SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True)
class Step:
    """What one asset reported. connection is empty for the hub's own; direction: inbound, hub, outbound."""

    connection: str
    direction: str
    entity: str
    counts: Mapping[str, int]
    calls: Mapping[str, int]
    plan: Sequence[Mapping[str, Any]] = ()
    plan_shows: str = ""
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has ended: why steps failed or were ended early by the limits, one sentence each, and what the others
    reported."""

    run_id: str
    failures: Sequence[str]
    steps: Sequence[Step] = field(default_factory=list)
    stopped: Sequence[str] = ()


class Watch(Protocol):
    """Told about every event of a run."""

    def __call__(self, event: dg.EventLogEntry) -> None: ...


def sync(
    defs: dg.Definitions,
    system: System,
    instance: dg.DagsterInstance,
    connection: str | None,
    *,
    entities: frozenset[str] | None = None,
    flags: Mapping[str, object] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run the sync of a connection (None: of all), of these entities only if given."""
    chosen = [c.name for c in system.connections if connection in (None, c.name)]
    keys = dict.fromkeys(key for name in chosen for key in jobs.connection_keys(system, name, entities))
    checks = dict.fromkeys(key for name in chosen for key in jobs.connection_checks(system, name, entities))
    job = defs.resolve_job_def(names.sync_job(connection) if connection else names.SYNC_ALL)
    everything = {stream.entity for name in chosen for stream in system.connection(name).streams}
    if entities is not None and entities != everything:
        job = job.get_subset(asset_selection=keys.keys(), asset_check_selection=checks.keys())
    return execute(
        job,
        instance,
        run_config(**(flags or {})),
        partition=today(),
        progress=progress,
        title=f"syncing {connection or 'all connections'}",
        total=len(keys) + len(checks),
    )


def execute(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    config: Mapping[str, Any],
    *,
    partition: str | None = None,
    progress: Progress | None = None,
    title: str = "",
    total: int | None = None,
) -> Run:
    """Run a job to its end. A failed step does not raise: it is in `failures`."""
    run_id = str(uuid.uuid4())
    if progress is not None:
        instance.add_event_listener(run_id, _bar(progress, progress.add_task(title, total=total), title))
    interrupted.sweep(instance)
    with interrupted.cancelled(instance, run_id):
        result = interrupted.wait_for(
            lambda: job.execute_in_process(
                run_config={**config, **_SILENT},
                instance=instance,
                partition_key=partition,
                run_id=run_id,
                tags=interrupted.tags(),
                raise_on_error=False,
            )
        )
    return Run(
        run_id,
        jobs.failures_of(result),
        [step for event in result.all_events if (step := _step(event))],
        jobs.stopped_of(result),
    )


def _bar(progress: Progress, task: TaskID, title: str) -> Watch:
    """A listener that shows which step works and how many are done."""

    def watch(event: dg.EventLogEntry) -> None:
        happened = event.dagster_event
        if happened is None or happened.step_key is None:
            return
        if happened.is_step_start:
            progress.update(task, description=f"{title}: {happened.step_key.replace('__', '/')}")
        elif happened.is_step_success or happened.is_step_failure:
            progress.advance(task)

    return watch


def _step(event: dg.DagsterEvent) -> Step | None:
    """What the event says if it is a materialization."""
    if not event.is_step_materialization:
        return None
    materialization = event.step_materialization_data.materialization
    path = materialization.asset_key.path
    connection, direction, entity = path if len(path) == 3 else ("", *path)
    counts: dict[str, int] = {}
    calls: dict[str, int] = {}
    for name, value in materialization.metadata.items():
        if name.startswith("calls/"):
            calls[name.removeprefix("calls/")] = _whole(value)
        elif isinstance(value, dg.IntMetadataValue) and name != "calls":
            counts[name] = _whole(value)
    plan = materialization.metadata.get("plan")
    shows = materialization.metadata.get("plan_shows")
    notes = materialization.metadata.get("notes")
    return Step(
        connection,
        direction,
        entity,
        counts,
        calls,
        [record.data for record in plan.records] if isinstance(plan, dg.TableMetadataValue) else (),
        str(shows.value) if shows is not None else "",
        str(notes.value).splitlines() if notes is not None else (),
    )


def _whole(value: dg.MetadataValue[Any]) -> int:
    found = value.value
    return found if isinstance(found, int) else 0
