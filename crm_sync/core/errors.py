"""The one classification of everything that can go wrong, and what each class means for retrying.

    SyncError
    ├── ConfigError       a person has to change a file or a setting; names file, line and field
    ├── BusyError         another process is working on the same stream
    └── CrmError          a CRM refused, failed, or could not be reached; carries an ErrorClass

Here belong the classes and the exceptions that carry them; not the vendors' codes, which each connector
translates into a class (`connectors/<vendor>/errors.py`), and not the retrying itself (`connectors/http.py`).
Texts of errors never hold secrets or values of records: they name the record, the field and the class of value.
"""

from dataclasses import dataclass
from enum import StrEnum


class ErrorClass(StrEnum):
    """What kind of trouble it is. Retry, the state of the record and of the connection all follow from it."""

    AUTH = "auth"  # the connection's credentials are not accepted: a person must reconnect
    RATE_LIMIT = "rate_limit"  # too many calls: wait as told, then go on
    VALIDATION = "validation"  # this record's data is refused: park it, go on with the others
    TRANSIENT = "transient"  # may pass by itself and certainly had no effect: back off and try again
    UNKNOWN_OUTCOME = "unknown_outcome"  # the request may have taken effect: look before trying again
    CONCURRENCY = "concurrency"  # somebody else changed or locked the record: read again, then decide again
    PERMISSION = "permission"  # object or field not allowed or not there: the field is frozen
    GONE = "gone"  # the record was deleted or merged
    PERMANENT = "permanent"  # will not work however often it is tried: a bug, or an unknown refusal


RETRYABLE = frozenset({ErrorClass.RATE_LIMIT, ErrorClass.TRANSIENT, ErrorClass.CONCURRENCY})
"""Classes for which the same request may be sent again as it is."""


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
    def retryable(self) -> bool:
        return self.error_class in RETRYABLE


@dataclass(frozen=True, slots=True)
class RecordError:
    """Why one record of a batch was not accepted. The others went on."""

    error_class: ErrorClass
    code: str
    message: str
    fields: tuple[str, ...] = ()
