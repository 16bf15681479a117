"""Aliases: ids of CRM records that mean another one, because the CRM merged them into it.

A page that shows a merged record notes it here, in the transaction that merges the page into the mirror. Chains
are kept short: an alias always names the record that is left in the end. What becomes of the links is decided in
`merges.py`.
"""

from collections.abc import Sequence

from psycopg import Connection, sql

from crm_sync.connectors.crm import CRM_ID, MERGED_INTO, BatchPage, Page
from crm_sync.core.spec import StreamSpec
from crm_sync.hub.sql import alive, base_of, hub_table, ident, mirror_table
from crm_sync.hub.staging import Staged

HOPS = 1_000  # more merges in a row than a page can tell of


def note(conn: Connection, stream: StreamSpec, page: Page, staged: Staged) -> None:
    """Note the merged records of the page in the temporary table `staging`; costs nothing if there are none."""
    crm_id, survivor = staged.column(CRM_ID), staged.column(MERGED_INTO)
    if crm_id is None or survivor is None or _none_merged(conn, page, survivor):
        return
    key = {"connection": stream.connection, "entity": stream.entity}
    told = sql.SQL(
        "(select distinct on (s.{id}) s.{id} as crm_id, coalesce(a.survivor, s.{survivor}) as survivor from staging s"
        " left join sync.alias a on a.connection = %(connection)s and a.entity = %(entity)s"
        " and a.crm_id = s.{survivor} and a.survivor <> s.{id}"
        " where s.{survivor} <> '' and s.{survivor} <> s.{id} order by s.{id}) t"
    ).format(id=ident(crm_id), survivor=ident(survivor))
    # Who is told to have survived a merge is there again, whatever became of it before.
    conn.execute(
        sql.SQL(
            "delete from sync.alias a using {} where a.connection = %(connection)s and a.entity = %(entity)s"
            " and a.crm_id = t.survivor and a.survivor = t.crm_id"
        ).format(told),
        key,
    )
    rows = conn.execute(
        sql.SQL(
            "insert into sync.alias as a (connection, entity, crm_id, survivor, reason)"
            " select %(connection)s, %(entity)s, t.crm_id, t.survivor, 'merged' from {}"
            " on conflict (connection, entity, crm_id) do update set survivor = excluded.survivor, reason = 'merged',"
            " since = clock_timestamp(), settled_at = null, seen_at = null"
            " where (a.survivor, a.reason) is distinct from (excluded.survivor, 'merged') returning crm_id"
        ).format(told),
        key,
    ).fetchall()
    if rows:
        noted = [row[0] for row in rows]
        _shorten(conn, stream, noted)
        conn.execute(
            "insert into sync.mark (stream, by_hub, crm_id) select s.id, false, unnest(%s::text[]) from sync.stream s"
            " where s.connection = %s and s.entity = %s",
            [noted, stream.connection, stream.entity],
        )


def _none_merged(conn: Connection, page: Page, survivor: str) -> bool:
    if isinstance(page, BatchPage):
        column = page.batch.column(survivor)
        return bool(column.null_count == len(column))
    row = conn.execute(
        sql.SQL("select exists (select from staging where {} <> '')").format(ident(survivor))
    ).fetchone()
    return not (row and row[0])


def _shorten(conn: Connection, stream: StreamSpec, noted: Sequence[str]) -> None:
    """Whoever was merged into one of these, which are merged themselves, means the last of the chain."""
    for _ in range(HOPS):
        rows = conn.execute(
            "update sync.alias a set survivor = b.survivor, seen_at = null from sync.alias b where a.connection = %(connection)s"
            " and a.entity = %(entity)s and a.survivor = any(%(noted)s) and b.connection = a.connection"
            " and b.entity = a.entity and b.crm_id = a.survivor and b.survivor <> a.crm_id returning a.crm_id",
            {"connection": stream.connection, "entity": stream.entity, "noted": list(noted)},
        ).fetchall()
        if not rows:
            return


def known(conn: Connection, stream: StreamSpec) -> bool:
    """Whether the stream has any alias."""
    row = conn.execute(
        "select exists (select from sync.alias where connection = %s and entity = %s)",
        [stream.connection, stream.entity],
    ).fetchone()
    return bool(row and row[0])


def revive(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> list[str]:
    """Those of these records that the CRM has again, taken out of its recycle bin: from now on they mean themselves."""
    rows = conn.execute(
        sql.SQL(
            "delete from sync.alias a using {} m where a.connection = %s and a.entity = %s and a.crm_id = any(%s)"
            " and a.reason = 'merged' and m.crm_id = a.crm_id and {} returning a.crm_id"
        ).format(mirror_table(stream), alive("m")),
        [stream.connection, stream.entity, list(crm_ids)],
    ).fetchall()
    return [row[0] for row in rows]


def doubles(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> dict[str, str]:
    """Those of these records that are doubles of another one, whose hub record has been merged with theirs: id to the
    other one's id. They are linked with nothing. What the CRM has deleted is nobody's double any more."""
    rows = conn.execute(
        sql.SQL(
            "select a.crm_id, a.survivor from sync.alias a where a.connection = %s and a.entity = %s"
            " and a.crm_id = any(%s) and a.reason = 'double'"
            " and not exists (select from {} m where m.crm_id = a.crm_id and m.deleted)"
        ).format(mirror_table(stream)),
        [stream.connection, stream.entity, list(crm_ids)],
    ).fetchall()
    return dict(rows)


def linkable(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> list[str]:
    """These records without the doubles among them."""
    apart = doubles(conn, stream, crm_ids) if known(conn, stream) else {}
    return [crm_id for crm_id in crm_ids if crm_id not in apart]


def target(stream: StreamSpec, entity: str, crm_id: sql.Composable, value: sql.Composable) -> sql.Composed:
    """Expression: of the hub record that a reference to this CRM id means, `value` (over l, its link); null if it is not
    linked. An id that was merged away means the record that is left."""
    linked = sql.SQL("select {} from {} l join {} t on t.id = l.hub_id where l.crm_id = ").format(
        value, base_of(stream, entity), hub_table(entity)
    )
    return sql.SQL(
        "coalesce(({linked}{crm_id}), case when {crm_id} is not null then ({linked}(select a.survivor from sync.alias a"
        " where a.connection = {connection} and a.entity = {entity} and a.crm_id = {crm_id})) end)"
    ).format(
        linked=linked,
        crm_id=crm_id,
        connection=sql.Literal(stream.connection),
        entity=sql.Literal(entity),
    )
