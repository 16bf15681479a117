"""`crm-sync match --review`, `decide` and `reopen`: records that may be the same, and a person's word about them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg

from crm_sync.commands import console
from crm_sync.commands.match import Mask, mask_of, streams_of
from crm_sync.commands.workspace import Workspace, workspace
from crm_sync.core.errors import SyncError
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import match_decisions
from crm_sync.hub.match_decisions import MatchConflict
from crm_sync.hub.store import Store
from crm_sync.steps.person import person


def review(words: Sequence[str], *, limit: int, as_json: bool) -> int:
    """The open match conflicts of these streams. Returns 1 if there are any."""
    here = workspace()
    streams = {(s.connection, s.entity): s for s in streams_of(here, words)}
    mask = mask_of(here)
    with Store(here.database()) as store:
        found = [c for c in match_decisions.find(store.conn) if (c.connection, c.entity) in streams]
        shown = [row for key in streams for row in _conflicts(store, streams[key], found[:limit], mask)]
        shown.sort(key=lambda row: row["id"])
    if as_json:
        console.document(shown)
    elif not found:
        console.out.print("no open match conflicts")
    else:
        table = console.table(
            "id", "record", "score", "hub record", "alike", "values", numbers=("id", "score")
        )
        for row in shown:
            record = console.value(f"{row['stream']} {row['record']}")
            note = console.value(row["note"])
            table.add_row(str(row["id"]), record, "", "", note, console.value(_named(row["values"])))
            for one in row["candidates"]:
                alike = ", ".join(f"{name} {part:.0%}" for name, part in one["alike"].items() if part)
                values = console.value(_named(one["values"]))
                table.add_row("", "", f"{one['score']:.1%}", one["hub_id"], alike, values)
        console.out.print(table)
        console.out.print(f"{len(shown)} of {len(found)} shown")
    return 1 if found else 0


def decide(words: Sequence[str], *, hub_id: str, new: bool) -> int:
    """A person says who the CRM records of match conflicts are. Raises SyncError for what cannot be."""
    ids = _numbers(words, "crm-sync match decide 12 --new")
    if bool(hub_id) == new:
        raise SyncError("say who it is: either --link and the id of the hub record, or --new")
    if hub_id and len(ids) > 1:
        raise SyncError("a hub record can be linked with one of them only; decide one by one, or all --new")
    try:
        partner = UUID(hub_id) if hub_id else None
    except ValueError:
        raise SyncError(
            "--link takes the id of a hub record, as `crm-sync match --review` shows it"
        ) from None
    here = workspace()
    with Store(here.database()) as store, store.transaction() as conn:
        for stream, conflict in _chosen(here, conn, ids):
            if partner is not None and (why := match_decisions.free(conn, stream, partner, conflict.id)):
                raise SyncError(why)
            match_decisions.decide(conn, stream, conflict, partner, person())
    console.out.print(f"decided: {len(ids)}; the next sync follows")
    return 0


def reopen(words: Sequence[str]) -> int:
    """A person withdraws decisions that no sync has followed yet. Raises SyncError if there is nothing to withdraw."""
    ids = _numbers(words, "crm-sync match reopen 12")
    here = workspace()
    with Store(here.database()) as store, store.transaction() as conn:
        for stream, conflict in _chosen(here, conn, ids):
            if conflict.decision is None:
                raise SyncError(f"match conflict {conflict.id} is not decided; there is nothing to withdraw")
            match_decisions.reopen(conn, stream, conflict, person())
    console.out.print(f"open again: {len(ids)}")
    return 0


def _numbers(words: Sequence[str], example: str) -> list[int]:
    if not words or not all(word.isdecimal() and len(word) < 19 for word in words):
        raise SyncError(f"which? Give numbers from `crm-sync match --review`: {example}")
    return sorted({int(word) for word in words})


def _chosen(
    here: Workspace, conn: psycopg.Connection, ids: Sequence[int]
) -> list[tuple[StreamSpec, MatchConflict]]:
    found = match_decisions.find(conn, ids=ids)
    if missing := sorted(set(ids) - {conflict.id for conflict in found}):
        raise SyncError(
            f"not open, or not there: {', '.join(map(str, missing))}; see `crm-sync match --review`"
        )
    streams = {(s.connection, s.entity): s for s in here.system.streams}
    for conflict in found:
        if (conflict.connection, conflict.entity) not in streams:
            name = f"{conflict.connection}/{conflict.entity}"
            raise SyncError(f"match conflict {conflict.id}: no connection file maps {name} any more")
    return [(streams[conflict.connection, conflict.entity], conflict) for conflict in found]


def _conflicts(
    store: Store, stream: StreamSpec, found: Sequence[MatchConflict], mask: Mask
) -> list[dict[str, Any]]:
    """Those of the stream, with values."""

    def masked(values: Mapping[str, str | None]) -> dict[str, str | None]:
        return {name: mask(stream.entity, name, value) for name, value in values.items()}

    mine = [c for c in found if (c.connection, c.entity) == (stream.connection, stream.entity)]
    theirs, ours = match_decisions.values(store.conn, stream, mine) if mine else ({}, {})
    return [
        {
            "id": conflict.id,
            "stream": stream.name,
            "record": conflict.crm_id,
            "values": masked(theirs.get(conflict.crm_id, {})),
            "candidates": [
                {**one, "values": masked(ours.get(one["hub_id"], {}))} for one in conflict.candidates
            ],
            "note": conflict.note,
            "opened_at": conflict.opened_at,
        }
        for conflict in mine
    ]


def _named(values: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items() if value is not None)
