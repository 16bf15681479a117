"""Salesforce's refusals, read from the forms of its interfaces.

What a code means is in `catalogue.py`: the same words appear in Collections as `statusCode`, in REST as `errorCode`, in
Bulk as the head of `sf__Error`. A code that is not listed there is judged by what it looks like; see `classify_code`.

Salesforce repeats refused values in its texts. Those are taken out: messages here name fields and limits only.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import httpx

from crm_sync.connectors.salesforce.catalogue import CODES
from crm_sync.core.catalogue import Entry
from crm_sync.core.errors import CrmError, ErrorClass, RecordError

_LIMIT_WINDOW = (
    900.0  # seconds: the daily allowance rolls over 24 hours, asking sooner only spends more of it
)

_KNOWN: Mapping[str, Entry] = {entry.code: entry for entry in CODES}
_LOGGED = re.compile(r"[A-Za-z0-9_.]+")
_MAX_LENGTH = re.compile(r"\(max length=(\d+)\)")


def classify_code(code: str) -> ErrorClass:
    """The class of a code; an unknown one that speaks of access is PERMISSION, of limits RATE_LIMIT, of data
    VALIDATION, anything else PERMANENT."""
    known = _KNOWN.get(code.upper())
    if known is not None:
        return known.error_class
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
    if code in _KNOWN:
        text += f": {_KNOWN[code].cause}"
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
    known = _KNOWN.get(code.upper())
    error_class = ErrorClass.TRANSIENT if known is None else known.error_class
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
