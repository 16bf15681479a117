"""The catalogue of refusals: for each code its cause, what to do, who does it, and when the record is tried again.

Here belong what a row is, the rows of our own codes, and those that stand for a whole class, for codes that nobody knows.
A vendor's codes are with its connector (`connectors/<kind>/catalogue.py`). What follows from a class is in `errors.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from crm_sync.core.errors import ErrorClass

OURS = "crm_sync"
"""The source of our own codes; a vendor's is the kind of the connection."""


class Owner(StrEnum):
    """Who can do something about it."""

    CRM_ADMIN = "CRM admin"
    DATA_OWNER = "data owner"
    ENGINEER = "integration engineer"
    NOBODY = "nobody: it resolves by itself"


class Retryable(StrEnum):
    """When the record is tried again. Whatever it says, a reconcile tries all, and so does `crm-sync parked requeue`."""

    CHANGED = "when the record changes"
    BACKOFF = "by itself, with backoff"
    REQUEUE = "after requeue"  # what has to change is not the record


@dataclass(frozen=True, slots=True)
class Entry:
    """One row. cause: a sentence. fix: one sentence, in the imperative."""

    code: str
    error_class: ErrorClass
    cause: str
    fix: str
    owner: Owner
    retryable: Retryable


@dataclass(frozen=True, slots=True)
class Backoff:
    """The pauses between tries of a record that the CRM refuses for a reason that may pass: the next run, then after
    `first`, then twice as long each time, `most` at most. After `tries` it is parked."""

    first: timedelta
    most: timedelta
    tries: int

    def pause(self, attempts: int) -> timedelta | None:
        """How long to wait after so many refusals; None: it is parked."""
        if attempts >= self.tries:
            return None
        return min(self.first * 2 ** (attempts - 2), self.most) if attempts > 1 else timedelta()


BACKOFF = Backoff(timedelta(minutes=1), timedelta(hours=1), 10)
"""Ten tries in about four hours."""

_C = ErrorClass
_ADMIN, _DATA, _ENGINEER, _NOBODY = Owner
_CHANGED, _BACKOFF, _REQUEUE = Retryable

BY_CLASS: Mapping[ErrorClass, Entry] = {
    entry.error_class: entry
    for entry in (
        Entry(_C.RATE_LIMIT, _C.RATE_LIMIT, "A limit of the CRM is used up.",
              "Wait until the limit's window is over.", _NOBODY, _BACKOFF),
        Entry(_C.TRANSIENT, _C.TRANSIENT, "The CRM could not do it at that moment.",
              "Wait for the next tries.", _NOBODY, _BACKOFF),
        Entry(_C.UNKNOWN_OUTCOME, _C.UNKNOWN_OUTCOME, "Nobody knows whether the CRM has done it.",
              "Wait for the next sync, which looks before it writes.", _NOBODY, _BACKOFF),
        Entry(_C.AUTH, _C.AUTH, "The CRM does not accept the connection's login.",
              "Connect the account again, and look at `crm-sync check`.", _ENGINEER, _BACKOFF),
        Entry(_C.PERMISSION, _C.PERMISSION, "The CRM's user may not do this, or the object or field is not there.",
              "Give the CRM's user access, or take the object or field out of the connection file.", _ADMIN, _REQUEUE),
        Entry(_C.VALIDATION, _C.VALIDATION, "The record's data is refused.",
              "Correct the value that the reason names.", _DATA, _CHANGED),
        Entry(_C.CONCURRENCY, _C.CONCURRENCY, "Somebody else was writing the record.",
              "Wait for the next tries.", _NOBODY, _BACKOFF),
        Entry(_C.MOVED, _C.MOVED, "Somebody has just changed the record in the CRM.",
              "Wait for the next sync, which decides anew.", _NOBODY, _BACKOFF),
        Entry(_C.GONE, _C.GONE, "The record was deleted or merged in the CRM.",
              "Restore the record in the CRM, or delete it in the hub.", _DATA, _CHANGED),
        Entry(_C.PERMANENT, _C.PERMANENT, "The CRM refuses in a way that trying again does not change.",
              "Read the reason, and report it if it does not help.", _ENGINEER, _REQUEUE),
    )
}  # fmt: skip
"""The rows for codes that are in no catalogue, by their class."""


def entry(
    code: str,
    error_class: ErrorClass,
    cause: str,
    fix: str = "",
    owner: Owner | None = None,
    retryable: Retryable | None = None,
) -> Entry:
    """A row; what is not given is as for its class."""
    usual = BY_CLASS[error_class]
    return Entry(
        code, error_class, cause, fix or usual.fix, owner or usual.owner, retryable or usual.retryable
    )


OWN: tuple[Entry, ...] = (
    # found before anything is sent
    entry("INVALID_VALUE", _C.VALIDATION, "The value breaks the rules of its field's type.",
          "Correct the value where it was entered, or change the field's type in the connection file."),
    entry("REQUIRED_FIELD_MISSING", _C.VALIDATION, "The CRM needs a value in a field that is blank in the hub.",
          "Fill in the field in the hub, or give it a constant in the connection file."),
    entry("REQUIRED_BY_MAPPING", _C.VALIDATION, "The connection file requires a field that is blank in the hub.",
          "Fill in the field in the hub."),
    entry("STRING_TOO_LONG", _C.VALIDATION, "The value is longer than the CRM's field.",
          "Shorten the value, or have the CRM's field made longer."),
    entry("INVALID_OPTION", _C.VALIDATION, "The CRM's picklist does not have the value.",
          "Add the value to the field's `values` in the connection file, or to the CRM's picklist.", _ENGINEER, _REQUEUE),
    entry("FIELD_MISSING", _C.PERMISSION, "The CRM's object does not have the field, or the CRM's user may not see it.",
          "Give the CRM's user access to the field, or take it out of the connection file."),
    entry("FIELD_READ_ONLY", _C.PERMISSION, "The CRM does not let the CRM's user write the field.",
          "Give the CRM's user the right to edit the field, or make it `inbound` in the connection file."),
    # which record belongs to which
    entry("MATCH_WAITS", _C.VALIDATION, "A CRM record that matches this one, or carries its id, is not linked yet.",
          "Wait until that record is linked; if it is parked, mend that one.", _NOBODY),
    entry("AMBIGUOUS_MATCH", _C.VALIDATION, "Several hub records match the CRM record equally well.",
          "Merge the doubles, or correct the value by which they match."),
    entry("MATCH_REVIEW", _C.VALIDATION, "Hub records are alike, but not alike enough to link without a person.",
          "Decide with `crm-sync match --review`."),
    entry("MERGE_WAITS", _C.VALIDATION, "The CRM merged the record into one that another hub record has.",
          "Decide with `crm-sync merges` whether the two hub records become one."),
    entry("EXTERNAL_ID_CARRIED", _C.VALIDATION,
          "Another hub record's CRM record carries this one's id, copied or from a merge; a create would overwrite it.",
          "Clear the external id of that record in the CRM; the reason names both.", _DATA, _REQUEUE),
    entry("DOUBLE", _C.VALIDATION, "The CRM has two records of one hub record: those of two that were made one.",
          "Merge the two in the CRM, or delete one of them there."),
    entry("CONVERSION_WAITS", _C.VALIDATION, "The record comes from a converted lead, which the CRM has as a lead still.",
          "Move the CRM's record on, so that it is one of the contacts."),
    # the hub's own tables
    entry("HUB_REQUIRED", _C.VALIDATION, "A column of the hub's table must not be null.",
          "Fill in the field in the CRM, or drop the constraint of the hub's table."),
    entry("HUB_UNIQUE", _C.VALIDATION, "Another hub record has the value, and a constraint of the hub's table forbids that.",
          "Correct the value in the CRM, or merge the two records."),
    entry("HUB_CHECK", _C.VALIDATION, "A check constraint of the hub's table forbids the value.",
          "Correct the value in the CRM, or change the constraint of the hub's table."),
    entry("HUB_REFERENCE", _C.VALIDATION, "A foreign key of the hub's table has no record to point to.",
          "Create the record it refers to, or change the constraint of the hub's table.", _ENGINEER, _REQUEUE),
    entry("HUB_REFUSED", _C.VALIDATION, "The hub's table refuses the record.",
          "Correct the value in the CRM, or change the table's columns, constraints or triggers.", _ENGINEER, _REQUEUE),
    # sending
    entry("NOT_SENT", _C.TRANSIENT, "Calls before this one failed, so that it was not made."),
    entry("NO_RESULT", _C.UNKNOWN_OUTCOME, "The CRM's answer leaves this record out."),
    entry("CHANGED_MEANWHILE", _C.MOVED, "The CRM's record has changed since it was decided about."),
    entry("TOO_LARGE", _C.VALIDATION, "The record is too large for one call.", "Shorten its longest values."),
)  # fmt: skip
"""Our own codes, whatever the CRM."""


def row_of(item: Entry) -> str:
    """A row of the documentation's table."""
    retry = item.retryable
    return f"| `{item.code}` | `{item.error_class}` | {item.cause} | {item.fix} | {item.owner} | {retry} |"
