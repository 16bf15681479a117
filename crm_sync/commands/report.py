"""What a run did, as a table: a line per step that did something, in the order in which things happen."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from crm_sync.commands import console
from crm_sync.commands.runs import Run, Step

_COLUMNS = ("looked at", "new", "changed", "conflicts", "waiting", "parked", "calls")
_CHANGED = ("updated", "deleted", "left", "archived", "restored")


def steps(found: Sequence[Step], entities: Iterable[str], *, title: str | None = None) -> Table:
    """One row per step; steps with nothing to do and no call are left out."""
    table = console.table("entity", "step", *_COLUMNS, title=title, numbers=_COLUMNS[:-1])
    order = {name: position for position, name in enumerate(entities)}
    direction = {"inbound": 0, "hub": 1, "outbound": 2}
    for step in sorted(found, key=lambda s: (order[s.entity], direction[s.direction])):
        if not any(step.counts.values()) and not step.calls:
            continue
        counts = step.counts
        table.add_row(
            step.entity,
            _label(step),
            console.number(counts.get("read", counts.get("records"))),
            console.number(counts.get("created")),
            console.number(sum(counts.get(name, 0) for name in _CHANGED)),
            console.number(counts.get("disputes") if step.direction == "hub" else 0),
            console.number(counts.get("waiting") if step.direction != "inbound" else 0),
            console.number(counts.get("parked") if step.direction != "inbound" else 0),
            console.calls(step.calls),
        )
    if not table.rows:
        table.add_row("", "nothing to do", *[""] * len(_COLUMNS))
    return table


def plan(runs: Sequence[Run], *, limit: int = 100) -> Table:
    """What a dry run would write, field by field; at most `limit` rows, of every step some."""
    planned = [step for run in runs for step in run.steps if step.plan]
    columns = ("stream", "target", "action", "record", "field", "old", "new", "reason")
    table = console.table(*columns, title="Would be written")
    room = limit
    for left, step in zip(
        range(len(planned), 0, -1), sorted(planned, key=lambda s: len(s.plan)), strict=True
    ):
        rows = step.plan[: room // left]  # what a short plan leaves free, the longer ones use
        room -= len(rows)
        for row in rows:
            table.add_row(*(console.value(_text(row.get(name))) for name in columns))
    told = [f"{_label(step)}, {step.entity}: {step.plan_shows}" for step in planned]
    table.caption = f"{limit - room} rows shown; planned: {'; '.join(told)}" if told else "nothing"
    table.caption_justify = "left"
    return table


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _label(step: Step) -> str:
    match step.direction:
        case "inbound":
            return f"{step.connection} → mirror"
        case "hub":
            return "mirrors → hub"
        case _:
            return f"hub → {step.connection}"
