"""Intents: writes to a CRM that left, or were about to, and whose answer is not known yet.

An intent with its payload is committed before the call. When the answer comes, base, mirror and journal move and
the intent goes, in one transaction. An intent that is still there when outbound starts is settled by looking.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import LiteralString
from uuid import UUID

import orjson
from psycopg import Connection
from psycopg.rows import class_row

from crm_sync.core.spec import StreamSpec


@dataclass(frozen=True, slots=True)
class Intent:
    """One write. By our field names: sent (in the CRM's terms), hub_values (what they mean in the hub, as read when
    deciding), old_values (the CRM's values as last seen), reasons (why each is written)."""

    hub_id: UUID
    crm_id: str | None
    kind: str
    sent: Mapping[str, str | None]
    hub_values: Mapping[str, str | None]
    old_values: Mapping[str, str | None] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def note(conn: Connection, stream: StreamSpec, intents: Iterable[Intent], run_id: str | None) -> None:
    """Write the intents down, none of whose records may have one yet; the caller commits before anything is sent.

    Raises psycopg.errors.UniqueViolation if a record has one: two writes of a record never overlap.
    """
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "copy sync.intent (connection, entity, hub_id, crm_id, kind, sent, hub_values, old_values, reasons, run_id)"
            " from stdin"
        ) as copy,
    ):
        for i in intents:
            copy.write_row(
                (stream.connection, stream.entity, str(i.hub_id), i.crm_id, i.kind, as_json(i.sent),
                 as_json(i.hub_values), as_json(i.old_values), as_json(i.reasons), run_id)
            )  # fmt: skip


def pending(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID] | None = None) -> list[Intent]:
    """Intents without an answer (about these records, if given), oldest first."""
    return _intents(conn, stream, hub_ids, "order by created_at")


def locked(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> list[Intent]:
    """Those of these records' intents that are without an answer still, until the transaction ends: the hub step and
    outbound find out at the same time what became of a write, and who comes second has nothing to tell any more."""
    return _intents(conn, stream, hub_ids, "order by hub_id for update")


def _intents(
    conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID] | None, order: LiteralString
) -> list[Intent]:
    ids = None if hub_ids is None else list(hub_ids)
    with conn.cursor(row_factory=class_row(Intent)) as cursor:
        return cursor.execute(
            "select hub_id, crm_id, kind, sent, hub_values, old_values, reasons from sync.intent"
            " where connection = %s and entity = %s and (%s::uuid[] is null or hub_id = any(%s)) " + order,
            [stream.connection, stream.entity, ids, ids],
        ).fetchall()


def in_doubt(conn: Connection, stream: StreamSpec, hub_ids: Collection[UUID]) -> set[UUID]:
    """Those of these records that have an intent without an answer: nothing is decided about them."""
    rows = conn.execute(
        "select hub_id from sync.intent where connection = %s and entity = %s",
        [stream.connection, stream.entity],
    ).fetchall()  # nearly always none, or those of one parcel
    return {row[0] for row in rows}.intersection(hub_ids)


def forget(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> None:
    """The answer is known (or it is certain that nothing was written)."""
    conn.execute(
        "delete from sync.intent where connection = %s and entity = %s and hub_id = any(%s)",
        [stream.connection, stream.entity, list(hub_ids)],
    )


def as_json(values: Mapping[str, str | None]) -> str:
    """A JSON object; fast, for these are written by the hundred thousand."""
    return orjson.dumps(values).decode() if values else "{}"
