"""Salesforce behind the port.

crm (this file: chooses the way, keeps nothing but options)
 ├── login, api                     one organisation's REST API: tokens, paths, limits, describe
 ├── soql, query, bulk_query        reading: text of queries, JSON pages, CSV jobs
 ├── lookup, deleted                reading by id, and the log of deletions
 ├── taking_part                    what a stream's filter leaves out
 ├── writing, prepare               writing: the way to go and the look before, checks
 ├── collections, bulk_ingest       200 a call, CSV jobs
 ├── health                         what `crm-sync check` is told
 └── errors, values, describe       words: error classes, spellings, what an object looks like
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crm_sync.connectors.build import Options
from crm_sync.connectors.crm import (
    BatchPage,
    Crm,
    Health,
    Hint,
    JobLog,
    ObjectInfo,
    Operation,
    Page,
    ReadRequest,
    Result,
    TokenStore,
    Window,
)
from crm_sync.connectors.failures import SlowError
from crm_sync.connectors.http import Transport, TransportSettings
from crm_sync.connectors.identity import Identity
from crm_sync.connectors.oauth import BearerAuth
from crm_sync.connectors.salesforce import (
    bulk_ingest,
    bulk_query,
    cost,
    deleted,
    errors,
    health,
    login,
    lookup,
    outbound_message,
    prepare,
    query,
    setup,
    soql,
)
from crm_sync.connectors.salesforce.api import Api, headers
from crm_sync.connectors.salesforce.limits import QUOTAS, hear
from crm_sync.connectors.salesforce.login import organisation
from crm_sync.connectors.salesforce.taking_part import SalesforceTakingPart
from crm_sync.connectors.salesforce.writing import Look, Writer
from crm_sync.core.errors import CrmError
from crm_sync.core.spec import StreamSpec

log = logging.getLogger(__name__)

API_VERSION = "62.0"
_NO_BULK = frozenset(
    {"INVALIDENTITY", "API_ERROR", "FEATURENOTENABLED"}
)  # the object is not for the Bulk API


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From how many records on the Bulk API is used, and how many come in a page.

    bulk_query_above, bulk_write_above: records (of one kind of operation); up to so many go by REST. page_size: rows
    of a REST page (Salesforce gives 200 to 2,000). bulk_page_rows: rows of a page of bulk results.
    """

    bulk_query_above: int = 2_000
    bulk_write_above: int = 2_000
    page_size: int = query.PAGE
    bulk_page_rows: int = bulk_query.PAGE_ROWS


class SalesforceCrm(SalesforceTakingPart, Crm):
    """One organisation, or sandbox, as one user."""

    kind = "salesforce"
    overlap = timedelta(minutes=10)  # a stamp is set in the transaction, which may take so long to commit
    quiet = timedelta(minutes=10)  # queries read the records themselves: no index could stand still

    def __init__(
        self,
        name: str,
        auth: BearerAuth,
        settings: TransportSettings,
        *,
        api_version: str = API_VERSION,
        thresholds: Thresholds | None = None,
        check_before_write: bool = True,
        assignment_rules: bool = False,
    ) -> None:
        self.name = name
        self._check = check_before_write
        self._auth = auth
        self._thresholds = thresholds or Thresholds()
        self._transport = Transport(
            name,
            lambda: str(auth.token()["instance_url"]),
            settings,
            auth=auth,
            classify=errors.classify,
            headers=headers(assignment_rules=assignment_rules),
            limiter=settings.limited(QUOTAS),
            hear=hear,
        )
        self._api = Api(self._transport, api_version)
        self._told_missing: set[str] = set()

    @property
    def calls(self) -> Mapping[str, int]:
        return self._transport.calls

    @property
    def limits(self) -> Mapping[str, str]:
        return self._transport.said

    def now(self) -> datetime:
        if not self._transport.heard_from_vendor:
            self._transport.request("GET", "/services/data/", family="clock", idempotent=True)
        return self._transport.now()

    def identity(self, before: str | None = None) -> Identity | None:  # noqa: ARG002 - the login's answer tells
        return Identity(organisation(self._auth.token()))

    def check(self) -> Health:
        return health.check(self._api, self._auth)

    def describe(self, object_name: str) -> ObjectInfo:
        return self._api.describe(object_name).info()

    def forget(self, object_name: str) -> None:
        self._api.forget(object_name)

    def setup(self, streams: Sequence[StreamSpec], *, dry_run: bool) -> list[str]:
        return setup.external_ids(self._api, streams, dry_run=dry_run)

    def changed(self, request: ReadRequest, job: JobLog) -> Iterator[Page]:
        """See the port. By REST, oldest first, or by a bulk query, whichever suits the number of records.

        A limit never becomes part of a bulk query: what it leaves over is read on from the same result.
        """
        return self._api.as_described(request.stream.object, lambda: self._changed(request, job))

    def _changed(self, request: ReadRequest, job: JobLog) -> Iterator[Page]:
        stream, state = request.stream, request.job
        selection = self._selection(stream)
        where = soql.conditions(stream, selection.sobject, request.window)
        after = None if state is None else state.get("after" if state["kind"] == query.KIND else "behind")
        if after is not None:
            where.append(soql.after(selection.stamp, *after))
        statement = selection.query(where)
        if state is None or state["kind"] == query.KIND:
            found = self._count(selection, where, request.limit)
            if found == 0:
                return
            if found <= self._thresholds.bulk_query_above and query.fits(statement):
                yield from self._by_rest(selection, where, request.limit)
                return
        size = self._thresholds.bulk_page_rows
        asked = bulk_query.Query(selection, statement, size, request.limit, after)
        try:
            yield from bulk_query.pages(self._api, asked, job=job, state=state)
        except CrmError as error:
            if (error.code or "").upper() not in _NO_BULK:
                raise
            log.info("%s: %s is not for the Bulk API; reading by REST", self.name, stream.object)
            yield from self._by_rest(selection, where, request.limit)

    def deleted(self, stream: StreamSpec, window: Window) -> Iterator[BatchPage]:
        yield from deleted.pages(self._api, self._api.describe(stream.object), window, self.now())

    def by_ids(self, stream: StreamSpec, crm_ids: Sequence[str]) -> Iterator[BatchPage]:
        def pages() -> Iterator[BatchPage]:
            return lookup.by_ids(self._api, self._selection(stream), crm_ids, self._thresholds.page_size)

        if crm_ids:
            yield from self._api.as_described(stream.object, pages)

    def by_hub_ids(self, stream: StreamSpec, hub_ids: Sequence[str]) -> Iterator[BatchPage]:
        if hub_ids and stream.external_id is not None:
            prepare.target(stream, self._api.describe(stream.object))
            size = self._thresholds.page_size
            yield from lookup.among(self._api, self._selection(stream), stream.external_id, hub_ids, size)

    def write(
        self,
        stream: StreamSpec,
        operations: Sequence[Operation],
        job: JobLog,
        *,
        batch_size: int | None = None,
    ) -> Iterator[list[Result]]:
        """See the port. batch_size is for Collections (200 at most); a bulk job is never made smaller than one of
        Salesforce's own batches of 10,000."""
        if operations:
            target = prepare.target(stream, self._api.describe(stream.object))
            above = self._thresholds.bulk_write_above
            writer = Writer(self._api, target, above, self._look(stream) if self._check else None)
            yield from writer.write(operations, job, batch_size)

    def cost(self, stream: StreamSpec, operations: Sequence[Operation]) -> Mapping[str, int]:
        joinable, above = stream.external_id is not None, self._thresholds.bulk_write_above
        return cost.calls(operations, above=above, joinable=joinable, looks=self._check)

    def resume_write(
        self, stream: StreamSpec, operations: Sequence[Operation], state: Mapping[str, Any], job: JobLog
    ) -> Iterator[list[Result]]:
        log.info("%s: collecting the results of bulk job %s", stream.name, state["job_id"])
        yield from bulk_ingest.resume(self._api, operations, state, job)

    def parse_webhook(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> list[Hint]:  # noqa: ARG002
        """Outbound messages are not signed: the route must have a secret in its path. See outbound_message."""
        organisation = self._auth.token().get("organisation")
        return outbound_message.parse(body, organisation, self._transport.now)

    def close(self) -> None:
        self._transport.close()

    def _count(self, selection: soql.Selection, where: Sequence[str], limit: int | None) -> int:
        """How many records there are to read; more than any threshold if counting alone takes too long."""
        try:
            found = query.count(self._api, selection.count(where))
        except CrmError as error:
            if error.code != "QUERY_TIMEOUT" and not isinstance(error, SlowError):
                raise
            log.info("%s: counting takes too long; reading in bulk", self.name)
            found = self._thresholds.bulk_query_above + 1
        return found if limit is None else min(found, limit)

    def _by_rest(
        self, selection: soql.Selection, where: Sequence[str], limit: int | None
    ) -> Iterator[BatchPage]:
        size = self._thresholds.page_size
        return query.ordered(self._api, selection, where, limit=limit, page_size=size)

    def _selection(self, stream: StreamSpec) -> soql.Selection:
        selection = soql.selection(stream, self._api.describe(stream.object))
        for field, reason in selection.missing.items():
            if (place := f"{stream.name}: {field}") not in self._told_missing:
                self._told_missing.add(place)
                log.warning("%s is not read: %s", place, reason)
        return selection

    def _look(self, stream: StreamSpec) -> Look:
        return Look(self._api, stream, self._selection)


def connect(name: str, options: Options, tokens: TokenStore, settings: TransportSettings) -> SalesforceCrm:
    """The connector that a connection file describes; no call is made yet. Raises ConfigError."""
    auth = BearerAuth(name, tokens, login.grant(name, options, settings), settings.clock)
    defaults = Thresholds()
    thresholds = Thresholds(
        bulk_query_above=int(options.get("bulk_query_above", defaults.bulk_query_above)),
        bulk_write_above=int(options.get("bulk_write_above", defaults.bulk_write_above)),
        page_size=int(options.get("page_size", defaults.page_size)),
    )
    version = str(options.get("api_version", API_VERSION)).removeprefix("v")
    return SalesforceCrm(
        name,
        auth,
        settings,
        api_version=version,
        thresholds=thresholds,
        check_before_write=bool(options.get("check_before_write", True)),
        assignment_rules=bool(options.get("assignment_rules", False)),
    )
