"""The rows of an ingest job: reading its CSV, and writing them chunk by chunk.

Here: columns, cells, what becomes of a row. Not here: requests and the course of a job (bulk_ingest.py).
Source: Bulk API 2.0 Developer Guide, "Prepare CSV Files": a blank cell leaves the field alone, ``#N/A``
empties it.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from crm_sync.simulators.salesforce.bulk_jobs import DELIMITERS, Job
from crm_sync.simulators.salesforce.errors import ApiError, RecordError
from crm_sync.simulators.salesforce.schema import SObject
from crm_sync.simulators.salesforce.values import TypeMismatchError
from crm_sync.simulators.salesforce.web import Call
from crm_sync.simulators.salesforce.writes import MultipleMatchesError, Writer

NULL = "#N/A"
csv.field_size_limit(1 << 24)


class JobError(Exception):
    """The job as a whole fails; nothing is written."""


def read(job: Job) -> list[list[str]]:
    """The rows of the upload, its header put into ``job``. Raises JobError."""
    try:
        text = (job.data or b"").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise JobError("ClientInputError : Invalid UTF-8 in user data") from None
    wrong = "\r\n" in text if job.line_ending == "LF" else "\n" in text.replace("\r\n", "")
    if wrong:
        raise JobError(
            f"ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {job.line_ending}"
        )
    try:
        lines = list(
            csv.reader(io.StringIO(text, newline=""), delimiter=DELIMITERS[job.delimiter], strict=True)
        )
    except csv.Error as error:
        raise JobError(f"InvalidBatch : InvalidBatch : Failed to parse CSV: {error}") from None
    if not lines:
        raise JobError("InvalidBatch : InvalidBatch : Failed to parse CSV header. Header is empty")
    job.header = lines[0]
    rows = [line for line in lines[1:] if line]
    if any(len(row) != len(job.header) for row in rows):
        raise JobError(
            "InvalidBatch : InvalidBatch : The number of columns in a row does not match the header"
        )
    return rows


class Applier:
    """Writes the rows of one job, chunk by chunk."""

    def __init__(self, call: Call, job: Job, o: SObject) -> None:
        self.call = call
        self.job = job
        self.o = o
        self.names = [self._name(header) for header in job.header]
        needed = job.external_id if job.operation == "upsert" else None if job.operation == "insert" else "Id"
        if needed is not None and needed not in self.names:
            raise JobError(f"InvalidBatch : InvalidBatch : Field name not found : {needed}")
        self.key = self.names.index(needed) if needed is not None else None

    def _name(self, header: str) -> str:
        """A column's name in canonical spelling. Raises JobError."""
        unknown = JobError(f"InvalidBatch : InvalidBatch : Field name not found : {header}")
        hidden = self.call.org.sessions.masks(self.job.session).get(self.o.name, frozenset())
        f = self.o.find(header)
        if f is not None and f.name.lower() not in hidden:
            only_id = self.job.operation in {"delete", "hardDelete"}
            if (f.name == "Id") is (self.job.operation == "insert") and f.name == "Id":
                raise unknown
            if only_id and f.name != "Id":
                raise unknown
            return f.name
        relationship, _, key = header.partition(".")
        parent = self.o.parent(relationship) if key else None
        if parent is None:
            raise unknown
        schema = self.call.org.store.schema
        if not any((k := schema.objects[to].find(key)) and k.external_id for to in parent.reference_to):
            raise unknown
        return f"{parent.relationship}.{key}"

    def chunk(self, rows: Sequence[list[str]]) -> None:
        """Up to 200 rows in one transaction, so with one stamp."""
        writer = self.call.org.writer(self.call)
        operation = self._operation(writer)
        repeated = self._repeated(rows)
        for row in rows:
            mark = writer.transaction.mark()
            error: str | None = None
            record_id, created = "", False
            try:
                self._refuse_repeated(row, repeated)
                record_id, created = operation(row)
            except RecordError as refused:
                error = refused.bulk()
            except TypeMismatchError as mismatch:
                error = f"INVALID_TYPE_ON_FIELD_IN_RECORD:{mismatch}: --"
            except ApiError as refused:
                error = f"{refused.code}:{refused.message}: --"
            except MultipleMatchesError as several:
                error = f"DUPLICATE_EXTERNAL_ID:{self.job.external_id}: more than one record found for external id field: [{', '.join(several.record_ids)}]:: --"
            self.job.processed += 1
            if error is None:
                self.job.successes.append((record_id, created, row))
            else:
                writer.transaction.rollback(mark)
                self.job.failed += 1
                known = row[self.names.index("Id")] if "Id" in self.names else ""
                self.job.failures.append((known, error, row))

    def _repeated(self, rows: Sequence[list[str]]) -> set[str]:
        if self.key is None or self.job.operation != "upsert":
            return set()
        counts = Counter(row[self.key].strip().lower() for row in rows)
        return {value for value, times in counts.items() if times > 1 and value}

    def _refuse_repeated(self, row: Sequence[str], repeated: set[str]) -> None:
        if self.key is not None and row[self.key].strip().lower() in repeated:
            raise RecordError(
                "DUPLICATE_VALUE", f"Duplicate external id specified: {row[self.key]}", [self.names[self.key]]
            )

    def _operation(self, writer: Writer) -> Callable[[list[str]], tuple[str, bool]]:
        o, operation, key = self.o, self.job.operation, self.key
        if operation == "insert" or key is None:
            return lambda row: (writer.create(o, self._fields(row)), True)
        if operation == "update":
            return lambda row: (writer.update(o, row[key].strip(), self._fields(row)), False)
        if operation == "upsert":
            f = o.by_name[str(self.job.external_id).lower()]
            return lambda row: writer.upsert(o, f, row[key], self._fields(row, without=f.name))
        return lambda row: (writer.delete(o, row[key].strip(), hard=operation == "hardDelete"), False)

    def _fields(self, row: Sequence[str], without: str = "Id") -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, cell in zip(self.names, row, strict=True):
            if not cell or name in {without, "Id"}:
                continue
            value = None if cell == NULL else cell
            relationship, _, key = name.partition(".")
            if not key:
                fields[name] = value
            elif value is None:
                parent = self.o.parent(relationship)
                fields[parent.name if parent else name] = None
            else:
                fields[relationship] = {key: value}
        return fields
