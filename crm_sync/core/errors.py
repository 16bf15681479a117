"""The one classification of everything that can go wrong, and what follows from each class.

    SyncError
    ├── ConfigError       a person has to change a file or a setting; names file, line and field
    ├── BusyError         another process is working on the same stream
    ├── LostLeaseError    another process has taken over; this run must not write any more
    ├── StorageError      the hub's database cannot take any more
    └── CrmError          a CRM refused, failed, or could not be reached; carries an ErrorClass
        └── HeldError     no call was made: the share of the limits is used up, or the breaker is open

Here belong the classes and the exceptions that carry them; not the codes (`catalogue.py`), which each connector
translates into a class (`connectors/<vendor>/errors.py`), and not the retrying itself (`connectors/http.py`).
Texts of errors never hold secrets or values of records: they name the record, the field and the class of value.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum


class ErrorClass(StrEnum):
    """What kind of trouble it is. What follows from it stands in `RULES`."""

    AUTH = "auth"  # the connection's credentials are not accepted: a person must reconnect
    RATE_LIMIT = "rate_limit"  # too many calls: wait as told, then go on
    VALIDATION = "validation"  # this record's data is refused: park it, go on with the others
    TRANSIENT = "transient"  # may pass by itself and certainly had no effect: back off and try again
    UNKNOWN_OUTCOME = "unknown_outcome"  # the request may have taken effect: look before trying again
    CONCURRENCY = "concurrency"  # somebody else changed or locked the record: read again, then decide again
    MOVED = "moved"  # the CRM shows another value than when it was decided: nothing was sent
    PERMISSION = "permission"  # object or field not allowed or not there: the field is frozen
    GONE = "gone"  # the record was deleted or merged
    PERMANENT = "permanent"  # will not work however often it is tried: a bug, or an unknown refusal


class RecordState(StrEnum):
    """What becomes of a record whose write failed."""

    WAITS = "waits"  # is decided anew in the next run, then after growing pauses (`catalogue.BACKOFF`)
    INTENT = "intent"  # its intent stays: the next run looks at the CRM first
    PARKED = "parked"  # until its value, the mapping or the account changes


class ConnectionState(StrEnum):
    """How a connection is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"  # something is wrong that may pass, or that concerns a part of it
    FAILED = "failed"  # a person has to do something before anything goes on


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows from an error of one class.

    retry: for people, when it is tried again. tries: of one request, the first included (1: never sent again as it
    is). next_run: whether another try of the whole step within minutes can help. record: what becomes of a record.
    connection: how the connection is while this goes on. breaks: whether the circuit breaker counts it. advice: for
    people, what to do. alert: whether somebody is told. soon: whether a record that was refused so may be sent again
    within seconds. alone: whether one record can be the cause for a whole batch, so that the others are sent without it.
    """

    retry: str
    tries: int
    next_run: bool
    record: RecordState
    connection: ConnectionState
    breaks: bool
    advice: str
    alert: bool
    soon: bool = False
    alone: bool = False


_HEALTHY, _DEGRADED, _FAILED = ConnectionState
_WAITS, _INTENT, _PARKED = RecordState

RULES: Mapping[ErrorClass, Rule] = {
    ErrorClass.RATE_LIMIT: Rule(
        "when the CRM says, or its window is over", 5, True, _WAITS, _DEGRADED, False,
        "The CRM's limit is used up; the next sync goes on where this one stopped.", False,
    ),
    ErrorClass.TRANSIENT: Rule(
        "at once with growing pauses, then in the next run", 5, True, _WAITS, _DEGRADED, True,
        "The CRM could not be reached; the next sync goes on where this one stopped.", True, soon=True,
    ),
    ErrorClass.UNKNOWN_OUTCOME: Rule(
        "never blindly: the next run looks first", 1, True, _INTENT, _DEGRADED, True,
        "The CRM may have done it without answering; the next sync looks before it writes.", True,
    ),
    ErrorClass.AUTH: Rule(
        "not before the login works", 1, False, _WAITS, _FAILED, True,
        "Connect the account again; `crm-sync check` says whether it works.", True,
    ),
    ErrorClass.PERMISSION: Rule(
        "when the account or the mapping has changed", 1, False, _PARKED, _DEGRADED, False,
        "Give the CRM's user access, or take the object or field out of the connection file.", True, alone=True,
    ),
    ErrorClass.VALIDATION: Rule(
        "when the value or the mapping has changed", 1, False, _PARKED, _HEALTHY, False,
        "Correct the value in the hub or in the CRM; the reason names the field.", False, alone=True,
    ),
    ErrorClass.CONCURRENCY: Rule(
        "at once, then decided anew in the next run", 3, True, _WAITS, _HEALTHY, False,
        "Somebody else was writing the record; the next sync reads it again.", False, soon=True,
    ),
    ErrorClass.MOVED: Rule(
        "when it was read again and decided anew", 1, True, _WAITS, _HEALTHY, False,
        "Somebody has just changed the field in the CRM; the next sync takes that into account.", False,
    ),
    ErrorClass.GONE: Rule(
        "when the record comes back", 1, False, _PARKED, _HEALTHY, False,
        "The record was deleted or merged in the CRM.", False, alone=True,
    ),
    ErrorClass.PERMANENT: Rule(
        "when the value, the mapping or the version has changed", 1, False, _PARKED, _DEGRADED, False,
        "The CRM refused in a way that trying again does not change; report it if the reason does not help.", True,
    ),
}  # fmt: skip
"""The one table from which retries, parking, the circuit breaker, states, advice and alerts follow."""

NO_SUCCESS = frozenset({ErrorClass.RATE_LIMIT, *(c for c, rule in RULES.items() if rule.breaks)})
"""Classes after which nobody knows whether the connection works; any other refusal shows that it does."""


def reference() -> str:
    """The table as a page of the documentation (`docs/reference/errors.md`)."""
    rows = [
        f"| `{c}` | {rule.retry} | {rule.record} | {rule.connection}{', after 5 in a row' if _slow(rule) else ''} |"
        f" {'yes' if rule.breaks else 'no'} | {'yes' if rule.alert else 'no'} | {rule.advice} |"
        for c, rule in RULES.items()
    ]
    return "\n".join([_PAGE, *rows, ""])


def _slow(rule: Rule) -> bool:
    return rule.breaks and rule.connection is not ConnectionState.FAILED


_PAGE = """# Errors

Every refusal of a CRM, and every failure to reach it, is of one of these classes, whatever the CRM calls it. What follows
from it is the same everywhere. This page is made from the code (`make docs`).

- **Record**: `waits`: it is decided anew in the next run, and if the CRM refuses it again, after growing pauses; after ten
  tries it is parked. `intent`: what was sent is kept, and the next run looks at the CRM before anything else. `parked`: it stands in `sync.parked` with its reason, until its value, the mapping
  or the account changes.
- **Connection**: what `crm-sync status` shows while it goes on.
- **Breaker**: whether it counts for the circuit breaker ([Limits](../howto/limits.md)).
- **Alert**: whether the sensor `run_failures` tells it; a record that is parked fails no run.

| Class | Tried again | Record | Connection | Breaker | Alert | What to do |
|---|---|---|---|---|---|---|"""


class SyncError(Exception):
    """Something the user of crm_sync should know about, said in a sentence."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file: `file:line: field: message`."""

    file: str
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line is not None else self.file
        return f"{where}: {self.field}: {self.message}" if self.field else f"{where}: {self.message}"


class ConfigError(SyncError):
    """Connection files or settings that cannot be used; lists every problem found, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class BusyError(SyncError):
    """Another process holds the lease of a stream; nothing was done."""


class LostLeaseError(SyncError):
    """The run's session with the database is gone, or another run has taken its lease; nothing was written since."""


class HeldBackError(SyncError):
    """The guard stopped a run before its first write: it would have done more than its limits let pass, or on a side
    that is not what it was. Nothing is lost: what waits stays marked until a person confirms or mends it."""


class StorageError(SyncError):
    """The hub's database cannot take any more, for example because its disk is full."""


class CrmError(SyncError):
    """A call to a CRM failed.

    `code` is the vendor's own word for it, `status` the HTTP status (None if no answer came), `retry_after`
    the seconds the vendor asks to wait (None if it does not say).
    """

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.code = code
        self.status = status
        self.retry_after = retry_after

    @property
    def rule(self) -> Rule:
        """What follows from it."""
        return RULES[self.error_class]

    @property
    def retryable(self) -> bool:
        """Whether the same request may be sent again as it is."""
        return self.rule.tries > 1

    @property
    def gravity(self) -> tuple[bool, ...]:
        """By which errors are compared: what a person has to mend is graver than what passes by itself, a call that was
        refused graver than one that was not made."""
        rule = self.rule
        failed = rule.connection is ConnectionState.FAILED
        return (failed, not rule.next_run and rule.alert, rule.alert, not isinstance(self, HeldError))


class HeldError(CrmError):
    """No call was made: the connection's share of the limits is used up, or its circuit breaker is open. Nothing is
    lost: what waits goes on with a run after `retry_after` seconds."""


def sentences(*texts: str) -> str:
    """The texts one after the other, each with a full stop if another follows: what CRMs and we say often has none."""
    said = [text.strip() for text in texts if text.strip()]
    ended = [text if text.endswith((".", "!", "?", "…")) else f"{text}." for text in said[:-1]]
    return " ".join([*ended, *said[-1:]])


@contextmanager
def afterwards(do: Callable[[], None]) -> Iterator[None]:
    """Do something after the block, whatever becomes of that. If the CRM refuses both, the graver error is raised (the
    block's, if they are alike): `finally` alone would raise the later one."""
    try:
        yield
    except CrmError as first:
        try:
            do()
        except CrmError as second:
            if second.gravity > first.gravity:
                raise
        raise
    except BaseException:
        do()
        raise
    else:
        do()


@dataclass(frozen=True, slots=True)
class RecordError:
    """Why one record of a batch was not accepted. The others went on. existing: the CRM's id of the record that has what
    must be unique, where the CRM says it."""

    error_class: ErrorClass
    code: str
    message: str
    fields: tuple[str, ...] = ()
    existing: str | None = None

    @property
    def rule(self) -> Rule:
        """What follows from it."""
        return RULES[self.error_class]
