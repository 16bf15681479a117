"""Whole records, column by column, between Postgres and Python; for records that one side does not have yet.

Values come as canonical text. Rows are read by COPY and returned as columns (lists), the shape in which they are
normalised.
"""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.spec import FieldType, StreamSpec
from crm_sync.hub.sql import base_of, hub_now, hub_table, ident, to_text

Columns = dict[str, list[str | None]]


def read_hub(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> Columns:
    """Hub records that the CRM does not have yet, by our field names, plus `hub_id`. A reference is given as the
    CRM's id, null where it has no link that leads to a record; `<name>_link` keeps what the hub says."""
    selected: list[sql.Composable] = [sql.SQL("h.id::text as hub_id")]
    for spec in stream.fields:
        own = to_text(spec, hub_now(spec))
        if spec.type is FieldType.REFERENCE:
            selected.append(
                sql.SQL(
                    "(select l.crm_id from {} l where l.hub_id = {} and not exists (select from {} m"
                    " where m.crm_id = l.crm_id and m.deleted)) as {}"
                ).format(
                    base_of(stream, spec.entity or ""),
                    ident("h", spec.name),
                    ident(stream.connection, spec.entity or ""),
                    ident(spec.name),
                )
            )
            selected.append(sql.SQL("{} as {}").format(own, ident(f"{spec.name}_link")))
        else:
            selected.append(sql.SQL("{} as {}").format(own, ident(spec.name)))
    return _columns(
        conn,
        sql.SQL("select {} from {} h where h.id = any(%s) and h.archived_at is null order by h.id").format(
            sql.SQL(", ").join(selected), hub_table(stream.entity)
        ),
        list(hub_ids),
    )


def _columns(conn: Connection, query: sql.Composed, ids: Sequence[object]) -> Columns:
    cursor = conn.execute(query, [list(ids)])
    names = [column.name for column in cursor.description or ()]
    rows = cursor.fetchall()
    if not rows:
        return {name: [] for name in names}
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
