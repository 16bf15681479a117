"""REST queries: small results as JSON pages, turned into Arrow batches of text.

Source: "Query" and "QueryAll" of the REST API guide. QueryAll shows deleted and merged records with the others.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from crm_sync.connectors.backoff import jitter
from crm_sync.connectors.columns import text_column
from crm_sync.connectors.crm import CRM_ID, MODIFIED_AT, BatchPage
from crm_sync.connectors.salesforce import soql, values
from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.salesforce.soql import Selection
from crm_sync.core.errors import CrmError, ErrorClass

log = logging.getLogger(__name__)

PAGE = 2_000  # rows; Salesforce gives no more
DROPPED = "INVALID_QUERY_LOCATOR"  # code for a cursor that is not kept any more
KIND = "ordered"  # of the state in which a read stands that goes by modification time and id
Rows = Sequence[Mapping[str, Any]]


def count(api: Api, statement: str) -> int:
    """The number of records of a `SELECT COUNT()` statement, deleted ones included. Asked once: it may take Salesforce up
    to 120 seconds, and as long once more. Raises SlowError if that is longer than our patience."""
    params = {"q": statement}
    found = api.call("GET", "queryAll", family="query", idempotent=True, params=params, once_if_slow=True)
    return int(found["totalSize"])


def fits(statement: str) -> bool:
    """Whether a statement can be sent in a URL."""
    return len(quote(statement)) <= soql.URL_LIMIT


def rows(api: Api, statement: str, page_size: int) -> Iterator[Rows]:
    """The pages of a statement's result, as Salesforce cuts them.

    Each page is counted: the first answer says how many records there are, and the address of the next page where it
    begins ("…-2000"). Raises CrmError(TRANSIENT) for a page that has other records in whatever number of attempts, and for
    a cursor that Salesforce has dropped: not the same page, but the same query can be asked again.
    """
    headers = {"Sforce-Query-Options": f"batchSize={page_size:d}"}
    tail, params, given = "queryAll", {"q": statement}, 0
    while True:
        try:
            page = _whole(api, tail, params, headers, given)
        except CrmError as error:
            if error.code == DROPPED:
                error.error_class = ErrorClass.TRANSIENT
            raise
        yield page["records"]
        if page["done"]:
            return
        given += len(page["records"])
        tail, params = page["nextRecordsUrl"], {}


def _whole(api: Api, tail: str, params: Mapping[str, str], headers: Mapping[str, str], given: int) -> Any:
    settings = api.transport.settings
    for attempt in range(1, settings.attempts + 1):
        page = api.get(tail, family="query", params=params or None, headers=headers)
        following = str(page.get("nextRecordsUrl") or "").rpartition("-")[2]
        through = page["totalSize"] if page["done"] else int(following) if following.isdecimal() else None
        if through is None or through == given + len(page["records"]):
            return page
        log.info("a page of %d records should have %d", len(page["records"]), through - given)
        settings.sleep(jitter(attempt))
    raise CrmError(ErrorClass.TRANSIENT, "a page of a query came without some of its records again and again")


def ordered(
    api: Api,
    selection: Selection,
    where: Sequence[str],
    *,
    limit: int | None,
    page_size: int,
) -> Iterator[BatchPage]:
    """The records for which all conditions hold, oldest change first; each page's progress is the position behind it.

    If Salesforce drops the cursor on the way (it keeps about ten a user), reading goes on after the last record.
    """
    position: list[str] = []
    left = limit
    while True:
        try:
            for page in rows(api, selection.query([*where, *position], ordered=True, limit=left), page_size):
                if not page:
                    continue
                last = page[-1]
                place = (values.stamp(last[selection.stamp]), str(last["Id"]))
                yield replace(batch(selection, page), progress={"kind": KIND, "after": list(place)})
                position = [soql.after(selection.stamp, *place)]
                left = None if left is None else left - len(page)
        except CrmError as error:
            if error.code != DROPPED or not position:
                raise
        else:
            return


def batch(selection: Selection, page: Rows) -> BatchPage:
    """A page as text columns: the system columns under their own names, then the fields."""
    sobject = selection.sobject
    columns: dict[str, pa.Array] = {}
    for name in selection.fields:
        read = _reader(sobject.type_of(name))
        columns[name] = text_column([read(row.get(name)) for row in page])
    system = {role: columns[name] for role, name in selection.roles.items()}
    assert {CRM_ID, MODIFIED_AT} <= set(system)
    return BatchPage(pa.RecordBatch.from_pydict(system | columns))


def _reader(vendor_type: str) -> Callable[[Any], str | None]:
    return lambda value: values.to_text(value, vendor_type)
