"""`crm-sync match`: who is who, before and after a first sync, in a terminal; what people decide is in `match_review.py`."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from rich.table import Table

from crm_sync.commands import console
from crm_sync.commands.workspace import Workspace, workspace
from crm_sync.connectors.crm import Crm
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import doubles
from crm_sync.hub.doubles import Count, Group
from crm_sync.hub.store import Store
from crm_sync.steps import match as steps
from crm_sync.steps.match import Example, Previews

_ALWAYS = 5  # figures of the preview that are shown though they are 0

Mask = Callable[[str, str, str | None], str | None]


def preview(words: Sequence[str], *, read: bool, as_json: bool) -> int:
    """What a sync of these streams would link and create. Returns 1 if a record needs a person."""
    here = workspace()
    chosen = streams_of(here, words)
    url = here.database()
    opened: dict[str, Crm] = {}
    with ExitStack() as stack, console.err.status("preparing") as status:

        def crm(name: str) -> Crm:
            if name not in opened:
                opened[name] = stack.enter_context(here.crm(here.system.connection(name), url))
            return opened[name]

        store = stack.enter_context(Store(url, dry_run=True))
        found = steps.preview(store, crm, here.system, chosen, read=read, told=status.update)
    mask = mask_of(here)
    if as_json:
        console.document(_as_json(found, mask))
    else:
        _show(found, mask)
    return 0 if found.clear else 1


def doubled(words: Sequence[str], *, limit: int, as_json: bool) -> int:
    """The doubles in each of these CRMs and in the hub, as far as they have been read. Returns 1 if there are any."""
    here = workspace()
    chosen = streams_of(here, words)
    entities = list(dict.fromkeys(stream.entity for stream in chosen))
    with Store(here.database()) as store:
        counts: list[Count] = []
        groups: list[Group] = []
        for stream in chosen:
            counts += doubles.count_in_crm(store.conn, stream)
            groups += doubles.in_crm(store.conn, stream, limit)
        for entity in entities:
            counts += doubles.count_in_hub(store.conn, here.system, entity)
            groups += doubles.in_hub(store.conn, here.system, entity, limit)
    mask = mask_of(here)
    if as_json:
        said = {"counts": [asdict(c) for c in counts], "groups": [_group(g, mask) for g in groups]}
        console.document(said)
    elif not groups:
        console.out.print("no doubles in what has been read")
    else:
        console.out.print(_doubles(groups, mask))
        console.out.print()
        console.out.print(_counts(counts, "Groups of doubles"))
    return 1 if groups else 0


def streams_of(here: Workspace, words: Sequence[str]) -> list[StreamSpec]:
    targets = here.targets(words)
    return [s for s in here.streams() if s.entity in targets.get(s.connection, ())]


def _show(found: Previews, mask: Mask) -> None:
    figures = {
        "records": [one.records for one in found.streams],
        "linked already": [one.linked for one in found.streams],
        "will link": [one.will_link for one in found.streams],
        "new in the hub": [one.create_hub for one in found.streams],
        "new in the CRM": [one.create_crm for one in found.streams],
        "ambiguous": [one.ambiguous for one in found.streams],
        "review": [one.review for one in found.streams],
        "cannot enter": [one.cannot_enter for one in found.streams],
        "waits": [one.waits for one in found.streams],
        "left alone": [one.left for one in found.streams],
        "doubles": [one.doubled for one in found.streams],
    }
    columns = tuple(name for place, name in enumerate(figures) if place < _ALWAYS or any(figures[name]))
    table = console.table("stream", *columns, title="What a sync would do", numbers=columns)
    for place, one in enumerate(found.streams):
        table.add_row(one.stream, *(console.number(figures[name][place]) for name in columns))
    console.out.print(table)
    for one in found.streams:
        if one.link:
            by = ", ".join(f"{rule} {number:,}" for rule, number in one.link.items())
            console.out.print(f"{one.stream} will link by: {by}", markup=False, soft_wrap=True)
    doubled = [c for one in found.streams for c in one.doubles] + found.hub
    if any(count.groups for count in doubled):
        console.out.print()
        console.out.print(_counts(doubled, "Groups of doubles (those in the hub: after the sync)"))
    if any(one.examples for one in found.streams):
        console.out.print()
        console.out.print(_examples(found, mask))
    console.out.print("\nNothing was written, neither to the hub nor to a CRM.", markup=False)


def _examples(found: Previews, mask: Mask) -> Table:
    table = console.table("stream", "would", "record", "why", "hub record", "values", title="Examples")
    for one in found.streams:
        for example in one.examples:
            table.add_row(
                one.stream,
                example.outcome,
                console.value(example.record),
                console.value(example.why),
                "\n".join(example.hub_ids),
                console.value(_values(one.entity, example, mask)),
            )
    return table


def _values(entity: str, example: Example, mask: Mask) -> str:
    return ", ".join(f"{name}={mask(entity, name, v)}" for name, v in example.values.items() if v is not None)


def _doubles(groups: Iterable[Group], mask: Mask) -> Table:
    table = console.table("where", "same", "record", "linked with", "values")
    for group in groups:
        for place, member in enumerate(group.members):
            first = place == 0
            links = ", ".join(f"{system} {record}" for system, record in member.links.items())
            shown = ", ".join(f"{n}={mask(group.entity, n, v)}" for n, v in member.values.items())
            table.add_row(
                f"{group.system}/{group.entity}" if first else "",
                " + ".join(group.rule) if first else "",
                console.value(member.record),
                console.value(links or "nothing"),
                console.value(shown),
            )
        if group.records > len(group.members):
            table.add_row("", "", f"and {group.records - len(group.members):,} more", "", "")
    return table


def _counts(counts: Iterable[Count], title: str) -> Table:
    table = console.table("where", "same", "groups", "records", title=title, numbers=("groups", "records"))
    for count in counts:
        if count.groups:
            where, rule = f"{count.system}/{count.entity}", " + ".join(count.rule)
            table.add_row(where, rule, console.number(count.groups), console.number(count.records))
    return table


def _as_json(found: Previews, mask: Mask) -> dict[str, Any]:
    streams = []
    for one in found.streams:
        row = asdict(one)
        for example in row["examples"]:
            example["values"] = {n: mask(one.entity, n, v) for n, v in example["values"].items()}
        streams.append(row)
    return {"clear": found.clear, "streams": streams, "hub_doubles": [asdict(count) for count in found.hub]}


def _group(group: Group, mask: Mask) -> dict[str, Any]:
    row = asdict(group)
    for member in row["members"]:
        member["values"] = {n: mask(group.entity, n, v) for n, v in member["values"].items()}
    return row


def mask_of(here: Workspace) -> Mask:
    """How values are shown: as they are, unless the setting hides them as it does in the UI."""
    if not here.settings.mask_review:
        return lambda _entity, _field, value: value
    from crm_sync.assets.tables import Masking

    return Masking(here.system, here.settings)
