"""HubSpot's categories, subcategories and codes: what each means, what to do about it and who does it.

Source: developers.hubspot.com/docs/api-reference/error-handling, and what its answers say. How an answer is read, and what
a status means that names no code, is in `errors.py`.
"""

from crm_sync.core.catalogue import Entry, Owner, Retryable, entry
from crm_sync.core.errors import ErrorClass

_C = ErrorClass
_ADMIN, _DATA, _ENGINEER, _NOBODY = Owner
_CHANGED, _BACKOFF, _REQUEUE = Retryable

CONFLICT = "CONFLICT"

_LOGIN = "Check the access token, or connect the account again."

CODES: tuple[Entry, ...] = (
    # credentials
    entry("INVALID_AUTHENTICATION", _C.AUTH, "HubSpot does not know the access token.", _LOGIN),
    entry("EXPIRED_AUTHENTICATION", _C.AUTH, "The access token has expired.", _LOGIN),
    entry("BAD_REFRESH_TOKEN", _C.AUTH, "The authorisation was revoked, or the app was uninstalled."),
    entry("BAD_AUTH_CODE", _C.AUTH, "The authorisation code is wrong or was used before."),
    entry("BAD_CLIENT_ID", _C.AUTH, "The client id is not one of HubSpot's.",
          "Correct `client_id` in the connection file or its variable."),
    entry("invalid_grant", _C.AUTH, "The authorisation was revoked or has expired."),
    # limits
    entry("RATE_LIMIT", _C.RATE_LIMIT, "Too many calls in the window, or today."),
    entry("RATE_LIMITS", _C.RATE_LIMIT, "Too many calls in the window, or today."),
    # what a token may not do, or what is not in the account
    entry("MISSING_SCOPES", _C.PERMISSION, "The app was not granted a scope that this needs.",
          "Grant the missing scope, then requeue the record."),
    entry("USER_DOES_NOT_HAVE_PERMISSIONS", _C.PERMISSION, "The user who connected the account may not do this.",
          "Give that user the permission, then requeue the record."),
    entry("PROPERTY_DOESNT_EXIST", _C.PERMISSION, "The account does not have the property.",
          "Correct the property in the connection file, or create it in HubSpot.", _ENGINEER),
    entry("READ_ONLY_VALUE", _C.PERMISSION, "HubSpot computes the property, it cannot be written.",
          "Make the field `inbound` in the connection file.", _ENGINEER),
    # the record's data
    entry("VALIDATION_ERROR", _C.VALIDATION, "HubSpot refuses a value."),
    entry("INVALID_EMAIL", _C.VALIDATION, "HubSpot does not take the e-mail address.", "Correct the e-mail address."),
    entry("INVALID_OPTION", _C.VALIDATION, "The property does not have the option.",
          "Add the option to the property, or the value to the field's `values` in the connection file.",
          _ADMIN, _REQUEUE),
    entry("INVALID_DATE", _C.VALIDATION, "HubSpot does not take the date.",
          "Correct the date, or the field's type in the connection file."),
    entry("INVALID_INTEGER", _C.VALIDATION, "HubSpot wants a whole number.",
          "Correct the number, or set `scale: 0` in the connection file."),
    entry("INVALID_LONG", _C.VALIDATION, "HubSpot wants a whole number.",
          "Correct the number, or set `scale: 0` in the connection file."),
    entry("INVALID_NUMBER", _C.VALIDATION, "HubSpot wants a number.",
          "Correct the value, or the field's type in the connection file."),
    entry("INVALID_OWNER_ID", _C.VALIDATION, "The account has no owner with this id.",
          "Give the record an owner that HubSpot has."),
    entry("PROPERTY_VALUE_TOO_LONG", _C.VALIDATION, "The value is longer than HubSpot takes.", "Shorten the value."),
    entry("MISSING_REQUIRED_PROPERTY", _C.VALIDATION, "A property that the account requires is blank.",
          "Fill in the field in the hub, or give it a constant in the connection file."),
    entry("MISSING_CONDITIONAL_REQUIRED_PROPERTY", _C.VALIDATION,
          "A property that the account requires together with another value is blank.",
          "Fill in the property that the reason names."),
    entry(CONFLICT, _C.VALIDATION, "Another record has this e-mail address or another unique value (contact exists).",
          "Correct the value, or merge the two records, then requeue the record.", _DATA, _REQUEUE),
    entry("OBJECT_ALREADY_EXISTS", _C.VALIDATION, "Another record has this unique value.",
          "Correct the value, or merge the two records, then requeue the record.", _DATA, _REQUEUE),
    entry("STAGE_OF_OTHER_PIPELINE", _C.VALIDATION, "The stage belongs to another pipeline than the record.",
          "Give the record a stage of its pipeline, or the pipeline of its stage."),
    entry("ASSOCIATION_REFUSED", _C.VALIDATION, "HubSpot did not associate two records.",
          "Look at the reason, correct the reference or the association's limits, then requeue the record.",
          _ADMIN, _REQUEUE),
    # the record itself
    entry("OBJECT_NOT_FOUND", _C.GONE, "The record was deleted or merged, or the object is not there.",
          "Restore the record in HubSpot, or correct the object in the connection file."),
    entry("LOCKED", _C.CONCURRENCY, "HubSpot was at work on the record."),
    entry("MIGRATION_IN_PROGRESS", _C.TRANSIENT, "HubSpot moves the account to another data centre."),
    entry("INTERNAL_ERROR", _C.TRANSIENT, "HubSpot had an error of its own."),
)  # fmt: skip
