"""What a person is shown of drift: the open changes and the frozen fields of some streams, each with its sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import Connection

from crm_sync.core.drift_words import Place, words
from crm_sync.core.spec import ConnectionSpec, StreamSpec
from crm_sync.hub import schema
from crm_sync.hub.schema import Noted


@dataclass(frozen=True, slots=True)
class Drifted:
    """One line for a person. id: in the journal, None for a frozen field of which nothing was noted. waits: somebody
    has to do something about it; fatal: something mapped cannot be synced at all. since: UTC."""

    id: int | None
    connection: str
    entity: str
    object: str
    field: str
    what: str
    since: datetime
    follows: str
    do: str
    waits: bool
    fatal: bool = False
    acknowledged_by: str | None = None

    @property
    def counts(self) -> bool:
        """Whether nobody has said yet that he knows."""
        return self.acknowledged_by is None


def drifted(
    conn: Connection, connections: Mapping[str, ConnectionSpec], streams: Sequence[StreamSpec]
) -> list[Drifted]:
    """All that is to be told about these streams, the oldest first."""
    by_name = {stream.name: stream for stream in streams}
    noted = schema.open_changes(conn, streams)
    rows = [_row(n, by_name[f"{n.connection}/{n.entity}"], connections) for n in noted]
    told = {(n.connection, n.entity, name) for n in noted for name in n.freezes}
    frozen = conn.execute(
        "select connection, entity, field, frozen_at from sync.frozen"
        " where (connection, entity) = any(select * from unnest(%s::text[], %s::text[])) order by frozen_at, field",
        [[s.connection for s in streams], [s.entity for s in streams]],
    ).fetchall()
    for connection, entity, name, since in frozen:
        if (connection, entity, name) not in told:
            stream = by_name[f"{connection}/{entity}"]
            rows.append(_frozen(stream, name, since))
    return sorted(rows, key=lambda row: row.since)


def place_of(connections: Mapping[str, ConnectionSpec], stream: StreamSpec) -> Place:
    """Where the stream is mapped."""
    spec = connections.get(stream.connection)
    return Place() if spec is None else Place(spec.file, spec.lines)


def _row(n: Noted, stream: StreamSpec, connections: Mapping[str, ConnectionSpec]) -> Drifted:
    said = words(n.change, stream, place_of(connections, stream), n.records)
    by = (n.acknowledged_by or "somebody") if n.acknowledged_at is not None else None
    return Drifted(
        n.id, n.connection, n.entity, n.object, n.field, said.what, n.first_seen, said.follows, said.do,
        n.held, n.fatal, by,
    )  # fmt: skip


def _frozen(stream: StreamSpec, name: str, since: datetime) -> Drifted:
    mapped = any(spec.name == name for spec in stream.fields)
    vendor = ", ".join(stream.read_from(name)) if mapped else ""
    return Drifted(
        None, stream.connection, stream.entity, stream.object, vendor or name, "records came without it", since,
        f"{name} frozen: nothing is taken, sent or blanked for it; all else goes on",
        "if it can be seen again, the next sync reads what was missed; else give it back, or change the mapping", True,
    )  # fmt: skip
