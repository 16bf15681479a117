"""The assets `match/<entity>`: before a first sync, who would be linked with whom. Part of no sync.

Run by hand from the UI. The CRMs are read and matched as a sync would, in a transaction of its own that is rolled back
(steps/match.py), so that nothing is written, and nothing of the run's other assets is seen.
"""

import dagster as dg
from pydantic import Field

from crm_sync.assets import links, names, schemas, tables
from crm_sync.assets.failures import told
from crm_sync.core.spec import System
from crm_sync.hub.store import Store
from crm_sync.resources.connections import Connections
from crm_sync.resources.hub import Hub
from crm_sync.settings import Settings
from crm_sync.steps.match import Preview, Previews, preview

_FIGURES = (
    "records", "linked already", "will link", "by", "new in the hub", "new in the CRM", "ambiguous", "review",
    "cannot enter", "waits", "left alone", "doubles",
)  # fmt: skip
_EXAMPLES = ("stream", "would", "why", "values", "record", "hub record")


class MatchConfig(dg.Config):
    """What is previewed."""

    read: bool = Field(
        default=True,
        description="Ask the CRMs what is there; nothing of it is kept. Off: take what earlier runs have read.",
    )


def match_assets(system: System, settings: Settings) -> list[dg.AssetsDefinition]:
    """One asset per entity."""
    masking = tables.Masking(system, settings)
    return [_asset(system, entity, masking) for entity in system.entities]


def _asset(system: System, entity: str, masking: tables.Masking) -> dg.AssetsDefinition:
    streams = system.of_entity(entity)
    first = {target for stream in streams for target in schemas.references(system, stream)}

    @dg.asset(
        key=names.match_key(entity),
        description=f"Preview of matching: how many {entity} records of each CRM would be linked (by which rule), be new"
        " in the hub or in a CRM, or need a person. Run it before a first sync: it writes nothing.",
        group_name="hub",
        kinds={"postgres"},
        owners=schemas.OWNERS,
        pool=names.hub_pool(entity),
    )
    def match_of(
        context: dg.AssetExecutionContext,
        config: MatchConfig,
        hub: dg.ResourceParam[Hub],
        connections: dg.ResourceParam[Connections],
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        with told(f"match {entity}"), Store(hub.url, dry_run=True, run_id=context.run.run_id) as store:
            # As in a sync, what this entity refers to comes first.
            wanted = [s for e in system.entities if e == entity or e in first for s in system.of_entity(e)]
            found = preview(store, connections.crm, system, wanted, read=config.read, told=context.log.info)
            return dg.MaterializeResult(metadata=_metadata(entity, found, masking))

    return match_of


def _metadata(entity: str, found: Previews, masking: tables.Masking) -> tables.Metadata:
    streams = [one for one in found.streams if one.entity == entity]
    figures = {
        "records": sum(one.records for one in streams),
        "linked already": sum(one.linked for one in streams),
        "will link": sum(one.will_link for one in streams),
        "new in the hub": sum(one.create_hub for one in streams),
        "new in the CRMs": sum(one.create_crm for one in streams),
        "need a person": sum(one.ambiguous + one.review + one.cannot_enter + one.waits for one in streams),
        "doubles within a CRM": sum(one.doubled for one in streams),
        "doubles in the hub": sum(count.groups for count in found.hub if count.entity == entity),
    }
    metadata: tables.Metadata = {name: dg.MetadataValue.int(number) for name, number in figures.items()}
    examples = [row for one in streams for row in _examples(one, masking)]
    metadata["streams"] = _streams(streams)
    metadata["examples"] = tables.table(examples[: tables.PLAN_ROWS], _EXAMPLES)
    return metadata


def _streams(streams: list[Preview]) -> dg.MetadataValue:
    """A column per stream: the page has no room for one per figure."""
    found = {one.stream: _figures(one) for one in streams}
    rows = [{"what": name, **{stream: found[stream][name] for stream in found}} for name in _FIGURES]
    return tables.table(rows, ["what", *found])


def _figures(one: Preview) -> dict[str, str | int | None]:
    by = ", ".join(f"{rule} {number:,}" for rule, number in one.link.items())
    values = (
        one.records, one.linked, one.will_link, by, one.create_hub, one.create_crm, one.ambiguous, one.review,
        one.cannot_enter, one.waits, one.left, one.doubled,
    )  # fmt: skip
    return dict(zip(_FIGURES, values, strict=True))


def _examples(one: Preview, masking: tables.Masking) -> list[dict[str, str | int | None]]:
    rows: list[dict[str, str | int | None]] = []
    for example in one.examples:
        values = [f"{n}={masking(one.entity, n, v)}" for n, v in example.values.items() if v is not None]
        cells = (
            one.stream,
            example.outcome,
            example.why,
            ", ".join(values),
            example.record,
            ", ".join(example.hub_ids),
        )
        rows.append({name: links.plain(cell) for name, cell in zip(_EXAMPLES, cells, strict=True)})
    return rows
