"""Lists: every record of an object, in ranges of ids that are read side by side.

A list gives 100 records a call and each page only names the next one: one chain of pages is as slow as HubSpot's
answers are late. Its cursor is the id of the next record, and its order is by id. So a list can be read in ranges of
ids, each by a chain of its own. Search says which ids cut the records into ranges of equal size; it may be behind the
truth, but a range holds all records from its first id up to the next range's, and the last one has no end, so that
nothing falls between them. HubSpot does not promise what a cursor is: each page is checked, and if one is not as said
above, reading goes on with the one chain that needs no promise.

Records that are created meanwhile have higher ids, and come last; what is deleted meanwhile is missing; nothing moves.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, pairwise
from typing import NamedTuple, TypeVar

from crm_sync.connectors.ahead import ahead
from crm_sync.connectors.backoff import jitter
from crm_sync.connectors.hubspot import search
from crm_sync.connectors.hubspot.api import Api
from crm_sync.connectors.hubspot.search import OBJECT_ID, Record
from crm_sync.core.errors import CrmError, ErrorClass

log = logging.getLogger(__name__)

PAGE = 100
RANGE = 2_500  # records of a range, which is handed on as a whole
_SMALL_RANGE = 500
_SHARES = 4  # ranges that a small list is cut into
THREADS = 8
_AHEAD = 12  # ranges begun and not handed on yet
URI_TOO_LONG = 414
_TRIES = 3  # of a cursor that is refused

T = TypeVar("T")


class Chunk(NamedTuple):
    """Records in the order of their ids, and the cursor behind them; None at the end."""

    records: list[Record]
    after: str | None


Use = Callable[[list[Record]], T]


class _OpaqueError(Exception):
    """The list's cursors are not what we take them for."""


class Listing:
    """The list of one object. params: what is asked for with every page; `properties` is left out (`thin`) once HubSpot
    found an address with it too long."""

    def __init__(self, api: Api, object_name: str, params: Mapping[str, str], *, thin: bool) -> None:
        self._api = api
        self._object = object_name
        self._params = params
        self.thin = thin

    def chain(self, after: str | None, limit: int | None = None) -> Iterator[Chunk]:
        """Page after page, at most `limit` records."""
        left = limit
        while left is None or left > 0:
            page = self._page(after, PAGE if left is None else min(PAGE, left))
            yield page
            after = page.after
            if after is None:
                return
            left = None if left is None else left - len(page.records)

    def ranges(self, after: str | None, use: Use[T]) -> Iterator[tuple[list[T], str | None]]:
        """What `use` makes of each page, range by range, with the cursor behind the range: None at the end.

        `use` is called in several threads at once. after: such a cursor, from an earlier read; None: the beginning.
        """
        first = self._page(after, PAGE)
        if after is not None and after.isdecimal() and not _in_order(first, int(after)):
            first = self._page(None, PAGE)

        def begin() -> tuple[list[T], str | None]:
            return [use(first.records)], first.after

        if first.after is None:
            yield begin()
            return
        try:
            low = _number(first)
            ranges: Iterable[Callable[[], tuple[list[T], str | None]]] = (
                partial(self._range, low, high, use) for low, high in self._cut(low)
            )
            yield from ahead(chain([begin], ranges), threads=THREADS, most=_AHEAD)
        except _OpaqueError:
            log.warning("%s: HubSpot's list has cursors of a new kind; reading it page by page", self._object)
            yield begin()
            for page in self.chain(first.after):
                yield [use(page.records)], page.after

    def _range(self, low: int, high: int | None, use: Use[T]) -> tuple[list[T], str | None]:
        """The records with low <= id < high."""
        made: list[T] = []
        after: str | None = str(low)
        while after is not None and (high is None or int(after) < high):
            try:
                page = self._page(after, PAGE)
            except CrmError as error:
                if error.status == 400:
                    raise _OpaqueError from error
                raise
            if not _in_order(page, int(after)):
                raise _OpaqueError
            made.append(use([r for r in page.records if high is None or int(r["id"]) < high]))
            after = page.after
        return made, None if high is None else str(high)

    def _cut(self, low: int) -> Iterator[tuple[int, int | None]]:
        """Ranges of about the same number of records; the last one has no end."""
        size = RANGE
        total, high = self._ask(low, size)
        if total < _SHARES * size:  # a small list is cut into smaller ranges
            size = min(size, max(_SMALL_RANGE, -(-total // (_SHARES * PAGE)) * PAGE))
            high = self._ask(low, size)[1] if total > size else None
        while True:
            yield low, high
            if high is None:
                return
            low, total = high, total - size
            high = self._ask(low, size)[1] if total > size else None

    def _ask(self, low: int, behind: int) -> tuple[int, int | None]:
        """As far as search knows: how many records have ids from `low` on, and the id of the one so many behind it."""
        body = search.body(
            [{"propertyName": OBJECT_ID, "operator": "GTE", "value": str(low)}], OBJECT_ID, [OBJECT_ID]
        )
        body |= {"limit": 1, "after": str(behind)}
        try:
            answer = self._api.read(self._api.paths.search(self._object), "search", body)
        except CrmError as error:
            if error.retryable:
                raise
            log.info("%s: not to be searched (%s); its list is read in one piece", self._object, error.code)
            return 0, None
        ids = [int(record["id"]) for record in answer.get("results") or ()]
        return int(answer.get("total") or 0), ids[0] if ids and ids[0] > low else None

    def _page(self, after: str | None, size: int) -> Chunk:
        for attempt in range(1, _TRIES + 1):
            asked = {**self._params, "limit": str(size)} | ({"after": after} if after else {})
            if self.thin:
                asked.pop("properties", None)
            try:
                answer = self._api.get(self._api.paths.objects(self._object), "list", asked)
            except CrmError as error:
                if error.status == URI_TOO_LONG and not self.thin:
                    self.thin = True
                    continue
                if error.status != 400 or after is None:
                    raise
                self._api.transport.settings.sleep(jitter(attempt))
            else:
                following = ((answer.get("paging") or {}).get("next") or {}).get("after")
                return Chunk(list(answer.get("results") or ()), str(following) if following else None)
        text = f"HubSpot refuses the cursor of its own list of {self._object}; read it anew"
        raise CrmError(ErrorClass.TRANSIENT, text, status=400)


def _number(first: Chunk) -> int:
    """The id to which the cursor of the first page points. Raises _OpaqueError."""
    if first.after is None or not _in_order(first, None):
        raise _OpaqueError
    return int(first.after)


def _in_order(page: Chunk, low: int | None) -> bool:
    """Whether a page is what its cursor promised: ascending ids from `low` on, the next cursor beyond the last."""
    ids: Sequence[str] = [str(record["id"]) for record in page.records]
    if not all(crm_id.isdecimal() for crm_id in [*ids, page.after or "0"]):
        return False
    numbers = [
        *([] if low is None else [low - 1]),
        *map(int, ids),
        *([int(page.after)] if page.after else []),
    ]
    return all(one < other for one, other in pairwise(numbers))
