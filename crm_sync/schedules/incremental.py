"""The incremental schedule: one per connection, every five minutes unless its file says otherwise.

A run reaches from the day of the watermark to today. The engine itself goes on from the watermark wherever that is
(core/window.py), so that the days are for the calendar in the UI; they are capped for the same reason.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from crm_sync.assets import flight, names
from crm_sync.assets.partitions import today
from crm_sync.core import window
from crm_sync.core.spec import ConnectionSpec, System
from crm_sync.hub import breaker, watermark
from crm_sync.resources.hub import Hub

MOST_DAYS = 7
"""After a longer pause the older days are not marked as materialized, though the run brings their changes too."""


def incremental_schedules(system: System) -> list[dg.ScheduleDefinition]:
    """One schedule per connection."""
    return [_schedule(system, connection) for connection in system.connections]


def _schedule(system: System, connection: ConnectionSpec) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"incremental_{connection.name}",
        job_name=names.sync_job(connection.name),
        cron_schedule=connection.schedule,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Sync what changed in {connection.name} and in the hub. Skips while a run is in flight.",
    )
    def incremental(
        context: dg.ScheduleEvaluationContext, hub: dg.ResourceParam[Hub]
    ) -> dg.RunRequest | dg.SkipReason:
        flight.make_pools(context.instance, system)
        if connection.name in flight.busy(context.instance, system):
            return dg.SkipReason(f"a run of {connection.name} is queued or running")
        with hub.reading() as conn:
            held = breaker.open_now(conn, connection.name)
            marks = watermark.positions(conn, connection.name)
        if held is not None:
            return dg.SkipReason(held)
        now = context.scheduled_execution_time.astimezone(UTC)
        return request(days([marks.get(stream.entity) for stream in connection.streams], now))

    return incremental


def days(watermarks: Iterable[datetime | None], now: datetime) -> tuple[str, str]:
    """First and last day partition that the oldest watermark and now touch; today alone before the first sync. Pure."""
    marks = list(watermarks)
    known = [mark for mark in marks if mark is not None]
    oldest = min(known) if known and len(known) == len(marks) else None
    first, last = window.days(oldest, now, now - timedelta(days=MOST_DAYS - 1))
    return today(min(first, last)), today(last)


def request(span: tuple[str, str]) -> dg.RunRequest:
    """One run for these days: one partition, or a range as a backfill's single run has it."""
    first, last = span
    if first == last:
        return dg.RunRequest(partition_key=last)
    return dg.RunRequest(tags={ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last})
