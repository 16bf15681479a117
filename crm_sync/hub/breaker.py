"""The circuit breaker of each connection, and how each connection is: one row in `sync.health`.

closed ── five failures in a row, or one refused login ──▶ open ── after a pause ──▶ one call is tried ──▶ closed
                                                             ▲───── it failed: a longer pause ──────┘

The row is shared by all processes, so that of all of them one tries. What counts as a failure is said by the rules of
`core/errors.py`. Here is also what people are shown: the worst of what is known of a connection.
"""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from crm_sync.core.errors import RULES, ConnectionState, CrmError, ErrorClass, HeldError, sentences
from crm_sync.hub.session import Session

AFTER = 5
"""Failures in a row that open it."""
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 900.0
"""Seconds until one call is tried; doubled each time it fails. A fifth more or less, so that not all try at once."""
PROBE_SECONDS = 120.0
"""So long the others wait for the one that tries; if it dies, another tries then."""

ADMIT_EVERY = 0.5
"""Seconds for which a process' look at it counts."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a call may be made. failures: so many in a row before it. probing: it is the one that is tried.
    error_class: of the last failure, if it must not be made; then wait is the seconds until one is tried."""

    failures: int = 0
    probing: bool = False
    error_class: ErrorClass | None = None
    wait: float = 0.0
    reason: str = ""


def admit(conn: Connection[Any], connection: str, *, force: bool = False) -> Admission:
    """Whether a call may be made now; at the time for it, one caller is told to try. force: a person asks for it."""
    row = conn.execute(
        "select failures, extract(epoch from probe_at - clock_timestamp())::float8, reason, error_class"
        " from sync.health where connection = %s",
        [connection],
    ).fetchone()
    if row is None:
        return Admission()
    failures, wait, reason, error_class = row
    if wait is None:
        return Admission(failures)
    if force or (wait <= 0 and _chosen(conn, connection)):
        return Admission(failures, probing=True)
    return Admission(failures, error_class=ErrorClass(error_class), wait=max(wait, 1.0), reason=reason or "")


def _chosen(conn: Connection[Any], connection: str) -> bool:
    changed = conn.execute(
        "update sync.health set probe_at = clock_timestamp() + %s * interval '1 second'"
        " where connection = %s and probe_at <= clock_timestamp()",
        [PROBE_SECONDS, connection],
    )
    return changed.rowcount == 1


def worked(conn: Connection[Any], connection: str) -> None:
    """A call was answered: the connection is healthy, and the breaker closed."""
    conn.execute(
        "update sync.health set since = case when state = 'healthy' then since else clock_timestamp() end,"
        " state = 'healthy', error_class = null, reason = null, failures = 0, openings = 0, probe_at = null"
        " where connection = %s",
        [connection],
    )


def failed(conn: Connection[Any], connection: str, error: CrmError, *, probing: bool) -> None:
    """A request failed for good. Opens the breaker if it was one too many, or keeps it open if it was the one tried."""
    at_once = error.rule.connection is ConnectionState.FAILED
    conn.execute(
        "insert into sync.health (connection) values (%s) on conflict (connection) do nothing", [connection]
    )
    conn.execute(
        "update sync.health h set failures = h.failures + 1, reason = %(reason)s, error_class = %(class)s,"
        " openings = h.openings + o.opens::int,"
        " since = case when o.opens and h.state <> %(state)s then clock_timestamp() else h.since end,"
        " state = case when o.opens then %(state)s else h.state end,"
        " probe_at = case when o.opens then clock_timestamp() + interval '1 second' * (0.8 + 0.4 * random())"
        " * least(%(longest)s, %(first)s * 2.0 ^ least(h.openings, 20)) else h.probe_at end"
        " from (select %(probing)s or (probe_at is null and (%(at_once)s or failures + 1 >= %(after)s)) as opens"
        " from sync.health where connection = %(connection)s for update) o where h.connection = %(connection)s",
        {
            "connection": connection,
            "reason": str(error)[:500],
            "class": error.error_class,
            "state": error.rule.connection,
            "probing": probing,
            "at_once": at_once,
            "after": AFTER,
            "first": FIRST_PAUSE,
            "longest": LONGEST_PAUSE,
        },
    )


class Gate:
    """The breaker as the threads of one process meet it. They share a look at it, but not the permission to try.

    Methods raise HeldError: TRANSIENT if the database cannot be asked.
    """

    def __init__(self, session: Session, connection: str, *, force: bool) -> None:
        self._session = session
        self._connection = connection
        self._force = force
        self._lock = threading.Lock()
        self._admission = Admission()
        self._admitted_at = float("-inf")
        self._thread = threading.local()  # probing: this thread's call is the one that is tried

    def enter(self) -> None:
        """Before a call. Raises HeldError, of the class of the last failure, if it must not be made."""
        if self._probing:
            return
        with self._lock:
            if time.monotonic() - self._admitted_at < ADMIT_EVERY:
                return
            found = self._session.with_connection(
                lambda conn: admit(conn, self._connection, force=self._force)
            )
            if found.probing:
                self._thread.probing = True
                return
            if found.error_class is None:
                self._admission, self._admitted_at = found, time.monotonic()
                return
        when = datetime.now(UTC) + timedelta(seconds=found.wait)
        raise HeldError(
            found.error_class,
            f"{self._connection} is not called before {when:%H:%M:%S} UTC, when it is tried again: {found.reason}",
            code="BREAKER_OPEN",
            retry_after=found.wait,
        )

    def worked(self) -> None:
        """The call of this thread was answered."""
        if self._admission.failures or self._probing:
            try:
                self._session.with_connection(lambda conn: worked(conn, self._connection))
            finally:
                self._forget()

    def failed(self, error: CrmError) -> None:
        """The call of this thread failed for good."""
        probing = self._probing
        try:
            self._session.with_connection(lambda conn: failed(conn, self._connection, error, probing=probing))
        finally:
            self._forget()

    @property
    def _probing(self) -> bool:
        return getattr(self._thread, "probing", False)

    def _forget(self) -> None:
        self._thread.probing = False
        with self._lock:
            self._admission, self._admitted_at = Admission(), float("-inf")


@dataclass(frozen=True, slots=True)
class Health:
    """How a connection is, for people. since: UTC, None if it was always so. open_until: the breaker lets nothing
    through before then."""

    connection: str
    state: ConnectionState
    since: datetime | None
    reason: str
    open_until: datetime | None


def health(conn: Connection[Any], connection: str) -> Health:
    """How a connection is: by its breaker; if that is closed, by its budgets; else by what is frozen or parked."""
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "select state, since, reason, error_class, probe_at from sync.health where connection = %s and"
            " state <> 'healthy'",
            [connection],
        ).fetchone()
        if row is not None:
            advice = RULES[ErrorClass(row["error_class"])].advice
            state = ConnectionState(row["state"])
            return Health(connection, state, row["since"], sentences(row["reason"], advice), row["probe_at"])
        row = cursor.execute(
            "select heard_at from sync.budget where connection = %s and"
            " (pause_until > clock_timestamp() or left_over = 0 and name = 'daily') limit 1",
            [connection],
        ).fetchone()
        if row is not None:
            told = RULES[ErrorClass.RATE_LIMIT]
            return Health(connection, told.connection, row["heard_at"], told.advice, None)
        row = cursor.execute(
            "select string_agg(entity || '.' || field, ', ' order by entity, field) as names, min(frozen_at) as since"
            " from sync.frozen where connection = %s",
            [connection],
        ).fetchone()
        if row is not None and row["names"]:
            text = (
                f"Frozen, because they cannot be read: {row['names']}. {RULES[ErrorClass.PERMISSION].advice}"
            )
            return Health(connection, RULES[ErrorClass.PERMISSION].connection, row["since"], text, None)
        parts = [c for c, rule in RULES.items() if rule.connection is ConnectionState.DEGRADED]
        row = cursor.execute(
            "select count(distinct (entity, side, record_id)) as records, min(first_at) as since, min(reason) as reason,"
            " min(error_class) as error_class from sync.parked where connection = %s and error_class = any(%s)"
            " and next_try is null",
            [connection, [str(c) for c in parts]],
        ).fetchone()
    if row is not None and row["records"]:
        text = f"{row['records']} records are parked ({row['error_class']}), for example: {row['reason']}"
        return Health(connection, ConnectionState.DEGRADED, row["since"], text, None)
    return Health(connection, ConnectionState.HEALTHY, None, "", None)


def open_now(conn: Connection[Any], connection: str) -> str | None:
    """Why no run of the connection should be started now; None if one may be."""
    row = conn.execute(
        "select reason, probe_at from sync.health where connection = %s and probe_at > clock_timestamp()",
        [connection],
    ).fetchone()
    if row is None:
        return None
    return f"{connection} is not called before {row[1]:%H:%M:%S} UTC: {row[0]}"
