"""Confirm what a CRM accepted: links for creates, the base for what was written, the journal; then the intent goes.

    answers ── join sync.intent ──▶ accepted (temporary) ──▶ mirror · base · journal · review · intent

All of it in SQL, for any number of records, in the caller's transaction. The base becomes (what we meant, what the
CRM now says) where that means the same. Where the CRM says something else than what was sent - a rewriting by its own
rules, or an edit by somebody in between - the CRM half stays what was sent, so that the other value shows up as a
change made in the CRM, which it is. Whether two spellings mean the same is asked in Python, only where they differ.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.deletes import PRESENCE
from crm_sync.core.normalise import to_hub
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from crm_sync.hub import landed, life_sent, mirror, references_gone, review, told
from crm_sync.hub.intents import Intent, as_json
from crm_sync.hub.sql import base_table, from_text, ident, mirror_table

_Updates: TypeAlias = Sequence[tuple[Intent, str]]  # each with its CRM id


@dataclass(frozen=True, slots=True)
class Accepted:
    """A write that the CRM took: the intent, the record's id there, and the answer for the journal (no values)."""

    intent: Intent
    crm_id: str
    answer: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """The CRM's answer to a write that it took. told: what the record says there by now, by our field names, as JSON
    text: what was returned, or "" for what was sent; None if the mirror knows already. stamp: its modification time,
    ISO 8601, None if it is not known."""

    hub_id: str
    crm_id: str
    created: bool
    told: str | None
    stamp: str | None


def confirm_answers(
    conn: Connection, stream: StreamSpec, answers: Iterable[Answer], run_id: str | None
) -> set[UUID]:
    """Confirm the intents that these answers are about. Returns the creates that hit another hub record's (landed.py)."""
    conn.execute("drop table if exists pg_temp.answered, pg_temp.accepted")
    conn.execute(
        "create temporary table answered (hub_id uuid, crm_id text, created boolean, told text, stamp timestamptz)"
        " on commit drop"
    )
    with conn.cursor() as cursor, cursor.copy("copy answered from stdin") as copy:
        for a in answers:
            copy.write_row((a.hub_id, a.crm_id, a.created, a.told, a.stamp))
    conn.execute(
        sql.SQL(
            "create temporary table accepted on commit drop as"
            " select i.hub_id, a.crm_id, i.kind, i.sent, i.hub_values, i.old_values, i.reasons,"
            f" {told.ANSWER} as answer,"
            " case when a.told = '' then i.sent else a.told::jsonb end as told, a.stamp, null::jsonb as said,"
            " exists (select from {mirror} m where m.crm_id = a.crm_id) as known"
            " from answered a join sync.intent i"
            " on i.connection = {connection} and i.entity = {entity} and i.hub_id = a.hub_id"
            " order by i.hub_id for update of i"
        ).format(
            connection=sql.Literal(stream.connection),
            entity=sql.Literal(stream.entity),
            mirror=mirror_table(stream),
        )
    )
    told.tell_mirror(conn, stream)
    return _confirm(conn, stream, run_id)


def confirm(conn: Connection, stream: StreamSpec, accepted: Sequence[Accepted], run_id: str | None) -> None:
    """Confirm these writes; the mirror already holds what reading them back showed."""
    if accepted:
        _stage(conn, accepted)
        _confirm(conn, stream, run_id)


def _confirm(conn: Connection, stream: StreamSpec, run_id: str | None) -> set[UUID]:
    names = told.names(conn, stream, "sent")
    fields = [spec for spec in stream.fields if spec.name in names]
    _judge(conn, stream, fields)
    strangers = landed.set_apart(conn, stream, fields, run_id)
    life_sent.replace(conn, stream)
    _move_base(conn, stream, fields)
    again = conn.execute("select hub_id from accepted where kind = 'create' and reasons ? %s", [PRESENCE])
    references_gone.back(conn, stream, [row[0] for row in again])  # what the CRM did not have any more
    _journal(conn, stream, run_id)
    review.close_written(conn, stream)
    conn.execute(
        "delete from sync.intent i using accepted a where i.connection = %s and i.entity = %s and i.hub_id = a.hub_id",
        [stream.connection, stream.entity],
    )
    return strangers


def arrived(
    conn: Connection, stream: StreamSpec, updates: _Updates, answer: Mapping[str, object], unread: set[str]
) -> list[Accepted]:
    """Of updates without an answer those that the mirror shows to have taken effect.

    One field that changed to what was sent tells, for an update takes effect as a whole. A field that still, or
    again, says what it said before is left out: whether somebody set it back nobody can tell, so it is decided anew.
    unread: fields that the CRM does not show now, of which the mirror only says what they were before the write.
    """
    now = mirror.held(conn, stream, [crm_id for _, crm_id in updates])
    same: dict[UUID, set[str]] = {}
    left: dict[UUID, set[str]] = {}
    for spec in stream.fields:
        column = [(i, crm_id) for i, crm_id in updates if spec.name in i.sent]
        said = [now.get(crm_id, {}).get(spec.name) for _, crm_id in column]
        sent = [i.sent[spec.name] for i, _ in column]
        meant = [i.hub_values.get(spec.name) for i, _ in column]
        for (i, _), crm, agrees in zip(column, said, _agrees(spec, sent, meant, said), strict=True):
            before = i.old_values.get(spec.name)
            if agrees and crm != before:
                same.setdefault(i.hub_id, set()).add(spec.name)
            elif crm == before and spec.name not in unread:
                left.setdefault(i.hub_id, set()).add(spec.name)
    return [
        Accepted(_without(i, left.get(i.hub_id, set())), crm_id, answer)
        for i, crm_id in updates
        if i.hub_id in same
    ]


def note_doubt(
    conn: Connection, stream: StreamSpec, updates: _Updates, unread: set[str], run_id: str | None
) -> None:
    """Journal updates that nobody can tell whether they took effect: the CRM says by now neither what it said before
    nor what was sent, or does not show it (`unread`). What stood there before may be gone through us, so it must be
    found again."""
    answer = {"settled": "unknown: no answer came"}
    now = mirror.held(conn, stream, [crm_id for _, crm_id in updates])
    doubted = []
    for intent, crm_id in updates:
        said = now.get(crm_id, {})
        old = intent.old_values
        moved = {n: v for n, v in intent.sent.items() if n in unread or said.get(n) != old.get(n)}
        if moved:
            doubted.append(Accepted(replace(intent, sent=moved), crm_id, answer))
    if doubted:
        _stage(conn, doubted)
        _journal(conn, stream, run_id)


def _without(intent: Intent, names: set[str]) -> Intent:
    return replace(intent, sent={name: value for name, value in intent.sent.items() if name not in names})


def _agrees(
    spec: FieldSpec, sent: Sequence[str | None], meant: Sequence[str | None], said: Sequence[str | None]
) -> list[bool]:
    """Whether what the CRM says now is what was sent, or means in the hub what was meant."""
    if spec.type is FieldType.REFERENCE or spec.computed is not None:
        return [now == was for now, was in zip(said, sent, strict=True)]
    means = to_hub(spec, said)
    plain = to_hub(replace(spec, to_hub=None), meant)
    return [
        now == was or mean in (ours, same)
        for now, was, mean, ours, same in zip(said, sent, means, meant, plain, strict=True)
    ]


def _stage(conn: Connection, accepted: Sequence[Accepted]) -> None:
    """The temporary table `accepted`, of intents that need not be in sync.intent as they are here."""
    conn.execute("drop table if exists pg_temp.accepted")
    conn.execute(
        "create temporary table accepted (hub_id uuid, crm_id text, kind text, sent jsonb, hub_values jsonb,"
        " old_values jsonb, reasons jsonb, answer jsonb, told jsonb, stamp timestamptz, said jsonb) on commit drop"
    )
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "copy accepted (hub_id, crm_id, kind, sent, hub_values, old_values, reasons, answer) from stdin"
        ) as copy,
    ):
        for a in accepted:
            i = a.intent
            values = (i.sent, i.hub_values, i.old_values, i.reasons, dict(a.answer))
            copy.write_row((str(i.hub_id), a.crm_id, i.kind, *map(as_json, values)))  # type: ignore[arg-type]


def _judge(conn: Connection, stream: StreamSpec, fields: Sequence[FieldSpec]) -> None:
    """Note in `said` where the mirror spells what was sent in another way that means the same, and in the answer which
    fields it says something else about: what the CRM's own rules made of them, unless somebody was that quick."""
    found: dict[UUID, dict[str, str | None]] = {}
    rewritten: dict[UUID, list[str]] = {}
    for spec, column in _spelled_otherwise(conn, stream, fields):
        ids, sent, meant, said = zip(*column, strict=True)
        for hub_id, now, same in zip(ids, said, _agrees(spec, sent, meant, said), strict=True):
            if same:
                found.setdefault(hub_id, {})[spec.name] = now
            else:
                rewritten.setdefault(hub_id, []).append(spec.name)
    if rewritten:  # what was settled later tells nothing: there was time for a person's edit
        conn.execute(
            "update accepted a set answer = a.answer || jsonb_build_object('rewritten', s.names::jsonb)"
            " from unnest(%s::uuid[], %s::text[]) as s (hub_id, names)"
            " where a.hub_id = s.hub_id and not a.answer ? 'settled'",
            [list(rewritten), [json.dumps(names) for names in rewritten.values()]],
        )
    if found:
        conn.execute(
            "update accepted a set said = s.said::jsonb from unnest(%s::uuid[], %s::text[]) as s (hub_id, said)"
            " where a.hub_id = s.hub_id",
            [list(found), [as_json(values) for values in found.values()]],
        )


_Spelled: TypeAlias = tuple[UUID, str | None, str | None, str | None]


def _spelled_otherwise(
    conn: Connection, stream: StreamSpec, fields: Sequence[FieldSpec]
) -> Iterator[tuple[FieldSpec, list[_Spelled]]]:
    """By field: the records of which the mirror says something else than was sent, with what was sent,
    what it means in the hub, and what the mirror says. One look at all fields, for nearly always it finds nothing."""
    moved = [
        sql.SQL("(a.sent ? {} and m.{} is distinct from {})").format(
            sql.Literal(spec.name), ident(spec.name), told.value("sent", spec)
        )
        for spec in fields
    ]
    if not moved:
        return
    columns = [
        sql.SQL("{}, {}, {}, m.{}").format(
            differs, told.value("sent", spec), told.value("hub_values", spec), ident(spec.name)
        )
        for spec, differs in zip(fields, moved, strict=True)
    ]
    rows = conn.execute(
        sql.SQL("select a.hub_id, {} from accepted a join {} m on m.crm_id = a.crm_id where {}").format(
            sql.SQL(", ").join(columns), mirror_table(stream), sql.SQL(" or ").join(moved)
        )
    ).fetchall()
    for i, spec in enumerate(fields):
        place = 1 + 4 * i
        column = [(row[0], *row[place + 1 : place + 4]) for row in rows if row[place]]
        if column:
            yield spec, column


def _move_base(conn: Connection, stream: StreamSpec, fields: Sequence[FieldSpec]) -> None:
    """Both halves of what was sent; a row (and so the link) for each create that has none yet."""
    names: list[sql.Composable] = [sql.SQL("hub_id, crm_id, linked_by")]
    values: list[sql.Composable] = [sql.SQL("a.hub_id, a.crm_id, 'push'")]
    assignments: list[sql.Composable] = []
    for spec in fields:
        moves = sql.SQL("a.sent ? {}").format(sql.Literal(spec.name))
        hub = from_text(spec, told.value("hub_values", spec))
        crm = sql.SQL("case when a.said ? {0} then {1} else {2} end").format(
            sql.Literal(spec.name), told.value("said", spec), told.value("sent", spec)
        )
        halves = [ident(f"{spec.name}_{part}") for part in ("hub", "crm", "agreed")]
        names += halves
        values += [sql.SQL("case when {} then {} end").format(moves, hub), crm, moves]
        assignments.append(
            sql.SQL("{hub} = case when {moves} then {new_hub} else b.{hub} end,"
                    " {crm} = case when {moves} then {new_crm} else b.{crm} end, {agreed} = {moves} or b.{agreed}").format(
                hub=halves[0], crm=halves[1], agreed=halves[2], moves=moves, new_hub=hub, new_crm=crm
            )
        )  # fmt: skip
    statement = sql.SQL(
        "insert into {base} ({names}) select {values} from accepted a where a.kind = 'create' on conflict do nothing"
    ).format(base=base_table(stream), names=sql.SQL(", ").join(names), values=sql.SQL(", ").join(values))
    if assignments:  # an update does not see the rows that the same statement inserts
        statement = sql.SQL(
            "with linked as ({insert}) update {base} b set {assignments} from accepted a where b.hub_id = a.hub_id"
        ).format(insert=statement, base=base_table(stream), assignments=sql.SQL(", ").join(assignments))
    conn.execute(statement)


def _journal(conn: Connection, stream: StreamSpec, run_id: str | None) -> None:
    """One row per field of an update; one row per created record, with all its values."""
    conn.execute(
        "insert into sync.change (run_id, connection, entity, hub_id, crm_id, field, side, kind, old_value, new_value,"
        " reason, answer)"
        " select %(run)s, %(connection)s, %(entity)s, a.hub_id, a.crm_id, null, 'crm', 'create', null,"
        " jsonb_strip_nulls(a.sent)::text, coalesce(a.reasons ->> '', 'new in the hub'), a.answer from accepted a where a.kind = 'create'"
        " union all"
        " select %(run)s, %(connection)s, %(entity)s, a.hub_id, a.crm_id, s.key, 'crm', 'update',"
        " a.old_values ->> s.key, s.value, coalesce(a.reasons ->> s.key, ''), a.answer"
        " from accepted a cross join lateral jsonb_each_text(a.sent) s where a.kind = 'update'",
        {"run": run_id, "connection": stream.connection, "entity": stream.entity},
    )
