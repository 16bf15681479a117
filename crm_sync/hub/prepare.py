"""Make a database ready for a system: migrated, and shaped as the connection files say.

Cheap when nothing is to do: shaping takes locks on the hub tables for which a busy application would have to
wait, so it happens only if the connection files or the code that shapes have changed.
"""

import hashlib
from functools import cache
from pathlib import Path

import psycopg

from crm_sync.core.spec import System
from crm_sync.hub import migrate, tables

_LOCK = 0x63726D70  # one process prepares, the others wait
_SHAPING = ("capture.py", "differences.py", "sql.py", "tables.py")


def prepare(url: str, system: System) -> None:
    """Migrate the database at `url` and make it fit `system`, unless that was done before.

    Raises ConfigError if a hub column has another type than a connection file asks for.
    """
    wanted = f"shape {_fingerprint(system)}"
    with psycopg.connect(url, autocommit=True) as conn:
        if _found(conn) == wanted:
            return
        conn.execute("select pg_advisory_lock(%s)", [_LOCK])  # released with the session
        if _found(conn) == wanted:
            return
        migrate.upgrade(url)
        tables.ensure(conn, system)
        conn.execute(
            psycopg.sql.SQL("comment on table sync.stream is {}").format(psycopg.sql.Literal(wanted))
        )


def _found(conn: psycopg.Connection) -> str | None:
    """The mark that the last `prepare` left on `sync.stream`, the table of what the database was shaped for."""
    row = conn.execute("select obj_description(to_regclass('sync.stream'), 'pg_class')").fetchone()
    return row[0] if row else None


def _fingerprint(system: System) -> str:
    return hashlib.sha256(repr(system.streams).encode() + _code()).hexdigest()[:32]


@cache
def _code() -> bytes:
    folder = Path(__file__).parent
    files = [
        *(folder / name for name in _SHAPING),
        *sorted((folder / "migrations" / "versions").glob("*.py")),
    ]
    return b"".join(path.read_bytes() for path in files)
