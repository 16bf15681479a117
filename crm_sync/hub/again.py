"""Transactions that are begun again: the victims of a deadlock, of a serialisation failure, of a lock that never came.

Postgres ends one of two transactions that wait for each other, and an application that changes hub rows in an order of
its own, or a trigger of the user's, can bring any transaction of ours into that. It has then written nothing, so it may
be made once more from its beginning, when it asks no CRM for anything: what was sent is recorded in such transactions,
from answers that are still in memory.
"""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg

from crm_sync.core.errors import BusyError, LostLeaseError, StorageError

T = TypeVar("T")

log = logging.getLogger(__name__)

TRIES = 6
VICTIM = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
)


def until_done(do: Callable[[], T], sleep: Callable[[float], None]) -> T:
    """What `do`, a whole transaction, returns; it is called again, after growing pauses, while others are in its way.

    Raises what it raised the last time.
    """
    for attempt in range(1, TRIES):
        try:
            return do()
        except VICTIM as error:
            pause = _pause(attempt)
            log.info("%s; the transaction is begun again in %.1f s", type(error).__name__, pause)
            sleep(pause)
    return do()


def _pause(attempt: int) -> float:
    """Seconds: about 0.1, 0.2, 0.4, 0.8, 1.6; never twice the same, for the other one may be pausing as well."""
    return random.uniform(0.075, 0.125) * 2.0 ** (attempt - 1)  # noqa: S311 - spreads load, guards nothing


@contextmanager
def explained(conn: psycopg.Connection, what: str) -> Iterator[None]:
    """Say in a sentence what the database's own troubles mean, of a run that works on `what`. Their first lines name files
    and settings of the server, no records; the details do, and are left out.

    Raises BusyError, LostLeaseError or StorageError for them; other errors go on as they are.
    """
    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise StorageError(
            f"{what}: the disk of the database is full ({_words(error)}). What was committed stays; make"
            " room and run the sync again, it goes on where this one stopped."
        ) from error
    except VICTIM as error:
        raise BusyError(
            f"{what}: others hold rows that this run has to write ({_words(error)}), and did not let go in time. What was"
            " committed stays, and nothing is lost: the next run goes on where this one stopped."
            " If it comes back, let the application hold its transactions shorter, or change rows in the order of their ids."
        ) from error
    except psycopg.errors.QueryCanceled as error:
        raise StorageError(
            f"{what}: the server broke off a statement ({_words(error)}). What was committed stays; if a statement_timeout"
            " is set for the sync's role or database, raise it, and run the sync again."
        ) from error
    except psycopg.Error as error:
        if not conn.broken:
            raise
        said = _words(error)
        raise LostLeaseError(
            f"{what}: the session with the database has ended{f' ({said})' if said else ''}, and the lease with it; this run"
            " wrote nothing since. The next run goes on where this one stopped."
        ) from error


def _words(error: psycopg.Error) -> str:
    """The server's own words, also if a later statement only found the connection closed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, psycopg.Error) and cause.diag.message_primary:
            return cause.diag.message_primary
        cause = cause.__context__
    return ""
