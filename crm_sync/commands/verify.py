"""`crm-sync verify`: whether the CRMs and the hub agree, with an explanation for every difference."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import typer

from crm_sync.commands import console
from crm_sync.commands.workspace import Workspace, workspace
from crm_sync.connectors.crm import Crm
from crm_sync.core.parity import Found
from crm_sync.core.spec import StreamSpec
from crm_sync.hub.store import Store
from crm_sync.steps.allowance import Share, allot
from crm_sync.steps.repair import repair as mend
from crm_sync.steps.verify import Parity, known_records
from crm_sync.steps.verify import verify as compare

Mask = Callable[[str, str, str | None], str | None]


def verify(
    words: Sequence[str], *, budget: int | None, as_json: bool, repair: bool, yes: bool, limit: int
) -> int:
    """Compare what the words select and show what was found. Returns 1 if something is unexplained, else 0."""
    here = workspace()
    targets = here.targets(words)
    url = here.database()
    chosen = [s for s in here.streams() if s.entity in targets.get(s.connection, ())]
    found: dict[str, Parity] = {}
    with Store(url) as store, ExitStack() as stack:
        shares = allot(chosen, {s.name: known_records(store, s) for s in chosen}, budget)
        _announce(shares, budget)
        crms: dict[str, Crm] = {}
        for stream in chosen:
            if stream.connection not in crms:
                connection = here.connection(stream.connection)
                crms[stream.connection] = stack.enter_context(here.crm(connection, url))
            with console.err.status(f"comparing {stream.name}"):
                found[stream.name] = compare(store, crms[stream.connection], stream, shares[stream.name])
        mask = _mask(here)
        if as_json:
            document = [_as_json(found[s.name], s, shares[s.name], mask, limit) for s in chosen]
            console.document(document)
        else:
            _show(chosen, found, mask, limit)
        if repair:
            _repair(store, crms, [s for s in chosen if found[s.name].open], found, yes=yes)
    return 1 if any(parity.open for parity in found.values()) else 0


def _announce(shares: Mapping[str, Share], budget: int | None) -> None:
    """What it is going to cost, before anything is called."""
    needed = sum(share.needed for share in shares.values())
    if budget is None:
        console.err.print(f"about {needed:,} calls")
        return
    if needed <= budget:
        console.err.print(f"about {needed:,} calls, within the budget of {budget:,}")
        return
    console.err.print(f"everything would take about {needed:,} calls; the budget is {budget:,}:")
    for name, share in shares.items():
        if share.problem:
            text = f"not at all: {share.problem}"
        else:
            text = "whole" if share.whole else f"in part, {share.calls:,} of {share.needed:,} calls"
        console.err.print(f"  {name}: {text}", markup=False, soft_wrap=True)


def _show(streams: Sequence[StreamSpec], found: Mapping[str, Parity], mask: Mask, limit: int) -> None:
    numbers = ("in the CRM", "linked", "ranges", "differ", "explained", "unexplained", "calls")
    table = console.table("stream", "compared", *numbers, numbers=("compared", *numbers))
    for stream in streams:
        p = found[stream.name]
        explained = p.counts.total() - p.open
        table.add_row(
            stream.name,
            f"{100 * p.compared:.3g} %",
            *(console.number(n) for n in (p.crm_records, p.linked, p.ranges, p.ranges_differing, explained, p.open)),
            console.number(sum(p.calls.values())),
        )  # fmt: skip
    console.out.print(table)
    for stream in streams:
        for note in found[stream.name].notes:
            console.out.print(f"{stream.name}: {note}", markup=False, soft_wrap=True)
    counted = console.table("stream", "what", "explanation", "how many", numbers=("how many",))
    for stream in streams:
        for (what, why), number in sorted(found[stream.name].counts.items(), key=str):
            if number:
                counted.add_row(stream.name, what, why or "UNEXPLAINED", console.number(number))
    if counted.row_count:
        console.out.print()
        console.out.print(counted)
    rows = rows_of([found[s.name] for s in streams], limit)
    if rows:
        listed = console.table("stream", "CRM record", "hub record", "field", "hub", "CRM", "explanation")
        for one in rows:
            entity = one.stream.rpartition("/")[2]
            listed.add_row(
                one.stream,
                one.crm_id or "",
                str(one.hub_id or ""),
                one.field or one.what,
                console.value(mask(entity, one.field, one.hub_value)) if one.field else "",
                console.value(mask(entity, one.field, one.crm_value)) if one.field else "",
                one.explanation,
            )
        console.out.print()
        console.out.print(listed)
        total = sum(found[s.name].counts.total() for s in streams)
        if len(rows) < total:
            console.out.print(f"{len(rows):,} of {total:,} shown; --limit shows more")


def rows_of(found: Sequence[Parity], limit: int) -> list[Found]:
    """The differences to show, unexplained ones first."""
    rows = [one for parity in found for one in parity.unexplained]
    rows += [one for parity in found for one in parity.explained]
    return rows[:limit]


def _as_json(parity: Parity, stream: StreamSpec, share: Share, mask: Mask, limit: int) -> dict[str, Any]:
    return {
        "stream": parity.stream,
        "compared": parity.compared,
        "crm_records": parity.crm_records,
        "linked": parity.linked,
        "ranges": parity.ranges,
        "ranges_differing": parity.ranges_differing,
        "calls": parity.calls,
        "calls_estimated": share.needed,
        "explained": parity.counts.total() - parity.open,
        "unexplained": parity.open,
        "counts": [
            {"what": what, "why": why, "number": number}
            for (what, why), number in sorted(parity.counts.items(), key=str)
            if number
        ],
        "notes": parity.notes,
        "differences": [
            {
                "what": one.what,
                "hub_id": one.hub_id,
                "crm_id": one.crm_id,
                "field": one.field or None,
                "hub_value": mask(stream.entity, one.field, one.hub_value),
                "crm_value": mask(stream.entity, one.field, one.crm_value),
                "why": one.why,
                "explanation": one.explanation,
            }
            for one in rows_of([parity], limit)
        ],
    }


def _repair(
    store: Store,
    crms: Mapping[str, Crm],
    streams: Sequence[StreamSpec],
    found: Mapping[str, Parity],
    *,
    yes: bool,
) -> None:
    """Say what would be done, ask, do it."""
    if not streams:
        console.err.print("nothing to repair")
        return
    able = [s for s in streams if found[s.name].crm_ids or found[s.name].hub_ids]
    for stream in streams:
        p = found[stream.name]
        console.err.print(
            f"{stream.name}: look up {len(p.crm_ids):,} records in the CRM and correct the mirror where it is wrong;"
            f" mark {len(p.crm_ids) + len(p.hub_ids):,} records for the next sync, which decides",
            markup=False,
            soft_wrap=True,
        )
    if not able:
        console.err.print("only a person can mend what was found; nothing was changed")
        return
    if not yes and not typer.confirm("Do it?", err=True):
        console.err.print("nothing was changed")
        return
    for stream in able:
        done = mend(store, crms[stream.connection], stream, found[stream.name])
        console.err.print(
            f"{stream.name}: {done.marked:,} marked, {done.refreshed:,} corrected in the mirror", markup=False
        )
    console.err.print("run `crm-sync sync`, then `crm-sync verify` again")


def _mask(here: Workspace) -> Mask:
    """How values are shown: as they are, unless the setting hides them as it does in the UI."""
    if not here.settings.mask_review:
        return lambda _entity, _field, value: value
    from crm_sync.assets.tables import Masking

    return Masking(here.system, here.settings)
