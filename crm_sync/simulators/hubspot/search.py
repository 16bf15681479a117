"""Search: filters, sorting, paging, over the lagging index (CRM search guide).

Here: the search language and its limits. Not here: what the index knows (index.py), the 5 calls a second (gate.py).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from starlette.requests import Request
from starlette.responses import Response

from crm_sync.simulators.hubspot.clock import milliseconds_of
from crm_sync.simulators.hubspot.errors import invalid
from crm_sync.simulators.hubspot.filters import RANGES, Values, comparable, filter_test, getter
from crm_sync.simulators.hubspot.http import Route, answer, body_of, store_of
from crm_sync.simulators.hubspot.index import Shelf
from crm_sync.simulators.hubspot.records import Record
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Store
from crm_sync.simulators.hubspot.view import View

MAX_RESULTS = 10_000
MAX_PAGE = 200
MAX_GROUPS, MAX_FILTERS, MAX_FILTERS_IN_ALL = 5, 6, 18
MAX_BODY = 3_000
_CACHED = 16


async def search(request: Request) -> Response:
    store = store_of(request)
    kind = store.kind(request.path_params["kind"])
    if len((await request.body()).decode("utf-8", "replace")) > MAX_BODY:
        raise invalid(f"The request body is too long; the maximum is {MAX_BODY} characters")
    document = await body_of(request)
    limit, after = _page(document)
    found = _cached(store, kind, document)
    view = View(store, kind, document.get("properties") or [])
    shelf = store.index.shelf(kind.name, store.clock.now())
    end = min(after + limit, MAX_RESULTS)
    numbers = found[after:end]
    results = [view.show(Record(number, values, 0, 0)) for number, values in shelf.each(numbers)]
    answered: dict[str, Any] = {"total": len(found), "results": results}
    if end < len(found):
        answered["paging"] = {"next": {"after": str(end)}}
    return answer(answered)


def routes() -> list[Route]:
    return [Route("/crm/v3/objects/{kind}/search", search, methods=["POST"], name="search")]


def matching(store: Store, kind: Kind, document: dict[str, Any]) -> list[int]:
    """Ids of all records that match a search request, in its order. Raises ApiError 400."""
    shelf = store.index.shelf(kind.name, store.clock.now())
    groups = _groups(document)
    tests = [[filter_test(store, kind, each) for each in group] for group in groups]
    words = str(document.get("query") or "").lower().split()
    by_stamp, exact, candidates = _candidates(shelf, kind, groups)
    if tests and not exact:
        candidates = [
            number
            for number, values in shelf.each(candidates)
            if any(all(test(number, values) for test in group) for group in tests)
        ]
    if words:
        candidates = [number for number, values in shelf.each(candidates) if _has_words(kind, values, words)]
    return _sorted(shelf, kind, document.get("sorts"), candidates, by_stamp=by_stamp)


def _cached(store: Store, kind: Kind, document: dict[str, Any]) -> list[int]:
    """The same search again, for its next page, is not worked out again while the index is the same."""
    shelf = store.index.shelf(kind.name, store.clock.now())
    asked = {name: document.get(name) for name in ("filterGroups", "filters", "sorts", "query")}
    key = orjson.dumps([kind.name, asked])
    version, found = store.searches.get(key, (-1, []))
    if version != shelf.version or b'"associations.' in key:
        found = matching(store, kind, document)
        if len(store.searches) >= _CACHED:
            store.searches.pop(next(iter(store.searches)))
        store.searches[key] = (shelf.version, found)
    return found


def _page(document: dict[str, Any]) -> tuple[int, int]:
    limit, after = document.get("limit", 10), document.get("after") or 0
    if not isinstance(limit, int) or not 0 <= limit <= MAX_PAGE:
        raise invalid(f"Invalid limit {limit}: it must be between 0 and {MAX_PAGE}")
    if not str(after).isdigit():
        raise invalid(f"Invalid after {after}: it must be a whole number")
    if int(after) >= MAX_RESULTS:
        raise invalid(f"Invalid after {after}: only the first {MAX_RESULTS} results of a search can be read")
    return limit or 10, int(after)


def _groups(document: dict[str, Any]) -> list[list[dict[str, Any]]]:
    groups = [group.get("filters") or [] for group in document.get("filterGroups") or []]
    if document.get("filters"):
        groups.append(document["filters"])
    if (
        len(groups) > MAX_GROUPS
        or any(len(g) > MAX_FILTERS for g in groups)
        or sum(map(len, groups)) > MAX_FILTERS_IN_ALL
    ):
        raise invalid(
            f"Too many filters: at most {MAX_GROUPS} groups of {MAX_FILTERS} filters, {MAX_FILTERS_IN_ALL} in all, are allowed"
        )
    return groups


def _candidates(
    shelf: Shelf, kind: Kind, groups: Sequence[Sequence[dict[str, Any]]]
) -> tuple[bool, bool, list[int]]:
    """Ids worth testing; whether they are ordered by stamp; whether all of them match.

    A single group that bounds the stamp or the id narrows them.
    """
    if len(groups) != 1:
        return False, False, shelf.everything()
    stamps, ids = (_bounds(groups[0], name) for name in (kind.modified, "hs_object_id"))
    exact = stamps.filters + ids.filters == len(groups[0])
    by_stamp = stamps.filters > 0
    found = shelf.between(stamps.low, stamps.high) if by_stamp else shelf.everything()
    if ids.low is not None:
        found = [number for number in found if number >= ids.low]
    if ids.high is not None:
        found = [number for number in found if number < ids.high]
    return by_stamp, exact, found


class _Bounds(NamedTuple):
    """[low, high) of a property, and how many filters say so."""

    low: int | None
    high: int | None
    filters: int


def _bounds(group: Sequence[dict[str, Any]], name: str) -> _Bounds:
    lows, highs, filters = [], [], 0
    for each in group:
        operator, value = each.get("operator"), milliseconds_of(str(each.get("value")))
        if each.get("propertyName") != name or operator not in RANGES or value is None:
            continue
        other = milliseconds_of(str(each.get("highValue"))) if operator == "BETWEEN" else value
        if other is None:
            continue
        filters += 1
        if operator in {"GT", "GTE", "BETWEEN"}:
            lows.append(value + (operator == "GT"))
        if operator in {"LT", "LTE", "BETWEEN"}:
            highs.append(other + (operator != "LT"))
    return _Bounds(max(lows, default=None), min(highs, default=None), filters)


def _has_words(kind: Kind, values: Values, words: Sequence[str]) -> bool:
    text = " ".join(values.get(name, "") for name in kind.searchable).lower()
    return all(word in text for word in words)


def _sorted(shelf: Shelf, kind: Kind, sorts: Any, numbers: list[int], *, by_stamp: bool) -> list[int]:
    if isinstance(sorts, list) and len(sorts) > 1:
        raise invalid("Only one sort is allowed")
    if not sorts:
        return sorted(numbers) if by_stamp else numbers
    first = sorts[0]
    if isinstance(first, str):
        first = {
            "propertyName": first.removeprefix("-"),
            "direction": "DESCENDING" if first.startswith("-") else "ASCENDING",
        }
    name = first.get("propertyName")
    definition = kind.known(str(name))
    if definition is None:
        raise invalid(
            "There was a problem with the request.",
            errors=[{"message": f"Cannot sort by '{name}': it does not exist"}],
        )
    descending = first.get("direction") == "DESCENDING"
    if name == kind.modified:
        ordered = numbers if by_stamp else sorted(numbers, key=lambda n: (shelf.modified(n), n))
    elif name == "hs_object_id":
        ordered = sorted(numbers)
    else:
        get = getter(kind, definition.name)
        texts = {number: get(values) for number, values in shelf.each(numbers)}
        filled = [n for n in numbers if texts[n]]
        filled.sort(key=lambda n: (comparable(definition, texts[n] or ""), n), reverse=descending)
        return filled + [n for n in numbers if not texts[n]]
    return ordered[::-1] if descending else ordered
