"""Reasons for parking a record that several steps give. Never the value: its class, its field, the rule."""

from uuid import UUID

import psycopg

from crm_sync.core.errors import ErrorClass
from crm_sync.core.normalise import Invalid
from crm_sync.hub.parked import Parked


def invalid_value(
    side: str, record_id: str, invalid: Invalid, *, crm_id: str | None = None, hub_id: UUID | None = None
) -> Parked:
    """A value that the other side cannot hold."""
    return Parked(
        side,
        record_id,
        invalid.field,
        ErrorClass.VALIDATION,
        "INVALID_VALUE",
        invalid.reason,
        invalid.value_class,
        hub_id,
        crm_id,
    )


_HUB_CODES = {
    "23502": "HUB_REQUIRED",
    "23503": "HUB_REFERENCE",
    "23505": "HUB_UNIQUE",
    "23514": "HUB_CHECK",
    "23P01": "HUB_UNIQUE",
}
"""By SQLSTATE: which kind of constraint refused. Its name is in the reason."""


def why_refused(error: psycopg.Error) -> str:
    """What an error of `REFUSED` says. The words of a trigger, and of errors that name nothing, may quote the value."""
    if error.diag.constraint_name or error.diag.column_name:
        return error.diag.message_primary or "a constraint forbids it"
    if isinstance(error, psycopg.DataError):
        return "a value does not fit its column"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return "the role of the sync may not write it"
    return f"a trigger forbids it ({error.sqlstate}); its words are in the log of Postgres"


def refused_by_hub(error: psycopg.Error, crm_id: str, *, hub_id: UUID | None = None) -> Parked:
    """What a constraint of the hub table says; its detail holds values and is left out."""
    diagnostic = error.diag
    code = _HUB_CODES.get(diagnostic.sqlstate or "", "HUB_REFUSED")
    return Parked(
        "crm",
        crm_id,
        diagnostic.column_name or "",
        ErrorClass.VALIDATION,
        code,
        f"the hub table refuses the record: {why_refused(error)}",
        None,
        hub_id,
        crm_id,
    )
