"""The sensor that tells about failed runs. Never anybody's data: only texts that our own failures carry."""

from collections.abc import Sequence

import dagster as dg
from dagster._core.events import JobFailureData

from crm_sync.assets import links
from crm_sync.assets.failures import QUIET
from crm_sync.resources.alerts import Alerts
from crm_sync.settings import Settings


def run_failures(settings: Settings) -> dg.SensorDefinition:
    """Tells each failed run once, to the log and to CRM_SYNC_ALERT_URL."""

    @dg.run_failure_sensor(
        name="run_failures",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="A run failed: tell whoever listens.",
    )
    def sensor(context: dg.RunFailureSensorContext, alerts: dg.ResourceParam[Alerts]) -> None:
        run, events = context.dagster_run, context.get_step_failure_events()
        if not quiet(events):
            alerts.send(message(run.job_name, run.run_id, reasons(events), settings.ui_url))

    return sensor


def message(job: str, run_id: str, why: list[str], ui_url: str) -> str:
    """The text of an alert. Pure."""
    lines = [f"crm_sync: {job} failed. {ui_url}{links.run(run_id)}", *(f"- {reason}" for reason in why)]
    return "\n".join(lines)


def quiet(events: Sequence[dg.DagsterEvent]) -> bool:
    """Whether all failures are of classes that nobody is told about, because they pass by themselves."""
    failed = [event.step_failure_data for event in events if event.is_step_failure]
    return bool(failed) and all(
        data.user_failure_data is not None and QUIET in data.user_failure_data.metadata for data in failed
    )


def reasons(events: Sequence[dg.DagsterEvent]) -> list[str]:
    """Why steps, or the run as a whole, failed: the sentence of a failure of ours; of another error only its type."""
    found = []
    for event in events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                found.append(data.user_failure_data.description)
            elif data.error is not None:
                found.append(f"{event.step_key}: {data.error.cls_name}")
        elif (
            isinstance(event.event_specific_data, JobFailureData)
            and event.event_specific_data.error is not None
        ):
            found.append(f"the run: {event.event_specific_data.error.cls_name}")
    return found
