"""Creates by external id that find a record which is linked with another hub record: it must not be overwritten.

A person has copied the external id in the CRM, or it is that of an earlier hub record. A create is an upsert there, so
that it would write one record's values over another's. What the mirror knows is held back before it is sent; what only
the answer tells is journaled with the record that it hit, taken back, and parked.
"""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.errors import ErrorClass
from crm_sync.core.spec import FieldSpec, StreamSpec
from crm_sync.hub import dirty, intents, parked, told
from crm_sync.hub.parked import Parked
from crm_sync.hub.sql import as_object, base_table, from_text, hub_table, ident, mirror_table

CODE = "EXTERNAL_ID_CARRIED"


def held(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> dict[UUID, Parked]:
    """Those of these hub records, unless they are gone, whose id is carried by a live CRM record that is linked with another
    one."""
    if stream.external_id is None or not hub_ids:
        return {}
    rows = conn.execute(
        sql.SQL(
            "select w.id, m.crm_id, b.hub_id from unnest(%s::uuid[]) w (id)"
            " cross join lateral (select from {hub} h where h.id = w.id and h.archived_at is null offset 0) h"
            " cross join lateral (select m.crm_id from {mirror} m where length(m.hub_id) = 36"
            " and lower(m.hub_id) = w.id::text and not m.deleted offset 0) m"
            " cross join lateral (select b.hub_id from {base} b where b.crm_id = m.crm_id offset 0) b"
            " where b.hub_id <> w.id order by w.id, m.crm_id"
        ).format(hub=hub_table(stream.entity), mirror=mirror_table(stream), base=base_table(stream)),
        [list(hub_ids)],
    ).fetchall()
    return {
        hub_id: _parked(stream, hub_id, crm_id, owner, "a create would overwrite it")
        for hub_id, crm_id, owner in rows
    }


def remember(conn: Connection, stream: StreamSpec, found: Sequence[tuple[UUID, str]]) -> None:
    """Of these creates, each with the CRM record that it has found, those that hit another hub record's: note in the intent
    what the mirror holds of it, before it is told what the record says now."""
    conn.execute(
        sql.SQL(
            "update sync.intent i set old_values = {values} from unnest(%s::uuid[], %s::text[])"
            " f (hub_id, crm_id) join {mirror} m on m.crm_id = f.crm_id join {base} b on b.crm_id = f.crm_id"
            " where b.hub_id <> f.hub_id and i.connection = %s and i.entity = %s and i.hub_id = f.hub_id"
            " and i.kind = 'create'"
        ).format(values=as_object(stream.fields, "m"), mirror=mirror_table(stream), base=base_table(stream)),
        [[h for h, _ in found], [c for _, c in found], stream.connection, stream.entity],
    )


def set_apart(
    conn: Connection, stream: StreamSpec, fields: Sequence[FieldSpec], run_id: str | None
) -> set[UUID]:
    """Take the creates that hit another hub record's CRM record out of the temporary table `accepted` (confirm.py), and
    return them. They are parked; the journal of the other record says what was overwritten; and its base becomes what
    was written, so that the values which the hub has of it are a change of the hub's and are sent again."""
    rows = conn.execute(  # one probe of the base for each that the CRM had already
        sql.SQL(
            "select a.hub_id, a.crm_id, b.hub_id from accepted a"
            " cross join lateral (select b.hub_id from {} b where b.crm_id = a.crm_id offset 0) b"
            " where a.kind = 'create' and (a.answer ->> 'created') is distinct from 'true' and b.hub_id <> a.hub_id"
        ).format(base_table(stream))
    ).fetchall()
    if not rows:
        return set()
    ids = [hub_id for hub_id, _, _ in rows]
    _journal(conn, stream, fields, ids, run_id)
    _take_back(conn, stream, fields, ids)
    dirty.mark_hub(conn, stream, [owner for _, _, owner in rows])
    conn.execute("delete from accepted where hub_id = any(%s)", [ids])
    intents.forget(conn, stream, ids)
    wrote = "a create has found it; what that overwrote is in the journal, and what the hub has is sent again"
    items = [_parked(stream, hub_id, crm_id, owner, wrote) for hub_id, crm_id, owner in rows]
    parked.park(conn, stream, items, run_id)
    return set(ids)


def _journal(
    conn: Connection, stream: StreamSpec, fields: Sequence[FieldSpec], ids: Sequence[UUID], run_id: str | None
) -> None:
    if not fields:
        return
    columns = [
        sql.SQL(
            "({name}, {wrote}, case when a.old_values ? {name} then a.old_values ->> {name} else {crm} end, {now})"
        ).format(
            name=sql.Literal(spec.name),
            wrote=_wrote(spec),
            crm=ident("b", f"{spec.name}_crm"),
            now=_now(spec),
        )
        for spec in fields
    ]
    conn.execute(
        sql.SQL(
            "insert into sync.change (run_id, connection, entity, hub_id, crm_id, field, side, kind, old_value, new_value,"
            " reason, answer)"
            " select %s, %s, %s, b.hub_id, a.crm_id, f.field, 'crm', 'update', f.old, f.now,"
            " 'overwritten by the create of hub record ' || a.hub_id || ', whose id the CRM record carries', a.answer"
            " from accepted a join {base} b on b.crm_id = a.crm_id join {mirror} m on m.crm_id = a.crm_id"
            " cross join lateral (values {columns}) f (field, wrote, old, now)"
            " where a.hub_id = any(%s) and f.wrote and f.old is distinct from f.now"
        ).format(base=base_table(stream), mirror=mirror_table(stream), columns=sql.SQL(", ").join(columns)),
        [run_id, stream.connection, stream.entity, list(ids)],
    )


def _take_back(
    conn: Connection, stream: StreamSpec, fields: Sequence[FieldSpec], ids: Sequence[UUID]
) -> None:
    """What was never agreed on stays open: a rule or a person decides about it."""
    assignments = [
        sql.SQL(
            "{hub} = case when {moves} then {meant} else {hub} end, {crm} = case when {moves} then {now} else {crm} end"
        ).format(
            hub=ident(f"{spec.name}_hub"),
            crm=ident(f"{spec.name}_crm"),
            moves=sql.SQL("b.{} and {}").format(ident(f"{spec.name}_agreed"), _wrote(spec)),
            meant=from_text(spec, told.value("hub_values", spec)),
            now=_now(spec),
        )
        for spec in fields
    ]
    if assignments:
        conn.execute(
            sql.SQL(
                "update {base} b set {assignments} from accepted a join {mirror} m on m.crm_id = a.crm_id"
                " where b.crm_id = a.crm_id and a.hub_id = any(%s)"
            ).format(
                base=base_table(stream),
                mirror=mirror_table(stream),
                assignments=sql.SQL(", ").join(assignments),
            ),
            [list(ids)],
        )


def _wrote(spec: FieldSpec) -> sql.Composed:
    """Condition: the create has written this field. The CRM's answer says so; of one that is found later, that the record
    says what was sent."""
    return sql.SQL(
        "(a.sent ->> {name} is not null and (a.answer ? 'created' or a.said ? {name} or m.{column} = {sent}))"
    ).format(name=sql.Literal(spec.name), column=ident(spec.name), sent=told.value("sent", spec))


def _now(spec: FieldSpec) -> sql.Composable:
    """What the CRM says since; parts of a computed value are not told to the mirror."""
    return ident("m", spec.name) if spec.vendor.template is None else told.value("sent", spec)


def _parked(stream: StreamSpec, hub_id: UUID, crm_id: str, owner: UUID, what: str) -> Parked:
    reason = (
        f"{crm_id} of {stream.connection}, which is linked with the hub record {owner}, carries the id {hub_id} of this one"
        f" in {stream.external_id}: {what}. If they are doubles, merge them (`crm-sync match --doubles`); else clear"
        f" {stream.external_id} of {crm_id} in {stream.connection}, sync, then `crm-sync parked requeue`"
    )
    return Parked("hub", str(hub_id), "", ErrorClass.VALIDATION, CODE, reason, None, hub_id)
