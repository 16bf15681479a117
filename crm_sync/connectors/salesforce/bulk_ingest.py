"""Large writes: Bulk API 2.0 ingest jobs, results joined by key.

    create job ── upload CSV ── mark complete ── poll ── successful, failed, unprocessed rows

Source: "Bulk API 2.0 Ingest" of the Bulk API guide. Nothing happens at Salesforce before the upload is marked
complete; from then on the job runs, whatever becomes of us. So the job log holds the job id from the beginning, and
a job that was interrupted before that point is aborted, after it its results are collected. Uploads go uncompressed:
Salesforce documents gzip for the answers of this API only.

While a job runs, empty lists of results are handed out, so that the caller can do something else meanwhile. Rows come
back in any order. Creates are upserts by the external id, which holds the operation's key; updates and deletes are
told by Id. An empty cell means "leave alone", so one job can hold rows that write different columns.
"""

import csv
import io
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from crm_sync.connectors.crm import JobLog, Operation, Result
from crm_sync.connectors.salesforce import collections, jobs, prepare
from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.salesforce.ingest_results import FAMILY, collect, key_of, share
from crm_sync.connectors.salesforce.prepare import Target
from crm_sync.core.errors import CrmError, ErrorClass, RecordError

log = logging.getLogger(__name__)

JOB_ROWS = 50_000
_JOB_BYTES = 90_000_000  # Salesforce takes 100 MB
_UPLOADS = 3  # jobs tried for one upload
_FIRST_WAIT, _LONGEST_WAIT, _GROWTH = 0.05, 10.0, 1.5  # seconds between two questions about a job
_FEW = (
    2_000  # locked records that are sent again by Collections; of more than that a run is spared the trouble
)
_VERBS = {"create": "upsert", "update": "update", "delete": "delete"}


def send(
    api: Api,
    target: Target,
    operations: Sequence[Operation],
    job: JobLog,
    rows: int,
    sift: Callable[[Sequence[Operation]], tuple[Sequence[Operation], list[Result]]],
    once_more: Callable[[Sequence[Operation]], Iterator[list[Result]]],
) -> Iterator[list[Result]]:
    """Send operations of one kind, in as many jobs as it takes, one after the other.

    sift: which of a job's operations may be sent, and the results of the others; asked right before the job is filled.
    once_more: sends rows that could not be locked.
    """
    key = _key_column(target.external_id, operations[0].kind)
    arranged = list(prepare.by_parent(target, operations))
    while arranged:
        with api.transport.job():
            ready, moved = sift(arranged[:rows])
            content, taken = _csv(key, ready, rows)
            part, arranged = ready[:taken], [*ready[taken:], *arranged[rows:]]
            if part:
                state = _submit(api, target, part[0].kind, content, job)
                done = yield from _ended(api, state, len(part))
        if moved:
            yield moved
        if not part:
            continue
        left = {key_of(operation): operation for operation in part}
        locked: list[Operation] = []
        error = yield from _sifted(collect(api, state, done, left), part, locked)
        if done["state"] == "Failed":  # perhaps for a field that was there when the object was described
            api.forget(target.sobject.name)
        if left:
            yield [collections.refusal(o, share(error, o, key)) for o in left.values()]
        job.clear()
        if locked:
            yield from once_more(locked)


def _sifted(
    answers: Generator[list[Result], None, RecordError],
    part: Sequence[Operation],
    locked: list[Operation],
) -> Generator[list[Result], None, RecordError]:
    """The results, but those of rows that could not be locked, which are put aside to be sent once more: a job writes
    its batches side by side, and they get in each other's way."""
    while True:
        try:
            results = next(answers)
        except StopIteration as end:
            error: RecordError = end.value
            return error
        keys = {r.key for r in results if r.error is not None and r.error.code == "UNABLE_TO_LOCK_ROW"}
        if keys and len(locked) + len(keys) <= _FEW:
            locked += [operation for operation in part if operation.key in keys]
            results = [result for result in results if result.key not in keys]
        yield results


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
    left = {key_of(operation): operation for operation in operations if _VERBS[operation.kind] == verb}
    mine = len(left)
    done = yield from _ended(api, state, len(left))
    yield from collect(api, state, done, left)
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


def _ended(api: Api, state: Mapping[str, Any], rows: int) -> Generator[list[Result], None, Mapping[str, Any]]:
    """Ask for a job of so many rows until it has ended; its last description. Hands out nothing between two
    questions; the time that the caller takes then counts as waiting.

    There is no limit of time: Salesforce itself gives a job up after twenty tries of ten minutes.
    """
    longest = _FIRST_WAIT
    begun = time.monotonic()
    while True:
        asked = time.monotonic()
        job: Mapping[str, Any] = api.get(f"jobs/ingest/{state['job_id']}", family=FAMILY)
        if job["state"] in jobs.FINAL:
            log.info("bulk job %s: %s", job["id"], job["state"])
            return job
        yield []
        pause = pause_of(longest, asked - begun, int(job.get("numberRecordsProcessed") or 0), rows)
        rest = asked + pause - time.monotonic()
        if rest > 0:
            api.transport.settings.sleep(rest)
        longest = min(longest * _GROWTH, _LONGEST_WAIT)


def pause_of(longest: float, age: float, processed: int, rows: int) -> float:
    """Seconds until the next question about a job of that age: as long as its other rows take at the pace so far, if
    that is shorter, so that its end is not slept through; but a twentieth of its age, so that it is not pestered."""
    if not processed:
        return longest
    left = age * max(rows - processed, 0) / processed
    return min(longest, max(left, age / 20, _FIRST_WAIT))


def _csv(key: str, operations: Sequence[Operation], rows: int) -> tuple[bytes, int]:
    """The CSV of the first operations, and how many they are: as many as fit into a job."""
    names = sorted({name for operation in operations[:rows] for name in operation.values} - {key})
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow([key, *names])
    taken = 0
    for operation in operations[:rows]:
        head = operation.key if operation.kind == "create" else operation.crm_id
        given = operation.values
        writer.writerow([head, *(_cell(given[name]) if name in given else "" for name in names)])
        taken += 1
        if buffer.tell() > _JOB_BYTES // 4:  # characters; one takes up to four bytes
            break
    return buffer.getvalue().encode(), taken


def _cell(value: str | None) -> str:
    """An empty cell would mean "leave alone". Line ends as the job declares them, or Salesforce refuses the job."""
    if value is None:
        return prepare.NULL
    return value.replace("\r\n", "\n").replace("\r", "\n") if "\r" in value else value


def _key_column(external_id: str | None, kind: str) -> str:
    return str(external_id) if kind == "create" else "Id"
