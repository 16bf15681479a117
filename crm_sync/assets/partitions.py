"""Partitions: days of a record's modification time in the CRM, UTC.

All assets of a run share one definition. Today is a partition, materialized again with every sync. Assets are
written against the time window of their run, so that one day and the range of a backfill are the same code. A run
without a partition is not possible: Dagster asks a partitioned asset for the partition of its upstream assets. Its
launchpad lets people start one all the same, after a question; it fails with what to choose.
"""

from datetime import UTC, datetime

import dagster as dg

from crm_sync.assets.names import BACKFILL_TAG
from crm_sync.core.errors import SyncError

FIRST_DAY = "2020-01-01"
"""Where the calendar in the UI begins. Older records lose nothing: a first or full sync reads everything, whatever
the partition."""

DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC", end_offset=1)


def today(now: datetime | None = None) -> str:
    """The partition of a sync up to now."""
    return f"{now or datetime.now(UTC):%Y-%m-%d}"


def window_of(context: dg.AssetExecutionContext) -> tuple[datetime, datetime]:
    """Start and end (exclusive) of the run's days, UTC. Raises SyncError if nobody chose one."""
    if not (context.has_partition_key or context.has_partition_key_range):
        raise SyncError(
            "the run has no day, so nothing was read. Choose today's (UTC) beside `Partition` in the launchpad, and launch it"
            " again; or run `crm-sync sync`"
        )
    window = context.partition_time_window
    return window.start, window.end


def begun(context: dg.AssetExecutionContext) -> datetime | None:
    """When the run was asked for, UTC: what was today then is today for all of its streams, also after midnight."""
    record = context.instance.get_run_record_by_id(context.run.run_id)
    return None if record is None else record.create_timestamp.astimezone(UTC)


def is_backfill(context: dg.AssetExecutionContext) -> bool:
    """Whether a person asked for exactly these days."""
    return BACKFILL_TAG in context.run.tags
