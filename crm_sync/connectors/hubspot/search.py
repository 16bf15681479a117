"""Search: the records modified in a window, however many they are.

Here: the request, and the walk through a window that never loses a record. HubSpot's search (developers.hubspot.com/
docs/api-reference/search/guide) sorts by one property, shows at most 10,000 results of a query, and counts pages
by offset. A record that is edited while we read leaves its place, and everything behind it moves up by one: by
offset we would skip a record. So no offset is ever used. Each page is a query of its own that starts at the last
time stamp seen; a page that has room for nothing but one time stamp (a bulk edit) is left by reading that very
millisecond by record id. Neither way comes near the 10,000.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from crm_sync.connectors.crm import Window
from crm_sync.connectors.hubspot.api import Json
from crm_sync.connectors.hubspot.values import milliseconds, modified
from crm_sync.core.errors import CrmError, ErrorClass

PAGE = 200
MAX_BODY = 3000  # characters of a search request
OBJECT_ID = "hs_object_id"

Record = Mapping[str, Any]
Filter = dict[str, Any]
Fetch = Callable[[Sequence[Filter], str], list[Record]]
"""(filters, property to sort by, ascending) -> the first records, at most PAGE."""


def body(filters: Sequence[Filter], sort: str, properties: Sequence[str]) -> Json:
    """A search request."""
    made: Json = {
        "sorts": [{"propertyName": sort, "direction": "ASCENDING"}],
        "properties": list(properties),
        "limit": PAGE,
    }
    if filters:
        made["filterGroups"] = [{"filters": list(filters)}]
    return made


def walk(fetch: Fetch, stamp_property: str, window: Window) -> Iterator[list[Record]]:
    """The records modified in the window, oldest first, each at least once.

    A record that is edited meanwhile comes again with its new state, if its new time is still in the window.
    """
    low = None if window.start is None else milliseconds(window.start)
    high = None if window.end is None else milliseconds(window.end)
    known: set[str] = set()  # ids that were given out with time stamp `low`
    while low is None or high is None or low < high:
        found = fetch(_between(stamp_property, low, high), stamp_property)
        fresh = [record for record in found if str(record["id"]) not in known]
        if fresh:
            yield fresh
        if len(found) < PAGE:
            return
        first, last = _stamp(found[0], stamp_property), _stamp(found[-1], stamp_property)
        same = {str(record["id"]) for record in found if _stamp(record, stamp_property) == last}
        if first < last:
            low, known = last, same
        else:
            yield from _one_moment(fetch, stamp_property, last, known | same)
            low, known = last + 1, set()


def _one_moment(fetch: Fetch, stamp_property: str, moment: int, known: set[str]) -> Iterator[list[Record]]:
    """All records of one millisecond, by id; those in `known` were given out before."""
    after = 0
    while True:
        beyond = {"propertyName": OBJECT_ID, "operator": "GT", "value": str(after)}
        found = fetch([*_between(stamp_property, moment, moment + 1), beyond], OBJECT_ID)
        fresh = [record for record in found if str(record["id"]) not in known]
        if fresh:
            yield fresh
        if len(found) < PAGE:
            return
        after = max(int(record["id"]) for record in found)


def _between(stamp_property: str, low: int | None, high: int | None) -> list[Filter]:
    bounds: list[Filter] = []
    if low is not None:
        bounds.append({"propertyName": stamp_property, "operator": "GTE", "value": str(low)})
    if high is not None:
        bounds.append({"propertyName": stamp_property, "operator": "LT", "value": str(high)})
    return bounds


def _stamp(record: Record, stamp_property: str) -> int:
    moment = modified(record, stamp_property)
    if moment is None:
        text = (
            f"HubSpot's search result {record.get('id')} has no {stamp_property}; the window cannot be read"
        )
        raise CrmError(ErrorClass.PERMANENT, text)
    return milliseconds(moment)
