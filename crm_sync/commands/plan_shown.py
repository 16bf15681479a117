"""How plans are shown: tables for people, JSON for programs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from crm_sync.commands import console, plan_file
from crm_sync.core.approval import PlanRow
from crm_sync.hub.plan_rows import Refused
from crm_sync.hub.plans import Plan
from crm_sync.steps.apply import Applied

Mask = Callable[[str, str, str | None], str | None]

_STAYS = {
    "disputes": "conflicts, which stay open",
    "waiting": "waiting for another record",
    "parked": "records parked",
}


def plan(found: Plan, rows: Sequence[PlanRow], mask: Mask) -> None:
    """A plan with some of its rows."""
    out = console.out
    if rows:
        table = console.table(
            "stream", "to", "what", "record", "field", "old", "new", "hub then", "CRM then", "verdict", "why",
            title=f"Would be written{_first(rows, found.rows)}",
        )  # fmt: skip
        for row in rows:
            table.add_row(*_cells(row, mask))
        out.print(table)
        out.print()
    out.print(_totals(found))
    for name, families in found.calls.items():
        out.print(f"calls to {name}: {console.calls(families)}", markup=False)
    for about, said in found.guard.items():
        out.print(f"guard, {about}: {said}", markup=False, soft_wrap=True)
    if found.guard:
        out.print("whoever approves this plan confirms that: the guard lets exactly these records through")
    out.print(
        f"plan {found.id}: {found.rows:,} writes, {found.records:,} records, {found.status}{_by(found)}; sha256 {found.hash}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def _first(rows: Sequence[PlanRow], number: int) -> str:
    return f" (the first {len(rows):,} of {number:,})" if len(rows) < number else ""


def _by(found: Plan) -> str:
    return f" by {found.decided_by}" if found.decided_by else ""


def _cells(row: PlanRow, mask: Mask) -> Iterable[Text | str]:
    entity = row.stream.rpartition("/")[2]
    values = [mask(entity, row.field, value) for value in (row.old, row.new, row.hub_then, row.crm_then)]
    why = f"{row.reason} [{row.policy}]" if row.policy else row.reason
    whole = row.field == ""
    return (
        Text(row.stream),
        "hub" if row.target == "hub" else "CRM",
        Text(row.action),
        Text(row.record),
        Text(row.field or "·"),
        *(
            Text("·") if whole or (row.action == "create" and i != 1) else console.value(v)
            for i, v in enumerate(values)
        ),
        Text(row.verdict),
        Text(why),
    )


def _totals(found: Plan) -> Table:
    table = console.table("stream", "what", "number", numbers=("number",), title="In all")
    for stream, figures in found.figures.items():
        for name, number in figures.items():
            target, _, action = name.partition(" ")
            what = (
                _STAYS.get(name) or f"{action}: fields written to the {'hub' if target == 'hub' else 'CRM'}"
            )
            table.add_row(Text(stream), what, f"{number:,}")
    return table


def listed(found: Sequence[Plan]) -> Table:
    """Plans, a line each."""
    table = console.table(
        "plan", "status", "made (UTC)", "by", "streams", "writes", "records", "calls", "guard",
        numbers=("plan", "writes", "records", "calls"),
    )  # fmt: skip
    for one in found:
        calls = sum(number for families in one.calls.values() for number in families.values())
        table.add_row(
            str(one.id), f"{one.status}{_by(one)}", f"{one.made_at:%Y-%m-%d %H:%M}", Text(one.made_by),
            Text(", ".join(one.streams)), f"{one.rows:,}", f"{one.records:,}", f"{calls:,}", Text("; ".join(one.guard.values())),
        )  # fmt: skip
    return table


def applied(done: Applied, refused: Sequence[Refused]) -> None:
    """What came of a plan."""
    out = console.out
    if refused:
        first = (
            f" (the first {len(refused):,} of {done.records_refused:,})"
            if len(refused) < done.records_refused
            else ""
        )
        table = console.table("stream", "record", "not written because", title=f"Refused: moved since{first}")
        for one in refused:
            table.add_row(Text(one.stream), Text(one.record), Text(one.moved))
        out.print(table)
        out.print()
    for name, families in done.calls.items():
        out.print(f"calls to {name}: {console.calls(families)}", markup=False)
    out.print(
        f"plan {done.plan.id}: {done.written:,} of {done.plan.rows:,} writes made, {done.refused:,} refused"
        f" ({done.records_refused:,} records), {done.waiting:,} still to be made; {done.plan.status}",
        markup=False,
    )
    for name, why in done.failures.items():
        console.err.print(f"{name}: not finished: {why}", markup=False, soft_wrap=True)
    if done.waiting:
        console.err.print(f"to go on: crm-sync apply {done.plan.id}")


def as_json(found: Plan, rows: Sequence[PlanRow], mask: Mask) -> dict[str, Any]:
    """The same for programs."""
    shown = []
    for row in rows:
        entity, told = row.stream.rpartition("/")[2], asdict(row)
        for name in ("old", "new", "hub_then", "crm_then"):
            told[name] = mask(entity, row.field, told[name])
        shown.append(told)
    return {**plan_file.header(found), "shown": shown}


def applied_as_json(done: Applied, refused: Sequence[Refused]) -> dict[str, Any]:
    return {
        "plan": done.plan.id,
        "status": done.plan.status,
        "written": done.written,
        "refused": done.refused,
        "waiting": done.waiting,
        "records_refused": done.records_refused,
        "calls": done.calls,
        "failures": done.failures,
        "refused_records": [one._asdict() for one in refused],
    }
