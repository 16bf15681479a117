"""What the CRMs' objects looked like when the sync last agreed with them, and the journal of what changed about them.

`sync.schema` has a row a stream: the look that is expected, and a digest of what was seen last. `sync.schema_change`
has a row a change: it is open until what was taken away is back, or accepted. Nothing here decides: see core/drift.py.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import Connection, sql
from psycopg.rows import args_row
from psycopg.types.json import Jsonb

from crm_sync.core.drift import Change, Kind
from crm_sync.core.looks import Look, Looks
from crm_sync.core.spec import FieldType, StreamSpec
from crm_sync.hub.sql import ident, mirror_table

MANY = 1_000
"""Records that hold a removed value are counted as far as here."""
TOLD_FOR = "7 days"
"""How long a change that was applied is told of."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A change in the journal. records: how many held a removed value then (at most MANY). Times in UTC."""

    id: int
    connection: str
    entity: str
    object: str
    field: str
    kind: str
    before: Sequence[str]
    after: Sequence[str]
    held: bool
    freezes: Sequence[str]
    fatal: bool
    records: int | None
    first_seen: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None

    @property
    def change(self) -> Change:
        return Change(
            self.field,
            Kind(self.kind),
            tuple(self.before),
            tuple(self.after),
            self.held,
            tuple(self.freezes),
            self.fatal,
        )


def held(conn: Connection, stream: StreamSpec) -> frozenset[str]:
    """Our fields whose type in the CRM has become another one that the mapping does not name yet."""
    return known(conn, stream)[1]


def known(conn: Connection, stream: StreamSpec) -> tuple[str | None, frozenset[str]]:
    """The digest of what was seen last, None if nothing ever was; and `held`."""
    row = conn.execute(
        "select digest, held from sync.schema where connection = %s and entity = %s and object = %s",
        [stream.connection, stream.entity, stream.object],
    ).fetchone()
    return (None, frozenset()) if row is None else (row[0], frozenset(row[1]))


def expected(conn: Connection, stream: StreamSpec) -> Looks | None:
    """The look that is expected; None if the object was never seen, or the stream was about another one then."""
    row = conn.execute(
        "select fields from sync.schema where connection = %s and entity = %s and object = %s",
        [stream.connection, stream.entity, stream.object],
    ).fetchone()
    return None if row is None else {name: Look.from_json(told) for name, told in row[0].items()}


def save(conn: Connection, stream: StreamSpec, looks: Looks, digest: str, held: Collection[str]) -> None:
    """From now on this is expected."""
    fields: Mapping[str, object] = {name: look.as_json() for name, look in looks.items()}
    conn.execute(
        "insert into sync.schema (connection, entity, object, digest, held, fields) values (%s, %s, %s, %s, %s, %s)"
        " on conflict (connection, entity) do update set object = excluded.object, digest = excluded.digest,"
        " held = excluded.held, fields = excluded.fields, changed_at = clock_timestamp()",
        [stream.connection, stream.entity, stream.object, digest, sorted(held), Jsonb(fields)],
    )


def compare_anew(conn: Connection, stream: StreamSpec) -> None:
    """Whatever is seen next is compared with what is expected."""
    conn.execute(
        "update sync.schema set digest = '' where connection = %s and entity = %s",
        [stream.connection, stream.entity],
    )


_COLUMNS = (
    "c.id, c.connection, c.entity, c.object, c.field, c.kind, c.before, c.after, c.held, c.freezes, c.fatal, c.records,"
    " c.first_seen, c.acknowledged_at, c.acknowledged_by"
)


def note(conn: Connection, stream: StreamSpec, changes: Sequence[Change]) -> None:
    """These changes are there now: those that are new are journaled, open ones that were held and are not there any
    more have ended. A change that has become another one is not acknowledged any more."""
    where = [stream.connection, stream.entity]
    conn.execute(
        "update sync.schema_change c set ended_at = clock_timestamp() where connection = %s and entity = %s"
        " and ended_at is null and held and not (field, kind) = any(select * from unnest(%s::text[], %s::text[]))",
        [*where, [c.field for c in changes if c.held], [str(c.kind) for c in changes if c.held]],
    )
    for c in changes:
        row = conn.execute(
            "insert into sync.schema_change as c (connection, entity, object, field, kind, before, after, held, freezes, fatal)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (connection, entity, field, kind)"
            " where ended_at is null do update set before = excluded.before, held = excluded.held,"
            " after = case when c.kind = 'removed' and excluded.after = '{}' then c.after else excluded.after end,"
            " freezes = excluded.freezes, fatal = excluded.fatal,"
            " first_seen = case when excluded.held then c.first_seen else clock_timestamp() end, acknowledged_at ="
            " case when c.kind = 'removed' or (c.before, c.after) = (excluded.before, excluded.after) then c.acknowledged_at end"
            " returning id, records is null",
            [*where, stream.object, c.field, str(c.kind), list(c.before), list(c.after), c.held, list(c.freezes),
             c.fatal],
        ).fetchone()  # fmt: skip
        if row is not None and row[1] and c.kind is Kind.OPTIONS_REMOVED:
            conn.execute(
                "update sync.schema_change set records = %s where id = %s",
                [_holding(conn, stream, c), row[0]],
            )


def _holding(conn: Connection, stream: StreamSpec, change: Change) -> int:
    """How many records of the mirror hold one of the removed values, at most MANY. Read once, when they are removed."""
    columns = [
        (ident(spec.name), spec.type) for spec in stream.fields if change.field in stream.read_from(spec.name)
    ]
    if not columns:
        return 0
    hold = sql.SQL(" or ").join(
        sql.SQL("string_to_array({}, ';') && %(gone)s" if kind is FieldType.MULTIPICKLIST else "{} = any(%(gone)s)").format(name)
        for name, kind in columns
    )  # fmt: skip
    row = conn.execute(
        sql.SQL(
            "select count(*) from (select from {} where not deleted and ({}) limit %(most)s) held"
        ).format(mirror_table(stream), hold),
        {"gone": list(change.before), "most": MANY},
    ).fetchone()
    return 0 if row is None else int(row[0])


def open_changes(conn: Connection, streams: Sequence[StreamSpec]) -> list[Noted]:
    """What is to be told of these streams: what is held, and what was applied in the last days; the oldest first."""
    with conn.cursor(row_factory=args_row(Noted)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from sync.schema_change c"
            " where (connection, entity) = any(select * from unnest(%s::text[], %s::text[])) and ended_at is null"
            f" and (held or (acknowledged_at is null and first_seen > clock_timestamp() - interval '{TOLD_FOR}'))"
            " order by first_seen, id",
            [[s.connection for s in streams], [s.entity for s in streams]],
        ).fetchall()


def acknowledge(conn: Connection, ids: Sequence[int], by: str) -> set[int]:
    """A person has seen these open changes: the next sync expects the new look. Returns the ids that there are."""
    rows = conn.execute(
        "update sync.schema_change set acknowledged_at = clock_timestamp(), acknowledged_by = %s"
        " where id = any(%s) and ended_at is null returning id, connection, entity",
        [by, list(ids)],
    ).fetchall()
    conn.execute(
        "update sync.schema set digest = ''"
        " where (connection, entity) = any(select * from unnest(%s::text[], %s::text[]))",
        [[row[1] for row in rows], [row[2] for row in rows]],
    )
    return {row[0] for row in rows}
