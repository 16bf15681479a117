"""What became of the rows of a Bulk ingest job: the lists of successful, failed and unprocessed rows, read as they come.

Rows are joined to operations by key. What no list mentions, or what cannot be read, has an unknown outcome: the caller
looks at the record.
"""

import codecs
import csv
import logging
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from crm_sync.connectors.crm import Operation, Result
from crm_sync.connectors.download import chunks
from crm_sync.connectors.salesforce import collections, errors, values
from crm_sync.connectors.salesforce.api import Api
from crm_sync.core.errors import CrmError, ErrorClass, RecordError

log = logging.getLogger(__name__)

FAMILY = "bulk_ingest"
_RESULTS = 2_000  # results handed out at a time
_ABORTED = RecordError(
    ErrorClass.TRANSIENT, "ABORTED", "the bulk job was aborted before it came to this record"
)
_UNPROCESSED = RecordError(
    ErrorClass.TRANSIENT, "UNPROCESSED", "the bulk job ended before it came to this record"
)
_UNKNOWN = RecordError(
    ErrorClass.UNKNOWN_OUTCOME, "NO_RESULT", "the bulk job's results do not mention this record"
)


def collect(
    api: Api, state: Mapping[str, Any], done: Mapping[str, Any], left: dict[str, Operation]
) -> Generator[list[Result], None, RecordError]:
    """The results of a job that has ended; those found are taken out of `left`. What is not found, because the lists
    lack it or are not kept any more, stays there. Returns what befell those."""
    tail = f"jobs/ingest/{state['job_id']}"
    key = str(state["key"])
    number = len(left)
    try:
        if done.get("numberRecordsProcessed", 1) != done.get("numberRecordsFailed", 0):
            yield from _results(api, f"{tail}/successfulResults", key, left, None)
        if done.get("numberRecordsFailed", 1) and left:
            yield from _results(api, f"{tail}/failedResults", key, left, None)
        if left:
            error = _UNPROCESSED if done["state"] == "JobComplete" else _whole(done)
            yield from _results(api, f"{tail}/unprocessedrecords", key, left, error)
    except CrmError as error:
        if error.error_class not in (ErrorClass.GONE, ErrorClass.UNKNOWN_OUTCOME):
            raise
        log.warning("the results of bulk job %s cannot be had: %s", state["job_id"], error.code or error)
        return _UNKNOWN
    # Only a job that did not end well and mentions nobody leaves no doubt: it did nothing.
    idle = done["state"] != "JobComplete" and len(left) == number and not done.get("numberRecordsProcessed")
    return _whole(done) if idle else _UNKNOWN


def _whole(done: Mapping[str, Any]) -> RecordError:
    """Why a job that failed or was aborted did not come to a row."""
    if done["state"] == "Aborted":
        return _ABORTED
    return errors.job_error(str(done.get("errorMessage") or "no reason given"))


def share(error: RecordError, operation: Operation, key: str) -> RecordError:
    """What befell a row of a job that failed as a whole: for a field that is not there, those that write it are refused, and
    the others, which have nothing to do with it, wait for another job. key: the column that all have."""
    if error.error_class is not ErrorClass.PERMISSION or not error.fields:
        return error
    if key in error.fields or not operation.values.keys().isdisjoint(error.fields):
        return error
    return replace(error, error_class=ErrorClass.TRANSIENT, fields=())


def _results(
    api: Api, tail: str, key: str, left: dict[str, Operation], error: RecordError | None
) -> Iterator[list[Result]]:
    """The rows of one list of results; `error` is what befell them if the rows themselves do not say."""
    collected: list[Result] = []
    rows = _rows(api, tail)
    columns = {name: place for place, name in enumerate(next(rows, []))}
    place, said, made = (columns.get(name) for name in ("sf__Id", "sf__Error", "sf__Created"))
    own = columns.get(key)
    for row in rows:
        if len(row) != len(columns) or own is None:
            continue  # broken: it tells nothing about its record
        operation = left.pop(_folded(key, row[own]), None)
        if operation is None:
            continue  # settled before
        if error is not None:
            collected.append(collections.refusal(operation, share(error, operation, key)))
        elif said is not None:
            found = errors.from_bulk(row[said], operation.values.values())
            collected.append(collections.refusal(operation, found))
        elif place is not None and values.is_id(row[place]):
            created = operation.kind == "create" and made is not None and row[made].lower() == "true"
            collected.append(
                Result(operation.key, ok=True, crm_id=values.full_id(row[place]), created=created)
            )
        else:
            left[key_of(operation)] = operation
        if len(collected) == _RESULTS:
            yield collected
            collected = []
    if collected:
        yield collected


def _rows(api: Api, tail: str) -> Iterator[list[str]]:
    """The rows of a CSV answer, its header first, read as it comes; always UTF-8, whatever its headers leave out."""
    csv.field_size_limit(1 << 24)  # a long text area is longer than the module's default allows

    def download() -> Any:
        return api.transport.request("GET", api.path(tail), family=FAMILY, idempotent=True, stream=True)

    text = codecs.iterdecode(chunks(download, api.transport.settings), "utf-8-sig")
    try:
        yield from csv.reader(_lines(text), strict=True)
    except (csv.Error, UnicodeDecodeError) as error:
        told = f"the list {tail.rpartition('/')[2]} of a bulk job cannot be read to its end"
        raise CrmError(ErrorClass.UNKNOWN_OUTCOME, told) from error


def _lines(text: Iterable[str]) -> Iterator[str]:
    """Pieces of text cut anew, after each line feed."""
    rest = ""
    for piece in text:
        *whole, rest = (rest + piece).split("\n")
        for line in whole:
            yield line + "\n"
    if rest:
        yield rest


def key_of(operation: Operation) -> str:
    if operation.kind == "create":
        return operation.key.lower()
    return values.full_id(operation.crm_id or "")


def _folded(key: str, cell: str) -> str:
    """The cell of the key column as `_key_of` writes it: external ids are blind to case, Ids come in two lengths."""
    return values.full_id(cell) if key == "Id" else cell.lower()
