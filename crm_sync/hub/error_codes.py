"""The catalogue of refusals in the database, so that whoever asks in SQL reads what to do.

It is a copy, written when a database is prepared; what is true is in `core/catalogue.py` and with the connectors.
"""

from collections.abc import Mapping, Sequence

from psycopg import Connection

from crm_sync.core.catalogue import BY_CLASS, OURS, OWN, Entry

CLASS = "class"
"""The source of the rows for codes that are in no catalogue; their code is the class."""


def fill(conn: Connection, vendors: Mapping[str, Sequence[Entry]]) -> None:
    """Write the catalogue anew: our own codes, the classes, and those of the vendors by kind of CRM."""
    sources = {CLASS: list(BY_CLASS.values()), OURS: OWN, **vendors}
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute("delete from sync.error_code")
        cursor.executemany(
            "insert into sync.error_code (source, code, error_class, cause, fix, owner, retryable)"
            " values (%s, %s, %s, %s, %s, %s, %s)",
            [
                (source, e.code, e.error_class, e.cause, e.fix, e.owner, e.retryable)
                for source, entries in sources.items()
                for e in entries
            ],
        )
