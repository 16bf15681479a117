"""Make a database ready for a system: migrated, and shaped as the connection files say.

Cheap when nothing is to do: shaping takes locks on the hub tables for which a busy application would have to
wait, so it happens only if the connection files or the code that shapes have changed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType

import psycopg

from crm_sync.core.catalogue import BY_CLASS, OWN, Entry
from crm_sync.core.spec import System
from crm_sync.hub import error_codes, migrate, tables

_LOCK = 0x63726D70  # one process prepares, the others wait
_NO_CODES: Mapping[str, Sequence[Entry]] = MappingProxyType({})
_SHAPING = ("capture.py", "differences.py", "sql.py", "tables.py")


def prepare(url: str, system: System, codes: Mapping[str, Sequence[Entry]] = _NO_CODES) -> None:
    """Migrate the database at `url` and make it fit `system`, unless that was done before. codes: the vendors' part of the
    catalogue of refusals, by kind of CRM.

    Raises ConfigError if a hub column has another type than a connection file asks for.
    """
    wanted = f"shape {_fingerprint(system, codes)}"
    with psycopg.connect(url, autocommit=True) as conn:
        if _found(conn) == wanted:
            return
        conn.execute("select pg_advisory_lock(%s)", [_LOCK])  # released with the session
        if _found(conn) == wanted:
            return
        migrate.upgrade(url)
        tables.ensure(conn, system)
        error_codes.fill(conn, codes)
        conn.execute(
            psycopg.sql.SQL("comment on table sync.stream is {}").format(psycopg.sql.Literal(wanted))
        )


def _found(conn: psycopg.Connection) -> str | None:
    """The mark that the last `prepare` left on `sync.stream`, the table of what the database was shaped for."""
    row = conn.execute("select obj_description(to_regclass('sync.stream'), 'pg_class')").fetchone()
    return row[0] if row else None


def _fingerprint(system: System, codes: Mapping[str, Sequence[Entry]]) -> str:
    shape = repr((system.streams, OWN, BY_CLASS, sorted(codes.items())))
    return hashlib.sha256(shape.encode() + _code()).hexdigest()[:32]


@cache
def _code() -> bytes:
    folder = Path(__file__).parent
    files = [
        *(folder / name for name in _SHAPING),
        *sorted((folder / "migrations" / "versions").glob("*.py")),
    ]
    return b"".join(path.read_bytes() for path in files)
