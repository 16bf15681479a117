"""`crm-sync why`: the story of a record in a terminal."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from crm_sync.commands import console
from crm_sync.commands.workspace import Workspace, workspace
from crm_sync.core.errors import SyncError
from crm_sync.hub import holds
from crm_sync.hub.finding import Found
from crm_sync.hub.runs import Run
from crm_sync.hub.store import Store
from crm_sync.steps import why as steps
from crm_sync.steps.story import FieldNow, Line, State, Story, masked


def why(entity: str, text: str, field: str | None, *, limit: int, as_json: bool) -> int:
    """Show how a record is and what happened to it. Returns 1, and lists them, if several are meant; else 0.

    Raises SyncError if there is no such record, entity or field.
    """
    here = workspace()
    with Store(here.database()) as store:
        found = steps.find(store, here.system, entity, text)
        if not found:
            raise SyncError(f"there is no {entity} with this {_searched(here, entity)}")
        if len(found) > 1:
            _several(entity, found, as_json=as_json)
            return 1
        story = steps.why(store, here.system, entity, found[0], field=field, limit=limit)
        held = _held(store, here, entity)
    if here.settings.mask_review:
        from crm_sync.assets.tables import Masking

        story = masked(story, Masking(here.system, here.settings))
    if as_json:
        console.document({**asdict(story), "held": held})
    else:
        _show(story, held)
    return 0


def _held(store: Store, here: Workspace, entity: str) -> list[str]:
    """What "the next sync" means for nobody, as long as the guard holds a stream back."""
    return [
        f"{stream.name}: no sync goes on before hold #{hold.id} is confirmed: {hold.sentence}"
        for stream in here.system.of_entity(entity)
        for hold in holds.of_stream(store.conn, stream)
    ]


def _searched(here: Workspace, entity: str) -> str:
    """`hub id, id in salesforce, email or name`."""
    streams = here.system.of_entity(entity)
    names = {name for stream in streams for rule in stream.match for name in rule}
    ways = ["hub id", *(f"id in {stream.connection}" for stream in streams), *sorted(names)]
    return f"{', '.join(ways[:-1])} or {ways[-1]}"


def _several(entity: str, found: Sequence[Found], *, as_json: bool) -> None:
    shown = found[: steps.MOST_FOUND]
    if as_json:
        console.document({"several": [{"id": hit.name, "by": hit.by} for hit in shown]})
        return
    more = " and more" if len(found) > len(shown) else ""
    console.out.print(f"{len(shown)} records{more} are meant; ask for one of them by its id:")
    table = console.table(f"{entity}", "found by")
    for hit in shown:
        table.add_row(_text(hit.name), _text(hit.by))
    console.out.print(table)


def _show(story: Story, held: Sequence[str]) -> None:
    runs = {run.run_id: i for i, run in enumerate(story.runs, 1)}
    name = f"{story.entity} {story.hub_id}" if story.hub_id else story.entity
    console.out.print(_text(f"{name}: {story.hub}"), soft_wrap=True)
    for link in story.links:
        name = f"{link.connection} {link.crm_id}" if link.crm_id else link.connection
        console.out.print(_text(f"  {name}: {link.what}"), soft_wrap=True)
    for sentence in held:
        console.out.print(_text(sentence), soft_wrap=True)
    shown = [f for f in story.fields if len(story.fields) == 1 or not _is_empty(f)]
    if shown:
        console.out.print()
        console.out.print(_now(shown))
        if len(story.fields) == 1 and shown[0].because:
            console.out.print(_text(f"Why the hub says so: {shown[0].because}"), soft_wrap=True)
    if left := len(story.fields) - len(shown):
        console.out.print(
            f"({left} more field{'s are' if left != 1 else ' is'} blank on all sides, and in sync)"
        )
    console.out.print()
    if story.older:
        console.out.print("(there are older entries in the journal; --limit shows more)")
    console.out.print(_happened(story.lines, runs) if story.lines else "nothing is remembered of it")
    if story.runs:
        console.out.print()
        console.out.print(_runs(story.runs))


def _is_empty(f: FieldNow) -> bool:
    return f.hub is None and all(s.crm is None and s.state is State.IN_SYNC for s in f.sides)


def _now(fields: Sequence[FieldNow]) -> Table:
    table = console.table(
        "field", "hub", "last changed (UTC), by whom", "CRM", "says", "last agreed on", "what is going on",
        title="As it is now",
    )  # fmt: skip
    for f in fields:
        first = True
        for s in f.sides:
            agreed = console.value(s.agreed_hub if s.agreed else "never") if s.agreed else Text("never")
            if s.agreed and s.agreed_crm != s.agreed_hub:
                agreed = Text.assemble(agreed, " = ", console.value(s.agreed_crm))
            table.add_row(
                f.field if first else "",
                console.value(f.hub) if first else "",
                _text(_changed(f)) if first else "",
                s.connection,
                console.value(s.crm),
                agreed,
                _text(s.what),
            )
            first = False
    return table


def _changed(f: FieldNow) -> str:
    if f.changed_at is None:
        return f.because or "unknown"
    by = "an application" if f.changed_by == "application" else f.changed_by
    return f"{f.changed_at:%Y-%m-%d %H:%M:%S} {by}{'' if f.of_field else ' (the record)'}"


def _happened(lines: Sequence[Line], runs: dict[str, int]) -> Table:
    table = console.table(
        "when (UTC)", "where", "field", "what", "before → after", "from", "why", "run",
        title="What happened", numbers=("run",),
    )  # fmt: skip
    made: Line | None = None  # the record's creation, whose reason its values need not repeat
    for x in lines:
        if x.what == "create" and x.field is None:
            made = x
        known = (
            made is not None
            and x.field is not None
            and (x.at, x.why, x.said) == (made.at, made.why, made.said)
        )
        run = "" if x.run_id is None else str(runs.get(x.run_id, x.run_id))
        table.add_row(
            f"{x.at:%Y-%m-%d %H:%M:%S}",
            x.target,
            _text(x.field or "(record)"),
            x.what if x.conflict is None else f"{x.what} #{x.conflict}",
            _values(x),
            _text(_from(x)),
            _text("" if known else "; ".join(filter(None, (x.why, x.said)))),
            _text(run),
        )
    return table


def _values(x: Line) -> Text:
    if x.conflict is not None:
        ours, theirs = console.value(x.hub_value), console.value(x.crm_value)
        return Text.assemble("hub ", ours, f", {x.target} ", theirs)
    if x.field is None or x.what == "parked":
        return Text("")
    before = console.value(x.old) if x.old_known else Text("not recorded", style="italic dim")
    return Text.assemble(before, " → ", console.value(x.new))


def _from(x: Line) -> str:
    came = "an application" if x.source == "application" else x.source or ""
    return ", ".join(filter(None, (came, x.person)))


def _runs(runs: Sequence[Run]) -> Table:
    table = console.table(
        "run", "id", "started (UTC)", "by", "flags", "status", title="Runs", numbers=("run",)
    )
    for number, run in enumerate(runs, 1):
        flags = [
            name
            for name in (
                "full",
                "force",
                "skip_validation",
                "backfill",
                "max_records",
                "start_date",
                "undo_of",
            )
            if run.configuration.get(name)
        ]
        table.add_row(
            str(number),
            run.run_id,
            f"{run.started_at:%Y-%m-%d %H:%M:%S}",
            _text(run.started_by or "not known"),
            ", ".join(flags),
            run.status,
        )
    return table


def _text(words: str) -> Text:
    """Words that may quote somebody, whole, with nothing in them that could steer a terminal."""
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words))
