"""HubSpot's refusals, and what each means for retrying: from its words to our classes.

Here: status, `category`, `code` and `policyName` to `ErrorClass`, for whole answers and for the error entries of a
207; what a code means is in `catalogue.py`. Sources: developers.hubspot.com/docs/api-reference/error-handling and .../usage-guidelines. Every field of
an error body is optional, details are JSON inside the text of `message`, and that text quotes values of the
record: only codes, property names and record ids are taken out of it, never the text itself.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from crm_sync.connectors.hubspot.catalogue import CODES, CONFLICT
from crm_sync.core.errors import CrmError, ErrorClass, RecordError

_KNOWN = {entry.code: entry for entry in CODES}

_BY_STATUS = {
    400: ErrorClass.VALIDATION,
    401: ErrorClass.AUTH,
    403: ErrorClass.PERMISSION,
    404: ErrorClass.PERMISSION,  # of a whole request: an object or a path that this account does not have
    409: ErrorClass.VALIDATION,
    414: ErrorClass.PERMANENT,
    415: ErrorClass.PERMANENT,
    423: ErrorClass.CONCURRENCY,
    429: ErrorClass.RATE_LIMIT,
    477: ErrorClass.TRANSIENT,  # the account moves to another data centre
    # Turned away before anything could happen:
    503: ErrorClass.TRANSIENT,
    521: ErrorClass.TRANSIENT,
    523: ErrorClass.TRANSIENT,
    # A gateway lost sight of the request; the transport calls it transient where that does no harm:
    500: ErrorClass.UNKNOWN_OUTCOME,
    502: ErrorClass.UNKNOWN_OUTCOME,
    504: ErrorClass.UNKNOWN_OUTCOME,
    522: ErrorClass.UNKNOWN_OUTCOME,
    524: ErrorClass.UNKNOWN_OUTCOME,
}

# Seconds to wait when a 429 names its policy but has no Retry-After. A daily limit ends at midnight in the
# account's time zone: an hour is longer than anybody waits for a call, and short enough to notice.
_POLICY_WAIT = {"SECONDLY": 1.0, "TEN_SECONDLY_ROLLING": 10.0, "DAILY": 3600.0}
_LOCK_WAIT = 2.0

_EXISTING = re.compile(r"Existing ID:\s*(\d+)")
_TAKEN = re.compile(r"\b(\d+) already has that value")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.]{1,79}")


class RefusedError(CrmError):
    """HubSpot refused a whole request. `record`: the refusal of its record, if the request held only one."""

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        record: RecordError,
        *,
        code: str | None,
        status: int,
        retry_after: float | None,
    ) -> None:
        super().__init__(error_class, message, code=code, status=status, retry_after=retry_after)
        self.record = record


@dataclass(frozen=True, slots=True)
class Details:
    """What an error body says without its values: codes (the most telling first), properties, record ids."""

    codes: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    existing: str | None = None  # id of the record that already has a unique value


def details(error: Mapping[str, Any]) -> Details:
    """Codes, property names and the id of a conflicting record from an error body or an entry of a 207."""
    text = str(error.get("message") or "")
    entries = [*_inner(text), *(entry for entry in error.get("errors") or () if isinstance(entry, Mapping))]
    codes: dict[str, None] = {}
    fields: dict[str, None] = {}
    for entry in entries:
        _note(codes, entry.get("error"), entry.get("code"))
        _note(fields, entry.get("name"), entry.get("in"))
        context = entry.get("context")
        if isinstance(context, Mapping):
            _note(fields, *_listed(context.get("propertyName")))
    context = error.get("context")
    if isinstance(context, Mapping):
        _note(fields, *_listed(context.get("propertyName")), *_listed(context.get("missingPropertyNames")))
    match = _EXISTING.search(text) or _TAKEN.search(text)
    if match:
        codes = {CONFLICT: None, **codes}
    _note(codes, error.get("code"), error.get("subCategory"), error.get("category"), error.get("error"))
    return Details(tuple(codes), tuple(fields), match[1] if match else None)


def record_error(error: Mapping[str, Any], *, fallback: ErrorClass = ErrorClass.PERMANENT) -> RecordError:
    """Why one record was refused. A unique value that another record has is VALIDATION with code CONFLICT and
    that record's id in the message."""
    said = details(error)
    error_class = next((_KNOWN[code].error_class for code in said.codes if code in _KNOWN), fallback)
    code = next(iter(said.codes), "UNKNOWN")
    where = ", ".join(said.fields)
    if said.existing is not None or code in {CONFLICT, "OBJECT_ALREADY_EXISTS"}:
        whose = f"record {said.existing}" if said.existing else "another record"
        text = f"HubSpot: {whose} already has this {where or 'unique value'}"
        return RecordError(ErrorClass.VALIDATION, CONFLICT, text, said.fields, said.existing)
    named = ", ".join(said.codes) or "no reason given"
    return RecordError(error_class, code, f"HubSpot refused {where or 'the record'}: {named}", said.fields)


def classify(response: httpx.Response) -> RefusedError | None:
    """HubSpot's reading of a refused answer, for the transport; None where only the status is known to it."""
    body = _body(response)
    said = details(body)
    status = response.status_code
    policy = str(body.get("policyName") or "")
    error_class = _BY_STATUS.get(status)
    by_code = next((_KNOWN[code].error_class for code in said.codes if code in _KNOWN), None)
    if status == 400 and by_code is not None:
        error_class = by_code  # a refused refresh token comes as 400, too
    if error_class is None:
        return None
    code = policy or next(iter(said.codes), None)
    wait = None
    if status == 429 and "Retry-After" not in response.headers:
        wait = _POLICY_WAIT.get(policy) or _wait_by_text(body)
    elif status == 423 and "Retry-After" not in response.headers:
        wait = _LOCK_WAIT
    text = f"HubSpot answered {status}"
    if named := ", ".join(dict.fromkeys([*([policy] if policy else []), *said.codes])):
        text += f" ({named})"
    if said.fields:
        text += f" about {', '.join(said.fields)}"
    if known := next((_KNOWN[word] for word in said.codes if word in _KNOWN), None):
        text += f": {known.cause} {known.fix}"
    record = record_error(body, fallback=error_class)
    return RefusedError(error_class, text, record, code=code, status=status, retry_after=wait)


def _wait_by_text(body: Mapping[str, Any]) -> float | None:
    text = str(body.get("message") or "").lower()
    for word, policy in (
        ("ten_secondly", "TEN_SECONDLY_ROLLING"),
        ("secondly", "SECONDLY"),
        ("daily", "DAILY"),
    ):
        if word in text:
            return _POLICY_WAIT[policy]
    return None


def _inner(text: str) -> Iterator[Mapping[str, Any]]:
    """The JSON inside the text of a message: `Property values were not valid: [{...}]`."""
    start = text.find("[{")
    if start < 0:
        return
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return  # cut off or something else: the category still says what kind of trouble it is
    yield from (entry for entry in found if isinstance(entry, Mapping))


def _note(found: dict[str, None], *words: object) -> None:
    for word in words:
        if isinstance(word, str) and _WORD.fullmatch(word):
            found.setdefault(word)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _body(response: httpx.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, Mapping) else {}
