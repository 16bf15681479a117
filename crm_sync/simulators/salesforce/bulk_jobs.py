"""Bulk API 2.0 jobs as such: their life, their documents, their CSV dialects.

Not here: what ingest jobs write (bulk_ingest.py) and what query jobs read (bulk_query.py).
Source: Bulk API 2.0 Developer Guide, "Get Information About a Job".
"""

import asyncio
import csv
import io
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from crm_sync.simulators.salesforce import ids
from crm_sync.simulators.salesforce.bulk_results import Spool
from crm_sync.simulators.salesforce.errors import ApiError, not_found
from crm_sync.simulators.salesforce.soql_columns import Column
from crm_sync.simulators.salesforce.web import Answer, Call

if TYPE_CHECKING:
    from crm_sync.simulators.salesforce.sessions import Session

DELIMITERS = {
    "COMMA": ",",
    "TAB": "\t",
    "PIPE": "|",
    "SEMICOLON": ";",
    "CARET": "^",
    "BACKQUOTE": "`",
}
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
TERMINAL = frozenset({"JobComplete", "Failed", "Aborted"})
CHUNK_ROWS = 2_000
LIST_SIZE = 1_000


@dataclass(slots=True)
class Job:
    """One job of either kind. ``results`` is filled by its runner."""

    id: str
    kind: str  # "ingest" or "query"
    operation: str
    object: str
    session: "Session"
    version: str
    created: str
    line_ending: str
    delimiter: str
    state: str
    stamp: str = ""
    external_id: str | None = None
    assignment_rule: str | None = None
    error: str | None = None
    processed: int = 0
    failed: int = 0
    milliseconds: int = 0
    finished: float | None = None
    # ingest
    data: bytes | None = None
    header: list[str] = field(default_factory=list)
    successes: list[tuple[str, bool, list[str]]] = field(default_factory=list)
    failures: list[tuple[str, str, list[str]]] = field(default_factory=list)
    unprocessed: list[list[str]] = field(default_factory=list)
    # query
    query: str = ""
    columns: Sequence[Column] = ()
    spool: Spool | None = None

    def document(self, *, full: bool) -> dict[str, Any]:
        """The job's JSON; ``full`` as polled, otherwise as answered to its creation."""
        body: dict[str, Any] = {
            "id": self.id,
            "operation": self.operation,
            "object": self.object,
            "createdById": self.session.user_id,
            "createdDate": self.created,
            "systemModstamp": self.stamp or self.created,
            "state": self.state,
        }
        if self.external_id is not None:
            body["externalIdFieldName"] = self.external_id
        if self.assignment_rule is not None:
            body["assignmentRuleId"] = self.assignment_rule
        body |= {
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(self.version),
        }
        if full:
            body["jobType"] = "V2Ingest" if self.kind == "ingest" else "V2Query"
        if self.kind == "ingest" and self.state == "Open":
            body["contentUrl"] = f"services/data/v{self.version}/jobs/ingest/{self.id}/batches"
        body |= {"lineEnding": self.line_ending, "columnDelimiter": self.delimiter}
        if full and self.state not in {"Open", "Aborted"}:
            body["numberRecordsProcessed"] = self.processed
            if self.kind == "ingest":
                body["numberRecordsFailed"] = self.failed
            body |= {"retries": 0, "totalProcessingTime": self.milliseconds}
            if self.kind == "ingest":
                body |= {"apiActiveProcessingTime": self.milliseconds, "apexProcessingTime": 0}
        if full and float(self.version) >= 61:
            body["isPkChunkingSupported"] = self.kind == "query"
        if self.error is not None:
            body["errorMessage"] = self.error
        return body


@dataclass(slots=True)
class Jobs:
    """All jobs of the org, and the tasks that work on them."""

    all: dict[str, Job] = field(default_factory=dict)
    counter: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    rendered: dict[Any, Spool] = field(default_factory=dict)  # the result of the last query of untouched rows

    def new_id(self) -> str:
        self.counter += 1
        return ids.make("750", self.counter)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a job's work beside the requests."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def find(call: Call, kind: str) -> Job:
    """The job of the call's path. Raises NOT_FOUND."""
    job = call.org.jobs.all.get(ids.normalise(call.parts["id"]) or "")
    if job is None or job.kind != kind:
        raise not_found()
    return job


def dialect(body: dict[str, Any]) -> tuple[str, str]:
    """(columnDelimiter, lineEnding) of a job's request, checked."""
    delimiter = str(body.get("columnDelimiter") or "COMMA").upper()
    ending = str(body.get("lineEnding") or "LF").upper()
    if delimiter not in DELIMITERS:
        raise ApiError(400, "INVALIDJOB", f"InvalidJob : Unknown columnDelimiter: {delimiter}")
    if ending not in LINE_ENDINGS:
        raise ApiError(400, "INVALIDJOB", f"InvalidJob : Unknown lineEnding: {ending}")
    if str(body.get("contentType") or "CSV").upper() != "CSV":
        raise ApiError(400, "INVALIDJOB", "InvalidJob : Unsupported content type")
    return delimiter, ending


def listing(call: Call, kind: str) -> Answer:
    """GET /jobs/{kind}: newest first."""
    jobs = [job for job in call.org.jobs.all.values() if job.kind == kind]
    wanted = call.query.get("jobType")
    if wanted is not None and wanted not in {"V2Ingest", "V2Query"}:
        jobs = []
    records = [job.document(full=True) for job in reversed(jobs[-LIST_SIZE:])]
    return Answer(body={"done": True, "nextRecordsUrl": None, "records": records})


def remove(call: Call, kind: str) -> Answer:
    """DELETE of a finished job."""
    job = find(call, kind)
    if job.state not in TERMINAL:
        raise invalid_state(f"Job is in state {job.state} and cannot be deleted")
    del call.org.jobs.all[job.id]
    return Answer(204)


def abort(call: Call, job: Job) -> None:
    if job.state in TERMINAL:
        raise invalid_state(f"Aborting already {job.state} Job not allowed")
    finish(call, job, "Aborted")


async def begun(call: Call, job: Job) -> bool:
    """Into the state InProgress, in its time; False if the job was aborted before that."""
    wait = call.org.settings.bulk_seconds
    await asyncio.sleep(wait)
    if job.state in TERMINAL:
        return False
    job.state = "InProgress"
    job.stamp = call.org.clock.stamp()
    await asyncio.sleep(wait)
    return True


def finish(call: Call, job: Job, state: str) -> None:
    """Into a terminal state; results are kept for a while from now on."""
    job.state = state
    job.stamp = call.org.clock.stamp()
    job.finished = call.org.clock.now()
    job.data = None


def finished(call: Call, job: Job) -> Job:
    """The job, if its results can be read. Raises for one that is not done, or whose results expired."""
    if job.state not in TERMINAL or job.finished is None:
        raise invalid_state(f"Job is not in a state where results can be retrieved: {job.state}")
    if call.org.clock.now() - job.finished > call.org.settings.bulk_results_seconds:
        raise not_found()
    return job


def invalid_state(message: str) -> ApiError:
    return ApiError(400, "INVALIDJOBSTATE", message)


def csv_answer(call: Call, job: Job, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Answer:
    """Everything quoted, in the job's dialect, streamed."""
    return csv_stream(call, _lines(job, header, rows))


def csv_stream(call: Call, pieces: Iterator[bytes]) -> Answer:
    kind = "text/csv" if call.org.settings.omit_charset else "text/csv; charset=UTF-8"
    return Answer(headers={"Content-Type": kind}, stream=pieces)


def _lines(job: Job, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    def text(some: Iterable[Sequence[Any]]) -> bytes:
        buffer = io.StringIO()
        writer = csv.writer(
            buffer,
            delimiter=DELIMITERS[job.delimiter],
            lineterminator=LINE_ENDINGS[job.line_ending],
            quoting=csv.QUOTE_ALL,
        )
        writer.writerows(some)
        return buffer.getvalue().encode()

    yield text([header])
    remaining = iter(rows)
    while chunk := list(islice(remaining, CHUNK_ROWS)):
        yield text(chunk)
