"""Salesforce's error codes, and what each means for us: the one table.

Sources: "Status Codes and Error Responses" and "Error codes" of the REST API guide, the SOAP API's list of status
codes (the same words appear in Collections as `statusCode`, in REST as `errorCode`, in Bulk as the head of
`sf__Error`). A code that is not listed is judged by what it looks like; see `classify_code`.

Salesforce repeats refused values in its texts. Those are taken out: messages here name fields and limits only.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import httpx

from crm_sync.core.errors import CrmError, ErrorClass, RecordError

_LIMIT_WINDOW = (
    900.0  # seconds: the daily allowance rolls over 24 hours, asking sooner only spends more of it
)

CODES: Mapping[str, ErrorClass] = {
    # the session
    "INVALID_SESSION_ID": ErrorClass.AUTH,
    "INVALID_AUTH_HEADER": ErrorClass.AUTH,
    "INVALID_LOGIN": ErrorClass.AUTH,
    "INVALID_GRANT": ErrorClass.AUTH,
    # too much
    "REQUEST_LIMIT_EXCEEDED": ErrorClass.RATE_LIMIT,
    "EXCEEDED_QUOTA": ErrorClass.RATE_LIMIT,
    "LIMIT_EXCEEDED": ErrorClass.RATE_LIMIT,
    # may pass by itself, had no effect
    "SERVER_UNAVAILABLE": ErrorClass.TRANSIENT,
    "UNABLE_TO_LOCK_ROW": ErrorClass.TRANSIENT,
    "QUERY_TIMEOUT": ErrorClass.TRANSIENT,
    "ALL_OR_NONE_OPERATION_ROLLED_BACK": ErrorClass.TRANSIENT,
    "PROCESSING_HALTED": ErrorClass.TRANSIENT,
    "ENTITY_IS_LOCKED": ErrorClass.CONCURRENCY,
    # nobody knows
    "UNKNOWN_EXCEPTION": ErrorClass.UNKNOWN_OUTCOME,
    "INTERNAL_ERROR": ErrorClass.UNKNOWN_OUTCOME,
    # not allowed, or not there: a matter of the account's set-up
    "INSUFFICIENT_ACCESS": ErrorClass.PERMISSION,
    "INSUFFICIENT_ACCESS_OR_READONLY": ErrorClass.PERMISSION,
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": ErrorClass.PERMISSION,
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": ErrorClass.VALIDATION,
    "API_DISABLED_FOR_ORG": ErrorClass.PERMISSION,
    "API_CURRENTLY_DISABLED": ErrorClass.PERMISSION,
    "FUNCTIONALITY_NOT_ENABLED": ErrorClass.PERMISSION,
    "FORBIDDEN": ErrorClass.PERMISSION,
    "INVALID_FIELD": ErrorClass.PERMISSION,
    "INVALID_FIELD_FOR_INSERT_UPDATE": ErrorClass.PERMISSION,
    "INVALID_TYPE": ErrorClass.PERMISSION,
    "INVALID_TYPE_FOR_OPERATION": ErrorClass.PERMISSION,
    "TRANSFER_REQUIRES_READ": ErrorClass.PERMISSION,
    # this record's data
    "DUPLICATES_DETECTED": ErrorClass.VALIDATION,
    "DUPLICATE_VALUE": ErrorClass.VALIDATION,
    "DUPLICATE_EXTERNAL_ID": ErrorClass.VALIDATION,
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": ErrorClass.VALIDATION,
    "FIELD_FILTER_VALIDATION_EXCEPTION": ErrorClass.VALIDATION,
    "FIELD_INTEGRITY_EXCEPTION": ErrorClass.VALIDATION,
    "REQUIRED_FIELD_MISSING": ErrorClass.VALIDATION,
    "MISSING_ARGUMENT": ErrorClass.VALIDATION,
    "STRING_TOO_LONG": ErrorClass.VALIDATION,
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": ErrorClass.VALIDATION,
    "INVALID_CROSS_REFERENCE_KEY": ErrorClass.VALIDATION,
    "INVALID_ID_FIELD": ErrorClass.VALIDATION,
    "MALFORMED_ID": ErrorClass.VALIDATION,
    "INVALID_EMAIL_ADDRESS": ErrorClass.VALIDATION,
    "INVALID_TYPE_ON_FIELD_IN_RECORD": ErrorClass.VALIDATION,
    "JSON_PARSER_ERROR": ErrorClass.VALIDATION,
    "NUMBER_OUTSIDE_VALID_RANGE": ErrorClass.VALIDATION,
    "CANNOT_UPDATE_CONVERTED_LEAD": ErrorClass.VALIDATION,
    "DELETE_FAILED": ErrorClass.VALIDATION,
    "INVALID_REPLICATION_DATE": ErrorClass.VALIDATION,
    "EXCEEDED_ID_LIMIT": ErrorClass.VALIDATION,
    # gone
    "ENTITY_IS_DELETED": ErrorClass.GONE,
    "NOT_FOUND": ErrorClass.GONE,
    # this very request will not work again: the cursor is gone (query.py goes on with a new one)
    "INVALID_QUERY_LOCATOR": ErrorClass.PERMANENT,
    # a bug of ours, or an account that has changed under us
    "MALFORMED_QUERY": ErrorClass.PERMANENT,
    "MALFORMED_SEARCH": ErrorClass.PERMANENT,
    "METHOD_NOT_ALLOWED": ErrorClass.PERMANENT,
    "UNSUPPORTED_API_VERSION": ErrorClass.PERMANENT,
    "UNSUPPORTED_MEDIA_TYPE": ErrorClass.PERMANENT,
    "INVALIDENTITY": ErrorClass.PERMANENT,
    "INVALIDJOB": ErrorClass.PERMANENT,
    "INVALIDJOBSTATE": ErrorClass.PERMANENT,
    "API_ERROR": ErrorClass.PERMANENT,
    "CLIENTINPUTERROR": ErrorClass.PERMANENT,
    "INVALIDBATCH": ErrorClass.PERMISSION,
}

_ADVICE = {
    "REQUEST_LIMIT_EXCEEDED": "the organisation's calls are used up or too many run at once; calls are free again as "
    "the 24-hour window rolls on",
    "API_DISABLED_FOR_ORG": "the edition or the user's profile has no API access",
    "API_CURRENTLY_DISABLED": "the API is switched off for the moment",
    "INVALID_TYPE": "the object does not exist or the user may not see it",
    "INVALID_FIELD": "a field does not exist or the user may not see it",
    "NOT_FOUND": "there is no such record, object, field or API version",
    "MALFORMED_QUERY": "the query was not understood; this is a bug of crm_sync",
}
_LOGGED = re.compile(r"[A-Za-z0-9_.]+")
_MAX_LENGTH = re.compile(r"\(max length=(\d+)\)")


def classify_code(code: str) -> ErrorClass:
    """The class of a code; an unknown one that speaks of access is PERMISSION, of limits RATE_LIMIT, of data
    VALIDATION, anything else PERMANENT."""
    known = CODES.get(code.upper())
    if known is not None:
        return known
    upper = code.upper()
    if "ACCESS" in upper or "PERMISSION" in upper:
        return ErrorClass.PERMISSION
    if "LIMIT" in upper or "EXCEEDED" in upper:
        return ErrorClass.RATE_LIMIT
    if upper.startswith(
        ("INVALID", "MISSING", "REQUIRED", "DUPLICATE", "CANNOT", "FIELD", "BAD", "MALFORMED")
    ):
        return ErrorClass.VALIDATION
    return ErrorClass.PERMANENT


def classify(response: httpx.Response) -> CrmError | None:
    """What an answer of the REST or Bulk API of status 300 and above says; None if it is not Salesforce speaking."""
    body: Any = None
    with suppress(ValueError):
        body = response.json()
    first = body[0] if isinstance(body, list) and body else body
    if not isinstance(first, Mapping) or "errorCode" not in first:
        return None
    code = str(first["errorCode"])
    error_class = classify_code(code)
    long_wait = code == "REQUEST_LIMIT_EXCEEDED" and "TotalRequests" in str(first.get("message"))
    fields = ", ".join(_fields(first.get("fields")))
    text = f"Salesforce refused: {code}" + (f" ({fields})" if fields else "")
    if code in _ADVICE:
        text += f": {_ADVICE[code]}"
    return CrmError(
        error_class,
        text,
        code=code,
        status=response.status_code,
        retry_after=_LIMIT_WINDOW if long_wait else None,
    )


def record_error(
    code: str, message: str, fields: Iterable[str], values: Iterable[str | None] = ()
) -> RecordError:
    """Why one record was refused. `values`: what was sent; wherever the text repeats one it is taken out."""
    return RecordError(classify_code(code), code, _without_values(code, message, values), tuple(fields))


def from_collections(error: Mapping[str, Any], values: Iterable[str | None]) -> RecordError:
    """One element of `errors` in a Collections answer (`statusCode`), or of a REST answer (`errorCode`)."""
    code = str(error.get("statusCode") or error.get("errorCode") or "UNKNOWN")
    return record_error(code, str(error.get("message") or ""), _fields(error.get("fields")), values)


def from_bulk(text: str, values: Iterable[str | None]) -> RecordError:
    """The cell `sf__Error` of a Bulk result: `CODE:message:fields --`, where the message may hold colons."""
    code, _, rest = text.partition(":")
    message, _, tail = rest.rpartition(":")
    names = tail.removesuffix("--").strip()
    fields = [name.strip() for name in names.split(",") if _LOGGED.fullmatch(name.strip())]
    return record_error(code.strip() or "UNKNOWN", message or rest, fields, values)


def job_error(text: str) -> RecordError:
    """The `errorMessage` of a job that failed as a whole: `Kind : what`. Nothing of it was written."""
    parts = [part.strip() for part in text.split(" : ")]
    code = parts[0] if re.fullmatch(r"\w+", parts[0]) else "JOB_FAILED"
    missing = re.search(r"Field name not found : (\w+)", text)
    fields = (missing.group(1),) if missing else ()
    error_class = CODES.get(code.upper(), ErrorClass.TRANSIENT)
    return RecordError(error_class, code, f"the bulk job failed: {text[:200]}", fields)


def _fields(found: Any) -> list[str]:
    return [str(name) for name in found if _LOGGED.fullmatch(str(name))] if isinstance(found, list) else []


def _without_values(code: str, message: str, values: Iterable[str | None]) -> str:
    if code == "STRING_TOO_LONG":
        limit = _MAX_LENGTH.search(message)
        return "data value too large" + (f" (max length={limit.group(1)})" if limit else "")
    if code in {"DUPLICATE_VALUE", "DUPLICATES_DETECTED"}:
        return (
            message
            if code == "DUPLICATES_DETECTED"
            else message.partition("duplicates value")[0] + "duplicate"
        )
    for value in sorted({v for v in values if v and len(v) > 1}, key=len, reverse=True):
        message = message.replace(value, "…")
    return message[:300]
