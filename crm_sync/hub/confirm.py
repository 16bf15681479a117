"""Confirm what a CRM accepted: links for creates, the base for what was written, the journal; then the intent goes.

The base becomes (what we meant, what the CRM now says) where that means the same. Where the CRM says something
else than what was sent - a rewriting by its own rules, or an edit by somebody in between - the CRM half stays what
was sent, so that the other value shows up as a change made in the CRM, which it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from psycopg import Connection, sql
from psycopg.types.json import Jsonb

from crm_sync.core.normalise import to_hub
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from crm_sync.hub import intents, mirror, review
from crm_sync.hub.intents import Intent
from crm_sync.hub.sql import base_table, from_text, ident


@dataclass(frozen=True, slots=True)
class Accepted:
    """A write that the CRM took: the intent, the record's id there, and the answer for the journal (no values)."""

    intent: Intent
    crm_id: str
    answer: Mapping[str, object]


def confirm(conn: Connection, stream: StreamSpec, accepted: Sequence[Accepted], run_id: str | None) -> None:
    """Move base and journal for accepted writes, in the caller's transaction; the mirror already holds what the
    CRM returned or what reading it back showed."""
    if not accepted:
        return
    _link(conn, stream, [a for a in accepted if a.intent.kind == "create"])
    now = mirror.held(conn, stream, [a.crm_id for a in accepted])
    rows: list[tuple[UUID, str, str | None, str | None]] = []
    for spec in stream.fields:
        column = [a for a in accepted if spec.name in a.intent.sent]
        if not column:
            continue
        said = [now.get(a.crm_id, {}).get(spec.name) for a in column]
        for a, crm, same in zip(column, said, _agrees(spec, column, said), strict=True):
            sent = a.intent.sent[spec.name]
            rows.append((a.intent.hub_id, spec.name, a.intent.hub_values[spec.name], crm if same else sent))
    _move_base(conn, stream, rows)
    _journal(conn, stream, accepted, run_id)
    review.close_fields(conn, stream, [(row[0], row[1]) for row in rows])
    intents.forget(conn, stream, [a.intent.hub_id for a in accepted])


def arrived(
    conn: Connection, stream: StreamSpec, updates: Sequence[tuple[Intent, str]], answer: Mapping[str, object]
) -> list[Accepted]:
    """Of updates without an answer (each with its CRM id) those that the mirror shows to have taken effect.

    One field that changed to what was sent tells, for an update takes effect as a whole. A field that still, or
    again, says what it said before is left out: whether somebody set it back nobody can tell, so it is decided anew.
    """
    now = mirror.held(conn, stream, [crm_id for _, crm_id in updates])
    same: dict[UUID, set[str]] = {}
    left: dict[UUID, set[str]] = {}
    for spec in stream.fields:
        column = [Accepted(i, crm_id, answer) for i, crm_id in updates if spec.name in i.sent]
        said = [now.get(a.crm_id, {}).get(spec.name) for a in column]
        for a, crm, agrees in zip(column, said, _agrees(spec, column, said), strict=True):
            before = a.intent.old_values.get(spec.name)
            if agrees and crm != before:
                same.setdefault(a.intent.hub_id, set()).add(spec.name)
            elif crm == before:
                left.setdefault(a.intent.hub_id, set()).add(spec.name)
    return [
        Accepted(_without(i, left.get(i.hub_id, set())), crm_id, answer)
        for i, crm_id in updates
        if i.hub_id in same
    ]


def note_doubt(
    conn: Connection, stream: StreamSpec, updates: Sequence[tuple[Intent, str]], run_id: str | None
) -> None:
    """Journal updates that nobody can tell whether they took effect: the CRM says by now neither what it said before
    nor what was sent. What stood there before may be gone through us, so it must be found again."""
    now = mirror.held(conn, stream, [crm_id for _, crm_id in updates])
    doubted = []
    for intent, crm_id in updates:
        said = now.get(crm_id, {})
        moved = {
            name: value
            for name, value in intent.sent.items()
            if said.get(name) != intent.old_values.get(name)
        }
        if moved:
            doubted.append(
                Accepted(replace(intent, sent=moved), crm_id, {"settled": "unknown: no answer came"})
            )
    _journal(conn, stream, doubted, run_id)


def _without(intent: Intent, names: set[str]) -> Intent:
    return replace(intent, sent={name: value for name, value in intent.sent.items() if name not in names})


def _agrees(spec: FieldSpec, accepted: Sequence[Accepted], said: Sequence[str | None]) -> list[bool]:
    """Whether what the CRM says now is what was sent, or means the same in the hub."""
    if spec.type is FieldType.REFERENCE or spec.computed is not None:
        return [crm == a.intent.sent[spec.name] for a, crm in zip(accepted, said, strict=True)]
    meant = to_hub(spec, said)
    plain = to_hub(replace(spec, to_hub=None), [a.intent.hub_values[spec.name] for a in accepted])
    return [
        crm == a.intent.sent[spec.name] or means in (a.intent.hub_values[spec.name], ours)
        for a, crm, means, ours in zip(accepted, said, meant, plain, strict=True)
    ]


def _link(conn: Connection, stream: StreamSpec, created: Sequence[Accepted]) -> None:
    conn.execute(
        sql.SQL(
            "insert into {} (hub_id, crm_id, linked_by) select h, c, 'push' from unnest(%s::uuid[], %s::text[]) as t (h, c)"
            " on conflict do nothing"
        ).format(base_table(stream)),
        [[a.intent.hub_id for a in created], [a.crm_id for a in created]],
    )


def _move_base(
    conn: Connection, stream: StreamSpec, rows: Sequence[tuple[UUID, str, str | None, str | None]]
) -> None:
    conn.execute("drop table if exists confirmed")
    conn.execute(
        "create temporary table confirmed (hub_id uuid, field text, hub_half text, crm_half text) on commit drop"
    )
    with conn.cursor() as cursor, cursor.copy("copy confirmed from stdin") as copy:
        for row in rows:
            copy.write_row(row)
    names = {row[1] for row in rows}
    fields = [spec for spec in stream.fields if spec.name in names]
    if not fields:
        return
    picked: list[sql.Composable] = [sql.SQL("hub_id")]
    assignments = []
    for spec in fields:
        mine = sql.SQL("field = {}").format(sql.Literal(spec.name))
        moves, hub_half, crm_half = (ident(f"{spec.name}_{part}") for part in ("moves", "hub", "crm"))
        picked.append(
            sql.SQL("bool_or({0}) as {1}, max(hub_half) filter (where {0}) as {2}, max(crm_half) filter (where {0}) as {3}").format(
                mine, moves, hub_half, crm_half
            )
        )  # fmt: skip
        assignments.append(
            sql.SQL("{hub} = case when w.{moves} then {value} else b.{hub} end,"
                    " {crm} = case when w.{moves} then w.{crm} else b.{crm} end,"
                    " {agreed} = w.{moves} or b.{agreed}").format(
                hub=hub_half, crm=crm_half, moves=moves, agreed=ident(f"{spec.name}_agreed"),
                value=from_text(spec, ident("w", f"{spec.name}_hub")),
            )
        )  # fmt: skip
    conn.execute(
        sql.SQL(
            "update {} b set {} from (select {} from confirmed group by hub_id) w where b.hub_id = w.hub_id"
        ).format(base_table(stream), sql.SQL(", ").join(assignments), sql.SQL(", ").join(picked))
    )


def _journal(conn: Connection, stream: StreamSpec, accepted: Sequence[Accepted], run_id: str | None) -> None:
    """One row per field of an update; one row per created record, with all its values."""
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "copy sync.change (run_id, connection, entity, hub_id, crm_id, field, side, kind, old_value, new_value, reason, answer)"
            " from stdin"
        ) as copy,
    ):
        for a in accepted:
            i = a.intent
            key = (run_id, stream.connection, stream.entity, i.hub_id, a.crm_id)
            if i.kind == "create":
                values = Jsonb({k: v for k, v in i.sent.items() if v is not None})
                copy.write_row(
                    (*key, None, "crm", "create", None, values, "new in the hub", Jsonb(dict(a.answer)))
                )
                continue
            for name, new in i.sent.items():
                copy.write_row(
                    (*key, name, "crm", "update", i.old_values.get(name), new, i.reasons.get(name, ""), Jsonb(dict(a.answer)))
                )  # fmt: skip
