"""The sensors that start syncs: webhook events, and edits of the hub by applications."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import dagster as dg
import psycopg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from crm_sync.assets import flight
from crm_sync.core.spec import System
from crm_sync.hub import breaker, dirty, inbox
from crm_sync.resources.hub import Hub
from crm_sync.sensors.requests import Waits, due, read_cursor, run_request, write_cursor

QUIET = timedelta(seconds=2)
"""An application that writes several rows in a row gets one run, not one a row."""

Syncs = Sequence[UnresolvedAssetJobDefinition]
Look = Callable[[psycopg.Connection], Sequence[Waits]]


def webhook_inbox(system: System, syncs: Syncs) -> dg.SensorDefinition:
    """Events that the web application has put into `sync.inbox`."""
    return _sensor(
        system,
        syncs,
        "webhook_inbox",
        inbox.waiting,
        seconds=5,
        idle="no webhook event waits",
        description="A CRM's webhook says that a record changed: read it, merge it, bring it to the others.",
    )


def hub_changes(system: System, syncs: Syncs) -> dg.SensorDefinition:
    """Records of the hub that applications, or merges from other connections, have changed."""
    return _sensor(
        system,
        syncs,
        "hub_changes",
        lambda conn: dirty.marked_by_hub(conn, quiet=QUIET),
        seconds=10,
        idle="no change of the hub waits",
        description="Somebody changed a record in the hub: bring it to the CRMs.",
    )


def _sensor(
    system: System, syncs: Syncs, name: str, look: Look, *, seconds: int, idle: str, description: str
) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        jobs=syncs,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def sensor(
        context: dg.SensorEvaluationContext, hub: dg.ResourceParam[Hub]
    ) -> dg.SensorResult | dg.SkipReason:
        flight.make_pools(context.instance, system)
        with hub.reading() as conn:
            waiting = look(conn)
            held = {c.name for c in system.connections if breaker.open_now(conn, c.name) is not None}
        if not waiting:
            return dg.SkipReason(idle)
        busy = flight.busy(context.instance, system)
        wanted, cursor = due(waiting, read_cursor(context.cursor), busy | held, system)
        if not wanted:
            return dg.SkipReason(
                "a run is in flight, or has been asked for already, or the connection is not called for the moment"
            )
        requests = [run_request(system, one, sensor=name) for one in wanted]
        return dg.SensorResult(run_requests=requests, cursor=write_cursor(cursor))

    return sensor
