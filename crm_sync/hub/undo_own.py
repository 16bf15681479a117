"""What an application has put into a hub record that an undo would delete: conditions in SQL about `undo_record` (alias r),
see `undo_records.py`.

The time at which the row was last written does not tell: a later take of ours, selected as well, hides what somebody
wrote before it.
"""

from collections.abc import Collection

from psycopg import Connection, sql

from crm_sync.hub.sql import hub_table, ident

_OURS = ("id", "created_at", "updated_at", "archived_at")
"""Columns of every hub table that are about the row itself."""

# A default that a function makes cannot be made again, so what it gave and what somebody typed look the same: such a
# value counts once the row was written after it was inserted.
_OWN = """
select a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid),
  coalesce(d.adbin::text like '%%{SQLVALUEFUNCTION%%' or exists (
    select from regexp_matches(d.adbin::text, ':(?:funcid|opfuncid) (\\d+)', 'g') f
    join pg_proc p on p.oid = f[1]::oid where p.provolatile <> 'i'), false)
from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity = ''
  and a.attname <> all(%s)
order by a.attnum
"""


def has_values(conn: Connection, entity: str, mapped: Collection[str]) -> sql.Composable | None:
    """Condition: a column of the user's own, which no connection maps, says something else than its default. None if
    there is no such column."""
    columns = conn.execute(_OWN, [hub_table(entity).as_string(conn), [*_OURS, *mapped]]).fetchall()
    if not columns:
        return None
    parts = []
    for name, kind, default, made in columns:
        here = ident("h", name)
        if default is None:
            parts.append(sql.SQL("{} is not null").format(here))
        elif made:
            parts.append(sql.SQL("({} is not null and h.updated_at > h.created_at)").format(here))
        else:  # as texts, for not every type can be compared
            parts.append(
                sql.SQL("({0} is not null and {0}::text is distinct from ({1})::{2}::text)").format(
                    here, sql.SQL(default), sql.SQL(kind)
                )
            )
    return sql.SQL("exists (select from {} h where h.id = r.hub_id and ({}))").format(
        hub_table(entity), sql.SQL(" or ").join(parts)
    )


def overtaken() -> sql.Composable:
    """Condition: a selected take found something else than what the selected rows had put there before: somebody had
    edited the field in between. (That somebody edited it after the last take, provenance tells.)"""
    return sql.SQL(
        "exists (select from (select c.kind, c.old_value, lag(c.new_value, 1, case when c.kind = 'update' then"
        " (select x.new_value::jsonb ->> c.field from sync.change x where x.id = r.id) end)"
        " over (partition by c.field order by c.id) as put from undo_row u join sync.change c on c.id = u.id"
        " where u.entity = r.entity and u.hub_id = r.hub_id and u.side = 'hub' and u.id > r.id and c.kind = 'update') w"
        " where w.old_value is distinct from w.put)"
    )
