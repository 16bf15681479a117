"""The check `schema` on `hub/<entity>`: what has changed about the CRMs' objects, what follows and what to do.

It reads the journal that inbound keeps; no CRM is asked. It holds nothing up: a lost field is frozen, and the others go
on. It is not partitioned: it shows what is open now.
"""

from collections.abc import Sequence

import dagster as dg

from crm_sync.assets import links, names, tables
from crm_sync.assets.failures import RETRY, told
from crm_sync.core.spec import System
from crm_sync.hub.drifted import Drifted, drifted
from crm_sync.resources.hub import Hub

ROWS = 100
LONGEST = 600
"""Characters of a cell: the sentences have to be read to their end."""
COLUMNS = (
    "id",
    "connection",
    "object",
    "field",
    "what changed",
    "what follows",
    "what to do",
    "since (UTC)",
    "acknowledged by",
)


def schema_checks(system: System) -> list[dg.AssetChecksDefinition]:
    """One check per entity."""
    return [_check(system, entity) for entity in system.entities]


def _check(system: System, entity: str) -> dg.AssetChecksDefinition:
    streams = system.of_entity(entity)
    connections = {connection.name: connection for connection in system.connections}

    @dg.asset_check(
        asset=names.hub_key(entity),
        name=names.SCHEMA,
        description=f"Whether the CRMs' objects of {entity} still look as the mapping expects: fields, types,"
        " permissions, picklist values. What is not acknowledged fails: as an error if something mapped cannot be"
        " synced at all, else as a warning.",
        retry_policy=RETRY,
    )
    def schema_of(hub: dg.ResourceParam[Hub]) -> dg.AssetCheckResult:
        with told(f"hub {entity}, schema"):
            with hub.reading() as conn:
                rows = drifted(conn, connections, streams)
            return result(rows)

    return schema_of


def result(rows: Sequence[Drifted]) -> dg.AssetCheckResult:
    """What the check reports."""
    open_rows = [row for row in rows if row.counts]
    fatal = any(row.fatal for row in open_rows)
    return dg.AssetCheckResult(
        passed=not open_rows,
        severity=dg.AssetCheckSeverity.ERROR if fatal else dg.AssetCheckSeverity.WARN,
        description=_said(open_rows),
        metadata={
            "open": dg.MetadataValue.int(len(open_rows)),
            "waiting": dg.MetadataValue.int(sum(row.waits for row in open_rows)),
            "shown": dg.MetadataValue.text(tables.shown(min(len(rows), ROWS), len(rows))),
            "changes": tables.table([_cells(row) for row in rows[:ROWS]], COLUMNS),
        },
    )


def _said(found: Sequence[Drifted]) -> str:
    if not found:
        return "Nothing has changed that nobody knows of."
    return tables.said(
        f"{len(found)} {'change' if len(found) == 1 else 'changes'} that nobody has acknowledged. If the new look is meant:",
        [f"crm-sync check {row.connection} --acknowledge {row.id}" for row in found],
    )


def _cells(row: Drifted) -> dict[str, str | int | None]:
    cells = (row.id, row.connection, row.object, row.field, row.what, row.follows, row.do,
             f"{row.since:%Y-%m-%d %H:%M:%S}", row.acknowledged_by or "")  # fmt: skip
    return {
        name: links.plain(cell, longest=LONGEST)
        if isinstance(cell, str)
        else cell
        if cell is not None
        else ""
        for name, cell in zip(COLUMNS, cells, strict=True)
    }
