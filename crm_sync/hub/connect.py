"""Opening a connection to the hub's database for a run.

Here: what refusals of the server mean. Addresses of the server are in cluster.py and embedded.py.
"""

import psycopg

from crm_sync.core.errors import StorageError

_FULL = "No space left on device"
"""A refusal at the door carries no SQLSTATE, only the operating system's words."""


def connect(url: str, *, autocommit: bool = False) -> psycopg.Connection:
    """A connection. Raises StorageError if the server's disk is too full to let anybody in."""
    try:
        return psycopg.connect(url, autocommit=autocommit)
    except psycopg.OperationalError as error:
        if _FULL not in str(error):
            raise
        raise StorageError(
            f"the disk of the database is full ({_FULL}), so that it lets nobody in. What was committed stays; make room"
            " and run the sync again, it goes on where the last one stopped."
        ) from error
