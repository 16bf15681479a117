"""The mirror: what the CRM said when we last looked. Merges a staged page into it and marks what changed.

Only columns that the page has are touched: absent is not null. A page that is older than what the mirror holds
changes nothing, so pages may come twice and in any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import Connection, sql

from crm_sync.connectors.crm import CRM_ID, DELETED, HUB_ID, MERGED_INTO, MODIFIED_AT, Page
from crm_sync.core.spec import FieldSpec, StreamSpec, template_fields
from crm_sync.hub import staging
from crm_sync.hub.sql import canonical_crm, ident, mirror_table, render


@dataclass(frozen=True, slots=True)
class Merged:
    """Counts of one merged page; `newest` is the latest modification time in it (UTC), None if it was empty."""

    read: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    newest: datetime | None = None


def merge(conn: Connection, stream: StreamSpec, page: Page, *, mark_dirty: bool = True) -> Merged:
    """Merge one page inside the caller's transaction.

    mark_dirty=False is for reading back what we wrote ourselves: the caller moves the base in the same
    transaction and marks what still differs.
    """
    staged = staging.load(conn, page)
    fields = [(spec, value) for spec in stream.fields if (value := _value(spec, staged)) is not None]
    if staged.column(CRM_ID) is None:
        raise ValueError(f"{stream.name}: a page without record ids")
    names = [spec.name for spec, _ in fields]
    values = [value for _, value in fields]
    for role, column, expression in (
        (DELETED, "deleted", "coalesce(lower({0}) in ('true', '1'), false)"),
        (MERGED_INTO, "merged_into", "nullif({0}, '')"),
        (HUB_ID, "hub_id", "nullif({0}, '')"),
    ):
        source = staged.column(role)
        if source is not None:
            names.append(column)
            values.append(sql.SQL(expression).format(ident("s", source)))
    modified = staged.column(MODIFIED_AT)
    stamp = (
        sql.SQL("nullif({}, '')::timestamptz").format(ident("s", modified))
        if modified
        else sql.SQL("null::timestamptz")
    )
    row = conn.execute(
        sql.SQL(_MERGE).format(
            mirror=mirror_table(stream),
            columns=sql.SQL(", ").join(map(ident, names)),
            values=sql.SQL(", ").join(values),
            crm_id=ident("s", staged.column(CRM_ID) or CRM_ID),
            modified=stamp,
            assignments=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(ident(n)) for n in names),
            old=sql.SQL(", ").join(ident("m", n) for n in names),
            new=sql.SQL(", ").join(ident("excluded", n) for n in names),
            deleted=sql.SQL("i.deleted") if "deleted" in names else sql.SQL("false"),
            connection=sql.Literal(stream.connection),
            entity=sql.Literal(stream.entity),
            mark=sql.SQL("true" if mark_dirty else "false"),
        )
    ).fetchone()
    return Merged(*row) if row is not None else Merged()


def held(
    conn: Connection, stream: StreamSpec, crm_ids: Sequence[str], *, lock: bool = False
) -> dict[str, dict[str, str | None]]:
    """What the mirror holds of these records: CRM id → our field name → the CRM's value. With `lock` the rows stay
    locked until the end of the caller's transaction, so that what is merged back on top of it is not older than
    another page."""
    names = [spec.name for spec in stream.fields]
    rows = conn.execute(
        sql.SQL("select crm_id, {} from {} where crm_id = any(%s) order by crm_id{}").format(
            sql.SQL(", ").join(map(ident, names)),
            mirror_table(stream),
            sql.SQL(" for update" if lock else ""),
        ),
        [list(crm_ids)],
    ).fetchall()
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}


_MERGE = """
with incoming as (
  select distinct on (crm_id) * from (
    select {crm_id} as crm_id, {modified} as modified_at, {values} from staging s) as t (crm_id, modified_at, {columns})
  order by crm_id, modified_at desc nulls last
), merged as (
  insert into {mirror} as m (crm_id, modified_at, {columns})
  select i.crm_id, i.modified_at, {columns} from incoming i
  where not {deleted} or exists (select from {mirror} known where known.crm_id = i.crm_id)
  on conflict (crm_id) do update set modified_at = coalesce(excluded.modified_at, m.modified_at),
    seen_at = clock_timestamp(), {assignments}
  where ({old}) is distinct from ({new})
    and (excluded.modified_at is null or m.modified_at is null or excluded.modified_at >= m.modified_at)
  returning m.crm_id, (m.xmax = 0) as created, m.deleted
), marked as (
  insert into sync.mark (stream, by_hub, crm_id)
  select s.id, false, merged.crm_id from merged cross join sync.stream s
  where {mark} and s.connection = {connection} and s.entity = {entity}
)
select (select count(*) from staging), count(*) filter (where created), count(*) filter (where not created and not deleted),
  count(*) filter (where deleted), (select max(modified_at) from incoming)
from merged
"""


def _value(spec: FieldSpec, staged: staging.Staged) -> sql.Composable | None:
    """Expression for a field's value in the staged page; None if the page does not have it."""
    template = spec.vendor.template
    if template is None:
        if spec.vendor.name not in staged.columns:
            return None
        return canonical_crm(spec.type, ident("s", spec.vendor.name))
    if not staged.columns.issuperset(template_fields(template)):
        return None
    return render(template, lambda name: ident("s", name))
