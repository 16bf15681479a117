"""What became of deletions that were sent to a CRM, and of records that were created there once more.

Base, mirror, journal, review and intents move together, in the caller's transaction.
"""

import dataclasses
from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.decide import Verdict
from crm_sync.core.deletes import PRESENCE
from crm_sync.core.life import Here
from crm_sync.core.spec import Direction, StreamSpec
from crm_sync.hub import life
from crm_sync.hub.intents import Intent, as_json
from crm_sync.hub.sql import as_object, base_table, hub_now, hub_table, ident, mirror_table


def intent(hub_id: UUID, crm_id: str, hub_state: str | None, reason: str) -> Intent:
    """The deletion of a CRM record, before it is sent."""
    return Intent(
        hub_id, crm_id, "delete", {}, {PRESENCE: hub_state}, {PRESENCE: str(Here.PRESENT)}, {"": reason}
    )


def once_more(create: Intent, why: Verdict) -> Intent:
    """The create of a record in the place of a deleted one, with which the link stays until the answer is known."""
    return dataclasses.replace(
        create, crm_id=why.difference.crm_id, reasons={PRESENCE: why.reason, "": why.reason}
    )


def gone(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> None:
    """The CRM does not have these records any more."""
    conn.execute(
        sql.SQL("update {} set deleted = true where crm_id = any(%s) and not deleted").format(
            mirror_table(stream)
        ),
        [list(crm_ids)],
    )


def gone_of(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> set[str]:
    """Those of these records that the mirror shows as deleted."""
    rows = conn.execute(
        sql.SQL("select crm_id from {} where crm_id = any(%s) and deleted").format(mirror_table(stream)),
        [list(crm_ids)],
    ).fetchall()
    return {row[0] for row in rows}


def confirm(
    conn: Connection, stream: StreamSpec, deleted: Sequence[Intent], answer: str, run_id: str | None
) -> None:
    """These deletions took effect. The journal keeps what the CRM said last; `answer` is how that is known."""
    if not deleted:
        return
    ids = [i.hub_id for i in deleted]
    conn.execute(
        sql.SQL(
            "insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, old_value, reason, answer)"
            " select %(run)s, i.connection, i.entity, i.hub_id, i.crm_id, 'crm', 'delete',"
            " jsonb_strip_nulls({values})::text, coalesce(i.reasons ->> '', ''), %(answer)s"
            " from sync.intent i left join {mirror} m on m.crm_id = i.crm_id where i.connection = %(connection)s"
            " and i.entity = %(entity)s and i.kind = 'delete' and i.hub_id = any(%(ids)s) order by i.hub_id"
            " for update of i"  # of two that see it at once, one tells it
        ).format(values=as_object(stream.fields, "m"), mirror=mirror_table(stream)),
        {
            "run": run_id, "connection": stream.connection, "entity": stream.entity, "ids": ids,
            "answer": as_json({"deleted": answer}),
        },
    )  # fmt: skip
    gone(conn, stream, [i.crm_id for i in deleted if i.crm_id is not None])
    # What the hub said when it was sent: a record that has come back in the hub since is a change, and is looked at as such.
    life.agree(conn, stream, [(i.hub_id, i.hub_values.get(PRESENCE), Here.DELETED) for i in deleted])
    conn.execute(
        "update review.conflict set status = case when status = 'decided' then 'applied' else 'superseded' end"
        " where connection = %s and entity = %s and hub_id = any(%s) and status in ('open', 'decided', 'skipped')",
        [stream.connection, stream.entity, ids],
    )
    conn.execute(
        "delete from sync.intent where connection = %s and entity = %s and kind = 'delete' and hub_id = any(%s)",
        [stream.connection, stream.entity, ids],
    )


def replace(conn: Connection, stream: StreamSpec) -> None:
    """Of the writes in the temporary table `accepted` (confirm.py) those that created a deleted record once more: the
    link moves to the new record. The old one stays known as its double, so that it makes no second hub record if
    somebody takes it out of the recycle bin."""
    again = sql.SQL(
        "select a.hub_id, a.crm_id from accepted a where a.kind = 'create' and a.reasons ? {}"
    ).format(sql.Literal(PRESENCE))
    _move(conn, stream, again)
    _link_again(conn, stream)


def move(conn: Connection, stream: StreamSpec) -> None:
    """Those in the temporary table `unlinked` that were found by the id of a hub record which is linked with a deleted
    record: that link ends, and the deleted one stays known as the double."""
    rows = conn.execute(
        sql.SQL(
            "select u.found, u.crm_id from unlinked u"
            " cross join lateral (select b.crm_id from {base} b where b.hub_id = u.found offset 0) b"
            " cross join lateral (select m.crm_id from {mirror} m where m.crm_id = b.crm_id and m.deleted offset 0) m"
            " where u.rule = 0 and u.found is not null"
        ).format(base=base_table(stream), mirror=mirror_table(stream))
    ).fetchall()
    if rows:
        found = [[hub_id for hub_id, _ in rows], [crm_id for _, crm_id in rows]]
        again = sql.SQL("select * from unnest({}::uuid[], {}::text[]) as a (hub_id, crm_id)")
        _move(conn, stream, again.format(*map(sql.Literal, found)))


def _move(conn: Connection, stream: StreamSpec, again: sql.Composable) -> None:
    """again: hub ids and CRM ids of the new links."""
    conn.execute(
        sql.SQL(
            "with again as materialized ({again}),"
            " old as (delete from {base} b using again a where b.hub_id = a.hub_id and b.crm_id <> a.crm_id"
            " returning b.hub_id, b.crm_id as was, a.crm_id as now),"
            " same as (update {base} b set hub_state = 'present', crm_state = 'present' from again a"
            " where b.hub_id = a.hub_id and b.crm_id = a.crm_id),"
            " shortened as (update sync.alias x set survivor = o.now from old o where x.connection = {connection}"
            " and x.entity = {entity} and x.survivor = o.was)"
            " insert into sync.alias (connection, entity, crm_id, survivor, reason, hub_id, settled_at)"
            " select {connection}, {entity}, o.was, o.now, 'double', o.hub_id, clock_timestamp() from old o"
            " on conflict (connection, entity, crm_id) do update set survivor = excluded.survivor,"
            " reason = excluded.reason, hub_id = excluded.hub_id, settled_at = excluded.settled_at"
        ).format(
            again=again,
            base=base_table(stream),
            connection=sql.Literal(stream.connection),
            entity=sql.Literal(stream.entity),
        )
    )


def _link_again(conn: Connection, stream: StreamSpec) -> None:
    """The new links of these records. The fields that only the CRM fills were not sent, and are blank there now: that blank
    is of our making and not the CRM's word, so that the hub keeps what it has of them."""
    unsent = [spec for spec in stream.fields if spec.direction is Direction.INBOUND]
    names = [ident(f"{spec.name}_{part}") for spec in unsent for part in ("hub", "agreed")]
    values = [value for spec in unsent for value in (hub_now(spec), sql.SQL("true"))]
    conn.execute(
        sql.SQL(
            "insert into {base} ({names}) select {values} from accepted a left join {hub} h on h.id = a.hub_id"
            " where a.kind = 'create' and a.reasons ? {field} on conflict do nothing"
        ).format(
            base=base_table(stream),
            names=sql.SQL(", ").join([sql.SQL("hub_id, crm_id, linked_by"), *names]),
            values=sql.SQL(", ").join([sql.SQL("a.hub_id, a.crm_id, 'push'"), *values]),
            hub=hub_table(stream.entity),
            field=sql.Literal(PRESENCE),
        )
    )
