"""The org's records in memory, with everything that happened to them.

Here: rows, ids, indexes, history per field, the change feed. Not here: how a record changes
(transaction.py), what a client may write (writes.py) and how a query finds rows (soql_*.py).

A row is a list of JSON-ready values (``schema.SObject.position`` says where). The server works on one
event loop and never awaits between reading and writing, so each request is atomic without locks.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crm_sync.simulators.salesforce import ids
from crm_sync.simulators.salesforce.clock import Clock
from crm_sync.simulators.salesforce.rows import Rows
from crm_sync.simulators.salesforce.schema import Row, Schema, SObject

RECYCLE_SECONDS = 15 * 86_400
EVENT_SECONDS = 72 * 3600
MAX_EVENTS = 500_000


@dataclass(frozen=True, slots=True)
class Actor:
    """Who writes: a user, and the origin that the change feed shows."""

    user_id: str
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One write to one record, for oracles: field -> (old, new). number: its place among all writes; `at` may be earlier
    than it was done."""

    number: int
    at: str
    kind: str
    user_id: str
    origin: str
    fields: Mapping[str, tuple[Any, Any]]


@dataclass(slots=True)
class Event:
    """One entry of the change feed (Change Data Capture)."""

    replay_id: int
    at: float
    object: str
    header: dict[str, Any]
    values: dict[str, Any]


@dataclass(slots=True)
class Table:
    """The records of one object. ``keys`` finds records by the unique values they were given since the start."""

    object: SObject
    rows: Rows = field(init=False)
    counter: int = 0
    deleted: deque[tuple[str, str]] = field(default_factory=deque)
    keys: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = Rows(self.object)
        self.keys = {f.name: {} for f in self.object.fields if f.external_id or f.unique}

    def get(self, row: Row, name: str) -> Any:
        """A value by field name, computed ones included."""
        place = self.object.position.get(name)
        if place is not None:
            return row[place]
        compute = self.object.by_name[name.lower()].compute
        return compute(lambda other: self.get(row, other)) if compute else None

    def key(self, name: str, value: Any) -> str:
        return str(value) if self.object.by_name[name.lower()].case_sensitive else str(value).lower()

    def holders(self, name: str, value: Any) -> list[str]:
        """Ids of the records whose external id or unique field has this value."""
        return self.keys[name].get(self.key(name, value), [])

    def index(self, key: str, row: Row) -> None:
        """Note a row's value of a unique or external id field."""
        value = row[self.object.position[key]]
        if value is not None:
            self.keys[key].setdefault(self.key(key, value), []).append(row[0])

    def unindex(self, key: str, row: Row) -> None:
        value = row[self.object.position[key]]
        if value is None:
            return
        holders = self.keys[key].get(self.key(key, value), [])
        if row[0] in holders:
            holders.remove(row[0])
            if not holders:
                del self.keys[key][self.key(key, value)]


class Store:
    """All tables, the history and the change feed."""

    def __init__(self, schema: Schema, clock: Clock) -> None:
        self.schema = schema
        self.clock = clock
        self.tables = {name: Table(o) for name, o in schema.objects.items()}
        self.history: dict[str, list[Change]] = {}
        self.events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.replay_id = 1_000
        self.writes = 0

    def load(self, name: str, rows: Iterable[Row]) -> None:
        """Put finished rows (of the seed) in, without history or events."""
        table = self.tables[name]
        for row in rows:
            table.rows[row[0]] = row
            table.rows.stamped(row)
            for key in table.keys:
                table.index(key, row)

    def new_id(self, table: Table) -> str:
        table.counter += 1
        return ids.make(table.object.prefix, table.counter)

    def row(self, record_id: str) -> tuple[Table, Row] | None:
        """Any record by its 18-character id."""
        o = self.schema.by_prefix(record_id)
        if o is None:
            return None
        table = self.tables[o.name]
        row = table.rows.get(record_id)
        return None if row is None else (table, row)

    def purge(self) -> None:
        """Empty the recycle bin of what has lain there for 15 days, and the feed of what is older than 72 hours."""
        limit = self.clock.stamp(RECYCLE_SECONDS)
        for table in self.tables.values():
            place = table.object.position["IsDeleted"]
            while table.deleted and table.deleted[0][0] < limit:
                _, record_id = table.deleted.popleft()
                row = table.rows.get(record_id)
                if row is not None and row[place]:
                    self.forget(table, row)
        horizon = self.clock.now() - EVENT_SECONDS
        while self.events and self.events[0].at < horizon:
            self.events.popleft()

    def forget(self, table: Table, row: Row) -> None:
        """Remove a record for good."""
        for key in table.keys:
            table.unindex(key, row)
        del table.rows[row[0]]

    def feed(self, since: int) -> list[Event]:
        """Events after a replay id, oldest first; -2 means all that are retained, -1 none."""
        if since == -1:
            return []
        return [event for event in self.events if event.replay_id > since]
