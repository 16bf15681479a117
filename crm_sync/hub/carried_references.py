"""What refers to a converted lead and has room for a contact refers to the contact too: in every table of the database.

A table may refuse that of one row (a guest list that has the contact already): that row stays as it is, and is told.
"""

from psycopg import Connection, sql

from crm_sync.hub.refusals import REFUSED
from crm_sync.hub.sql import hub_table, ident


def fill(conn: Connection, lead: str, contact: str) -> list[str]:
    """Set the references to contacts beside those to the leads in the temporary table `carried`; returns the tables that
    refused some, in words. A table with several references to contacts is left alone: nobody can tell which one is meant."""
    found = conn.execute(
        "with reference as (select r.oid as place, n.nspname, r.relname, a.attname, c.confrelid from pg_constraint c"
        " join pg_class r on r.oid = c.conrelid join pg_namespace n on n.oid = r.relnamespace"
        " join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]"
        " where c.contype = 'f' and cardinality(c.conkey) = 1)"
        " select l.nspname, l.relname, l.attname, min(k.attname) from reference l join reference k on k.place = l.place"
        " where l.confrelid = to_regclass(%s) and k.confrelid = to_regclass(%s) group by 1, 2, 3 having count(*) = 1"
        " order by 1, 2, 3",
        [hub_table(lead).as_string(conn), hub_table(contact).as_string(conn)],
    ).fetchall()
    told = []
    for schema, table, ours, theirs in found:
        update = sql.SQL(
            "update {table} t set {contact} = k.contact from carried k"
            " where k.entity = {entity} and t.{lead} = k.lead and t.{contact} is null"
        ).format(
            table=ident(schema, table),
            contact=ident(theirs),
            lead=ident(ours),
            entity=sql.Literal(lead),
        )
        refused = "" if _done(conn, update) else _one_by_one(conn, update, ident(schema, table), ours)
        if refused:
            told.append(
                f"{schema}.{table} refuses {theirs} in {refused} with a converted {lead}: only the {lead} stays there"
            )
    return told


def _done(conn: Connection, update: sql.Composed, *where: object) -> bool:
    try:
        with conn.transaction():
            conn.execute(update, where)
    except REFUSED:
        return False
    return True


def _one_by_one(conn: Connection, update: sql.Composed, table: sql.Composable, lead: str) -> str:
    """Row by row; returns how many were refused, in words, empty if none was."""
    which = sql.SQL("select t.tableoid, t.ctid::text from {} t where t.{} in (select lead from carried)")
    try:
        with conn.transaction():
            rows = conn.execute(which.format(table, ident(lead))).fetchall()
    except REFUSED:
        return "all rows"
    alone = sql.SQL("{} and t.tableoid = %s and t.ctid = %s::tid").format(update)
    refused = sum(not _done(conn, alone, place, row) for place, row in rows)
    return f"{refused} row{'s' * (refused > 1)}" if refused else ""
