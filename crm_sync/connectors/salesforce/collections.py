"""Small writes: sObject Collections, 200 records a call, one result a record in the order sent.

Source: "sObject Collections" of the REST API guide. A call answers 200 even if every record was refused. It has no
idempotency key, so a call without an answer is never repeated: its outcome is looked up by the caller.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from crm_sync.connectors.batches import Way, in_batches
from crm_sync.connectors.crm import Operation, Result
from crm_sync.connectors.salesforce import errors, prepare, values
from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.salesforce.prepare import Target
from crm_sync.core.errors import CrmError, ErrorClass, RecordError

log = logging.getLogger(__name__)

FAMILY = "collections"
CALL = 200  # records
# The organisation's own code ran out of what one transaction may use; a smaller one may pass.
_OVERWORKED = ("System.LimitException", "Apex CPU time limit exceeded")


def send(api: Api, target: Target, operations: Sequence[Operation], size: int) -> Iterator[list[Result]]:
    """Send operations of one kind, calls side by side; one list of results a call."""
    way = Way(
        of=lambda operation: operation,
        send=lambda chunk: _chunk(api, target, chunk),
        limit=max(1, min(size, CALL)),
        parent=prepare.parent_of(target, operations),
        sleep=api.transport.settings.sleep,
    )
    yield from in_batches(way, prepare.by_parent(target, operations))


def _chunk(api: Api, target: Target, chunk: Sequence[Operation]) -> Iterator[list[Result]]:
    """One call. If it is refused as a whole for what must be one record's fault, its halves are sent alone, so that
    the others go on; such a refusal has no effect."""
    try:
        answers = _call(api, target, chunk)
    except CrmError as error:
        if error.error_class is ErrorClass.GONE:  # the address: no record of the call has been looked at
            api.forget(target.sobject.name)
            where = (
                f"{target.sobject.name}.{target.external_id}" if target.external_id else target.sobject.name
            )
            text = (
                f"Salesforce does not show {where} to this user any more: run crm-sync setup, or grant access"
            )
            raise CrmError(ErrorClass.PERMISSION, text, code=error.code, status=error.status) from error
        if not error.rule.alone or error.status != 400:
            raise
        if len(chunk) == 1:
            api.forget(target.sobject.name)
            refusal = RecordError(error.error_class, error.code or "UNKNOWN", str(error))
            yield [Result.refused(chunk[0], refusal)]
            return
        log.info("a call with %d records was refused (%s); looking for the one", len(chunk), error.code)
        middle = len(chunk) // 2
        yield from _chunk(api, target, chunk[:middle])
        yield from _chunk(api, target, chunk[middle:])
        return
    if not isinstance(answers, list) or len(answers) != len(chunk):
        raise CrmError(
            ErrorClass.UNKNOWN_OUTCOME, "Salesforce did not answer with one result for each record"
        )
    alone = len(chunk) == 1
    yield [result(operation, answer, alone=alone) for operation, answer in zip(chunk, answers, strict=True)]


def _call(api: Api, target: Target, chunk: Sequence[Operation]) -> Any:
    kind = chunk[0].kind
    tail = "composite/sobjects"
    if kind == "delete":
        params = {"ids": ",".join(operation.crm_id or "" for operation in chunk), "allOrNone": "false"}
        return api.call("DELETE", tail, family=FAMILY, idempotent=False, params=params)
    records = [prepare.body(target, operation) for operation in chunk]
    method = "PATCH"
    if kind == "create" and target.external_id is not None:
        tail = f"{tail}/{target.sobject.name}/{target.external_id}"
    elif kind == "create":
        method = "POST"
    body = {"allOrNone": False, "records": records}
    return api.call(method, tail, family=FAMILY, idempotent=False, body=body)


def result(operation: Operation, answer: Mapping[str, Any], *, alone: bool) -> Result:
    """The result of one record from its element of the answer. alone: it was the only one in its call."""
    crm_id = values.full_id(answer["id"]) if answer.get("id") else operation.crm_id
    if answer.get("success"):
        created = operation.kind == "create" and bool(answer.get("created", True))
        return Result(operation.key, ok=True, crm_id=crm_id, created=created)
    told = answer.get("errors") or [{}]
    return refusal(operation, errors.from_collections(told[0], operation.values.values()), alone=alone)


def refusal(operation: Operation, error: RecordError, *, alone: bool = False) -> Result:
    """The result of a refused record; to delete what is gone is done, not refused. What is too much for the
    organisation's own code may pass with fewer records in a call; what was alone in it will not."""
    error = judged(operation, error)
    if any(word in error.message for word in _OVERWORKED):
        error = replace(error, error_class=ErrorClass.VALIDATION if alone else ErrorClass.TRANSIENT)
    if operation.kind == "delete" and error.error_class is ErrorClass.GONE:
        return Result(operation.key, ok=True, crm_id=operation.crm_id)
    return Result.refused(operation, error)


def judged(operation: Operation, error: RecordError) -> RecordError:
    """The error, seen with what was asked: the same codes say that the record is gone and that one it refers to is.

    Salesforce names the field of a reference, though not always; a purged record is an "invalid cross reference".
    """
    if error.code not in {"ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY"}:
        return error
    refers = any(values.is_id(value or "") for value in operation.values.values())
    named = any(name.lower() != "id" for name in error.fields)
    unclear = error.code == "INVALID_CROSS_REFERENCE_KEY" and refers
    of_reference = operation.kind == "create" or named or unclear
    return replace(error, error_class=ErrorClass.VALIDATION if of_reference else ErrorClass.GONE)
