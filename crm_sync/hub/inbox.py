"""The webhook inbox: which records somebody told us to look at. The web application fills it.

Events are hints. What they say about values is not even stored; the record is read from the CRM.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import class_row

from crm_sync.core.spec import StreamSpec


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for one stream: how many events, and the id of the newest."""

    connection: str
    entity: str
    events: int
    newest: int


@dataclass(frozen=True, slots=True)
class Hinted:
    """Events of one stream by their ids in the inbox, and the records they are about, each once."""

    events: Sequence[int]
    crm_ids: Sequence[str]


def waiting(conn: Connection) -> list[Waiting]:
    """The streams that have events nobody has looked at, by name."""
    with conn.cursor(row_factory=class_row(Waiting)) as cursor:
        return cursor.execute(
            "select connection, entity, count(*)::int as events, max(id) as newest from sync.inbox"
            " where done_at is null group by connection, entity order by connection, entity"
        ).fetchall()


def hinted(conn: Connection, stream: StreamSpec) -> Hinted | None:
    """All waiting events of a stream, for the sensor asks for one run, however many there are; None if there are none."""
    rows = conn.execute(
        "select id, crm_id from sync.inbox where done_at is null and connection = %s and entity = %s order by id",
        [stream.connection, stream.entity],
    ).fetchall()
    if not rows:
        return None
    return Hinted([number for number, _ in rows], list(dict.fromkeys(crm_id for _, crm_id in rows)))


def done(conn: Connection, events: Sequence[int]) -> int:
    """Mark these events as done, and no others: one with a smaller id may have come later. Returns how many."""
    return conn.execute(
        "update sync.inbox set done_at = clock_timestamp() where done_at is null and id = any(%s)",
        [list(events)],
    ).rowcount
