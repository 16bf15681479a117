"""REST queries: small results as JSON pages, turned into Arrow batches of text.

Source: "Query" and "QueryAll" of the REST API guide. QueryAll shows deleted and merged records with the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from crm_sync.connectors.crm import CRM_ID, MODIFIED_AT, BatchPage
from crm_sync.connectors.salesforce import soql, values
from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.salesforce.soql import Selection
from crm_sync.core.errors import CrmError

PAGE = 2_000  # rows; Salesforce gives no more
Rows = Sequence[Mapping[str, Any]]


def count(api: Api, statement: str) -> int:
    """The number of records of a `SELECT COUNT()` statement, deleted ones included."""
    return int(api.get("queryAll", family="query", params={"q": statement})["totalSize"])


def fits(statement: str) -> bool:
    """Whether a statement can be sent in a URL."""
    return len(quote(statement)) <= soql.URL_LIMIT


def rows(api: Api, statement: str, page_size: int) -> Iterator[Rows]:
    """The pages of a statement's result, as Salesforce cuts them."""
    headers = {"Sforce-Query-Options": f"batchSize={page_size:d}"}
    page = api.get("queryAll", family="query", params={"q": statement}, headers=headers)
    yield page["records"]
    while not page["done"]:
        page = api.get(page["nextRecordsUrl"], family="query", headers=headers)
        yield page["records"]


def ordered(
    api: Api,
    selection: Selection,
    where: Sequence[str],
    *,
    limit: int | None,
    page_size: int,
) -> Iterator[BatchPage]:
    """The records for which all conditions hold, oldest change first.

    If Salesforce drops the cursor on the way (it keeps about ten a user), reading goes on after the last record.
    """
    position: list[str] = []
    left = limit
    while True:
        try:
            for page in rows(api, selection.query([*where, *position], ordered=True, limit=left), page_size):
                if not page:
                    continue
                yield batch(selection, page)
                last = page[-1]
                position = [soql.after(selection.stamp, values.stamp(last[selection.stamp]), last["Id"])]
                left = None if left is None else left - len(page)
        except CrmError as error:
            if error.code != "INVALID_QUERY_LOCATOR" or not position:
                raise
        else:
            return


def batch(selection: Selection, page: Rows) -> BatchPage:
    """A page as text columns: the system columns under their own names, then the fields."""
    sobject = selection.sobject
    columns: dict[str, pa.Array] = {}
    for name in selection.fields:
        read = _reader(sobject.type_of(name))
        columns[name] = pa.array([read(row.get(name)) for row in page], pa.string())
    system = {role: columns[name] for role, name in selection.roles.items()}
    assert {CRM_ID, MODIFIED_AT} <= set(system)
    return BatchPage(pa.RecordBatch.from_pydict(system | columns))


def _reader(vendor_type: str) -> Callable[[Any], str | None]:
    return lambda value: values.to_text(value, vendor_type)
