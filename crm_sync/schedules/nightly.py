"""The nightly reconcile: read everything, compare everything. It must find nothing; what it finds was lost elsewhere.
Two hours later the check `parity`, which writes nothing and says whether that is so.

It does not skip while a sync is in flight: the queue starts it when that is done, and the incremental schedule skips
meanwhile.
"""

import dagster as dg

from crm_sync.assets import names
from crm_sync.assets.partitions import today
from crm_sync.core.spec import System
from crm_sync.hub import breaker
from crm_sync.resources.hub import Hub
from crm_sync.resources.options import run_config

FIRST_MINUTE, APART = 17, 7  # past three o'clock UTC; connections begin one after the other


def reconcile_schedules(system: System) -> list[dg.ScheduleDefinition]:
    """One schedule per connection."""
    return [_schedule(connection.name, number) for number, connection in enumerate(system.connections)]


def _schedule(connection: str, number: int) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"nightly_{connection}",
        job_name=names.reconcile_job(connection),
        cron_schedule=f"{(FIRST_MINUTE + APART * number) % 60} 3 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Read everything of {connection} and compare everything.",
    )
    def nightly(
        context: dg.ScheduleEvaluationContext, hub: dg.ResourceParam[Hub]
    ) -> dg.RunRequest | dg.SkipReason:
        with hub.reading() as conn:
            held = breaker.open_now(conn, connection)
        if held is not None:
            return dg.SkipReason(held)
        day = today(context.scheduled_execution_time)
        return dg.RunRequest(
            run_key=f"{connection}-{day}", partition_key=day, run_config=run_config(full=True)
        )

    return nightly


def verify_schedule(system: System) -> dg.ScheduleDefinition:
    """One schedule for all connections: the check of an entity is about all of its streams."""

    @dg.schedule(
        name="nightly_verify",
        job_name=names.VERIFY,
        cron_schedule=f"{FIRST_MINUTE} 5 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Compare the hub with every CRM, read anew; nothing is written.",
    )
    def nightly_verify(
        context: dg.ScheduleEvaluationContext, hub: dg.ResourceParam[Hub]
    ) -> dg.RunRequest | dg.SkipReason:
        with hub.reading() as conn:
            held = [text for c in system.connections if (text := breaker.open_now(conn, c.name)) is not None]
        if held:
            return dg.SkipReason(held[0])
        day = today(context.scheduled_execution_time)
        return dg.RunRequest(run_key=f"verify-{day}", run_config=run_config(full=True))

    return nightly_verify
