"""Bulk API 2.0 queries: large results as CSV, handed through as they come.

    create ── poll ── results page (locator) ── results page ── ... ── locator "null"

Source: "Bulk API 2.0 Query" of the Bulk API guide. The job log holds the job id from the moment it exists, and then
the locator of the next page, saved when the caller asks for that page, that is when it is done with the last one.
"""

import csv
import io
import logging
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import httpx

from crm_sync.connectors.crm import CsvPage, JobLog
from crm_sync.connectors.download import chunks
from crm_sync.connectors.salesforce import jobs
from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.salesforce.soql import Selection
from crm_sync.core.errors import CrmError, ErrorClass

log = logging.getLogger(__name__)

FAMILY = "bulk_query"
PAGE_ROWS = 50_000
_HEADER_LIMIT = 1 << 20  # a header row of more than a megabyte is none


def pages(
    api: Api,
    selection: Selection,
    statement: str,
    *,
    job: JobLog,
    state: Mapping[str, Any] | None,
    page_rows: int = PAGE_ROWS,
) -> Iterator[CsvPage]:
    """The result of a statement, page by page. `state`: what an interrupted read of the same statement saved; its
    job is gone on with if Salesforce still has it."""
    started = _resumable(api, statement, state) or _start(api, statement)
    job.save(started)
    tail = f"jobs/query/{started['job_id']}"
    done = jobs.wait(api, tail, FAMILY, lambda _: None)
    if done["state"] != "JobComplete":
        job.clear()
        raise _failed(done)
    locator = started.get("locator")
    while True:
        download = _Download(api, tail, locator, page_rows)
        try:
            page = _page(selection, chunks(download.open, api.transport.settings))
            if page is not None:
                yield page
        finally:
            download.close()
        locator = download.next
        if locator is None:
            job.clear()
            return
        job.save({**started, "locator": locator})


def _start(api: Api, statement: str) -> dict[str, Any]:
    body = {"operation": "queryAll", "query": statement, "columnDelimiter": "COMMA", "lineEnding": "LF"}
    # Asking twice leaves a job that nobody reads: a waste, not a harm.
    created = api.call("POST", "jobs/query", family=FAMILY, idempotent=True, body=body)
    log.info("bulk query job %s started", created["id"])
    return {"kind": "query", "job_id": created["id"], "statement": statement, "api_version": api.version}


def _resumable(api: Api, statement: str, state: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The saved state if it belongs to this statement and version (results are tied to it) and the job lives."""
    if state is None or state.get("kind") != "query":
        return None
    if (state.get("statement"), state.get("api_version")) != (statement, api.version):
        log.info("the saved bulk query was another one; starting anew")
        return None
    try:
        found = api.get(f"jobs/query/{state['job_id']}", family=FAMILY)
    except CrmError as error:
        if error.error_class is not ErrorClass.GONE and error.status not in {400, 404, 409}:
            raise
        log.info("bulk query job %s is not there any more; starting anew", state["job_id"])
        return None
    return None if found["state"] in {"Failed", "Aborted"} else dict(state)


def _failed(done: Mapping[str, Any]) -> CrmError:
    told = str(done.get("errorMessage") or "no reason given")
    text = f"bulk query job {done['id']} {str(done['state']).lower()}: {told[:200]}"
    again = done["state"] == "Aborted" or "TIMEOUT" in told.upper()
    return CrmError(ErrorClass.TRANSIENT if again else ErrorClass.PERMANENT, text)


class _Download:
    """One page of results, which may be opened again from its start, and what its headers say comes next."""

    def __init__(self, api: Api, tail: str, locator: str | None, rows: int) -> None:
        self._api = api
        self._url = api.path(f"{tail}/results")
        self._params = {"maxRecords": str(rows)} | ({} if locator is None else {"locator": locator})
        self._response: httpx.Response | None = None
        self.next: str | None = None

    def open(self) -> httpx.Response:
        self._response = self._api.transport.request(
            "GET",
            self._url,
            family=FAMILY,
            idempotent=True,
            params=self._params,
            headers={"Accept": "text/csv"},
            stream=True,
        )
        locator = self._response.headers.get("Sforce-Locator", "null")
        self.next = None if locator in {"null", ""} else locator  # the end is told by the word null
        return self._response

    def close(self) -> None:
        if self._response is not None:
            self._response.close()


def _page(selection: Selection, chunks: Iterator[bytes]) -> CsvPage | None:
    """The page with the header that really came; None if nothing came, not even a header."""
    start = b""
    for chunk in chunks:
        start += chunk
        if b"\n" in start or len(start) > _HEADER_LIMIT:
            break
    if not start.strip():
        return None
    header = start.partition(b"\n")[0].decode("utf-8-sig")
    columns = tuple(next(csv.reader(io.StringIO(header))))
    missing = [name for name in selection.fields if name not in columns]
    if missing:
        raise CrmError(ErrorClass.PERMANENT, f"the bulk result lacks the columns {', '.join(missing)}")
    return CsvPage(columns, selection.roles, chain([start], chunks))
