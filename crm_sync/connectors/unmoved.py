"""Whether records still say what a decision was based on: what the look before an update leaves finds (`Crm.write`).

Values are compared by what they say, not by how they are spelled: what is `expected` comes from the mirror, which may
have it from a CSV file or from what we sent, and the look is a JSON answer. To find a change where there is none would
keep a record from being sent, so whatever cannot be told apart by a person counts as the same.
Pure: how a record is looked at is the vendor's connector's. The other way, from text to the mirror's, is in hub/sql.py.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from crm_sync.connectors.crm import CRM_ID, BatchPage, Operation, Result
from crm_sync.core.errors import ErrorClass, RecordError
from crm_sync.core.spec import FieldType, StreamSpec
from crm_sync.core.values import NUL_MARK

CODE = "CHANGED_MEANWHILE"

Now: TypeAlias = Mapping[str, Mapping[str, str | None]]
"""Record id → vendor field → what the CRM says now. What it does not show is absent."""

_MILLISECOND = timedelta(milliseconds=1)


def compared(operations: Iterable[Operation]) -> list[Operation]:
    """The operations whose records have to be looked at."""
    return [o for o in operations if o.kind == "update" and not o.expected.keys().isdisjoint(o.values)]


def fields_of(operations: Iterable[Operation]) -> set[str]:
    """The vendor fields that have to be looked at."""
    return {name for o in operations for name in o.values if name in o.expected}


def narrowed(stream: StreamSpec, names: Collection[str]) -> StreamSpec:
    """The stream with these vendor fields only, to ask for no more."""
    return replace(stream, fields=tuple(spec for spec in stream.fields if spec.vendor.name in names))


def shown(page: BatchPage) -> dict[str, dict[str, str | None]]:
    """The records of a page by id."""
    return {str(record[CRM_ID]): record for record in page.batch.to_pylist()}


def types_of(stream: StreamSpec) -> dict[str, FieldType]:
    """Types by vendor field."""
    return {spec.vendor.name: spec.type for spec in stream.fields}


def sifted(
    types: Mapping[str, FieldType], operations: Sequence[Operation], now: Now, merged: Collection[str] = ()
) -> tuple[list[Operation], list[Result]]:
    """The operations that may be sent, and the results of those whose records have moved. merged: ids that stand for
    another record by now."""
    ready: list[Operation] = []
    refused: list[Result] = []
    for operation in operations:
        if operation.crm_id in merged:
            result: Result | None = elsewhere(operation)
        else:
            result = moved(types, operation, now.get(operation.crm_id or "", {}))
        if result is None:
            ready.append(operation)
        else:
            refused.append(result)
    return ready, refused


def moved(
    types: Mapping[str, FieldType], operation: Operation, now: Mapping[str, str | None]
) -> Result | None:
    """The result of an update whose record says something else than expected; None if it may be sent. What already
    says what would be written has not moved: nothing is lost by writing it."""
    if operation.kind != "update":
        return None
    names = tuple(
        name
        for name, new in operation.values.items()
        if name in operation.expected
        and name in now
        and not same(types.get(name, FieldType.STRING), now[name], operation.expected[name])
        and not same(types.get(name, FieldType.STRING), now[name], new)
    )
    if not names:
        return None
    text = f"changed in the CRM since it was last read: {', '.join(names)}"
    return Result.refused(operation, RecordError(ErrorClass.MOVED, CODE, text, names))


def elsewhere(operation: Operation) -> Result:
    """The result of an operation whose record was merged into another: what that one says nobody has compared."""
    text = "merged into another record of the CRM since it was last read"
    return Result.refused(operation, RecordError(ErrorClass.MOVED, CODE, text))


def same(kind: FieldType, one: str | None, other: str | None) -> bool:
    """Whether two values of a CRM say the same."""
    return one == other or _meaning(kind, one) == _meaning(kind, other)


def _meaning(kind: FieldType, text: str | None) -> object:
    """Something that is equal for all spellings of a value; the text itself where it is not of its type."""
    plain = _plain(text)
    if plain is None:
        return None
    with suppress(ValueError, InvalidOperation, OverflowError):
        match kind:
            case FieldType.NUMBER:
                number = Decimal(plain)
                return number if number.is_finite() else plain
            case FieldType.DATETIME:
                return _instant(plain)
            case FieldType.BOOLEAN:
                return plain.lower()
            case FieldType.MULTIPICKLIST:
                return (frozenset(part.strip() for part in plain.split(";")) - {""}) or None
            case _:
                pass
    return plain


def _plain(text: str | None) -> str | None:
    """Without what is lost on the way: line ends are spelled differently by CSV and JSON, blanks around a value are
    cut off by CRMs, and Postgres cannot hold a NUL."""
    if text is None:
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", NUL_MARK).strip() or None


def _instant(text: str) -> object:
    """A moment in whole milliseconds; ValueError for what is none. Without a zone it is only a text."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return text
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _MILLISECOND
