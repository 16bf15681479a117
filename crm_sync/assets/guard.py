"""The check `guard` on `hub/<entity>`: what was held back before anything was written, and how it is let through.

An error, but it blocks nothing: the streams that are held stop by themselves, in the hub step and in outbound, and the
others go on. Whoever holds back reports at once, so that the check does not wait for its turn in the run.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from crm_sync.assets import names, tables
from crm_sync.assets.failures import RETRY, told
from crm_sync.core.errors import HeldBackError
from crm_sync.core.spec import StreamSpec, System
from crm_sync.hub import holds
from crm_sync.hub.holds import Hold
from crm_sync.hub.store import Store
from crm_sync.resources.hub import Hub
from crm_sync.steps.hub import hub as merge
from crm_sync.steps.options import Options, Report

_COLUMNS = ("id", "what", "to", "why", "since (UTC)", "confirm")


def checks(system: System) -> list[dg.AssetChecksDefinition]:
    """One check per entity."""
    return [_check(entity) for entity in system.entities]


def _check(entity: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=names.hub_key(entity),
        name=names.GUARD,
        description=f"Runs that would have blanked, deleted or renamed too much of {entity}, or reached another account:"
        " they were stopped before they wrote anything. `crm-sync guard confirm` lets exactly that through.",
        blocking=False,
        pool=names.hub_pool(entity),
        retry_policy=RETRY,
    )
    def guard_of(hub: dg.ResourceParam[Hub]) -> dg.AssetCheckResult:
        with told(f"hub {entity}, guard"):
            found = _open(hub, entity)
            return dg.AssetCheckResult(
                passed=not found,
                severity=dg.AssetCheckSeverity.ERROR,
                description=_said(found),
                metadata=_metadata(found),
            )

    return guard_of


@contextmanager
def reported(context: dg.AssetExecutionContext, hub: Hub, entity: str) -> Iterator[None]:
    """What the block holds back shows in the check at once."""
    try:
        yield
    except HeldBackError:
        found = _open(hub, entity)
        context.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=names.hub_key(entity),
                check_name=names.GUARD,
                passed=not found,
                severity=dg.AssetCheckSeverity.ERROR,
                description=_said(found),
                metadata=_metadata(found),
            )
        )
        raise


def merged(store: Store, stream: StreamSpec, flags: Options) -> Report:
    """The hub step; if the guard holds it back, a note about it. The streams of other connections go on, and this one
    ends in its outbound asset."""
    try:
        return merge(store, stream, flags)
    except HeldBackError as error:
        report = Report()
        report.notes.append(str(error))
        report.add("held_back")
        return report


def _open(hub: Hub, entity: str) -> list[Hold]:
    with hub.reading() as conn:
        return holds.find(conn, entity=entity, statuses=("open",))


def _said(found: list[Hold]) -> str:
    if not found:
        return "Nothing is held back."
    one = len(found) == 1
    return tables.said(
        f"{len(found)} {'run is' if one else 'runs are'} held back. A run with `dry_run` shows each value that would be written."
        " If it is meant:",
        [f"crm-sync guard confirm {hold.id}" for hold in found],
    )


def _metadata(found: list[Hold]) -> tables.Metadata:
    rows: list[dict[str, str | int | None]] = [
        {
            "id": hold.id,
            "what": hold.stream,
            "to": hold.side,
            "why": hold.sentence,
            "since (UTC)": f"{hold.opened_at:%Y-%m-%d %H:%M:%S}",
            "confirm": f"crm-sync guard confirm {hold.id}",
        }
        for hold in found
    ]
    return {"held": dg.MetadataValue.int(len(found)), "holds": tables.table(rows, _COLUMNS)}
