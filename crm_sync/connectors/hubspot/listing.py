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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
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
_SHARES = 4  # a range is no more than such a part of what is left
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
        if after is not None and not after.isdecimal():
            yield from self._page_by_page(after, use)
            return
        low = int(after or 0)
        with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
            cut = pool.submit(self._ask, low, RANGE)  # so that two ranges begin with the first answers
            first = self._page(after, PAGE)
        if after is not None and not _in_order(first, low):
            yield from self.ranges(None, use)
            return
        if first.after is None:
            yield [use(first.records)], None
            return
        try:
            tasks = (
                partial(self._range, begin, end, use, first if begin == low else None)
                for begin, end in self._cut(low, *cut.result())
            )
            yield from ahead(tasks, threads=THREADS, most=_AHEAD)
        except _OpaqueError:
            log.warning("%s: HubSpot's list has cursors of a new kind; reading it page by page", self._object)
            yield [use(first.records)], first.after
            yield from self._page_by_page(first.after, use)

    def _page_by_page(self, after: str, use: Use[T]) -> Iterator[tuple[list[T], str | None]]:
        for page in self.chain(after):
            yield [use(page.records)], page.after

    def _range(
        self, low: int, high: int | None, use: Use[T], page: Chunk | None
    ) -> tuple[list[T], str | None]:
        """The records with low <= id < high. page: the first one, if it is here already."""
        made: list[T] = []
        after: str | None = str(low)
        while after is not None and (high is None or int(after) < high):
            page = page or self._own(after)
            if not _in_order(page, int(after)):
                raise _OpaqueError
            made.append(use([r for r in page.records if high is None or int(r["id"]) < high]))
            after, page = page.after, None
        return made, None if high is None else str(high)

    def _own(self, after: str) -> Chunk:
        """The page at a cursor of our own making."""
        try:
            return self._page(after, PAGE)
        except CrmError as error:
            if error.status == 400:
                raise _OpaqueError from error
            raise

    def _cut(self, low: int, total: int, high: int | None) -> Iterator[tuple[int, int | None]]:
        """Ranges, the last of which has no end. total, high: what search says of `low` and so many records as a large
        range has. They get smaller towards the end, so that the last ones end together and little is left to do then.
        """
        size = RANGE
        while True:
            if _size(total) < size:
                size = _size(total)
                high = self._ask(low, size)[1] if total > size else None
            yield low, high
            if high is None:
                return
            low, total = high, total - size
            size = _size(total)
            high = self._ask(low, size)[1] if total > size else None

    def _ask(self, low: int, behind: int) -> tuple[int, int | None]:
        """As far as search knows: how many records have ids from `low` on, and the id of the one so many behind it."""
        body = search.body(
            [[{"propertyName": OBJECT_ID, "operator": "GTE", "value": str(low)}]], OBJECT_ID, [OBJECT_ID]
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


def _size(left: int) -> int:
    """Of the next range, where so many records are left."""
    return min(RANGE, max(_SMALL_RANGE, -(-left // (_SHARES * PAGE)) * PAGE))


def _in_order(page: Chunk, low: int) -> bool:
    """Whether a page is what its cursor promised: ascending ids from `low` on, the next cursor beyond the last."""
    ids: Sequence[str] = [str(record["id"]) for record in page.records]
    if not all(crm_id.isdecimal() for crm_id in [*ids, page.after or "0"]):
        return False
    numbers = [
        low - 1,
        *map(int, ids),
        *([int(page.after)] if page.after else []),
    ]
    return all(one < other for one, other in pairwise(numbers))
