"""The check `parity` on `hub/<entity>`: whether the CRMs, read anew, say what the hub says.

It is in no sync, for it reads everything: the job `verify` runs it, by hand or nightly. It takes neither the hub's pool
nor a connection's turn, so that syncs go on beside it.
"""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from crm_sync.assets import links, names, tables
from crm_sync.assets.failures import RETRY, told
from crm_sync.core.parity import Found
from crm_sync.core.spec import System
from crm_sync.hub.store import Store
from crm_sync.resources.alerts import Alerts
from crm_sync.resources.connections import Connections
from crm_sync.resources.hub import Hub
from crm_sync.resources.options import SyncOptions, run_config
from crm_sync.settings import Settings
from crm_sync.steps.allowance import allot
from crm_sync.steps.verify import Parity, known_records, verify

_COLUMNS = ("stream", "field", "hub value", "CRM value", "explanation", "what", "CRM record", "hub record")
"""What is seen without scrolling comes first: the ids are for who goes on with one of them."""


def checks(system: System, settings: Settings) -> list[dg.AssetChecksDefinition]:
    """One check per entity."""
    return [_check(system, entity, settings) for entity in system.entities]


def verify_job(system: System) -> UnresolvedAssetJobDefinition:
    """The comparison of everything."""
    return dg.define_asset_job(
        names.VERIFY,
        selection=dg.AssetSelection.checks(*(names.parity_key(entity) for entity in system.entities)),
        config=run_config(full=True),  # the least urgent of all: calls are left to the syncs
        description="Read every CRM anew and compare it with the hub; every difference needs an explanation.",
    )


def _check(system: System, entity: str, settings: Settings) -> dg.AssetChecksDefinition:
    streams = system.of_entity(entity)
    masking = tables.Masking(system, settings)

    @dg.asset_check(
        asset=names.hub_key(entity),
        name=names.PARITY,
        description=f"{entity} of every CRM, read anew, beside the hub: counts and hashes by ranges of ids, then every"
        " difference with its explanation. Not part of a sync; the job `verify` runs it. After the next sync Dagster calls it"
        " not evaluated; its results stay under *Execution history*.",
        blocking=False,
        pool=names.PARITY,
        retry_policy=RETRY,
    )
    def parity_of(
        context: dg.AssetCheckExecutionContext,
        hub: dg.ResourceParam[Hub],
        connections: dg.ResourceParam[Connections],
        alerts: dg.ResourceParam[Alerts],
        options: SyncOptions,  # noqa: ARG001 - its `full` says how urgent the run is
    ) -> dg.AssetCheckResult:
        with told(f"hub {entity}, parity"), Store(hub.url, run_id=hub.run_id) as store:
            shares = allot(streams, {s.name: known_records(store, s) for s in streams}, None)
            found = [verify(store, connections.crm(s.connection), s, shares[s.name]) for s in streams]
            wrong = [parity for parity in found if parity.open]
            if wrong:  # the run succeeds, and the next sync hides the result: somebody has to be told
                alerts.send(_alert(entity, wrong, f"{settings.ui_url}{links.run(context.run.run_id)}"))
            return dg.AssetCheckResult(
                passed=not wrong,
                severity=dg.AssetCheckSeverity.ERROR,
                description=_said(found),
                metadata=_metadata(found, masking, settings.review_rows),
            )

    return parity_of


def _alert(entity: str, wrong: list[Parity], run: str) -> str:
    lines = [f"- {parity.stream}: {parity.open:,} not explained" for parity in wrong]
    return "\n".join([f"crm_sync: the sides differ in {entity}. {run}", *lines])


def _said(found: list[Parity]) -> str:
    total, wrong = sum(parity.counts.total() for parity in found), sum(parity.open for parity in found)
    one = "one difference" if total == 1 else f"{total:,} differences"
    if not total:
        return "All sides agree."
    if not wrong:
        return f"{one[0].upper()}{one[1:]}, explained."
    return tables.said(
        f"{one[0].upper()}{one[1:]}, {wrong:,} of them unexplained. To look them up, and have the sync settle them:",
        [f"crm-sync verify {parity.stream} --repair" for parity in found if parity.open],
    )


def _metadata(found: list[Parity], masking: tables.Masking, most: int) -> tables.Metadata:
    rows = [one for parity in found for one in parity.unexplained]
    rows += [one for parity in found for one in parity.explained]
    total = sum(parity.counts.total() for parity in found)
    metadata: tables.Metadata = {
        "unexplained": dg.MetadataValue.int(sum(parity.open for parity in found)),
        "explained": dg.MetadataValue.int(total - sum(parity.open for parity in found)),
        "calls": dg.MetadataValue.int(sum(sum(parity.calls.values()) for parity in found)),
        "shown": dg.MetadataValue.text(tables.shown(min(len(rows), most), total)),
        "streams": tables.table([_stream(parity) for parity in found]),
        "differences": tables.table([_row(one, masking) for one in rows[:most]], _COLUMNS),
    }
    if notes := [f"{parity.stream}: {note}" for parity in found for note in parity.notes]:
        metadata["notes"] = dg.MetadataValue.text("\n".join(notes))
    return metadata


def _stream(parity: Parity) -> dict[str, str | int | None]:
    return {
        "stream": parity.stream,
        "in the CRM": parity.crm_records,
        "linked": parity.linked,
        "ranges": parity.ranges,
        "ranges that differ": parity.ranges_differing,
        "explained": parity.counts.total() - parity.open,
        "unexplained": parity.open,
        "calls": sum(parity.calls.values()),
    }


def _row(one: Found, masking: tables.Masking) -> dict[str, str | int | None]:
    entity = one.stream.rpartition("/")[2]
    return {
        "stream": one.stream,
        "what": str(one.what),
        "CRM record": one.crm_id or "",
        "hub record": str(one.hub_id or ""),
        "field": one.field,
        "hub value": tables.cell(masking(entity, one.field, one.hub_value)),
        "CRM value": tables.cell(masking(entity, one.field, one.crm_value)),
        "explanation": links.plain(one.explanation),
    }
