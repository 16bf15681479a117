"""The assets, by factory from the streams: inbound, hub, outbound. Thin: read, call the step, report the counts.

None of them decides anything, and each may be run alone, late or twice: what is to happen follows from the state of
the database. The order of a run (referenced entities first) only makes it quicker.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import nullcontext

import dagster as dg

from crm_sync.assets import approval, checks, guard, names, schemas, tables
from crm_sync.assets.failures import RETRY, later, told
from crm_sync.assets.partitions import DAYS, begun, is_backfill, window_of
from crm_sync.core.spec import Direction, StreamSpec, System
from crm_sync.hub import dirty, plans
from crm_sync.resources.connections import Connections
from crm_sync.resources.hub import Hub
from crm_sync.resources.options import SyncOptions
from crm_sync.settings import Settings
from crm_sync.steps.hinted import hinted
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound

_Result = Iterator[dg.MaterializeResult]  # type: ignore[type-arg]


def assets(system: System, settings: Settings) -> list[dg.AssetsDefinition]:
    """All assets of the system."""
    masking = tables.Masking(system, settings)
    with warnings.catch_warnings():
        # The one beta parameter that this project relies on: without it a backfill of 30 days is 30 runs.
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
        return _assets(system, settings, masking)


def _assets(system: System, settings: Settings, masking: tables.Masking) -> list[dg.AssetsDefinition]:
    return [
        *(inbound_asset(system, stream, settings, masking) for stream in system.streams),
        *(hub_asset(system, entity, masking) for entity in system.entities),
        *(outbound_asset(system, stream, masking) for stream in system.streams),
    ]


def inbound_asset(
    system: System, stream: StreamSpec, settings: Settings, masking: tables.Masking
) -> dg.AssetsDefinition:
    """`<connection>/inbound/<entity>`: what changed in the CRM, into the mirror."""

    @dg.asset(
        key=names.inbound_key(stream),
        description=f"What changed in {stream.object} of {stream.connection}, brought into the mirror table"
        f" `{stream.connection}.{stream.entity}` in the CRM's own values.",
        group_name=stream.connection,
        kinds=schemas.kinds(stream.kind),
        owners=schemas.OWNERS,
        metadata=schemas.inbound_metadata(stream),
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=stream.connection,
        retry_policy=RETRY,
        op_tags={names.CONNECTION_TAG: stream.connection},
        output_required=False,
    )
    def inbound_of(
        context: dg.AssetExecutionContext,
        hub: dg.ResourceParam[Hub],
        connections: dg.ResourceParam[Connections],
        options: SyncOptions,
    ) -> _Result:
        with (
            told(f"{stream.name} inbound"),
            checks.kept(context, hub, system, stream.entity, settings),
            guard.reported(context, hub, stream.entity),
        ):
            flags, backfill = _flags(options), is_backfill(context)
            days, since = window_of(context), begun(context)
            store, crm = hub.store(dry_run=flags.dry_run), connections.crm(stream.connection)
            # The next run goes on with neither a full read nor past days: those fail, so that somebody asks again. So
            # does a run of all connections, of which the others would be left out without a word.
            all_at_once = context.job_name == names.SYNC_ALL
            with nullcontext() if flags.full or backfill or all_at_once else later(context, stream):
                report = hinted(store, crm, stream)
                report.include(
                    inbound(store, crm, stream, flags, partition=days, backfill=backfill, begun=since)
                )
                if flags.full:
                    with store.transaction() as conn:
                        report.add("to_compare", dirty.mark_all(conn, stream))
                        plans.tidy(conn)
                yield _result(report, flags, masking)

    return inbound_of


def hub_asset(system: System, entity: str, masking: tables.Masking) -> dg.AssetsDefinition:
    """`hub/<entity>`: link, decide, take, for the dirty records of every connection."""
    streams = system.of_entity(entity)
    before = dict.fromkeys(target for stream in streams for target in schemas.references(system, stream))

    @dg.asset(
        key=names.hub_key(entity),
        deps=[
            *(names.inbound_key(stream) for stream in streams),
            *(names.hub_key(target) for target in before),
        ],
        description=f"The table `hub.{entity}` that your applications use, with the CRMs' changes merged in; what"
        " was changed on both sides ends by policy, or waits for a person in the check `conflicts`.",
        group_name="hub",
        kinds={"postgres"},
        owners=schemas.OWNERS,
        metadata=schemas.hub_metadata(system, entity),
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=names.hub_pool(entity),
        retry_policy=RETRY,
    )
    def hub_of(hub: dg.ResourceParam[Hub], options: SyncOptions) -> dg.MaterializeResult:  # type: ignore[type-arg]
        with told(f"hub {entity}"):
            flags = _flags(options)
            store = hub.store(dry_run=flags.dry_run)
            report = Report()
            for stream in streams:
                report.include(guard.merged(store, stream, flags))
            return _result(report, flags, masking)

    return hub_of


def outbound_asset(system: System, stream: StreamSpec, masking: tables.Masking) -> dg.AssetsDefinition:
    """`<connection>/outbound/<entity>`: what the hub has and the CRM does not."""
    targets = [t for t in schemas.references(system, stream) if _has(system, stream.connection, t)]
    inbound_only = stream.direction is Direction.INBOUND

    @dg.asset(
        key=names.outbound_key(stream),
        deps=[
            names.hub_key(stream.entity),
            *(names.outbound_key(system.stream(stream.connection, target)) for target in targets),
        ],
        description=f"Nothing: {stream.entity} of {stream.connection} is inbound only."
        if inbound_only
        else f"What changed in `hub.{stream.entity}`, sent to {stream.object} of {stream.connection}. A field in"
        " dispute is never touched.",
        group_name=stream.connection,
        kinds=schemas.kinds(stream.kind),
        owners=schemas.OWNERS,
        metadata=schemas.outbound_metadata(stream),
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=stream.connection,
        retry_policy=RETRY,
        op_tags={names.CONNECTION_TAG: stream.connection},
        output_required=False,
    )
    def outbound_of(
        context: dg.AssetExecutionContext,
        hub: dg.ResourceParam[Hub],
        connections: dg.ResourceParam[Connections],
        options: SyncOptions,
    ) -> _Result:
        with (
            told(f"{stream.name} outbound"),
            guard.reported(context, hub, stream.entity),
            later(context, stream),
        ):
            flags = _flags(options)
            store, crm = hub.store(dry_run=flags.dry_run), connections.crm(stream.connection)
            report = outbound(store, crm, stream, flags)
            with approval.reported(context, hub, system, stream.entity, masking):
                approval.work_off(hub, store, system, connections.crm, stream, flags, report)
            yield _result(report, flags, masking)

    return outbound_of


def _has(system: System, connection: str, entity: str) -> bool:
    return any(stream.connection == connection for stream in system.of_entity(entity))


def _flags(options: SyncOptions) -> Options:
    flags = options.flags()
    logging.getLogger("crm_sync").setLevel(logging.DEBUG if flags.debug else logging.INFO)
    return flags


def _result(report: Report, flags: Options, masking: tables.Masking) -> dg.MaterializeResult:  # type: ignore[type-arg]
    return dg.MaterializeResult(metadata=tables.of_report(report, flags, masking))
