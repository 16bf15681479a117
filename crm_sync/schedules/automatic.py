"""The schedule of `auto_resolve`: every hour, where a connection file has that key; it skips while nothing is overdue."""

import dagster as dg

from crm_sync.assets import names
from crm_sync.assets.automatic import willing
from crm_sync.core.spec import System
from crm_sync.hub import review
from crm_sync.resources.hub import Hub

MINUTE = 41


def auto_schedules(system: System) -> list[dg.ScheduleDefinition]:
    """The schedule, if any connection wants it."""
    wanted = {c.name: c.auto_resolve for c in willing(system)}
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
            due = any(
                review.find(conn, connection=name, until=now - option.after, limit=1)
                for name, option in wanted.items()
                if option is not None
            )
        return dg.RunRequest() if due else dg.SkipReason("no conflict has waited long enough")

    return [auto]
