"""Bulk API 2.0 ingest: upload CSV, have it written in chunks of 200, fetch results.

Here: the requests and the course of a job. Not here: what is in the CSV and what becomes of a row
(bulk_rows.py). Source: Bulk API 2.0 Developer Guide, "Ingest Data" (create, upload, close, results).
"""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any

from crm_sync.simulators.salesforce.bulk_jobs import (
    TERMINAL,
    Job,
    abort,
    begun,
    csv_answer,
    dialect,
    find,
    finish,
    finished,
    invalid_state,
)
from crm_sync.simulators.salesforce.bulk_rows import Applier, JobError, read
from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.schema import SObject
from crm_sync.simulators.salesforce.web import Answer, Call

OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
CHUNK = 200
MAX_UPLOAD = 150 * 1024 * 1024


def create(call: Call) -> Answer:
    """POST /jobs/ingest."""
    body = call.mapping()
    operation = next((o for o in OPERATIONS if o.lower() == str(body.get("operation", "")).lower()), None)
    if operation is None:
        raise ApiError(400, "INVALIDJOB", f"InvalidJob : Unknown operation: {body.get('operation')}")
    o = call.org.store.schema.find(str(body.get("object", "")))
    if o is None:
        raise ApiError(400, "INVALIDENTITY", f"InvalidEntity : Unable to find object: {body.get('object')}")
    external_id = None
    if operation == "upsert":
        external_id = _external_id(o, body.get("externalIdFieldName"))
    delimiter, ending = dialect(body)
    call.org.usage.jobs[f"ingest {operation} {o.name}"] += 1
    job = Job(
        id=call.org.jobs.new_id(),
        kind="ingest",
        operation=operation,
        object=o.name,
        session=call.user,
        version=call.version,
        created=call.org.clock.stamp(),
        line_ending=ending,
        delimiter=delimiter,
        state="Open",
        external_id=external_id,
        assignment_rule=body.get("assignmentRuleId"),
    )
    call.org.jobs.all[job.id] = job
    return Answer(body=job.document(full=False))


def _external_id(o: SObject, name: object) -> str:
    if not name:
        raise ApiError(
            400,
            "INVALIDJOB",
            "InvalidJob : External ID was blank for upsert operation. An external ID must be specified for upsert.",
        )
    f = o.find(str(name))
    if f is None or not (f.external_id or f.type == "id"):
        raise ApiError(
            400,
            "INVALIDJOB",
            f"InvalidJob : Field name provided, {name} is not an External ID or indexed field for {o.name}",
        )
    return f.name


def upload(call: Call) -> Answer:
    """PUT /jobs/ingest/{id}/batches: once per job."""
    job = find(call, "ingest")
    if job.state != "Open":
        raise invalid_state(
            f"Found multiple contents for job: <{job.id}>, please 'Close' / 'Abort' / 'Delete' the current Job then create a new Job and make sure you only do 'PUT' once on a given Job."
        )
    if job.data is not None:
        raise ApiError(
            400, "CLIENTINPUTERROR", f"ClientInputError : Found multiple contents for job: <{job.id}>"
        )
    if len(call.body) > MAX_UPLOAD:
        raise ApiError(413, "CLIENTINPUTERROR", "ClientInputError : The request body is larger than 150 MB")
    if not call.headers.get("content-type", "").lower().startswith("text/csv"):
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be text/csv")
    job.data = call.body
    return Answer(201)


def change(call: Call) -> Answer:
    """PATCH /jobs/ingest/{id} with state UploadComplete or Aborted."""
    job = find(call, "ingest")
    state = call.mapping().get("state")
    if state == "Aborted":
        abort(call, job)
    elif state == "UploadComplete":
        if job.state != "Open":
            raise invalid_state(f"Job is in state {job.state}, UploadComplete is not allowed")
        job.state = "UploadComplete"
        job.stamp = call.org.clock.stamp()
        call.org.jobs.start(_process(call, job))
    else:
        raise ApiError(400, "INVALIDJOB", f"InvalidJob : Unsupported state: {state}")
    return Answer(body=job.document(full=False))


def information(call: Call) -> Answer:
    """GET /jobs/ingest/{id}."""
    return Answer(body=find(call, "ingest").document(full=True))


def results(call: Call, which: str) -> Answer:
    """GET successfulResults, failedResults, unprocessedrecords (in any letter case)."""
    job = finished(call, find(call, "ingest"))
    if which == "successfulresults":
        rows = [[i, "true" if created else "false", *row] for i, created, row in job.successes]
        return csv_answer(call, job, ["sf__Id", "sf__Created", *job.header], rows)
    if which == "failedresults":
        return csv_answer(
            call, job, ["sf__Id", "sf__Error", *job.header], [[i, e, *row] for i, e, row in job.failures]
        )
    return csv_answer(call, job, job.header, job.unprocessed)


def _about(job: Job) -> str:
    return f"ingest {job.operation} {job.object}"


def _end(call: Call, job: Job) -> Mapping[str, Any] | None:
    """How the job ends by the plan of faults, if not well."""
    return call.org.plan.happens("bulk job", _about(job))


async def _process(call: Call, job: Job) -> None:
    """UploadComplete -> InProgress -> JobComplete, Failed or Aborted."""
    if not await begun(call, job):
        return
    started = time.monotonic()
    o = call.org.store.schema.objects[job.object]
    try:
        rows = await asyncio.to_thread(read, job)
        apply = Applier(call, job, o)
    except JobError as error:
        job.error = str(error)
        finish(call, job, "Failed")
        return
    end = _end(call, job)
    if end is not None and end.get("state", "Failed") == "Failed":
        job.error = end.get("message", "InternalServerError : the job could not be processed")
        job.unprocessed = rows
        finish(call, job, "Failed")
        return
    for start in range(0, len(rows), CHUNK):
        if end is not None and (start >= len(rows) / 2 or len(rows) <= CHUNK):
            finish(call, job, "Aborted")
        if job.state in TERMINAL:  # aborted meanwhile
            job.unprocessed = rows[start:]
            break
        apply.chunk(rows[start : start + CHUNK])
        job.milliseconds = int((time.monotonic() - started) * 1000)
        await asyncio.sleep(0)
    shuffled = call.org.plan.happens("shuffled results", _about(job)) is not None
    if call.org.settings.bulk_shuffle or shuffled:
        dice = random.Random(job.id)
        dice.shuffle(job.successes)
        dice.shuffle(job.failures)
    if job.state not in TERMINAL:
        finish(call, job, "JobComplete")
