"""The log of deletions, for what queryAll cannot show any more because the recycle bin was emptied.

Source: "Get Deleted" of the REST API guide. Its traps: it looks back 15 days at most, ignores seconds, wants a minute
at least, refuses more than 600,000 ids, and may have been purged two hours after the fact.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import pyarrow as pa

from crm_sync.connectors.crm import CRM_ID, DELETED, MODIFIED_AT, BatchPage, Window
from crm_sync.connectors.salesforce import query, soql, values
from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.salesforce.describe import SObject
from crm_sync.core.errors import CrmError

log = logging.getLogger(__name__)

_MINUTE = timedelta(minutes=1)
_REACH = timedelta(days=15) - _MINUTE


def pages(api: Api, sobject: SObject, window: Window, now: datetime) -> Iterator[BatchPage]:
    """Ids deleted in the window, widened to whole minutes, without those that queryAll still shows: it knows whether
    they were merged, the log does not (so the pages do not say). `now` is the vendor's clock (UTC)."""
    for stamps in _logged(api, sobject, window, now):
        visible = {
            row["Id"]
            for statement in soql.chunks_of("Id", list(stamps), soql.Selection(sobject, ("Id",), {}, {}))
            for page in query.rows(api, statement, query.PAGE)
            for row in page
        }
        gone = [crm_id for crm_id in stamps if crm_id not in visible]
        if gone:
            columns = {
                CRM_ID: pa.array(gone, pa.string()),
                MODIFIED_AT: pa.array([stamps[crm_id] for crm_id in gone], pa.string()),
                DELETED: pa.array(["true"] * len(gone), pa.string()),
            }
            yield BatchPage(pa.RecordBatch.from_pydict(columns))


def _logged(api: Api, sobject: SObject, window: Window, now: datetime) -> Iterator[Mapping[str, str]]:
    """Stamps by id, as the log has them."""
    if not sobject.replicateable:
        return
    start = max(window.start or now - _REACH, now - _REACH)
    if window.start is not None and window.start < start:
        log.warning("%s: deletions before %s are not listed any more", sobject.name, start.date())
    end = min(window.end or now, now)
    start = start.replace(second=0, microsecond=0)
    end = end.replace(second=0, microsecond=0) + _MINUTE
    if end - start >= _MINUTE:
        yield from _between(api, sobject, start, end)


def _between(api: Api, sobject: SObject, start: datetime, end: datetime) -> Iterator[Mapping[str, str]]:
    span = {"start": start.isoformat(timespec="seconds"), "end": end.isoformat(timespec="seconds")}
    try:
        found = api.get(f"sobjects/{sobject.name}/deleted/", family="deleted", params=span)
    except CrmError as error:
        if error.code == "INVALID_REPLICATION_DATE":
            log.warning("%s: the log of deletions does not reach back to %s", sobject.name, span["start"])
            return
        if error.code != "EXCEEDED_ID_LIMIT" or end - start < 2 * _MINUTE:
            raise
        middle = (start + (end - start) / 2).replace(second=0, microsecond=0)
        yield from _between(api, sobject, start, middle)
        yield from _between(api, sobject, middle, end)
        return
    yield {
        values.full_id(record["id"]): values.stamp(record["deletedDate"])
        for record in found["deletedRecords"]
    }
