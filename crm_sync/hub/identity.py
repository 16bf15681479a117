"""Who the two sides are: the accounts that connections were synced with, and the database itself."""

from typing import NamedTuple

from psycopg import Connection

DATABASE = "*"
"""The row of the database itself, beside those of connections."""


class Known(NamedTuple):
    """What was there when a connection was first synced or last confirmed; login: see connectors/identity.py."""

    account: str
    login: str


def known(conn: Connection, connection: str) -> Known | None:
    """What the connection (or the database) was; None if it was never noted."""
    row = conn.execute(
        "select account, login from sync.identity where connection = %s", [connection]
    ).fetchone()
    return Known(*row) if row else None


def learn(conn: Connection, connection: str, account: str, login: str = "") -> None:
    """From now on this is what it has to be."""
    conn.execute(
        "insert into sync.identity (connection, account, login) values (%s, %s, %s) on conflict (connection) do update"
        " set account = excluded.account, login = excluded.login, since = clock_timestamp()",
        [connection, account, login],
    )


def of_database(conn: Connection) -> str:
    """Which database this is: `<cluster>/<timeline>`. A dump that is loaded elsewhere is in another cluster; a cluster that
    was restored to a moment, or whose standby took over, is on another timeline. The cluster is left out where this
    role may not ask for it, the timeline on a server that is a standby."""
    row = conn.execute(
        "select has_function_privilege('pg_control_system()', 'execute'), pg_is_in_recovery(),"
        " has_function_privilege('pg_walfile_name(pg_lsn)', 'execute')"
    ).fetchone()
    may_ask, standby, may_name = row or (False, True, False)
    cluster = timeline = ""
    if may_ask:
        row = conn.execute("select system_identifier::text from pg_control_system()").fetchone()
        cluster = row[0] if row else ""
    if may_name and not standby:
        row = conn.execute("select left(pg_walfile_name(pg_current_wal_lsn()), 8)").fetchone()
        timeline = row[0] if row else ""
    return f"{cluster}/{timeline}"
