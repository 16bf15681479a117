"""What assets and checks show in the UI: counts, the preview of a run, the plan of a dry run, the review table.

Tables in metadata are drawn inline without paging, so every one is capped and says so. Counts are numbers: Dagster
plots them over time. Times say that they are UTC: beside them Dagster shows the browser's.
"""

from collections.abc import Mapping, Sequence
from typing import get_args

import dagster as dg

from crm_sync.assets import links
from crm_sync.core.approval import PlanRow
from crm_sync.core.deletes import PRESENCE
from crm_sync.core.spec import FieldType, System
from crm_sync.hub.review import Conflict, Decision
from crm_sync.settings import Settings
from crm_sync.steps.options import Options, Report

PLAN_ROWS = 100
_COMMANDS = 8  # above a table; each of its rows has its own
_CELL = 80  # characters: about two lines of a cell where a table has many columns
_PUBLIC = frozenset({FieldType.BOOLEAN, FieldType.PICKLIST, FieldType.MULTIPICKLIST, FieldType.REFERENCE})
"""Types whose values say little about a person; the others are masked where masking is on."""

Metadata = dict[str, dg.MetadataValue]


def mask(value: str | None) -> str | None:
    """The value with all but its length and first character hidden."""
    return value if not value else f"{value[0]}… ({len(value)} characters)"


class Masking:
    """Which values may be shown, as the setting CRM_SYNC_MASK_REVIEW says."""

    def __init__(self, system: System, settings: Settings) -> None:
        self._on = settings.mask_review
        self._public = {
            (entity, name)
            for entity in system.entities
            for name, spec in system.hub_fields(entity).items()
            if spec.type in _PUBLIC
        } | {(entity, PRESENCE) for entity in system.entities}

    def __call__(self, entity: str, field: str, value: str | None) -> str | None:
        return mask(value) if self._on and (entity, field) not in self._public else value


def of_report(report: Report, options: Options, masking: Masking) -> Metadata:
    """Metadata of a materialization."""
    metadata: Metadata = {name: dg.MetadataValue.int(number) for name, number in report.counts.items()}
    metadata["calls"] = dg.MetadataValue.int(sum(report.calls.values()))
    for family, number in sorted(report.calls.items()):
        metadata[f"calls/{family}"] = dg.MetadataValue.int(number)
    if report.notes:
        metadata["notes"] = dg.MetadataValue.text("\n".join(report.notes))
    if report.preview:
        metadata["preview"] = table(report.preview)
    if options.dry_run:
        metadata["dry_run"] = dg.MetadataValue.bool(True)
        for family, number in sorted(report.would_cost.items()):
            metadata[f"would_call/{family}"] = dg.MetadataValue.int(number)
        metadata["plan"] = plan_table(report.plan[:PLAN_ROWS], masking)
        metadata["plan_shows"] = dg.MetadataValue.text(
            shown(min(len(report.plan), PLAN_ROWS), len(report.plan))
        )
    return metadata


def table(rows: Sequence[Mapping[str, str | int | None]], columns: Sequence[str] = ()) -> dg.MetadataValue:
    """Rows with the same keys; `columns` names them where there may be no row."""
    names = list(columns) or list(dict.fromkeys(name for row in rows for name in row))
    schema = dg.TableSchema([dg.TableColumn(name) for name in names])
    return dg.MetadataValue.table(
        [dg.TableRecord({name: row.get(name, "") for name in names}) for row in rows], schema=schema
    )


def plan_table(rows: Sequence[PlanRow], masking: Masking) -> dg.MetadataValue:
    """Planned writes, a line each."""
    return table([_planned(row, masking) for row in rows], _PLAN_COLUMNS)


def said(sentence: str, commands: Sequence[str] = ()) -> str:
    """The words above the tables of a check, in Markdown: a sentence, and commands to be copied, each on its own line.
    Only for words of ours: what people wrote goes into the tables, which show it as it is."""
    block = "\n".join(commands[:_COMMANDS])
    return f"{sentence}\n\n```\n{block}\n```" if commands else sentence


def shown(rows: int, total: int) -> str:
    """`50 of 312`."""
    return f"{rows} of {total}"


_PLAN_COLUMNS = (
    "stream", "target", "action", "field", "old", "new", "record", "reason", "policy", "verdict", "hub then", "CRM then",
)  # fmt: skip


def _planned(row: PlanRow, masking: Masking) -> dict[str, str | int | None]:
    entity = row.stream.rpartition("/")[2]
    return {
        "stream": row.stream,
        "target": row.target,
        "action": row.action,
        "record": row.record,
        "field": row.field,
        "old": cell(masking(entity, row.field, row.old)),
        "new": cell(masking(entity, row.field, row.new)),
        "hub then": cell(masking(entity, row.field, row.hub_then)),
        "CRM then": cell(masking(entity, row.field, row.crm_then)),
        "verdict": row.verdict,
        "policy": row.policy,
        "reason": row.reason,
    }


REVIEW_COLUMNS = (
    "id", "connection", "record", "field", "hub value", "CRM value", "hub changed", "CRM changed", "suggestion", "why",
)  # fmt: skip


def review_table(conflicts: Sequence[Conflict], masking: Masking) -> dg.MetadataValue:
    """The open conflicts as the UI's plain table."""
    return table([_conflict(conflict, masking) for conflict in conflicts], REVIEW_COLUMNS)


def review_markdown(conflicts: Sequence[Conflict], masking: Masking, location: str) -> dg.MetadataValue:
    """The open conflicts as Markdown, with a link per row and decision to the filled launchpad."""
    lines = [
        "| # | record | field | hub | CRM | who changed it when | decide |",
        "|---|---|---|---|---|---|---|",
    ]
    for c in conflicts:
        row = _conflict(c, masking)
        decisions = " · ".join(_decision(c, name, location) for name in get_args(Decision))
        cells = [
            str(c.id),
            f"{links.code(c.connection)} {links.code(c.crm_id)}",
            links.code(c.field),
            links.code(masking(c.entity, c.field, c.hub_value)),
            links.code(masking(c.entity, c.field, c.crm_value)),
            f"hub: {links.code(str(row['hub changed']))} CRM: {links.code(str(row['CRM changed']))}",
            decisions,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return dg.MetadataValue.md("\n".join(lines) if conflicts else "No open conflicts.")


def _decision(c: Conflict, name: Decision, location: str) -> str:
    link = f"[{name.replace('_', ' ')}]({links.resolve(c.id, c.values_at, name, location=location)})"
    return f"**{link}**" if name == c.suggestion else link


def _conflict(c: Conflict, masking: Masking) -> dict[str, str | int | None]:
    hub_at = (
        f"{c.hub_changed_at:%Y-%m-%d %H:%M:%S} UTC by {c.hub_changed_by or 'hub'}"
        if c.hub_changed_at
        else "unknown"
    )
    crm_at = f"{c.crm_changed_at:%Y-%m-%d %H:%M:%S} UTC in {c.connection}" if c.crm_changed_at else "unknown"
    return {
        "id": c.id,
        "connection": c.connection,
        "record": c.crm_id,
        "field": c.field,
        "hub value": cell(masking(c.entity, c.field, c.hub_value)),
        "CRM value": cell(masking(c.entity, c.field, c.crm_value)),
        "hub changed": hub_at,
        "CRM changed": crm_at,
        "suggestion": c.suggestion.replace("_", " "),
        "why": c.reason,
    }


def cell(value: str | None) -> str:
    """A value in a cell of a table: one line, and no more of a long one than leaves the rows low."""
    return "" if value is None else links.plain(value, longest=_CELL)
