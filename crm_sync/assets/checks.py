"""The check `conflicts` on `hub/<entity>`: the review table, and the records of which a person says who they are.

Blocking, so that it stands before outbound in every run, but only a warning: open conflicts hold nothing up. It
does not guard anything; outbound finds the same disputes again by itself and leaves them alone.

It is not partitioned: it shows all open conflicts of the entity, whatever days the run was about.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dagster as dg
import psycopg

from crm_sync.assets import match_conflicts, names, tables
from crm_sync.assets.failures import RETRY, told
from crm_sync.core.errors import SyncError
from crm_sync.core.spec import System
from crm_sync.hub import review
from crm_sync.resources.hub import Hub
from crm_sync.resources.options import SyncOptions
from crm_sync.settings import Settings
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.options import Report


def checks(system: System, settings: Settings) -> list[dg.AssetChecksDefinition]:
    """One check per entity."""
    return [_check(system, entity, settings) for entity in system.entities]


def _check(system: System, entity: str, settings: Settings) -> dg.AssetChecksDefinition:
    streams = system.of_entity(entity)

    @dg.asset_check(
        asset=names.hub_key(entity),
        name=names.CHECK,
        description=f"Fields of {entity} records that were changed in the hub and in a CRM, differently, and that no"
        " policy may settle: a person decides. Open [Show Markdown] for a link per decision. Also records that may be the"
        " same as one of the hub, and the commands that decide it.",
        blocking=True,
        pool=names.hub_pool(entity),
        retry_policy=RETRY,
    )
    def conflicts_of(
        context: dg.AssetCheckExecutionContext, hub: dg.ResourceParam[Hub], options: SyncOptions
    ) -> dg.AssetCheckResult:
        with told(f"hub {entity}, conflicts"):
            flags = options.flags()
            report = Report()
            for stream in streams:
                report.include(conflicts(hub.store(dry_run=flags.dry_run), stream))
            found = evaluation(hub, system, entity, settings, location=location_of(context.run))
            if flags.dry_run:
                found["dry_run_disputes"] = dg.MetadataValue.int(report.counts["disputes"])
            return dg.AssetCheckResult(
                passed=passed(found),
                severity=dg.AssetCheckSeverity.WARN,
                description=said(found),
                metadata=found,
            )

    return conflicts_of


def evaluation(
    hub: Hub, system: System, entity: str, settings: Settings, *, location: str
) -> tables.Metadata:
    """What the check reports: the open conflicts as they are committed (in a dry run: without the run's own, whose
    numbers will not exist)."""
    masking = tables.Masking(system, settings)
    with hub.reading() as conn:
        rows = review.find(conn, entity=entity, limit=settings.review_rows)
        total = review.count(conn, entity)
        skipped = review.count(conn, entity, "skipped")
        matches = match_conflicts.metadata(conn, system, entity, masking, settings.review_rows)
    return {
        "open": dg.MetadataValue.int(total),
        "skipped": dg.MetadataValue.int(skipped),
        "shown": dg.MetadataValue.text(tables.shown(len(rows), total)),
        "conflicts": tables.review_table(rows, masking),
        "decide": tables.review_markdown(rows, masking, location),
        **matches,
    }


def passed(metadata: tables.Metadata) -> bool:
    """Whether nothing waits for a person."""
    return metadata["open"].value == 0 and "match_conflicts" not in metadata


def said(metadata: tables.Metadata) -> str:
    """What waits for a person, and where to go on."""
    fields, records = metadata["open"].value, metadata.get("match_conflicts")
    waiting = [
        f"{fields:,} {'value' if fields == 1 else 'values'} to decide on: [Show Markdown] beside `decide` has a link for each"
        if fields
        else "",
        f"{records.value:,} {'record' if records.value == 1 else 'records'} of which a person says who they are:"
        " the table `who_is_who` has the commands"
        if records
        else "",
    ]
    return ". ".join(filter(None, waiting)) + "." if any(waiting) else "Nothing waits for a person."


def report(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    hub: Hub,
    system: System,
    entity: str,
    settings: Settings,
) -> None:
    """Report the check of an entity anew, as it is by now."""
    found = evaluation(hub, system, entity, settings, location=location_of(context.run))
    context.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=names.hub_key(entity),
            check_name=names.CHECK,
            passed=passed(found),
            severity=dg.AssetCheckSeverity.WARN,
            description=said(found),
            metadata=found,
        )
    )


@contextmanager
def kept(
    context: dg.AssetExecutionContext, hub: Hub, system: System, entity: str, settings: Settings
) -> Iterator[None]:
    """A step that fails in the block leaves the review table in the UI: the run's check will not be executed, and
    instead of the table Dagster would show that. What waits for a person can be decided while a CRM is down."""
    try:
        yield
    except Exception:
        with suppress(psycopg.Error, SyncError):  # why the step failed is told all the same
            report(context, hub, system, entity, settings)
        raise


def location_of(run: dg.DagsterRun) -> str:
    """The code location's name, which is part of the UI's addresses."""
    origin = run.remote_job_origin
    return origin.location_name if origin is not None else names.LOCATION
