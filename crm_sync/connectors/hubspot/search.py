"""Search: the records modified in a window, however many they are.

Here: the request, and the walk through a window that never loses a record. HubSpot's search (developers.hubspot.com/
docs/api-reference/search/guide) sorts by one property, shows at most 10,000 results of a query, and counts pages
by offset. A record that is edited while we read leaves its place, and everything behind it moves up by one: by
offset we would skip a record. So no offset is ever used. Each page is a query of its own that starts at the last
time stamp seen; a page that has room for nothing but one time stamp (a bulk edit) is left by reading that very
millisecond by record id. Neither way comes near the 10,000. Where the walk stands is a small value, so that another
run can go on there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from crm_sync.connectors.crm import Window
from crm_sync.connectors.hubspot.api import Json
from crm_sync.connectors.hubspot.values import milliseconds, modified
from crm_sync.core.errors import CrmError, ErrorClass

PAGE = 200
MAX_BODY = 3000  # characters of a search request
OBJECT_ID = "hs_object_id"

Record = Mapping[str, Any]
Filter = dict[str, Any]


class Found(NamedTuple):
    """The first records of a query, and whether it has more."""

    records: list[Record]
    more: bool


Fetch = Callable[[Sequence[Filter], str], Found]
"""(filters, property to sort by, ascending) -> what is found, at most PAGE records."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk stands: all before `low` (milliseconds since the epoch; None: the beginning) was given out, and of
    the records of that very millisecond those in `known`. up_to: they are being read by record id, and all up to this
    one were given out; None: they are not."""

    low: int | None = None
    known: frozenset[str] = frozenset()
    up_to: int | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"known": sorted(self.known)}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> "Place":
        return cls(state["low"], frozenset(state["known"]), state["up_to"])


def body(groups: Sequence[Sequence[Filter]], sort: str, properties: Sequence[str]) -> Json:
    """A search request: for the records that fulfil all filters of at least one group."""
    made: Json = {
        "sorts": [{"propertyName": sort, "direction": "ASCENDING"}],
        "properties": list(properties),
        "limit": PAGE,
    }
    if groups and all(groups):
        made["filterGroups"] = [{"filters": list(group)} for group in groups]
    return made


def walk(
    fetch: Fetch, stamp_property: str, window: Window, begin: Place | None = None, limit: int | None = None
) -> Iterator[tuple[list[Record], Place]]:
    """The records modified in the window, oldest first, each at least once, with the place behind them.

    begin: the place that an earlier walk through the same window had come to. limit: at most so many records. A record
    that is edited meanwhile comes again with its new state, if its new time is still in the window.
    """
    high = None if window.end is None else milliseconds(window.end)
    place = begin or Place(None if window.start is None else milliseconds(window.start))
    left = limit
    while place.low is None or high is None or place.low < high:
        if place.up_to is None:
            fresh, behind, more = _by_stamp(fetch, stamp_property, place, high, left)
        else:
            fresh, behind, more = _by_id(fetch, stamp_property, place, left)
        if fresh:
            yield fresh, behind
        left = None if left is None else left - len(fresh)
        if not more or left == 0 or behind == place:
            return
        place = behind


Step = tuple[list[Record], Place, bool]
"""Records that were not given out before, the place behind them, whether there may be more."""


def _by_stamp(fetch: Fetch, stamp_property: str, place: Place, high: int | None, left: int | None) -> Step:
    found = fetch(_between(stamp_property, place.low, high), stamp_property)
    stamped = [(_stamp(record, stamp_property), record) for record in found.records]
    # A damaged answer may hold the records of the page before once more, and any order.
    kept = sorted(
        ((at, r) for at, r in stamped if place.low is None or at >= place.low), key=lambda one: one[0]
    )
    fresh = [(at, r) for at, r in kept if at != place.low or str(r["id"]) not in place.known]
    given = fresh[:left]
    told = given if len(given) < len(fresh) else kept
    if not told:
        return [], place, found.more
    last = told[-1][0]
    known = frozenset(str(record["id"]) for at, record in told if at == last)
    crowded = found.more and told is kept and kept[0][0] == last
    behind = Place(last, known | place.known if last == place.low else known, 0 if crowded else None)
    return [record for _, record in given], behind, found.more


def _by_id(fetch: Fetch, stamp_property: str, place: Place, left: int | None) -> Step:
    """All records of one millisecond, by id."""
    assert place.low is not None
    assert place.up_to is not None
    beyond = {"propertyName": OBJECT_ID, "operator": "GT", "value": str(place.up_to)}
    found = fetch([*_between(stamp_property, place.low, place.low + 1), beyond], OBJECT_ID)
    by_id = {n: record for record in found.records if (n := int(record["id"])) > place.up_to}
    numbers = sorted(by_id)
    fresh = [n for n in numbers if str(n) not in place.known]
    records = [by_id[n] for n in fresh[:left]]
    # A damaged answer may hold the records of the page before once more, and those came in another order: of more than a
    # page only the lowest are known to have none between them that was left out.
    sure = numbers[:PAGE]
    if len(records) < len(fresh):
        return records, Place(place.low, place.known, min(fresh[len(records) - 1], sure[-1])), True
    if found.more and sure:
        return records, Place(place.low, place.known, sure[-1]), True
    return records, Place(place.low + 1), True


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
