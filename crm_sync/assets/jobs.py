"""The jobs over the assets, and how to run one without the UI."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from crm_sync.assets import names
from crm_sync.assets.failures import STOPPED
from crm_sync.core.spec import System
from crm_sync.resources.options import run_config


def sync_jobs(system: System) -> list[UnresolvedAssetJobDefinition]:
    """The sync of each connection, in the order of the connections."""
    return [
        dg.define_asset_job(
            names.sync_job(connection.name),
            selection=_quick(system, dg.AssetSelection.assets(*connection_keys(system, connection.name))),
            tags={names.CONNECTION_TAG: connection.name},
            description=f"Two-way sync of {connection.name}: into the mirror, into the hub, back to the CRM.",
        )
        for connection in system.connections
    ]


def reconcile_jobs(system: System) -> list[UnresolvedAssetJobDefinition]:
    """The full comparison of each connection."""
    return [
        dg.define_asset_job(
            names.reconcile_job(connection.name),
            selection=_quick(system, dg.AssetSelection.assets(*connection_keys(system, connection.name))),
            tags={names.CONNECTION_TAG: connection.name},
            config=run_config(full=True),
            description=f"Read everything of {connection.name} and compare everything; finds nothing if all is well.",
        )
        for connection in system.connections
    ]


def common_jobs(system: System) -> list[UnresolvedAssetJobDefinition]:
    """A sync of everything, and the checks alone."""
    return [
        dg.define_asset_job(
            names.SYNC_ALL,
            selection=_quick(
                system,
                dg.AssetSelection.assets(
                    *dict.fromkeys(
                        key for one in system.connections for key in connection_keys(system, one.name)
                    )
                ),
            ),
            description="Sync every connection: all CRMs into the hub, then the hub to all CRMs.",
        ),
        dg.define_asset_job(
            names.RECHECK,
            selection=dg.AssetSelection.checks(*(names.check_key(entity) for entity in system.entities)),
            description="Look for conflicts again and refresh the review tables; nothing is synced.",
        ),
    ]


def _quick(system: System, selection: dg.AssetSelection) -> dg.AssetSelection:
    """Without the checks `parity`, which read everything: they have a job of their own."""
    return selection - dg.AssetSelection.checks(*(names.parity_key(entity) for entity in system.entities))


def connection_keys(
    system: System, connection: str, entities: frozenset[str] | None = None
) -> list[dg.AssetKey]:
    """The assets of a connection's sync, of these entities only if given."""
    streams = [s for s in system.connection(connection).streams if entities is None or s.entity in entities]
    return [
        *(names.inbound_key(stream) for stream in streams),
        *(names.hub_key(stream.entity) for stream in streams),
        *(names.outbound_key(stream) for stream in streams),
    ]


def connection_checks(
    system: System, connection: str, entities: frozenset[str] | None = None
) -> list[dg.AssetCheckKey]:
    """The checks of those assets that a sync runs. Who selects assets of a job has to name them: without, Dagster takes
    every check there is of an asset, `parity` too."""
    streams = [s for s in system.connection(connection).streams if entities is None or s.entity in entities]
    return [
        *(
            names.hub_check(stream.entity, name)
            for stream in streams
            for name in _of_hub(system, stream.entity)
        ),
        *(names.parked_key(stream) for stream in streams),
    ]


def _of_hub(system: System, entity: str) -> list[str]:
    waits = any(stream.approval for stream in system.of_entity(entity))
    return [names.CHECK, names.GUARD, names.SCHEMA, *([names.APPROVAL] if waits else [])]


def failures_of(result: dg.ExecuteInProcessResult) -> list[str]:
    """Why steps failed, one sentence each."""
    found = []
    for event in result.all_node_events:
        if event.is_step_failure:
            data = event.step_failure_data
            found.append(
                data.user_failure_data.description if data.user_failure_data else data.error_display_string
            )
    return [text for text in found if text]


def stopped_of(result: dg.ExecuteInProcessResult) -> list[str]:
    """Which steps the limits ended early, why, and when they go on: one sentence each."""
    observations = (
        event.asset_observation_data.asset_observation
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_OBSERVATION
    )
    return [str(one.metadata[STOPPED].value) for one in observations if STOPPED in one.metadata]
