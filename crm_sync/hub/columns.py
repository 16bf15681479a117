"""The columns of a hub table, with the values of a row that was kept as JSON and comes back.

What the row was kept in (a tombstone, the journal) is the caller's affair; here is how it becomes columns again.
"""

from collections.abc import Mapping

from psycopg import Connection, sql

from crm_sync.hub.sql import hub_table, ident


def of_returning(
    conn: Connection,
    entity: str,
    *,
    hub_id: sql.Composable,
    row: sql.Composable,
    typed: str,
    instead: Mapping[str, sql.Composable],
) -> list[tuple[str, sql.Composable]]:
    """Each column of the hub table that can be written, with its value.

    row: the kept row, as JSON; typed: the alias of the same in the table's types. `instead` has the values of columns that do
    not come from there. A column that is younger than the row has its default; what refers to a row that is not there
    stays blank.
    """
    own: dict[str, sql.Composable] = {
        "id": hub_id,
        "updated_at": sql.SQL("now()"),
        "archived_at": sql.SQL("null::timestamptz"),
    }
    found = conn.execute(
        "select a.attname, pg_get_expr(d.adbin, d.adrelid), c.target, c.key from pg_attribute a"
        " left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum"
        " left join (select k.conkey[1] as place, min(k.confrelid::regclass::text) as target, min(t.attname) as key"
        "  from pg_constraint k join pg_attribute t on t.attrelid = k.confrelid and t.attnum = k.confkey[1]"
        "  where k.conrelid = to_regclass(%(hub)s) and k.contype = 'f' and cardinality(k.conkey) = 1 group by 1) c"
        " on c.place = a.attnum where a.attrelid = to_regclass(%(hub)s) and a.attnum > 0 and not a.attisdropped"
        " and a.attgenerated = '' and a.attidentity <> 'a' order by a.attnum",
        {"hub": hub_table(entity).as_string(conn)},
    ).fetchall()
    values = {**instead, **own}
    columns: list[tuple[str, sql.Composable]] = []
    for name, default, target, key in found:
        kept: sql.Composable = ident(typed, name)
        if target is not None:
            kept = sql.SQL("(select f.{0} from {1} f where f.{0} = {2})").format(
                ident(key), sql.SQL(target), kept
            )
        value = sql.SQL("case when {} ? {} then {} else {} end").format(
            row, sql.Literal(name), kept, sql.SQL(default or "null")
        )
        columns.append((name, values.get(name, value)))
    return columns
