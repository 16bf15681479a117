"""The schedule of `auto_resolve`: every hour, where a connection file has that key; it skips while nothing can be settled."""

import dagster as dg

from crm_sync.assets import names
from crm_sync.assets.automatic import willing
from crm_sync.core.spec import System
from crm_sync.resources.hub import Hub
from crm_sync.steps.unattended import due

MINUTE = 41


def auto_schedules(system: System) -> list[dg.ScheduleDefinition]:
    """The schedule, if any connection wants it."""
    wanted = [connection.name for connection in willing(system)]
    if not wanted:
        return []

    @dg.schedule(
        name=names.AUTO_RESOLVE,
        job_name=names.AUTO_RESOLVE,
        cron_schedule=f"{MINUTE} * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Settle conflicts that nobody looked at for as long as their connection's file says.",
    )
    def auto(
        context: dg.ScheduleEvaluationContext, hub: dg.ResourceParam[Hub]
    ) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time
        with hub.reading() as conn:
            found = any(due(conn, system, name, now) for name in wanted)
        return (
            dg.RunRequest()
            if found
            else dg.SkipReason("no conflict that can be settled has waited long enough")
        )

    return [auto]
