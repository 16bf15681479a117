"""Bulk API 2.0 query: a query as a job, its result as pages of CSV (bulk_results.py).

Source: Bulk API 2.0 Developer Guide, "Query Data", "Get Results for a Query Job", "Get Parallel Results".
"""

import asyncio
import base64
import time
from hashlib import sha256
from itertools import chain
from typing import Any

from crm_sync.simulators.salesforce.bulk_jobs import (
    DELIMITERS,
    LINE_ENDINGS,
    TERMINAL,
    Job,
    abort,
    begun,
    csv_stream,
    dialect,
    find,
    finish,
    finished,
)
from crm_sync.simulators.salesforce.bulk_results import Dialect, Spool, header, render
from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.rows import Selection
from crm_sync.simulators.salesforce.schema import COMPOUND
from crm_sync.simulators.salesforce.soql_aggregate import is_aggregate
from crm_sync.simulators.salesforce.soql_ast import Select
from crm_sync.simulators.salesforce.soql_parse import parse
from crm_sync.simulators.salesforce.soql_run import Result
from crm_sync.simulators.salesforce.web import Answer, Call

DAY = 86_400.0
PARALLEL_SINCE = 58.0
PARALLEL_PAGES = 5


def create(call: Call) -> Answer:
    """POST /jobs/query. The statement is checked at once, executed later."""
    body = call.mapping()
    operation = {"query": "query", "queryall": "queryAll"}.get(str(body.get("operation", "")).lower())
    if operation is None:
        raise ApiError(400, "INVALIDJOB", f"InvalidJob : Unknown operation: {body.get('operation')}")
    delimiter, ending = dialect(body)
    text = str(body.get("query") or "")
    result = _check(call, text)
    _check_quota(call)
    call.org.usage.jobs[f"{operation} {result.o.name}"] += 1
    job = Job(
        id=call.org.jobs.new_id(),
        kind="query",
        operation=operation,
        object=result.o.name,
        session=call.user,
        version=call.version,
        created=call.org.clock.stamp(),
        line_ending=ending,
        delimiter=delimiter,
        state="UploadComplete",
        query=text,
    )
    call.org.jobs.all[job.id] = job
    call.org.jobs.start(_process(call, job))
    return Answer(body=job.document(full=False))


def _check(call: Call, text: str) -> Result:
    """Columns without rows. Raises for what Bulk does not allow, with the service's codes."""
    select = parse(text)
    if (
        select.offset is not None
        or is_aggregate(select)
        or any(isinstance(i.value, Select) for i in select.items)
    ):
        raise ApiError(
            400,
            "API_ERROR",
            "MALFORMED_QUERY: aggregates, GROUP BY, OFFSET and nested queries are not supported in Bulk Query",
        )
    try:
        result = call.org.runner(call.user).check(text)
    except ApiError as error:
        raise ApiError(error.status, "API_ERROR", error.message) from error
    if any(column.field.type in COMPOUND for column in result.columns):
        raise ApiError(400, "INVALIDENTITY", "Selecting compound data not supported in Bulk Query")
    return result


def _check_quota(call: Call) -> None:
    limit = call.org.settings.daily_bulk_query_jobs
    since = call.org.clock.stamp(DAY)
    recent = sum(1 for job in call.org.jobs.all.values() if job.kind == "query" and job.created > since)
    if recent >= limit:
        raise ApiError(
            403,
            "LIMIT_EXCEEDED",
            f"Max bulk v2 query jobs ({limit}) per 24 hrs has been reached (current: {recent})",
        )


async def _process(call: Call, job: Job) -> None:
    if not await begun(call, job) or job.state in TERMINAL:
        return
    started = time.monotonic()
    end = call.org.plan.happens("bulk job", f"{job.operation} {job.object}")
    if end is not None:
        job.error = end.get("message", "InternalServerError : the job could not be processed")
        finish(call, job, end.get("state", "Failed"))
        return
    try:
        result = call.org.runner(call.user, deleted_too=job.operation == "queryAll").run(job.query)
    except ApiError as error:
        job.error = error.message
        finish(call, job, "Failed")
        return
    job.columns = result.columns
    job.spool = await _rendered(call, job, result)
    if job.state in TERMINAL:  # aborted meanwhile
        return
    job.processed = len(job.spool)
    job.milliseconds = int((time.monotonic() - started) * 1000)
    finish(call, job, "JobComplete")


async def _rendered(call: Call, job: Job, result: Result) -> Spool:
    """The result as it is now, in a file. Rows nobody has written since the start are rendered once."""
    rows, known, key = result.rows, call.org.jobs.rendered, None
    if not isinstance(rows, Selection):
        rows = [list(row) for row in rows]
    elif not rows.own and all(column.place is not None for column in result.columns):
        headers = tuple(column.header for column in result.columns)
        key = (result.o.name, headers, _dialect(job), sha256(rows.places.tobytes()).digest())
        if key in known:
            return known[key]
    else:
        rows = rows.frozen()
    try:
        spool = await asyncio.to_thread(
            render, rows, result.columns, _dialect(job), lambda: job.state not in TERMINAL
        )
    except asyncio.CancelledError:
        job.state = "Aborted"  # so that the thread ends too
        raise
    if key is not None and job.state not in TERMINAL:
        known.clear()
        known[key] = spool
    return spool


def _dialect(job: Job) -> Dialect:
    return Dialect(DELIMITERS[job.delimiter], LINE_ENDINGS[job.line_ending])


def information(call: Call) -> Answer:
    """GET /jobs/query/{id}."""
    return Answer(body=find(call, "query").document(full=True))


def change(call: Call) -> Answer:
    """PATCH /jobs/query/{id} with state Aborted."""
    job = find(call, "query")
    if call.mapping().get("state") != "Aborted":
        raise ApiError(
            400, "INVALIDJOB", "InvalidJob : The only state that a query job can be set to is Aborted"
        )
    abort(call, job)
    return Answer(body=job.document(full=False))


def results(call: Call) -> Answer:
    """GET /jobs/query/{id}/results?locator=&maxRecords=: one page, and where the next begins."""
    job, spool = _complete(call)
    start = _offset(call.query.get("locator"))
    size = call.org.settings.bulk_page
    if "maxRecords" in call.query:
        if not call.query["maxRecords"].isdigit() or int(call.query["maxRecords"]) < 1:
            raise ApiError(400, "INVALIDJOB", "InvalidJob : maxRecords must be a positive number")
        size = int(call.query["maxRecords"])
    end = min(start + size, len(spool))
    answer = csv_stream(call, chain([header(job.columns, _dialect(job))], spool.read(start, end)))
    answer.headers["Sforce-NumberOfRecords"] = str(end - start)
    answer.headers["Sforce-Locator"] = _locator(end) if end < len(spool) else "null"
    return answer


def result_pages(call: Call) -> Answer:
    """GET /jobs/query/{id}/resultPages: up to five pages to be fetched side by side."""
    if float(call.version) < PARALLEL_SINCE:
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
    job, spool = _complete(call)
    size = call.org.settings.bulk_page
    start = _offset(call.query.get("locator"))
    base = f"/services/data/v{call.version}/jobs/query/{job.id}"
    starts = range(start, max(len(spool), start + 1), size)
    body: dict[str, Any] = {
        "resultPages": [
            {"resultUrl": f"{base}/results?locator={_locator(s)}"} for s in starts[:PARALLEL_PAGES]
        ]
    }
    done = len(starts) <= PARALLEL_PAGES
    if not done:
        body["nextRecordsUrl"] = f"{base}/resultPages?locator={_locator(starts[PARALLEL_PAGES])}"
    body["done"] = done
    return Answer(body=body)


def _complete(call: Call) -> tuple[Job, Spool]:
    job = finished(call, find(call, "query"))
    if job.version != call.version:
        raise ApiError(
            409,
            "API_ERROR",
            f"The job was created with API version {job.version}; use the same version to get its results",
        )
    if job.state != "JobComplete" or job.spool is None:
        raise ApiError(400, "INVALIDJOBSTATE", f"Job is in state {job.state}, no results are available")
    return job, job.spool


def _locator(offset: int) -> str:
    return base64.urlsafe_b64encode(f"r{offset}".encode()).decode().rstrip("=")


def _offset(locator: str | None) -> int:
    if locator is None or locator == "":
        return 0
    try:
        text = base64.urlsafe_b64decode(locator + "=" * (-len(locator) % 4)).decode()
        return int(text.removeprefix("r"))
    except ValueError:
        raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator") from None
