"""What the Dagster layer makes of limits and of connections that do not work: no runs for nothing, no needless alerts."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from crm_sync.assets import names
from crm_sync.core.errors import CrmError, ErrorClass, HeldError
from crm_sync.core.quota import Priority
from crm_sync.hub import breaker
from crm_sync.resources.connections import priority_of
from crm_sync.resources.options import run_config
from crm_sync.sensors.failures import quiet
from tests.dagster.project import Project

NOW = datetime(2026, 11, 21, 3, 17, tzinfo=UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def tick(project: Project, schedule: str) -> dg.RunRequest | str:
    context = dg.build_schedule_context(
        instance=project.instance, scheduled_execution_time=NOW, resources={"hub": project.hub}
    )
    answer = project.defs.resolve_schedule_def(schedule)(context)
    return (answer.skip_message or "") if isinstance(answer, dg.SkipReason) else answer


def open_breaker(project: Project, connection: str) -> None:
    project.sync(connection)  # the tables are there
    with psycopg.connect(project.world.url, autocommit=True) as conn:
        error = CrmError(ErrorClass.AUTH, f"{connection}: the token is not accepted")
        breaker.failed(conn, connection, error, probing=False)


def test_no_schedule_starts_a_run_that_could_not_call(make: Callable[..., Project]) -> None:
    project = make("acme", "globex")
    open_breaker(project, "acme")
    for schedule in ("incremental_acme", "nightly_acme"):
        answer = tick(project, schedule)
        assert isinstance(answer, str)
        assert "acme is not called before" in answer
        assert "the token is not accepted" in answer
    assert isinstance(tick(project, "incremental_globex"), dg.RunRequest)


def test_no_sensor_either_and_what_waits_is_asked_for_when_it_works_again(
    make: Callable[..., Project],
) -> None:
    project = make("acme", "globex")
    open_breaker(project, "acme")
    project.sync("globex")
    with psycopg.connect(project.world.url, autocommit=True) as conn:
        conn.execute(
            "insert into sync.inbox (connection, event_id, entity, crm_id, change) select c, c, 'contact', '1', 'update'"
            " from unnest(array['acme', 'globex']) c"
        )

    def sense(cursor: str | None) -> tuple[list[str], str | None]:
        context = dg.build_sensor_context(
            instance=project.instance, cursor=cursor, resources={"hub": project.hub}
        )
        answer = project.defs.resolve_sensor_def("webhook_inbox")(context)
        if isinstance(answer, dg.SkipReason):
            return [], cursor
        assert isinstance(answer, dg.SensorResult)
        return [str(request.job_name) for request in answer.run_requests or []], answer.cursor

    first, cursor = sense(None)
    assert first == [names.sync_job("globex")]
    with psycopg.connect(project.world.url, autocommit=True) as conn:
        breaker.worked(conn, "acme")
    assert sense(cursor)[0] == [names.sync_job("acme")]


@pytest.mark.parametrize(
    ("tags", "config", "expected"),
    [
        ({}, {}, Priority.SCHEDULED),
        ({}, run_config(dry_run=True), Priority.SCHEDULED),
        ({"dagster/sensor_name": "webhook_inbox"}, {}, Priority.LIVE),
        ({"dagster/backfill": "abc"}, {}, Priority.BACKFILL),
        ({}, run_config(full=True), Priority.BACKFILL),
    ],
)
def test_how_urgent_a_run_is(tags: dict[str, str], config: dict[str, object], expected: Priority) -> None:
    assert priority_of(dg.DagsterRun(job_name="sync_acme", tags=tags, run_config=config)) is expected


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (HeldError(ErrorClass.RATE_LIMIT, "acme: the day is used up. Syncing goes on tomorrow.", retry_after=900), False),
        (CrmError(ErrorClass.AUTH, "acme: the token is not accepted"), True),
    ],
)  # fmt: skip
def test_what_passes_by_itself_alerts_nobody(project: Project, error: CrmError, told: bool) -> None:
    project.sync()
    project.world.crms["acme"].faults.read_error = error
    result = project.run(names.sync_job("acme"), full=True)  # of which no later run goes on with the rest
    assert not result.success
    assert str(error) in project.reasons(result)
    failures = [event for event in result.all_node_events if event.is_step_failure]
    assert failures
    assert quiet(failures) is not told
