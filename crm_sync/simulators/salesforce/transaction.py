"""Changing records: one stamp, a trail per record, an event each, and all of it can be taken back.

Not here: whether a change is allowed (writes.py).
"""

import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from crm_sync.simulators.salesforce.schema import Row
from crm_sync.simulators.salesforce.store import Actor, Change, Event, Store, Table


class Transaction:
    """Writes that share a stamp, and can be taken back.

    The stamp lies ``delay`` seconds before now: that is how a transaction that began then and commits
    now looks to others. Usable as a context manager, which takes everything back on an exception.
    """

    def __init__(self, store: Store, actor: Actor, delay: float = 0.0) -> None:
        self.store = store
        self.actor = actor
        self.stamp = store.clock.stamp(delay)
        self.key = str(uuid.uuid4())
        self.touched = 0
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            self.rollback()

    def mark(self) -> int:
        return len(self._undo)

    def rollback(self, mark: int = 0) -> None:
        """Take back what was written after ``mark``."""
        while len(self._undo) > mark:
            self._undo.pop()()

    def insert(self, table: Table, values: Mapping[str, Any]) -> Row:
        """A new record with these values; ids and stamps are ours."""
        row: Row = [None] * table.object.width
        record_id = self.store.new_id(table)
        stamps = {
            "Id": record_id,
            "IsDeleted": False,
            "CreatedDate": self.stamp,
            "CreatedById": self.actor.user_id,
            "LastModifiedDate": self.stamp,
            "LastModifiedById": self.actor.user_id,
            "SystemModstamp": self.stamp,
        }
        for name, value in {**values, **stamps}.items():
            row[table.object.position[name]] = value
        table.rows[record_id] = row
        for key in table.keys:
            table.index(key, row)
        table.rows.stamped(row)
        self._undo.append(lambda: self.store.forget(table, row))
        set_values = {name: (None, value) for name, value in values.items() if value is not None}
        self._record(table, row, "CREATE", set_values)
        return row

    def change(self, table: Table, row: Row, values: Mapping[str, Any], kind: str = "UPDATE") -> None:
        """New values for a record (``Rows.take``). It is stamped even if none differs, as at Salesforce.

        A record's stamp never goes back: who wrote it before held its lock until then.
        """
        position = table.object.position
        stamp = max(self.stamp, row[position["SystemModstamp"]])
        before = list(row)
        differing = {
            name: (row[position[name]], value)
            for name, value in values.items()
            if row[position[name]] != value
        }
        touched_keys = [key for key in table.keys if key in differing]
        for key in touched_keys:
            table.unindex(key, row)
        for name, (_, value) in differing.items():
            row[position[name]] = value
        row[position["LastModifiedDate"]] = stamp
        row[position["LastModifiedById"]] = self.actor.user_id
        row[position["SystemModstamp"]] = stamp
        for key in touched_keys:
            table.index(key, row)
        table.rows.stamped(row)
        self._undo.append(lambda: _restore(table, row, before))
        self._record(table, row, kind, differing)

    def delete(self, table: Table, row: Row, *, master: str | None = None) -> None:
        """Into the recycle bin; ``master`` is the winner of a merge."""
        values: dict[str, Any] = {"IsDeleted": True}
        if master is not None:
            values["MasterRecordId"] = master
        self.change(table, row, values, "DELETE")
        table.deleted.append((self.stamp, row[0]))

    def undelete(self, table: Table, row: Row) -> None:
        merged = {"MasterRecordId": None} if "MasterRecordId" in table.object.position else {}
        self.change(table, row, {"IsDeleted": False, **merged}, "UNDELETE")
        table.deleted = deque(entry for entry in table.deleted if entry[1] != row[0])

    def erase(self, table: Table, row: Row) -> None:
        """Hard deletion: past the recycle bin, and out of the deletion log."""
        self.change(table, row, {"IsDeleted": True}, "DELETE")
        self.store.forget(table, row)

    def _record(self, table: Table, row: Row, kind: str, fields: Mapping[str, tuple[Any, Any]]) -> None:
        store = self.store
        store.replay_id += 1 + (store.replay_id % 3 == 0)  # rising, but not without gaps
        change = Change(store.replay_id, self.stamp, kind, self.actor.user_id, self.actor.origin, fields)
        trail = store.history.setdefault(row[0], [])
        trail.append(change)
        header = {
            "entityName": table.object.name,
            "recordIds": [row[0]],
            "changeType": kind,
            "changedFields": [*fields, "LastModifiedDate"] if kind == "UPDATE" else [],
            "changeOrigin": self.actor.origin,
            "transactionKey": self.key,
            "sequenceNumber": self.touched + 1,
            "commitTimestamp": int(store.clock.now() * 1000),
            "commitUser": self.actor.user_id,
            "commitNumber": 10_000_000_000 + store.replay_id,
        }
        values = {name: new for name, (_, new) in fields.items()} if kind != "DELETE" else {}
        event = Event(store.replay_id, store.clock.now(), table.object.name, header, values)
        store.events.append(event)
        self.touched += 1
        store.writes += 1

        def forget() -> None:
            trail.remove(change)
            if store.events and store.events[-1] is event:
                store.events.pop()
            store.writes -= 1

        self._undo.append(forget)


def _restore(table: Table, row: Row, before: Sequence[Any]) -> None:
    for key in table.keys:
        table.unindex(key, row)
    row[:] = before
    table.rows[row[0]] = row
    for key in table.keys:
        table.index(key, row)
