"""The mirror: what the CRM said when we last looked. Merges a staged page into it and marks what changed.

Only columns that the page has are touched: absent is not null. A page that is older than what the mirror holds
changes nothing, so pages may come twice and in any order. Of two states with the same stamp nobody can tell which is
newer: a listing that may lag has to be asked about by id (`unsure_from`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg import Connection, sql

from crm_sync.connectors.crm import CRM_ID, DELETED, HUB_ID, MERGED_INTO, MODIFIED_AT, Page
from crm_sync.core.spec import FieldSpec, StreamSpec, template_fields
from crm_sync.hub import aliases, conversion, schema, staging
from crm_sync.hub.sql import canonical_crm, ident, mirror_table, render


@dataclass(frozen=True, slots=True)
class Merged:
    """Counts of one merged page; `newest` is the latest modification time in it (UTC), None if it was empty. absent:
    our fields that it did not have, though it had others. unsure: ids of records that were left as they are, to be
    looked up."""

    read: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    newest: datetime | None = None
    unsure: Sequence[str] = ()
    absent: frozenset[str] = frozenset()


def merge(
    conn: Connection,
    stream: StreamSpec,
    page: Page,
    *,
    mark_dirty: bool = True,
    looked_up: bool = False,
    listed: bool = False,
    unsure_from: datetime | None = None,
) -> Merged:
    """Merge one page inside the caller's transaction.

    mark_dirty=False is for reading back what we wrote ourselves: the caller moves the base in the same
    transaction and marks what still differs. looked_up: the page is no listing; if it lacks fields, it adds no
    record, whose missing values would pass for blanks: the listing brings it, which freezes them. listed: the page
    obeys the stream's filter, so that the live records in it take part (again). unsure_from: the
    page is a listing that may lag behind from this moment on; a record of which it says something else than the
    mirror does at the same stamp, be it older or newer, is left as it is and told in `Merged.unsure`.
    """
    staged = staging.load(conn, page)
    aliases.note(conn, stream, page, staged)
    conversion.note(conn, stream, page, staged)
    held = schema.held(conn, stream)  # of another type now: as good as absent
    fields = [
        (spec, value)
        for spec in stream.fields
        if spec.name not in held and (value := value_of(spec, staged)) is not None
    ]
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
    told = {spec.name for spec, _ in fields}
    absent = frozenset(spec.name for spec in stream.fields if spec.name not in told)
    modified = staged.column(MODIFIED_AT)
    stamp = (
        sql.SQL("nullif({}, '')::timestamptz").format(ident("s", modified))
        if modified
        else sql.SQL("null::timestamptz")
    )
    with _by_index(conn):
        row = conn.execute(
            sql.SQL(_MERGE).format(
                mirror=mirror_table(stream),
                columns=sql.SQL(", ").join(map(ident, names)),
                values=sql.SQL(", ").join(values),
                crm_id=ident("s", staged.column(CRM_ID) or CRM_ID),
                modified=stamp,
                assignments=sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(ident(n), ident("p", n)) for n in names
                ),
                old=sql.SQL(", ").join(ident("m", n) for n in names),
                new=sql.SQL(", ").join(ident("i", n) for n in names),
                deleted=sql.SQL("i.deleted") if "deleted" in names else sql.SQL("false"),
                adds=sql.SQL("false" if looked_up and absent else "true"),
                enters=sql.SQL("m.outside and not {}").format(
                    sql.SQL("i.deleted" if "deleted" in names else "false")
                )
                if listed
                else sql.SQL("false"),
                unsure_from=sql.SQL("{}::timestamptz").format(sql.Literal(unsure_from)),
                connection=sql.Literal(stream.connection),
                entity=sql.Literal(stream.entity),
                mark=sql.SQL("true" if mark_dirty else "false"),
            )
        ).fetchone()
    if row is None:
        return Merged()
    merged = replace(Merged(*row[:-1]), unsure=tuple(row[-1]))
    if not merged.read or not told:  # nothing, or deletions only
        return merged
    return replace(merged, absent=absent)


@contextmanager
def _by_index(conn: Connection) -> Iterator[None]:
    """Look up the page's records in the mirror by their key, one probe each. Nothing is known about a page that was
    staged just now, and a plan that reads the whole mirror for every page makes a full read quadratic."""
    conn.execute(
        "set local enable_hashjoin = off; set local enable_mergejoin = off; set local enable_seqscan = off"
    )
    yield
    conn.execute(
        "set local enable_hashjoin to default; set local enable_mergejoin to default; set local enable_seqscan to default"
    )


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


# A row that is the same is only read: `on conflict do update` would lock it, which writes. One that says the same at a
# later time is written, so that no older page is taken for newer, but concerns nobody.
_MERGE = """
with probed as materialized (
  select i.*, m.crm_id is not null as known, ({old}) is distinct from ({new}) or ({enters}) as changed,
    coalesce({enters}, false) as enters,
    coalesce(i.modified_at = m.modified_at and i.modified_at >= {unsure_from} and not ({enters}), false)
      and not {deleted} as unsure
  from (select distinct on (crm_id collate "C") * from (
      select {crm_id} as crm_id, {modified} as modified_at, {values} from staging s) as t (crm_id, modified_at, {columns})
    order by crm_id collate "C", modified_at desc nulls last) i
  left join {mirror} m on m.crm_id = i.crm_id
  where m.crm_id is null
    or ((({old}) is distinct from ({new}) or ({enters}))
      and (i.modified_at is null or m.modified_at is null or i.modified_at >= m.modified_at))
    or i.modified_at > m.modified_at or (m.modified_at is null and i.modified_at is not null)
), inserted as (
  insert into {mirror} (crm_id, modified_at, {columns})
  select crm_id, modified_at, {columns} from probed i where not known and not {deleted} and {adds}
  returning crm_id
), updated as (
  update {mirror} m set modified_at = coalesce(p.modified_at, m.modified_at), seen_at = clock_timestamp(),
    outside = m.outside and not p.enters, {assignments}
  from probed p where p.known and not p.unsure and m.crm_id = p.crm_id
  returning m.crm_id, p.changed, m.deleted
), marked as (
  insert into sync.mark (stream, by_hub, crm_id)
  select s.id, false, c.crm_id from sync.stream s
  cross join (select crm_id from inserted union all select crm_id from updated where changed) c
  where {mark} and s.connection = {connection} and s.entity = {entity}
)
select page.read, (select count(*) from inserted),
  count(*) filter (where changed and not deleted), count(*) filter (where changed and deleted), page.newest,
  array(select crm_id from probed where unsure)
from (select count(*) as read, max({modified}) as newest from staging s) page left join updated on true
group by page.read, page.newest
"""


def value_of(spec: FieldSpec, staged: staging.Staged) -> sql.Composable | None:
    """Expression for a field's value in the staged page; None if the page does not have it."""
    template = spec.vendor.template
    if template is None:
        if spec.vendor.name not in staged.columns:
            return None
        return canonical_crm(spec.type, ident("s", spec.vendor.name))
    if not staged.columns.issuperset(template_fields(template)):
        return None
    return render(template, lambda name: ident("s", name))
