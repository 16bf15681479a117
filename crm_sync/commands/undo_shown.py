"""How `crm-sync undo` shows its plan and what came of it: tables for people, JSON for programs."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import psycopg
from rich.table import Table
from rich.text import Text

from crm_sync.commands import console
from crm_sync.core.undo import Fate
from crm_sync.hub import undo as memory
from crm_sync.hub import undo_records
from crm_sync.hub.undo import Row, Selection
from crm_sync.hub.undo_records import RecordRow
from crm_sync.steps.undo_told import Applied, Planned

SHOWN = 100
UNSENT = ("parked", "moved", "retry")
"""Counts of outbound that mean that a CRM did not get something."""

Mask = Callable[[str, str, str | None], str | None]


def values(number: int) -> str:
    return "value" if number == 1 else "values"


def question(planned: Planned) -> str:
    """What is to be confirmed."""
    number = planned.number(Fate.UNDO)
    parts = [f"put {number:,} {values(number)} back"] if number else []
    for kind, what in _WHAT.items():
        count = sum(t.number for t in planned.records if t.kind == kind and t.fate == Fate.UNDO)
        parts += [f"{what} ({count:,})"] if count else []
    text = ", ".join(parts)
    made = any(t.kind == "made" and t.fate == Fate.UNDO for t in planned.records)
    return f"{_WITH_IT if made else ''}{text[:1].upper()}{text[1:]}?"


_WITH_IT = (
    "With a record that is deleted from a CRM goes what hangs on it there, also what is not mapped"
    " (activities, cases, opportunities).\n"
)


_WHAT = {
    "made": "delete records from a CRM",
    "link": "pull linked records apart",
    "created": "delete records from the hub",
    "archived": "take records of the hub out of the archive",
    "deleted": "insert records into the hub again",
    "removed": "create records in a CRM once more",
}
"""What is done to whole records, by their kind."""


def show(
    conn: psycopg.Connection, selection: Selection, planned: Planned, mask: Mask, *, no_zone: bool
) -> None:
    out = console.out
    zone = " (a time without a zone is UTC)" if no_zone else ""
    out.print(f"undo of {selection}{zone}: {planned.journal_rows:,} rows in the journal", markup=False)
    if not planned.journal_rows:
        out.print("the sync wrote nothing there; nothing to undo")
        return
    if rows := memory.rows(conn, [Fate.UNDO], SHOWN):
        out.print()
        out.print(_plan_table(rows, planned.number(Fate.UNDO), mask))
    if whole := undo_records.rows(conn, SHOWN):
        out.print()
        out.print(_records_table(whole, planned.records_to_undo()))
    if some := memory.rows(conn, [Fate.EDITED, Fate.LEFT], SHOWN):
        out.print()
        number = planned.number(Fate.EDITED, Fate.LEFT)
        table = console.table(
            "record", "field", "stays because", title=f"Stays as it is{_first(some, number)}"
        )
        for row in some:
            why = " ".join(p for p in (row.about, row.detail) if p)
            table.add_row(f"{row.entity} {row.hub_id}", row.field, Text(why))
        out.print(table)
    if rest := memory.examples(conn, SHOWN):
        out.print()
        number = sum(left.number for left in planned.left)
        first = f" (the first {len(rest)} of {number:,})" if len(rest) < number else ""
        table = console.table("record", "field", "why", title=f"Not undone{first}")
        for entity, hub_id, name, why in rest:
            table.add_row(f"{entity} {hub_id or ''}", name or "·", Text(why))
        out.print(table)
    out.print()
    out.print(_totals_table(planned))
    gets = ", ".join(f"{name} {number:,}" for name, number in planned.systems.items())
    out.print(f"values to be written: {gets or 'none'}", markup=False)


def _records_table(rows: list[RecordRow], number: int) -> Table:
    title = "Whole records" + (f" (the first {len(rows)} of {number:,})" if len(rows) < number else "")
    table = console.table("what", "hub record", "record in the CRM", title=title)
    for row in rows:
        apart = " (stays deleted there)" if row.kind in ("archived", "deleted") else ""
        crm = console.value(f"{row.connection} {row.crm_id}{apart}")
        table.add_row(_WHAT[row.kind], f"{row.entity} {row.hub_id}", crm)
    return table


def _first(rows: list[Row], number: int) -> str:
    return f" (the first {len(rows)} of {number:,})" if len(rows) < number else ""


def _plan_table(rows: list[Row], number: int, mask: Mask) -> Table:
    table = console.table(
        "record", "field", "hub now", "goes back to", "and in", title=f"Goes back{_first(rows, number)}"
    )
    for row in rows:
        table.add_row(
            f"{row.entity} {row.hub_id}",
            row.field,
            console.value(mask(row.entity, row.field, row.old)),
            console.value(mask(row.entity, row.field, row.value)),
            ", ".join(f"{name} (waits)" if write["waits"] else name for name, write in row.writes.items())
            or "·",
        )
    return table


def _totals_table(planned: Planned) -> Table:
    table = console.table("what", "entity", "field", "number", numbers=("number",), title="In all")
    for total in planned.totals:
        what = {Fate.UNDO: "goes back", Fate.ALREADY: "is back already"}.get(Fate(total.fate), total.about)
        table.add_row(what, total.entity, total.field, f"{total.number:,}")
    for record in planned.records:
        if record.fate in (Fate.UNDO, Fate.ALREADY):
            what = _WHAT[record.kind] if record.fate == Fate.UNDO else record.about
            table.add_row(f"{what} ({record.connection})", record.entity, "", f"{record.number:,}")
    for left in planned.left:
        table.add_row(f"not undone: {left.about}", left.entity, "", f"{left.number:,}")
    return table


def applied(own: str, planned: Planned, applied: Applied, after: Planned) -> None:
    out = console.out
    out.print(f"put back in the hub: {applied.fields:,} {values(applied.fields)}")
    if planned.records_to_undo():
        said = {
            "pulled apart": applied.links,
            "deleted from the hub": applied.deleted,
            "back in the hub": applied.back,
            "deleted from CRMs": applied.deleted_in_crms,
        }
        out.print("; ".join(f"{what}: {number:,}" for what, number in said.items() if number) or "no record")
    for name, report in applied.reports.items():
        said = {
            n: number
            for n, number in report.counts.items()
            if number and n in ("created", "updated", "waiting", *UNSENT)
        }
        out.print(
            f"{name}: {', '.join(f'{n} {number:,}' for n, number in said.items()) or 'nothing to send'}"
        )
    for name, why in applied.failures.items():
        console.err.print(
            f"{name}: put back in the hub, but not sent yet: {why}", markup=False, soft_wrap=True
        )
    if changed := planned.number(Fate.UNDO) - after.number(Fate.UNDO):
        out.print(f"{changed:,} of the plan stayed after all:")
        known = {(t.about, t.entity, t.field): t.number for t in planned.totals}
        for total in after.totals:
            more = total.number - known.get((total.about, total.entity, total.field), 0)
            if more > 0 and total.fate != Fate.UNDO:
                out.print(f"  {total.about}: {more:,} ({total.entity} {total.field})", markup=False)
    _stayed(planned, after)
    if applied.deleted_in_crms:
        out.print("what was deleted from CRMs comes back only from the CRM's recycle bin", markup=False)
    if applied.fields or applied.links or applied.deleted or applied.back or not applied.deleted_in_crms:
        out.print(
            f"to take {'the rest' if applied.deleted_in_crms else 'this'} back: crm-sync undo {own}",
            markup=False,
        )


def _stayed(planned: Planned, after: Planned) -> None:
    """Whole records of the plan that stayed, and why."""
    known = Counter({(t.kind, t.about, t.entity, t.connection): t.number for t in planned.records})
    told = [
        (t, more)
        for t in after.records
        if t.fate not in (Fate.UNDO, "done")
        and (more := t.number - known[t.kind, t.about, t.entity, t.connection]) > 0
    ]
    if told:
        number = sum(more for _, more in told)
        console.out.print(
            f"{number:,} whole {'record' if number == 1 else 'records'} of the plan stayed after all:"
        )
    for total, more in told:
        console.out.print(
            f"  {total.about}: {more:,} ({total.entity}, {total.connection})", markup=False, soft_wrap=True
        )


def as_json(conn: psycopg.Connection, selection: Selection, planned: Planned, mask: Mask) -> dict[str, Any]:
    def row(r: Row) -> Mapping[str, Any]:
        told = asdict(r)
        for name in ("old", "value"):
            told[name] = mask(r.entity, r.field, told[name])
        told["writes"] = {
            name: {**write, **{part: mask(r.entity, r.field, write[part]) for part in ("old", "new")}}
            for name, write in r.writes.items()
        }
        return told

    return {
        "selection": asdict(selection),
        "journal_rows": planned.journal_rows,
        "totals": [asdict(total) for total in planned.totals],
        "records": [asdict(total) for total in planned.records],
        "record_plan": [asdict(row) for row in undo_records.rows(conn, SHOWN)],
        "not_undone": [asdict(left) for left in planned.left],
        "not_undone_rows": [
            {"entity": entity, "hub_id": hub_id, "field": name, "why": why}
            for entity, hub_id, name, why in memory.examples(conn, SHOWN)
        ],
        "values_by_system": dict(planned.systems),
        "plan": [row(r) for r in memory.rows(conn, [Fate.UNDO], SHOWN)],
        "stays": [row(r) for r in memory.rows(conn, [Fate.EDITED, Fate.LEFT], SHOWN)],
    }


def applied_as_json(applied: Applied, after: Planned) -> dict[str, Any]:
    return {
        "fields": applied.fields,
        "links": applied.links,
        "deleted": applied.deleted,
        "back": applied.back,
        "deleted_in_crms": applied.deleted_in_crms,
        "sent": {name: report.counts for name, report in applied.reports.items()},
        "not_sent": applied.failures,
        "totals": [asdict(total) for total in after.totals],
        "records": [asdict(total) for total in after.records],
    }
