"""Bulk API 2.0 queries: large results as CSV, the next page downloaded while the last one is being merged.

    create ── poll ──┬── list of result pages ──▶ pages side by side ──▶ next list ── ...
                     └── first page ── locator ──▶ next page ── ... ── locator "null"

Source: "Create a Query Job", "Get Results for a Query Job" and "Get Parallel Results for a Query Job" of the Bulk API
guide. The job's id is in the job log from the moment it exists; each page says in its progress how far reading has come.
Locators stay valid as long as the job does, seven days, so that an interrupted read goes on with the same job.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from crm_sync.connectors.ahead import ahead
from crm_sync.connectors.crm import CsvPage, JobLog
from crm_sync.connectors.salesforce import jobs
from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.salesforce.result_page import FAMILY, ResultPage, fetch
from crm_sync.connectors.salesforce.soql import Selection
from crm_sync.core.errors import CrmError, ErrorClass

log = logging.getLogger(__name__)

PAGE_ROWS = 50_000
PARALLEL_SINCE = 58.0  # API version
_SIDE_BY_SIDE = 2  # downloads at once
_AHEAD = 3  # pages on disk, the one that is being merged not counted
_JOBS = 3  # jobs tried in one read
_GONE = frozenset({"INVALIDJOB", "INVALIDJOBSTATE", "INVALID_QUERY_LOCATOR"})
_KEPT = ("kind", "job_id", "statement", "api_version", "behind")  # of a state, until the job's end
_PASSING = ("TIMEOUT", "INTERNAL", "UNAVAILABLE", "UNKNOWN_EXCEPTION")  # in the text of a job that failed

State = Mapping[str, Any]


class _JobGoneError(Exception):
    """The job, or its results, are not at Salesforce any more."""


class Query(NamedTuple):
    """What is read and how. page_rows: records of a page that is handed on, at most; of a page of the result too where
    we may say so. limit: at most so many records, None for all. behind: the position (stamp, id) behind which the
    statement begins, None if it has none."""

    selection: Selection
    statement: str
    page_rows: int = PAGE_ROWS
    limit: int | None = None
    behind: Sequence[str] | None = None


def pages(api: Api, query: Query, *, job: JobLog, state: State | None) -> Iterator[CsvPage]:
    """The result of a statement, page by page. `state`: where an earlier read of the same statement stopped; its job is
    gone on with if Salesforce still has it. If a job or its results expire on the way, another one is made, and read
    from its beginning: records come twice then, none is lost.
    """
    left = query.limit
    for attempt in range(1, _JOBS + 1):
        try:
            with api.transport.job():
                started, records = _finished(api, query, state, job)
            for page in _results(api, query._replace(limit=left), started, records):
                yield page.piece
                left = None if left is None else left - page.rows
        except _JobGoneError as gone:
            job.clear()
            if attempt == _JOBS:
                raise CrmError(ErrorClass.TRANSIENT, f"{_JOBS} bulk query jobs were lost: {gone}") from gone
            log.info("a bulk query job is lost (%s); starting anew", gone)
            state = None
        else:
            return


class _Piece(NamedTuple):
    piece: CsvPage
    rows: int  # counted with the last piece of a page


def _start(api: Api, query: Query) -> dict[str, Any]:
    body = {
        "operation": "queryAll",
        "query": query.statement,
        "columnDelimiter": "COMMA",
        "lineEnding": "LF",
    }
    # Asking twice leaves a job that nobody reads: a waste, not a harm.
    created = api.call("POST", "jobs/query", family=FAMILY, idempotent=True, body=body)
    log.info("bulk query job %s started", created["id"])
    return {
        "kind": "query",
        "job_id": created["id"],
        "statement": query.statement,
        "api_version": api.version,
        "behind": query.behind,
    }


def _resumable(api: Api, query: Query, state: State | None) -> dict[str, Any] | None:
    """The saved state if it belongs to this statement and version (results are tied to it) and the job lives.

    A list of result pages cannot be read up to a limit, because their size is Salesforce's choice."""
    if state is None or state.get("kind") != "query" or ("listing" in state and query.limit is not None):
        return None
    if (state.get("statement"), state.get("api_version")) != (query.statement, api.version):
        log.info("the saved bulk query was another one; starting anew")
        return None
    if state.get("done"):
        return dict(state)
    try:
        found = api.get(f"jobs/query/{state['job_id']}", family=FAMILY)
    except CrmError as error:
        if not _is_gone(error):
            raise
        log.info("bulk query job %s is not there any more; starting anew", state["job_id"])
        return None
    return None if found["state"] in {"Failed", "Aborted"} else dict(state)


def _finished(api: Api, query: Query, state: State | None, job: JobLog) -> tuple[State, int | None]:
    """A job with its results ready, and how many records they are; None if it does not say. Raises _JobGoneError."""
    started = _resumable(api, query, state) or _start(api, query)
    job.save(started)
    if started.get("done"):
        return started, 0
    with _lost():
        done = jobs.wait(api, f"jobs/query/{started['job_id']}", FAMILY, lambda _: None)
    if done["state"] != "JobComplete":
        job.clear()
        raise _failed(done)
    records = done.get("numberRecordsProcessed")
    return started, None if records is None else int(records)


def _results(api: Api, query: Query, started: State, records: int | None) -> Iterator[_Piece]:
    """Raises _JobGoneError if the results are not there any more."""
    if records == 0:
        return
    tail = f"jobs/query/{started['job_id']}"
    base = {name: started[name] for name in _KEPT}
    small = records is not None and records <= query.page_rows
    one_by_one = small or query.limit is not None or float(api.version) < PARALLEL_SINCE
    way = _chain if "locator" in started or (one_by_one and "listing" not in started) else _side_by_side
    with _lost():
        yield from way(api, query, started, base, tail)


@contextmanager
def _lost() -> Iterator[None]:
    """Says by a _JobGoneError that the job or its results are not there any more."""
    try:
        yield
    except CrmError as error:
        if _is_gone(error):
            raise _JobGoneError(str(error)) from error
        raise


def _chain(api: Api, query: Query, started: State, base: State, tail: str) -> Iterator[_Piece]:
    """Page after page by their locators; one is downloaded while the last one is being merged."""
    left, locator = query.limit, started.get("locator")
    seen = {locator}

    def download(pool: ThreadPoolExecutor, locator: str | None) -> Future[ResultPage]:
        rows = query.page_rows if left is None else min(query.page_rows, left)
        params = {"maxRecords": str(rows)} | ({} if locator is None else {"locator": locator})
        url = api.path(f"{tail}/results")
        return pool.submit(fetch, api, url, params, query.selection.fields, query.page_rows)

    with ThreadPoolExecutor(1, thread_name_prefix="bulk") as pool:
        coming: Future[ResultPage] | None = download(pool, locator)
        try:
            while coming is not None:
                page, coming = coming.result(), None
                if page.next is not None and page.next in seen:
                    page.close()
                    raise CrmError(ErrorClass.PERMANENT, "the pages of a bulk result lead in a circle")
                seen.add(page.next)
                left = None if left is None else left - page.rows
                if page.next is not None and left != 0:
                    coming = download(pool, page.next)
                behind = {"done": True} if page.next is None else {"locator": page.next}
                yield from _pieces(query, page, {**base, **behind})
        finally:
            if coming is not None:
                with suppress(Exception):  # the error that ended us came first
                    coming.result().close()


def _side_by_side(api: Api, query: Query, started: State, base: State, tail: str) -> Iterator[_Piece]:
    """The pages that Salesforce lists, five at a time, several downloaded at once, handed on in their order."""
    places: list[dict[str, Any]] = []

    def tasks() -> Iterator[partial[ResultPage]]:
        for url, behind in _listed(api, tail, started):
            places.append(behind)
            yield partial(fetch, api, url, {}, query.selection.fields, query.page_rows)

    found = ahead(tasks(), threads=_SIDE_BY_SIDE, most=_AHEAD, discard=ResultPage.close)
    for number, page in enumerate(found):
        yield from _pieces(query, page, {**base, **places[number]})


def _listed(api: Api, tail: str, started: State) -> Iterator[tuple[str, dict[str, Any]]]:
    """The addresses of the pages that are still to be read, each with the state in which reading is behind it."""
    listing: str | None = started.get("listing")
    last_read = started.get("after")
    while True:
        answer = api.get(listing or f"{tail}/resultPages", family=FAMILY)
        # Only paths: wherever an answer points, our token goes to the organisation alone.
        urls = [_path(page["resultUrl"]) for page in answer["resultPages"]]
        following = answer.get("nextRecordsUrl") or answer.get(
            "nextRecordUrl"
        )  # the guide spells it both ways
        if not urls or (following is None and not answer.get("done", True)):
            raise CrmError(ErrorClass.TRANSIENT, "Salesforce's list of result pages is not complete")
        behind = {"done": True} if following is None else {"listing": _path(following), "after": None}
        first = urls.index(last_read) + 1 if last_read in urls else 0
        for number, url in enumerate(urls[first:], first + 1):
            yield url, behind if number == len(urls) else {"listing": listing, "after": url}
        if following is None:
            return
        listing, last_read = _path(following), None


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"/{parts.path.lstrip('/')}" + (f"?{parts.query}" if parts.query else "")


def _pieces(query: Query, page: ResultPage, progress: State) -> Iterator[_Piece]:
    for piece in page.pieces(query.selection.roles, progress):
        yield _Piece(piece, page.rows if piece.progress is not None else 0)


def _is_gone(error: CrmError) -> bool:
    """Whether an answer says that a job, its results or a locator are not there (any more), or belong to another
    version of the API."""
    return error.status in {404, 409, 410} or (error.code or "").upper() in _GONE


def _failed(done: State) -> CrmError | _JobGoneError:
    """What a job that ended without a result means. One that somebody aborted is not made again in this run."""
    told = str(done.get("errorMessage") or "no reason given")
    text = f"bulk query job {done['id']} {str(done['state']).lower()}: {told[:200]}"
    if done["state"] == "Aborted":
        return CrmError(ErrorClass.TRANSIENT, text)
    if any(word in told.upper() for word in _PASSING):
        return _JobGoneError(text)
    return CrmError(ErrorClass.PERMANENT, text)
