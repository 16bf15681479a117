"""Records by their ids: those that are there in one call of 2,000, the rest among the deleted ones.

Source: "sObject Collections: retrieve" (POST with ids and fields; null for what is not there) and QueryAll.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from crm_sync.connectors.crm import BatchPage
from crm_sync.connectors.salesforce import query, soql, values
from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.salesforce.soql import Selection
from crm_sync.core.errors import CrmError, ErrorClass

T = TypeVar("T")

RETRIEVE = 2_000  # ids a call


def by_ids(api: Api, selection: Selection, crm_ids: Sequence[str], page_size: int) -> Iterator[BatchPage]:
    """The records with these ids (15 or 18 characters), deleted ones included until they are purged. Text that is
    no id is left out: there is no such record."""
    wanted = list(dict.fromkeys(values.full_id(crm_id) for crm_id in crm_ids if values.is_id(crm_id)))
    for part in parts(wanted, RETRIEVE):
        rows = retrieve(api, selection, part)
        if rows:
            yield query.batch(selection, rows)
        seen = {row["Id"] for row in rows}
        gone = [crm_id for crm_id in part if crm_id not in seen]
        yield from among(api, selection, "Id", gone, page_size)


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in their order, so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def retrieve(api: Api, selection: Selection, ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """Those of these records (2,000 at most) that are there and not deleted, by one call."""
    found = api.call(
        "POST",
        f"composite/sobjects/{selection.sobject.name}",
        family="collections",
        idempotent=True,  # it only reads
        body={"ids": list(ids), "fields": list(selection.fields)},
    )
    if len(found) != len(ids):  # one answer an id, null for what is not there
        raise CrmError(ErrorClass.TRANSIENT, f"{len(found)} answers to {len(ids)} ids; look again")
    return [row for row in found if row is not None]


def among(
    api: Api, selection: Selection, field: str, wanted: Sequence[str], page_size: int
) -> Iterator[BatchPage]:
    """The records, deleted ones included, whose field holds one of the values."""
    for statement in soql.chunks_of(field, wanted, selection):
        for page in query.rows(api, statement, page_size):
            if page:
                yield query.batch(selection, page)
