"""The open match conflicts in the check `conflicts`: CRM records that may be records of the hub, and how a person decides.

Capped and masked as the review table is. Decided on the command line: a link needs the id of a hub record, which is to be
looked at first.
"""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
from psycopg import Connection

from crm_sync.assets import links, tables
from crm_sync.core.spec import System
from crm_sync.hub import match_decisions
from crm_sync.hub.match_decisions import MatchConflict

_COLUMNS = ("id", "record", "values", "alike", "decide")
"""Few and wide: the last one is a command to be copied. The id of the hub record is in it."""
_CANDIDATES = 5  # shown of one record


def metadata(
    conn: Connection, system: System, entity: str, masking: tables.Masking, most: int
) -> tables.Metadata:
    """Metadata of the check; nothing if no record of the entity waits for a person."""
    found = match_decisions.find(conn, entity=entity, limit=most)
    if not found:
        return {}
    streams = {(s.connection, s.entity): s for s in system.of_entity(entity)}
    rows: list[dict[str, str | int | None]] = []
    for (connection, _), stream in streams.items():
        mine = [conflict for conflict in found if conflict.connection == connection]
        theirs, ours = match_decisions.values(conn, stream, mine) if mine else ({}, {})
        for conflict in mine:
            rows += _rows(conflict, theirs.get(conflict.crm_id, {}), ours, masking)
    total = match_decisions.count(conn, entity)
    return {
        "match_conflicts": dg.MetadataValue.int(total),
        "match_conflicts_shown": dg.MetadataValue.text(tables.shown(len(found), total)),
        "who_is_who": tables.table(rows, _COLUMNS),
    }


def _rows(
    conflict: MatchConflict,
    theirs: Mapping[str, str | None],
    ours: Mapping[str, Mapping[str, str | None]],
    masking: tables.Masking,
) -> Iterator[dict[str, str | int | None]]:
    """A line for the CRM's record, and one for each of the best candidates."""

    def values(of: Mapping[str, str | None]) -> str:
        shown = (
            (name, masking(conflict.entity, name, value)) for name, value in of.items() if value is not None
        )
        return links.plain(", ".join(f"{name}={value}" for name, value in shown))

    def row(*cells: str | int) -> dict[str, str | int | None]:
        return dict(zip(_COLUMNS, cells, strict=True))

    name = f"{conflict.connection}/{conflict.entity}"
    new = f"crm-sync match decide {conflict.id} --new"
    yield row(conflict.id, links.plain(f"{name} {conflict.crm_id}"), values(theirs), conflict.note, new)
    for one in conflict.candidates[:_CANDIDATES]:
        link = f"crm-sync match decide {conflict.id} --link {one['hub_id']}"
        candidate = values(ours.get(one["hub_id"], {}))
        yield row(conflict.id, "hub", candidate, f"{one['score']:.1%}: {_alike(one['alike'])}", link)


def _alike(parts: Mapping[str, float]) -> str:
    said: Sequence[str] = [f"{name} {part:.0%}" for name, part in parts.items() if part]
    return ", ".join(said)
