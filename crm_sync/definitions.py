"""The whole system on one screen: what Dagster knows of crm_sync.

`defs` is what `dagster dev` loads (see workspace.yaml): it reads the settings and the connection files, nothing
else. The database is opened by the first run, schedule or sensor that needs it. A mistake in a connection file shows
as the code location's error, with file and line, in the UI and in `dagster definitions validate`.
"""

import os

import dagster as dg

from crm_sync.assets import (
    approval,
    automatic,
    checks,
    guard,
    jobs,
    match,
    parity,
    parked,
    resolve,
    schema_check,
    streams,
)
from crm_sync.core.spec import System
from crm_sync.mapping.load import load
from crm_sync.resources.alerts import alerts_resource
from crm_sync.resources.connections import Connect, connections_resource, from_settings
from crm_sync.resources.hub import hub_resource
from crm_sync.resources.options import SyncOptions
from crm_sync.schedules.automatic import auto_schedules
from crm_sync.schedules.incremental import incremental_schedules
from crm_sync.schedules.nightly import reconcile_schedules, verify_schedule
from crm_sync.sensors.changes import hub_changes, webhook_inbox
from crm_sync.sensors.failures import run_failures
from crm_sync.settings import Settings


def build(system: System, settings: Settings, *, connect: Connect | None = None) -> dg.Definitions:
    """The definitions for `system`. `connect` makes connectors; by default real ones, with secrets from the
    environment. No database and no CRM is touched yet."""
    syncs = jobs.sync_jobs(system)
    return dg.Definitions(
        assets=[*streams.assets(system, settings), *match.match_assets(system, settings)],
        asset_checks=[
            *checks.checks(system, settings),
            *parity.checks(system, settings),
            *guard.checks(system),
            *approval.checks(system, settings),
            *parked.checks(system, settings),
            *schema_check.schema_checks(system),
        ],
        jobs=[
            *syncs,
            *jobs.reconcile_jobs(system),
            *jobs.common_jobs(system),
            resolve.resolve_job(system, settings),
            parity.verify_job(system),
            approval.apply_job(system, settings),
            parked.requeue_job(),
            *automatic.auto_jobs(system, settings),
        ],
        schedules=[
            *incremental_schedules(system),
            *reconcile_schedules(system),
            verify_schedule(system),
            *auto_schedules(system),
        ],
        sensors=[webhook_inbox(system, syncs), hub_changes(system, syncs), run_failures(settings)],
        resources={
            "hub": hub_resource(system, settings),
            "connections": connections_resource(
                system, lambda priority: connect or from_settings(settings, priority=priority)
            ),
            "options": SyncOptions(),
            "alerts": alerts_resource(settings),
        },
        executor=dg.in_process_executor,  # one connection to the hub and one token per CRM for the whole run
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions that the environment describes.

    Raises SettingError or ConfigError, listing what is wrong where.
    """
    settings = Settings.from_env(os.environ)
    return build(load(settings.connections), settings)
