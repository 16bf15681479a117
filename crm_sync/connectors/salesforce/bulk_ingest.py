"""Large writes: Bulk API 2.0 ingest jobs, results joined by key.

    create job ── upload CSV ── mark complete ── poll ── successful, failed, unprocessed rows

Source: "Bulk API 2.0 Ingest" of the Bulk API guide. Nothing happens at Salesforce before the upload is marked
complete; from then on the job runs, whatever becomes of us. So the job log holds the job id from the beginning, and
a job that was interrupted before that point is aborted, after it its results are collected.

Rows come back in any order. Creates are upserts by the external id, which holds the operation's key; updates and
deletes are told by Id. An empty cell means "leave alone", so one job can hold rows that write different columns.
"""

import codecs
import csv
import io
import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from crm_sync.connectors.crm import JobLog, Operation, Result
from crm_sync.connectors.download import chunks
from crm_sync.connectors.salesforce import collections, errors, jobs, prepare, values
from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.salesforce.prepare import Target
from crm_sync.core.errors import CrmError, ErrorClass, RecordError

log = logging.getLogger(__name__)

FAMILY = "bulk_ingest"
JOB_ROWS = 50_000
_JOB_BYTES = 90_000_000  # Salesforce takes 100 MB
_UPLOADS = 3  # jobs tried for one upload
_RESULTS = 2_000  # results handed out at a time
_VERBS = {"create": "upsert", "update": "update", "delete": "delete"}
_ABORTED = RecordError(
    ErrorClass.TRANSIENT, "ABORTED", "the bulk job was aborted before it came to this record"
)
_UNPROCESSED = RecordError(
    ErrorClass.TRANSIENT, "UNPROCESSED", "the bulk job ended before it came to this record"
)
_UNKNOWN = RecordError(
    ErrorClass.UNKNOWN_OUTCOME, "NO_RESULT", "the bulk job's results do not mention this record"
)


def send(
    api: Api, target: Target, operations: Sequence[Operation], job: JobLog, rows: int = JOB_ROWS
) -> Iterator[list[Result]]:
    """Send operations of one kind, in as many jobs as it takes, one after the other."""
    key = _key_column(target.external_id, operations[0].kind)
    arranged = prepare.by_parent(target, operations)
    while arranged:
        content, taken = _csv(key, arranged, rows)
        part, arranged = arranged[:taken], arranged[taken:]
        state = _submit(api, target, part[0].kind, content, job)
        left = {_key_of(operation): operation for operation in part}
        done = yield from _collect(api, state, left)
        error = _leftover(done)
        if left:
            yield [collections.refusal(operation, error) for operation in left.values()]
        job.clear()


def resume(
    api: Api, operations: Sequence[Operation], state: Mapping[str, Any], job: JobLog
) -> Iterator[list[Result]]:
    """The results of a job that an earlier process started.

    Raises CrmError(UNKNOWN_OUTCOME) if the job was never started, is not there any more, or does not mention all of
    the operations: those have to be looked up.
    """
    tail = f"jobs/ingest/{state['job_id']}"
    try:
        found = api.get(tail, family=FAMILY)
    except CrmError as error:
        if error.error_class is not ErrorClass.GONE:
            raise
        job.clear()
        text = f"bulk job {state['job_id']} is not at Salesforce any more: look at the records"
        raise CrmError(ErrorClass.UNKNOWN_OUTCOME, text) from error
    if found["state"] == "Open":
        _abort(api, tail)
        job.clear()
        text = f"bulk job {state['job_id']} had not been started and is aborted; nothing of it was written"
        raise CrmError(ErrorClass.UNKNOWN_OUTCOME, text)
    verb = str(state["operation"])
    left = {_key_of(operation): operation for operation in operations if _VERBS[operation.kind] == verb}
    mine = len(left)
    yield from _collect(api, state, left)
    job.clear()
    if left or mine < len(operations):
        raise CrmError(
            ErrorClass.UNKNOWN_OUTCOME,
            f"{len(left) + len(operations) - mine} of {len(operations)} operations were not part of bulk job "
            f"{state['job_id']}: look at the records",
        )


def _submit(api: Api, target: Target, kind: str, content: bytes, job: JobLog) -> dict[str, Any]:
    """Create a job, upload, start it; what was noted of it in the log.

    An upload without an answer is not repeated (a job takes only one): the job is aborted and another one made.
    """
    description = {
        "object": target.sobject.name,
        "operation": _VERBS[kind],
        "contentType": "CSV",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }
    if kind == "create":
        description["externalIdFieldName"] = str(target.external_id)
    for attempt in range(1, _UPLOADS + 1):
        created = api.call("POST", "jobs/ingest", family=FAMILY, idempotent=True, body=description)
        tail = f"jobs/ingest/{created['id']}"
        key = _key_column(target.external_id, kind)
        state = {
            "kind": "ingest",
            "job_id": created["id"],
            "operation": _VERBS[kind],
            "key": key,
            "phase": "open",
        }
        job.save(state)
        headers = {"Content-Type": "text/csv; charset=UTF-8"}
        try:
            api.call(
                "PUT", f"{tail}/batches", family=FAMILY, idempotent=False, content=content, headers=headers
            )
            break
        except CrmError as error:
            _abort(api, tail)
            job.clear()
            if error.error_class is ErrorClass.UNKNOWN_OUTCOME:
                error.error_class = ErrorClass.TRANSIENT  # it was never started, so nothing came of it
            if attempt == _UPLOADS or error.error_class is not ErrorClass.TRANSIENT:
                raise
    state = {**state, "phase": "uploaded"}
    job.save(state)
    _start(api, tail)
    log.info("bulk %s job %s started", _VERBS[kind], created["id"])
    return state


def _start(api: Api, tail: str) -> None:
    try:
        api.call("PATCH", tail, family=FAMILY, idempotent=True, body={"state": "UploadComplete"})
    except CrmError as error:
        # It may have been started by a try whose answer got lost; then the next one is refused.
        if _state(api, tail, error) == "Open":
            raise


def _state(api: Api, tail: str, cause: CrmError) -> str:
    """The state of a job that may have been started; if that cannot be learnt either, nobody knows."""
    try:
        return str(api.get(tail, family=FAMILY)["state"])
    except CrmError:
        text = f"nobody knows whether the bulk job {tail.rpartition('/')[2]} was started: {cause}"
        raise CrmError(ErrorClass.UNKNOWN_OUTCOME, text) from cause


def _abort(api: Api, tail: str) -> None:
    with suppress(CrmError):  # an open job ends by itself after a day
        api.call("PATCH", tail, family=FAMILY, idempotent=True, body={"state": "Aborted"})


def _collect(
    api: Api, state: Mapping[str, Any], left: dict[str, Operation]
) -> Generator[list[Result], None, Mapping[str, Any]]:
    """Wait for a job and hand out the results; those found are taken out of `left`. Returns the job."""
    tail = f"jobs/ingest/{state['job_id']}"
    done = jobs.wait(api, tail, FAMILY, lambda _: None)
    key = str(state["key"])
    if done.get("numberRecordsProcessed", 1) != done.get("numberRecordsFailed", 0):
        yield from _results(api, f"{tail}/successfulResults", key, left, None)
    if done.get("numberRecordsFailed", 1) and left:
        yield from _results(api, f"{tail}/failedResults", key, left, None)
    if left:
        error = _UNPROCESSED if done["state"] == "JobComplete" else _leftover(done)
        yield from _results(api, f"{tail}/unprocessedrecords", key, left, error)
    return done


def _leftover(done: Mapping[str, Any]) -> RecordError:
    match done["state"]:
        case "Failed":
            return errors.job_error(str(done.get("errorMessage") or "no reason given"))
        case "Aborted":
            return _ABORTED
        case _:
            return _UNKNOWN


def _results(
    api: Api, tail: str, key: str, left: dict[str, Operation], error: RecordError | None
) -> Iterator[list[Result]]:
    """The rows of one list of results; `error` is what befell them if the rows themselves do not say."""
    collected: list[Result] = []
    for row in _rows(api, tail):
        operation = left.pop(_folded(key, row.get(key, "")), None)
        if operation is None:
            continue  # settled before
        collected.append(_result(operation, row, error))
        if len(collected) == _RESULTS:
            yield collected
            collected = []
    if collected:
        yield collected


def _result(operation: Operation, row: Mapping[str, str], error: RecordError | None) -> Result:
    if error is not None:
        return collections.refusal(operation, error)
    if "sf__Error" in row:
        return collections.refusal(operation, errors.from_bulk(row["sf__Error"], operation.values.values()))
    created = operation.kind == "create" and row.get("sf__Created", "").lower() == "true"
    return Result(operation.key, ok=True, crm_id=values.full_id(row["sf__Id"]), created=created)


def _rows(api: Api, tail: str) -> Iterator[dict[str, str]]:
    """The rows of a CSV answer, read as it comes; always UTF-8, whatever its headers leave out."""
    csv.field_size_limit(1 << 24)  # a long text area is longer than the module's default allows

    def download() -> Any:
        return api.transport.request("GET", api.path(tail), family=FAMILY, idempotent=True, stream=True)

    text = codecs.iterdecode(chunks(download, api.transport.settings), "utf-8-sig")
    yield from csv.DictReader(_lines(text), strict=True)


def _lines(text: Iterable[str]) -> Iterator[str]:
    """Pieces of text cut anew, after each line feed."""
    rest = ""
    for piece in text:
        *whole, rest = (rest + piece).split("\n")
        for line in whole:
            yield line + "\n"
    if rest:
        yield rest


def _csv(key: str, operations: Sequence[Operation], rows: int) -> tuple[bytes, int]:
    """The CSV of the first operations, and how many they are: as many as fit into a job."""
    names = sorted({name for operation in operations[:rows] for name in operation.values} - {key})
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow([key, *names])
    taken = 0
    for operation in operations[:rows]:
        head = operation.key if operation.kind == "create" else operation.crm_id
        writer.writerow([head, *(_cell(operation, name) for name in names)])
        taken += 1
        if buffer.tell() > _JOB_BYTES // 4:  # characters; one takes up to four bytes
            break
    return buffer.getvalue().encode(), taken


def _cell(operation: Operation, name: str) -> str:
    """Empty: leave alone; line ends as the job declares them, or Salesforce refuses the whole job."""
    if name not in operation.values:
        return ""
    value = operation.values[name]
    return prepare.NULL if value is None else value.replace("\r\n", "\n").replace("\r", "\n")


def _key_column(external_id: str | None, kind: str) -> str:
    return str(external_id) if kind == "create" else "Id"


def _key_of(operation: Operation) -> str:
    if operation.kind == "create":
        return operation.key.lower()
    return values.full_id(operation.crm_id or "")


def _folded(key: str, cell: str) -> str:
    """The cell of the key column as `_key_of` writes it: external ids are blind to case, Ids come in two lengths."""
    return values.full_id(cell) if key == "Id" else cell.lower()
