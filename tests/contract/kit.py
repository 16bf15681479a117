"""What the contract suite needs around a connector: reading pages, a job log, invented values."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import uuid4

from crm_sync.connectors.crm import CRM_ID, Crm, CsvPage, Operation, Page, ReadRequest, Result, Window
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec

Record = dict[str, str | None]

AWKWARD = {
    "accents": "Zoë Ångström-Núñez",
    "decomposed": "Zoe\u0308",
    "emoji": "👩‍👩‍👧 & 🇩🇪",
    "right to left": "שלום، مرحبا",
    "chinese": "張偉 こんにちは",
    "double quotes": 'a "quoted" word, and ""two""',
    "apostrophes": "O'Hara ''two''",
    "commas": "one, two,,three",
    "semicolons": "one; two;;three",
    "backslashes": "C:\\new\\table \\' \\\\",
    "newlines": "first line\r\nsecond line\r\n\r\nfourth",
    "tab": "a\tb",
    "equals": "=1+1",
    "plus": "+1+1",
    "minus": "-1+1",
    "at": "@SUM(A1)",
    "soql": "x' OR Name != '",
    "sql": "Robert'); DROP TABLE contact;--",
    "html": "<b>bold</b> &amp; <script>alert(1)</script>",
    "percent": "100% _like_ %s {0} ${x}",
    "null word": "null",
    "not available": "#N/A",
    "true word": "true",
    "number": "007",
    "long": "é" * 250,
}


class Person(Protocol):
    """Edits the CRM as a person would, past the connector; values by vendor field name, None clears."""

    def create(self, object_name: str, values: Mapping[str, str | None]) -> str: ...

    def update(self, object_name: str, crm_id: str, values: Mapping[str, str | None]) -> None: ...

    def delete(self, object_name: str, crm_id: str) -> None: ...

    def merge(self, object_name: str, winner: str, loser: str) -> str:
        """Returns the id of the record that survived."""
        ...


class Crash(Exception):  # noqa: N818 - not an error of anybody's
    """The process ends here."""


class Log:
    """A JobLog that remembers what was saved, and ends the process after save number `crash_at`."""

    def __init__(self, crash_at: int | None = None) -> None:
        self.saved: list[Mapping[str, Any]] = []
        self.state: Mapping[str, Any] | None = None
        self._crash_at = crash_at

    def save(self, state: Mapping[str, Any]) -> None:
        self.saved.append(dict(state))
        self.state = dict(state)
        if len(self.saved) == self._crash_at:
            raise Crash

    def clear(self) -> None:
        self.state = None


def taken(pages: Iterable[Page], log: Log) -> Iterator[list[Record]]:
    """The records of each page, whose progress is saved with them, as by a transaction."""
    for page in pages:
        found = records([page])
        yield found
        if page.progress is not None:
            log.save(page.progress)


def records(pages: Iterable[Page]) -> list[Record]:
    """Every record of the pages, by vendor field and by system column."""
    return [record for page in pages for record in _records(page)]


def _records(page: Page) -> Iterator[Record]:
    if not isinstance(page, CsvPage):
        yield from page.batch.to_pylist()
        return
    text = b"".join(page.chunks).decode()
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert tuple(next(reader)) == tuple(page.columns), "the header is not what the page says"
    for cells in reader:
        record: Record = {name: cell or None for name, cell in zip(page.columns, cells, strict=True)}
        yield record | {role: record[name] for role, name in page.roles.items()}


def read(
    crm: Crm, stream: StreamSpec, start: datetime | None = None, end: datetime | None = None, **more: Any
):
    """The records modified in a window, by `changed` alone; a record that comes twice is there twice."""
    return records(crm.changed(ReadRequest(stream, Window(start, end), **more), Log()))


def by_id(found: Iterable[Record]) -> dict[str, Record]:
    """Records by id; of a record that came twice the later state."""
    return {record[CRM_ID] or "": record for record in found}


def write(crm: Crm, stream: StreamSpec, operations: Sequence[Operation], **more: Any) -> dict[str, Result]:
    """Results by key; each operation must have exactly one."""
    results = [result for answer in crm.write(stream, operations, Log(), **more) for result in answer]
    assert sorted(r.key for r in results) == sorted(o.key for o in operations), "not one result an operation"
    return {result.key: result for result in results}


def create(stream: StreamSpec, values: Mapping[str, str | None], key: str | None = None) -> Operation:
    return Operation(key or str(uuid4()), "create", None, vendor(stream, values))


def update(stream: StreamSpec, result: Result, values: Mapping[str, str | None]) -> Operation:
    return Operation(result.key, "update", result.crm_id, vendor(stream, values))


def delete(result: Result) -> Operation:
    return Operation(result.key, "delete", result.crm_id, {})


def vendor(stream: StreamSpec, values: Mapping[str, str | None]) -> Record:
    """Values by vendor field, from values by our field."""
    return {stream.field(name).vendor.name: value for name, value in values.items()}


def meaning(spec: FieldSpec, value: str | None) -> object:
    """What a value says: CRMs differ in line ends, digits after the point and the order of a selection."""
    if value is None:
        return None
    match spec.type:
        case FieldType.NUMBER:
            return Decimal(value)
        case FieldType.MULTIPICKLIST:
            return set(value.split(";"))
        case _:
            return value.replace("\r\n", "\n")


def moment(text: str | None) -> datetime:
    """A stamp of the port's spelling; anything else is an error."""
    assert text is not None
    assert text.endswith("Z"), "stamps are UTC and say so"
    return datetime.fromisoformat(text).astimezone(UTC)
