"""Operations, looked at before they are sent: what Salesforce would refuse anyway is refused here, record by record.

Pure. One bad field in a request or in the header of a bulk job would otherwise fail all its neighbours.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crm_sync.connectors.crm import Operation, Result
from crm_sync.connectors.salesforce import values
from crm_sync.connectors.salesforce.describe import Field, SObject
from crm_sync.core.errors import CrmError, ErrorClass, RecordError
from crm_sync.core.spec import StreamSpec

NULL = "#N/A"  # what a bulk cell holds to clear a field


@dataclass(frozen=True, slots=True)
class Target:
    """Where operations of a stream go: the object, the field that holds our id (None: there is none), and the record
    type that new records get."""

    sobject: SObject
    external_id: str | None
    record_type: str | None


def target(stream: StreamSpec, sobject: SObject) -> Target:
    """Raises CrmError(PERMISSION) for an external id field or record type that the organisation does not have."""
    if stream.external_id is not None and stream.external_id not in sobject.fields:
        text = f"{stream.name}: {sobject.name} shows no field {stream.external_id}: run crm-sync setup, or grant access"
        raise CrmError(ErrorClass.PERMISSION, text)
    record_type = None
    if stream.record_type is not None:
        record_type = sobject.record_types.get(stream.record_type)
        if record_type is None:
            known = ", ".join(sorted(sobject.record_types)) or "none"
            text = f"{stream.name}: {sobject.name} has no record type {stream.record_type} (it has: {known})"
            raise CrmError(ErrorClass.PERMISSION, text)
    return Target(sobject, stream.external_id, record_type)


def split(target: Target, operations: Iterable[Operation]) -> tuple[list[Operation], list[Result]]:
    """The operations that can be sent, with full ids, numbers in plain digits and the record type filled in; and the
    results of the others."""
    ready: list[Operation] = []
    refused: list[Result] = []
    writable = {
        "create": _Writable(target, lambda field: field.info.createable),
        "update": _Writable(target, lambda field: field.info.updateable),
    }
    texts = {kind: found.texts for kind, found in writable.items()}
    for operation in operations:
        known = writable.get(operation.kind)
        if known is not None and known.as_it_is(target, operation):
            ready.append(operation)
            continue
        error = _refusal(target, operation, texts)
        if error is not None:
            refused.append(Result.refused(operation, error))
        else:
            ready.append(_complete(target, operation))
    return ready, refused


class _Writable:
    """The fields that operations of one kind may write. texts: those that take any text."""

    def __init__(self, target: Target, may: Callable[[Field], bool]) -> None:
        fields = {name: field for name, field in target.sobject.fields.items() if may(field)}
        self.texts = frozenset(name for name, field in fields.items() if _text(field))
        self._booleans = frozenset(name for name, field in fields.items() if field.type == "boolean")
        self._all = self.texts | self._booleans

    def as_it_is(self, target: Target, operation: Operation) -> bool:
        """Whether an operation can go as it is, seen at a glance: nearly all can."""
        given = operation.values
        if not self._all.issuperset(given) or "" in given.values():
            return False
        if any(given[name] not in _BOOLEANS for name in self._booleans.intersection(given)):
            return False
        if operation.kind == "update":
            crm_id = operation.crm_id or ""
            return len(crm_id) == 18 and values.is_id(crm_id)
        return target.external_id not in given and (target.record_type is None or "RecordTypeId" in given)


_BOOLEANS = frozenset({"true", "false", None})


def _text(field: Field) -> bool:
    """Whether any text is a value of the field, as far as its type goes."""
    return field.type not in values.NUMBERS and field.type != "boolean"


def by_parent(target: Target, operations: Sequence[Operation]) -> list[Operation]:
    """Children of one parent together: batches that run side by side then do not fight for the parent's lock."""
    used = _references(target, operations)
    if not used:
        return list(operations)
    return sorted(operations, key=lambda operation: [operation.values.get(name) or "" for name in used])


def parent_of(target: Target, operations: Sequence[Operation]) -> Callable[[Operation], str | None]:
    """What tells the record that Salesforce locks while it writes one of these operations, as far as they say."""
    used = _references(target, operations)

    def parent(operation: Operation) -> str | None:
        return next((value for name in used if (value := operation.values.get(name))), None)

    return parent if used else lambda _: None


def _references(target: Target, operations: Sequence[Operation]) -> list[str]:
    """The fields of references that are written, by name."""
    mentioned = {name for operation in operations for name in operation.values}
    return sorted(name for name in mentioned if (f := target.sobject.fields.get(name)) and f.references)


def body(target: Target, operation: Operation) -> dict[str, Any]:
    """A record of a Collections request."""
    record: dict[str, Any] = {"attributes": {"type": target.sobject.name}}
    for name, value in operation.values.items():
        record[name] = values.to_json(value, target.sobject.type_of(name))
    if operation.kind == "update":
        record["id"] = operation.crm_id
    elif target.external_id is not None:
        record[target.external_id] = operation.key
    return record


def fits_bulk(operation: Operation) -> bool:
    """Whether a CSV row can say it: a text that reads like the word for null cannot be told from it."""
    said = "\n".join(filter(None, operation.values.values()))
    return "#" not in said or not any(
        value and value.strip().upper() == NULL for value in operation.values.values()
    )


def _complete(target: Target, operation: Operation) -> Operation:
    sent = {}
    for name, value in operation.values.items():
        kind = target.sobject.type_of(name)
        sent[name] = values.number(value) if value and kind in values.NUMBERS else value or None
    crm_id = values.full_id(operation.crm_id) if operation.crm_id is not None else None
    if operation.kind == "create":
        if target.external_id is not None:
            sent.pop(target.external_id, None)
        if target.record_type is not None:
            sent.setdefault("RecordTypeId", target.record_type)
    return replace(operation, crm_id=crm_id, values=sent)


def _refusal(target: Target, operation: Operation, texts: Mapping[str, frozenset[str]]) -> RecordError | None:
    if operation.kind != "create" and not values.is_id(operation.crm_id or ""):
        return RecordError(ErrorClass.VALIDATION, "MALFORMED_ID", "this is not the id of a Salesforce record")
    for name, value in operation.values.items():
        if name in texts.get(operation.kind, ()):
            continue
        field = target.sobject.fields.get(name)
        if field is None:
            text = f"{target.sobject.name} shows no field {name} to this user"
            return RecordError(ErrorClass.PERMISSION, "INVALID_FIELD", text, (name,))
        if not (field.info.createable if operation.kind == "create" else field.info.updateable):
            text = f"{name} cannot be written in a {operation.kind} (computed, read-only, or not permitted)"
            return RecordError(ErrorClass.PERMISSION, "INVALID_FIELD_FOR_INSERT_UPDATE", text, (name,))
        try:
            values.to_json(value or None, field.type)
        except ValueError as error:
            text = f"{name} is of type {field.type}: {error}"
            return RecordError(ErrorClass.VALIDATION, "INVALID_TYPE_ON_FIELD_IN_RECORD", text, (name,))
    return None
