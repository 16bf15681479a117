"""Schedules and sensors: what they ask for, when they keep quiet, and that what they ask for runs."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from crm_sync.assets import names
from crm_sync.assets.partitions import today
from crm_sync.hub.dirty import Marked
from crm_sync.resources.alerts import Alerts
from crm_sync.schedules.incremental import MOST_DAYS, days
from crm_sync.sensors.failures import message
from crm_sync.sensors.requests import Wanted, due, read_cursor, write_cursor
from tests.dagster.project import Project

NOW = datetime(2026, 11, 21, 0, 3, tzinfo=UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Contexts of schedules only take an instance that lasts."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def tick(project: Project, schedule: str, now: datetime = NOW) -> dg.RunRequest | str:
    """The request of a schedule, or why it skips."""
    context = dg.build_schedule_context(
        instance=project.instance, scheduled_execution_time=now, resources={"hub": project.hub}
    )
    answer = project.defs.resolve_schedule_def(schedule)(context)
    return (answer.skip_message or "") if isinstance(answer, dg.SkipReason) else answer


def sense(
    project: Project, sensor: str, cursor: str | None = None
) -> tuple[list[dg.RunRequest], str, str | None]:
    """Requests, skip message and cursor of a sensor."""
    context = dg.build_sensor_context(
        instance=project.instance, cursor=cursor, resources={"hub": project.hub}
    )
    answer = project.defs.resolve_sensor_def(sensor)(context)
    if isinstance(answer, dg.SkipReason):
        return [], answer.skip_message or "", cursor
    return list(answer.run_requests or []), "", answer.cursor


def execute(project: Project, request: dg.RunRequest, job: str) -> dg.ExecuteInProcessResult:
    """Run what was asked for, as the daemon does."""
    return project.defs.resolve_job_def(job).execute_in_process(
        instance=project.instance,
        tags=dict(request.tags),
        partition_key=request.partition_key,
        run_config=dict(request.run_config),
        asset_selection=list(request.asset_selection) if request.asset_selection else None,
    )


def in_flight(project: Project, job: str, **tags: str) -> None:
    project.instance.create_run_for_job(
        project.defs.resolve_job_def(job), status=dg.DagsterRunStatus.STARTED, tags=tags
    )


@pytest.mark.parametrize(
    ("watermarks", "expected"),
    [
        ([], ("2026-11-21", "2026-11-21")),
        ([None, NOW], ("2026-11-21", "2026-11-21")),
        ([NOW - timedelta(minutes=2)], ("2026-11-21", "2026-11-21")),
        ([NOW - timedelta(minutes=5), NOW], ("2026-11-20", "2026-11-21")),
        ([NOW - timedelta(days=300)], ("2026-11-15", "2026-11-21")),
        ([NOW + timedelta(hours=30)], ("2026-11-21", "2026-11-21")),  # a CRM's clock that is ahead
    ],
)
def test_the_days_of_a_sync_touch_everything_since_the_watermark(
    watermarks: list[datetime | None], expected: tuple[str, str]
) -> None:
    assert days(watermarks, NOW) == expected
    assert MOST_DAYS == 7


def test_at_midnight_one_run_takes_both_days(project: Project) -> None:
    project.world.conn.execute(
        "insert into sync.watermark (connection, entity, position) values"
        " ('acme', 'company', '2026-11-20 23:50Z'), ('acme', 'contact', '2026-11-21 00:01Z')"
    )
    request = tick(project, "incremental_acme")
    assert isinstance(request, dg.RunRequest)
    assert request.tags[ASSET_PARTITION_RANGE_START_TAG] == "2026-11-20"
    assert request.tags[ASSET_PARTITION_RANGE_END_TAG] == "2026-11-21"
    assert request.partition_key is None
    result = execute(project, request, names.sync_job("acme"))
    assert result.success
    assert len([e for e in project.instance.all_logs(result.run_id) if e.asset_materialization]) == 12


def test_on_an_ordinary_day_one_partition_is_enough(project: Project) -> None:
    request = tick(project, "incremental_acme")
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2026-11-21"
    assert execute(project, request, names.sync_job("acme")).success


@pytest.mark.parametrize(
    ("job", "tags"),
    [
        ("sync_acme", {names.CONNECTION_TAG: "acme"}),
        ("sync_all", {}),
        ("reconcile_acme", {names.CONNECTION_TAG: "acme"}),
    ],
)
def test_a_schedule_skips_while_a_run_is_in_flight(project: Project, job: str, tags: dict[str, str]) -> None:
    in_flight(project, job, **tags)
    assert tick(project, "incremental_acme") == "a run of acme is queued or running"


def test_runs_of_others_hold_nobody_up(project: Project) -> None:
    in_flight(project, names.RESOLVE, **{names.CONNECTION_TAG: "other"})
    assert isinstance(tick(project, "incremental_acme"), dg.RunRequest)


def test_the_nightly_reconcile_is_full(project: Project) -> None:
    request = tick(project, "nightly_acme")
    assert isinstance(request, dg.RunRequest)
    result = execute(project, request, names.reconcile_job("acme"))
    assert result.success
    configuration = project.world.one(
        "select configuration from sync.history where sync_type = 'full' limit 1"
    )
    assert isinstance(configuration, dict)
    assert configuration["full"] is True


def test_everything_runs_from_the_start(project: Project) -> None:
    repository = project.defs.get_repository_def()
    assert {s.name for s in repository.schedule_defs} == {
        "incremental_acme",
        "nightly_acme",
        "nightly_verify",
    }
    assert {s.name for s in repository.sensor_defs} == {"webhook_inbox", "hub_changes", "run_failures"}
    assert {s.default_status for s in repository.schedule_defs} == {dg.DefaultScheduleStatus.RUNNING}
    assert {s.default_status for s in repository.sensor_defs} == {dg.DefaultSensorStatus.RUNNING}


def test_what_waits_is_asked_for_once(project: Project) -> None:
    system = project.world.system
    waiting = [Marked("acme", "contact", 5), Marked("acme", "company", 7), Marked("gone", "contact", 9)]
    wanted, cursor = due(waiting, {}, (), system)
    assert wanted == [Wanted("acme", frozenset({"contact", "company"}), 7)]
    assert due(waiting, cursor, (), system)[0] == []
    assert due(waiting, {}, {"acme"}, system) == ([], {})
    later = [Marked("acme", "contact", 8)]
    assert due(later, cursor, (), system)[0] == [Wanted("acme", frozenset({"contact"}), 8)]


@pytest.mark.parametrize("text", [None, "", "inbox-17", "[1]", '{"a": "b"}'])
def test_a_cursor_of_another_shape_is_none(text: str | None) -> None:
    assert read_cursor(text) == {}
    assert read_cursor(write_cursor({"acme/contact": 3})) == {"acme/contact": 3}


def event(project: Project, number: int, crm_id: str, entity: str = "contact") -> None:
    project.world.conn.execute(
        "insert into sync.inbox (connection, event_id, entity, crm_id, change) values ('acme', %s, %s, %s, 'update')",
        [f"e{number}", entity, crm_id],
    )


def test_a_webhook_event_becomes_a_run_of_its_entity(project: Project) -> None:
    assert sense(project, "webhook_inbox")[1] == "no webhook event waits"
    account = project.world.accounts["acme"]
    account.habits.lag = timedelta(hours=1)  # the listing does not show it yet
    crm_id = account.person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    event(project, 1, crm_id)
    event(project, 2, "never-there")
    (request,), _, cursor = sense(project, "webhook_inbox")
    assert request.job_name == "sync_acme"
    result = execute(project, request, "sync_acme")
    assert {str(e.asset_key.to_user_string()) for e in result.get_asset_materialization_events()} == {  # type: ignore[union-attr]
        "acme/inbound/contact",
        "hub/contact",
        "acme/outbound/contact",
    }
    assert [row["last_name"] for row in project.world.hub("contact")] == ["Lee"]
    assert project.metadata(result, "acme", "inbound", "contact")["events"] == 2
    assert project.world.one("select count(*) from sync.inbox where done_at is null") == 0
    assert sense(project, "webhook_inbox", cursor)[0] == []


def test_an_edit_of_the_hub_becomes_a_run_after_a_moment(project: Project) -> None:
    project.world.conn.execute("insert into hub.contact (last_name) values ('Roe')")
    assert sense(project, "hub_changes")[1] == "no change of the hub waits"
    project.world.conn.execute("update sync.mark set marked_at = now() - interval '3 seconds'")
    (request,), _, cursor = sense(project, "hub_changes")
    assert sense(project, "hub_changes", cursor)[1].startswith("a run is in flight, or")
    execute(project, request, "sync_acme")
    assert [row.values["LastName"] for row in project.world.accounts["acme"].rows("Contact")] == ["Roe"]
    assert sense(project, "hub_changes", cursor)[1] == "no change of the hub waits"


def test_a_change_waits_while_a_run_is_in_flight(project: Project) -> None:
    project.world.conn.execute("insert into hub.contact (last_name) values ('Roe')")
    project.world.conn.execute("update sync.mark set marked_at = now() - interval '3 seconds'")
    in_flight(project, "sync_acme", **{names.CONNECTION_TAG: "acme"})
    requests, skipped, _ = sense(project, "hub_changes")
    assert (requests, skipped[:18]) == ([], "a run is in flight")


class Listener(HTTPServer):
    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class Answer(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_failed_run_is_told_without_anybodys_data(project: Project, listener: Listener) -> None:
    project.world.accounts["acme"].person_create("Contact", {"LastName": "Zanzibar", "Email": "z@x.example"})
    project.world.crms["acme"].knobs.unauthorised = True
    result = project.run(names.sync_job("acme"))
    event = next(e for e in result.all_events if e.event_type_value == "PIPELINE_FAILURE")
    context = dg.build_run_status_sensor_context(
        "run_failures",
        event,
        project.instance,
        result.dagster_run,
        resources={"alerts": Alerts(listener.url)},
    ).for_run_failure()
    project.defs.resolve_sensor_def("run_failures")(context)
    (told,) = listener.heard
    assert told["text"].startswith(
        f"crm_sync: sync_acme failed. http://127.0.0.1:3000/runs/{result.run_id}\n- acme/"
    )
    assert "Connect the account again" in told["text"]
    assert "Zanzibar" not in told["text"]


def test_a_listener_that_is_down_does_not_matter(listener: Listener) -> None:
    listener.status = 500
    assert not Alerts(listener.url).send("text")
    assert not Alerts("http://127.0.0.1:1/").send("text")
    assert not Alerts(None).send("text")
    assert message("job", "id", [], "http://x") == "crm_sync: job failed. http://x/runs/id"
    assert today(NOW) == "2026-11-21"
