"""Doubles that take the place of the record they are doubles of: people were told to merge the two, or to delete one of them.

If it is the linked one that they delete, the person is still there: nothing was deleted that the hub should hear of. The
link goes to the double, as a new one, and the fields' policies decide. But no time of a double's tells which value is newer:
it rested while the sync wrote to the other. What the hub has stays there, and goes to the double.
"""

from collections.abc import Collection
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.spec import Direction, Policy, StreamSpec
from crm_sync.hub import dirty, review
from crm_sync.hub.apart import not_apart
from crm_sync.hub.sql import alive, base_table, hub_table, ident, mirror_table

LINKED_BY = "double"


def step_in(
    conn: Connection, stream: StreamSpec, crm_ids: Collection[str], run_id: str | None
) -> dict[UUID, str]:
    """Those of these linked records that were deleted in the CRM since both sides agreed on them, and of which it still has
    a double: their hub records are linked with that from now on; hub id to its id. To be asked if the stream has aliases."""
    rows = _found(conn, stream, crm_ids)
    if not rows:
        return {}
    key = {"connection": stream.connection, "entity": stream.entity, "run_id": run_id}
    hub_ids = [hub_id for hub_id, _, _ in rows]
    conn.execute(sql.SQL("delete from {} where hub_id = any(%s)").format(base_table(stream)), [hub_ids])
    link = _link(stream)
    for hub_id, was, now in rows:
        about = {**key, "hub_id": hub_id, "was": was, "now": now}
        conn.execute(link, {**about, "linked_by": LINKED_BY})
        for statement in _STATEMENTS:
            conn.execute(statement, about)
    review.close(conn, stream, hub_ids, [])
    dirty.mark_hub(conn, stream, hub_ids)
    return {hub_id: now for hub_id, _, now in rows}


def _found(conn: Connection, stream: StreamSpec, crm_ids: Collection[str]) -> list[tuple[UUID, str, str]]:
    """Hub id, the linked record that is gone, the double that is there. A write without an answer comes first."""
    if not crm_ids:
        return []
    return conn.execute(
        sql.SQL(
            "select distinct on (b.hub_id) b.hub_id, b.crm_id, a.crm_id from {base} b"
            " join {mirror} m on m.crm_id = b.crm_id and m.deleted and m.merged_into is null and not m.outside"
            " join sync.alias a on a.connection = {connection} and a.entity = {entity} and a.survivor = b.crm_id"
            " and a.reason = 'double' join {mirror} d on d.crm_id = a.crm_id and {alive}"
            " join {hub} h on h.id = b.hub_id and h.archived_at is null"
            " where b.crm_id = any(%s) and b.crm_state <> 'deleted' and {together}"
            " and not exists (select from {base} k where k.crm_id = a.crm_id)"
            " and not exists (select from sync.intent i where i.connection = {connection} and i.entity = {entity}"
            " and i.hub_id = b.hub_id) order by b.hub_id, a.since, a.crm_id"
        ).format(
            base=base_table(stream),
            mirror=mirror_table(stream),
            hub=hub_table(stream.entity),
            alive=alive("d"),
            together=not_apart(stream, ident("a", "crm_id"), ident("b", "hub_id")),
            connection=sql.Literal(stream.connection),
            entity=sql.Literal(stream.entity),
        ),
        [sorted(crm_ids)],
    ).fetchall()


def _link(stream: StreamSpec) -> sql.Composed:
    """The statement that makes the link of a double. Where the hub has a value and the later one would win, it is as if it had
    been changed in the hub alone."""
    names: list[sql.Composable] = []
    values: list[sql.Composable] = []
    for spec in stream.columns:
        if spec.direction is Direction.TWO_WAY and spec.policy is Policy.MOST_RECENT_WINS:
            names += [ident(f"{spec.name}_agreed"), ident(f"{spec.name}_crm")]
            has = sql.SQL("h.{} is not null").format(ident(spec.name))
            values += [has, sql.SQL("case when {} then {} end").format(has, ident("d", spec.name))]
    return sql.SQL(
        "insert into {base} ({names}) select {values} from {mirror} d, {hub} h where d.crm_id = %(now)s and h.id = %(hub_id)s"
    ).format(
        base=base_table(stream),
        names=sql.SQL(", ").join([sql.SQL("hub_id, crm_id, linked_by"), *names]),
        values=sql.SQL(", ").join([sql.SQL("h.id, d.crm_id, %(linked_by)s"), *values]),
        mirror=mirror_table(stream),
        hub=hub_table(stream.entity),
    )


_STATEMENTS = (
    "delete from sync.alias where connection = %(connection)s and entity = %(entity)s and crm_id = %(now)s",
    "update sync.alias set survivor = %(now)s where connection = %(connection)s and entity = %(entity)s and survivor = %(was)s",
    ("insert into sync.alias (connection, entity, crm_id, survivor, reason, hub_id, settled_at) values (%(connection)s,"
    " %(entity)s, %(was)s, %(now)s, 'double', %(hub_id)s, clock_timestamp()) on conflict (connection, entity, crm_id) do update"
    " set survivor = excluded.survivor, reason = 'double', hub_id = excluded.hub_id, settled_at = excluded.settled_at"),
    ("insert into sync.change (run_id, connection, entity, hub_id, crm_id, side, kind, reason) values (%(run_id)s,"
    " %(connection)s, %(entity)s, %(hub_id)s, %(now)s, 'hub', 'merge', %(was)s || ' is deleted; its double ' || %(now)s"
    " || ' takes its place')"),
)  # fmt: skip
