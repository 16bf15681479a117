"""Leases: one run at a time works on a stream, and a run that lost its lease cannot write any more.

Who holds a lease is decided by an advisory lock of its session, so that it is free the moment the session is gone:
the process was killed, the machine went away, the server restarted. The row in `sync.lease` carries the fencing
token, which grows whenever the lease is taken. Every transaction of the holder first renews the row by name and
token. That finds a newer token, and it locks the row, so that nobody takes the lease before the transaction ends.

A process that is stopped, but not dead, keeps its session. After `EXPIRY` without a word from it the next run ends
that session and takes the lease; should the process wake up, its next statement fails.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from psycopg import Connection

from crm_sync.core.errors import BusyError, LostLeaseError

EXPIRY = timedelta(hours=1)
"""Longer than a healthy run is ever silent: it renews with each page, each batch and each note about a job. Taking
over a run that was only slow does no harm, because its successor goes on with its job and its intents."""

_END_SESSION = 10_000  # milliseconds


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on `name` (a stream, or an entity in the hub), as long as `token` is the newest."""

    name: str
    token: int


def take(conn: Connection, name: str, run_id: str | None, *, expiry: timedelta = EXPIRY) -> Lease:
    """Take the lease for this session, outside a transaction. Raises BusyError at once if another session has it."""
    if not lock(conn, name) and not (_end_silent_holder(conn, name, expiry) and lock(conn, name)):
        raise busy(name)
    row = conn.execute(
        "insert into sync.lease as l (name, token, holder, backend) values (%s, 1, %s, pg_backend_pid())"
        " on conflict (name) do update set token = l.token + 1, holder = excluded.holder, backend = excluded.backend,"
        " taken_at = clock_timestamp(), renewed_at = clock_timestamp() returning token",
        [name, run_id],
    ).fetchone()
    assert row is not None
    return Lease(name, row[0])


def renew(conn: Connection, leases: Sequence[Lease]) -> None:
    """Make sure that these leases are still this run's, and keep them until the caller's transaction ends.

    Raises LostLeaseError if another run has taken one of them.
    """
    if not leases:
        return
    held = conn.execute(
        "update sync.lease l set renewed_at = clock_timestamp()"
        " from unnest(%s::text[], %s::bigint[]) as ours (name, token) where l.name = ours.name and l.token = ours.token",
        [[lease.name for lease in leases], [lease.token for lease in leases]],
    ).rowcount
    if held != len(leases):
        raise LostLeaseError(
            f"{', '.join(lease.name for lease in leases)}: another run has taken over, because this one seemed dead;"
            " this one wrote nothing since. There is nothing to repair."
        )


def lock(conn: Connection, name: str) -> bool:
    """Hold the advisory lock alone, which is all that a dry run needs: it writes nothing. Whether it is ours."""
    row = conn.execute("select pg_try_advisory_lock(%s)", [_key(name)]).fetchone()
    return row is not None and bool(row[0])


def unlock(conn: Connection, name: str) -> None:
    """Let the next run in."""
    conn.execute("select pg_advisory_unlock(%s)", [_key(name)])


def busy(name: str) -> BusyError:
    """What to raise when `name` is somebody else's."""
    return BusyError(
        f"{name} is being synced by another process; this run did nothing. Try again when it is done."
    )


def _end_silent_holder(conn: Connection, name: str, expiry: timedelta) -> bool:
    """End the session that holds the lease if nothing was heard from it for `expiry`; whether it is gone."""
    row = conn.execute(
        "select pg_terminate_backend(held.pid, %(wait)s) from pg_locks held"
        " join sync.lease l on l.name = %(name)s and l.backend = held.pid"
        " where held.locktype = 'advisory' and held.granted and held.objsubid = 1"
        " and held.database = (select oid from pg_database where datname = current_database())"
        " and ((held.classid::bigint << 32) | held.objid::bigint) = %(key)s"
        " and l.renewed_at < clock_timestamp() - %(expiry)s",
        {"wait": _END_SESSION, "name": name, "key": _key(name), "expiry": expiry},
    ).fetchone()
    return row is not None and bool(row[0])


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
