"""Survivors of merges that are to be looked up by their ids, while the loser is linked with a hub record and the survivor is
not: those that the mirror does not have (nothing tells of them if they were deleted at once, or are outside the mapping's
filter), and those that it has from a listing, which may still show them as they were before the merge.
`steps/survivors.py` looks them up; what follows is here.
"""

from collections.abc import Sequence

from psycopg import Connection, sql

from crm_sync.core.spec import StreamSpec
from crm_sync.hub.sql import base_table, mirror_table

BATCH = 2_000
"""Records that are looked up together: what one call of Salesforce takes. The next run goes on."""


def missing(conn: Connection, stream: StreamSpec) -> list[str]:
    """Survivors to be looked up. Costs one index probe if no merge is to be settled. Those that are known to be gone
    or outside are not asked about again: the listing brings them when they are back."""
    rows = conn.execute(
        sql.SQL(
            "select distinct a.survivor from sync.alias a join {base} b on b.crm_id = a.crm_id"
            " where a.connection = %s and a.entity = %s and a.settled_at is null and a.reason = 'merged'"
            " and b.crm_state <> 'deleted' and not exists (select from {mirror} s where s.crm_id = a.survivor)"
            " and exists (select from {mirror} l where l.crm_id = a.crm_id and l.merged_into is not null and not l.outside) order by 1 limit %s"
        ).format(base=base_table(stream), mirror=mirror_table(stream)),
        [stream.connection, stream.entity, BATCH],
    ).fetchall()
    return [row[0] for row in rows]


def unseen(conn: Connection, stream: StreamSpec) -> list[str]:
    """Survivors that the mirror has, perhaps as they were before the merge. Costs one index probe if no merge is to be
    settled."""
    rows = conn.execute(
        sql.SQL(
            "select distinct a.survivor from sync.alias a join {base} b on b.crm_id = a.crm_id"
            " join {mirror} s on s.crm_id = a.survivor where a.connection = %s and a.entity = %s and a.settled_at is null"
            " and a.reason = 'merged' and a.seen_at is null"
            " and not exists (select from {base} k where k.crm_id = a.survivor) order by 1 limit %s"
        ).format(base=base_table(stream), mirror=mirror_table(stream)),
        [stream.connection, stream.entity, BATCH],
    ).fetchall()
    return [row[0] for row in rows]


def seen(conn: Connection, stream: StreamSpec, survivors: Sequence[str]) -> None:
    """These were looked up since the merge is known: links may move to them."""
    if survivors:
        conn.execute(
            "with looked as (update sync.alias set seen_at = clock_timestamp() where connection = %(connection)s"
            " and entity = %(entity)s and survivor = any(%(survivors)s) and settled_at is null and reason = 'merged'"
            " returning crm_id)"
            " insert into sync.mark (stream, by_hub, crm_id) select s.id, false, l.crm_id from looked l"
            " join sync.stream s on s.connection = %(connection)s and s.entity = %(entity)s",
            {"connection": stream.connection, "entity": stream.entity, "survivors": list(survivors)},
        )


READY = (
    "(a.seen_at is not null or exists (select from {base} k where k.crm_id = a.survivor))"
    " and not exists (select from sync.intent i where i.connection = a.connection and i.entity = a.entity"
    " and i.kind = 'create' and i.hub_id <> b.hub_id and i.hub_id::text = lower(m.hub_id))"
)
"""Condition over a (the alias), b (the loser's link, of the table `base`) and m (the survivor): it is known who has the
survivor. It is linked or was looked up since the merge, and is no create of another hub record's whose answer is missing."""


def again(conn: Connection, stream: StreamSpec) -> None:
    """Losers whose links could not move so far, because the answer to such a create was missing, are looked at again now
    that it is known. Costs one index probe if no merge is to be settled."""
    conn.execute(
        sql.SQL(
            "insert into sync.mark (stream, by_hub, crm_id) select s.id, false, a.crm_id from sync.alias a"
            " join {base} b on b.crm_id = a.crm_id join {mirror} m on m.crm_id = a.survivor"
            " join sync.stream s on s.connection = a.connection and s.entity = a.entity"
            " where a.connection = %s and a.entity = %s and a.settled_at is null and a.reason = 'merged'"
            f" and {READY}"
        ).format(base=base_table(stream), mirror=mirror_table(stream)),
        [stream.connection, stream.entity],
    )


def gone(conn: Connection, stream: StreamSpec, survivors: Sequence[str]) -> None:
    """The CRM does not have these: what was merged into them is deleted, and that is decided like any deletion. The alias
    stays: should a survivor come back, it is the record that the loser was."""
    _mark(
        conn,
        stream,
        "with changed as (update {mirror} m set merged_into = null, deleted = true from sync.alias a"
        " where a.connection = {connection} and a.entity = {entity} and a.survivor = any(%s) and a.settled_at is null"
        " and a.reason = 'merged' and m.crm_id = a.crm_id and exists (select from {base} b where b.crm_id = a.crm_id)"
        " returning m.crm_id)",
        survivors,
    )


def outside(conn: Connection, stream: StreamSpec, survivors: Sequence[str]) -> None:
    """These do not take part: no more does what was merged into them."""
    _mark(
        conn,
        stream,
        "with changed as (update {mirror} m set outside = true from sync.alias a where a.connection = {connection}"
        " and a.entity = {entity} and a.survivor = any(%s) and a.settled_at is null and a.reason = 'merged'"
        " and m.crm_id = a.crm_id and not m.outside and exists (select from {base} b where b.crm_id = a.crm_id)"
        " returning m.crm_id)",
        survivors,
    )


def _mark(conn: Connection, stream: StreamSpec, changed: str, survivors: Sequence[str]) -> None:
    if survivors:
        conn.execute(
            sql.SQL(
                changed
                + " insert into sync.mark (stream, by_hub, crm_id) select s.id, false, c.crm_id from changed c"
                " join sync.stream s on s.connection = {connection} and s.entity = {entity}"
            ).format(
                base=base_table(stream),
                mirror=mirror_table(stream),
                connection=sql.Literal(stream.connection),
                entity=sql.Literal(stream.entity),
            ),
            [list(survivors)],
        )
