"""Finding records: by list, by search, by id; with what they are associated with.

Here: which of HubSpot's ways of reading is used when, and how pages are cut. How a search walks through a window is
in search.py, how a record becomes a row in rows.py.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa

from crm_sync.connectors.ahead import ahead, drawn_ahead
from crm_sync.connectors.backoff import jitter
from crm_sync.connectors.crm import BatchPage, Window
from crm_sync.connectors.hubspot import search
from crm_sync.connectors.hubspot.api import Api, Json
from crm_sync.connectors.hubspot.associations import Associations, chunks
from crm_sync.connectors.hubspot.listing import Listing
from crm_sync.connectors.hubspot.paths import PLURALS
from crm_sync.connectors.hubspot.rows import Associated, Shape, gone
from crm_sync.connectors.hubspot.search import Filter, Record
from crm_sync.connectors.hubspot.values import instant, modified

log = logging.getLogger(__name__)

BATCH = 100
LOOK_UPS = 6  # batches of look-ups that are on their way at once
SEARCHES = 2  # pages of a search that are fetched before they are asked for
MAX_QUERY = 4000  # characters of a list's query string, well below what HubSpot answers with 414
GATHER = 1000  # records whose associations are read with one call
SHORT_ANSWERS = 3  # tries of a search that shows less than it counts

_INLINE = frozenset(PLURALS.values())


class Reader:
    """Reads records of one account. Everything is a generator: nothing is asked for before it is needed."""

    def __init__(self, api: Api, associations: Associations) -> None:
        self._api = api
        self._associations = associations

    def listed(
        self, shape: Shape, window: Window, after: str | None = None, limit: int | None = None
    ) -> Iterator[BatchPage]:
        """All live records by id, those modified at or after the window's end left out; the merged ones with them.

        after: the `after` of an earlier read's progress. limit: at most so many records; then they are read in one
        chain, else in ranges side by side (listing.py).
        """
        listing = self._listing(shape)

        def use(records: list[Record]) -> list[BatchPage]:
            filled = self._filled(shape, records) if listing.thin else records
            kept = [record for record in filled if _before_end(record, shape, window)]
            return list(self._pages(shape, kept, self._listed_associations(shape, kept)))

        if limit is None:
            for made, behind in listing.ranges(after, use):
                yield from _with_progress(_joined(made), _list_state(behind))
        else:
            for records, behind in listing.chain(after, limit):
                yield from _with_progress(use(records), _list_state(behind))

    def searched(
        self,
        shape: Shape,
        window: Window,
        conditions: Sequence[Filter],
        begin: search.Place | None = None,
        limit: int | None = None,
    ) -> Iterator[BatchPage]:
        """Live records modified in the window, oldest first, at most `limit`; before each page its merged ones.

        begin: the place of an earlier read's progress. The next page is searched for while one is being used. A window
        is not cut into parts that are searched side by side, not even all time: an account has five searches a second,
        of which we take four (800 records), and one walk alone makes as many where HubSpot answers within a quarter of
        a second. Where it is slower, little would be won, and each part would need a place of its own in the progress.
        """
        thin = self._too_long_for_search(shape, conditions)
        properties = (shape.stamp_property, search.OBJECT_ID) if thin else shape.properties

        def fetch(filters: Sequence[Filter], sort: str) -> search.Found:
            return self.found(shape, search.body([[*filters, *conditions]], sort, properties))

        walked = search.walk(fetch, shape.stamp_property, window, begin, limit)
        for records, place in drawn_ahead(_gathered(walked, GATHER if shape.associations else 1), SEARCHES):
            made: list[BatchPage] = []
            if thin:
                for full in self.by_id(shape, [str(record["id"]) for record in records]):
                    made += self._pages(shape, full, self.associated(shape, full))
            else:
                made += self._pages(shape, records, self.associated(shape, records))
            yield from _with_progress(made, {"kind": "search", **place.as_json()})

    def archived(
        self, shape: Shape, window: Window, after: str | None = None, limit: int | None = None
    ) -> Iterator[BatchPage]:
        """Records archived in the window, without values.

        HubSpot neither filters nor sorts its list of archived records, so the whole recycle bin (90 days) is
        paged through, 100 records a call, whatever the window.
        """
        listing = Listing(self._api, shape.object, {"archived": "true"}, thin=True)
        for records, behind in listing.chain(after, limit):
            kept = [record for record in records if _archived_in(record, window)]
            if kept:
                yield replace(gone(kept, shape), progress=_archived_state(behind))

    def by_id(
        self, shape: Shape, ids: Iterable[str], *, id_property: str | None = None, archived: bool = False
    ) -> Iterator[list[Record]]:
        """The records with these ids (or values of a unique property) that exist: batch by batch in the order of the
        ids, several batches on their way side by side; within a batch in any order."""
        path = self._api.paths.batch(shape.object, "read")
        params = {"archived": "true"} if archived else None

        def look_up(some: Sequence[str]) -> list[Record]:
            body: Json = {"properties": list(shape.properties), "propertiesWithHistory": []}
            body["inputs"] = [{"id": one} for one in some]
            if id_property is not None:
                body["idProperty"] = id_property
            answer = self._api.read(path, "batch_read", body, params)
            return list(answer.get("results") or ())

        batches = (partial(look_up, some) for some in chunks(list(dict.fromkeys(ids)), BATCH))
        return ahead(batches, threads=LOOK_UPS, most=LOOK_UPS)

    def pages_by_id(self, shape: Shape, ids: Sequence[str]) -> Iterator[BatchPage]:
        """The records with these ids as they are now, archived ones too. For the loser of a merge HubSpot may
        answer with the survivor. Whoever was merged into one of them is told too, pointing to it."""
        missing = dict.fromkeys(ids)
        for records in _by_the_thousand(self.by_id(shape, ids), shape):
            for record in records:
                missing.pop(str(record["id"]), None)
            yield from self._pages(shape, records, self.associated(shape, records))
        for records in self.by_id(shape, missing, archived=True):
            if records:
                yield shape.page([{**record, "archived": True} for record in records], {})

    def pages_by_property(self, shape: Shape, id_property: str, values: Sequence[str]) -> Iterator[BatchPage]:
        """The live records whose unique property has one of these values."""
        for records in _by_the_thousand(self.by_id(shape, values, id_property=id_property), shape):
            yield from self._pages(shape, records, self.associated(shape, records))

    def associated(self, shape: Shape, records: Sequence[Record]) -> Associated:
        """The value of each association field for these records, by one batch call a thousand and field."""
        ids = [str(record["id"]) for record in records]
        return {
            name: {
                crm_id: ends.value
                for crm_id, ends in self._associations.read(shape.object, target, ids).items()
            }
            for name, target in shape.associations.items()
            if ids
        }

    def _pages(self, shape: Shape, records: Sequence[Record], associated: Associated) -> Iterator[BatchPage]:
        """A page of records, and before it one of those that were merged into them: who comes from a merge with a new
        id is nobody's new record."""
        merged = shape.merged(records)
        if merged is not None:
            yield merged
        if records:
            yield shape.page(records, associated)

    def _listing(self, shape: Shape) -> Listing:
        """Where the properties do not fit into a URL, the records are read by id afterwards."""
        params = {"archived": "false", "properties": ",".join(shape.properties)}
        inline = [target for target in shape.associations.values() if target in _INLINE]
        if inline:
            params["associations"] = ",".join(inline)
        return Listing(self._api, shape.object, params, thin=len(urlencode(params)) > MAX_QUERY)

    def found(self, shape: Shape, body: Json) -> search.Found:
        """What a search finds. An answer with fewer records than it should have is asked for again; if it stays so, the
        rest is what HubSpot counts and does not show (yet)."""
        settings = self._api.transport.settings
        path = self._api.paths.search(shape.object)
        for attempt in range(1, SHORT_ANSWERS + 1):
            answer = self._api.read(path, "search", body)
            records = list(answer.get("results") or ())
            total = int(answer.get("total") or 0)
            if len(records) >= min(search.PAGE, total):
                break
            log.info("a search shows %d of %d %s", len(records), total, shape.object)
            settings.sleep(jitter(attempt))
        return search.Found(records, len(records) >= search.PAGE or total > len(records))

    def _filled(self, shape: Shape, records: Sequence[Record]) -> list[Record]:
        """The listed records with the properties they were listed without. Those that vanished meanwhile are
        left out."""
        listed = {str(record["id"]): record for record in records}
        full = [record for found in self.by_id(shape, listed) for record in found]
        return [{**listed.get(str(record["id"]), {}), **record} for record in full]

    def _listed_associations(self, shape: Shape, records: Sequence[Record]) -> Associated:
        """From the list's own answer where it is unambiguous; read exactly where a record has several (the list
        does not say for sure which is the primary one, and shows only the first page)."""
        told: dict[str, dict[str, str | None]] = {}
        for name, target in shape.associations.items():
            values = told.setdefault(name, {})
            unclear: list[str] = []
            for record in records:
                crm_id = str(record["id"])
                shown = (record.get("associations") or {}).get(target) or {}
                ids = {str(entry["id"]) for entry in shown.get("results") or ()}
                if target not in _INLINE or len(ids) > 1 or shown.get("paging"):
                    unclear.append(crm_id)
                else:
                    values[crm_id] = next(iter(ids), None)
            if unclear:
                exact = self._associations.read(shape.object, target, unclear)
                values.update({crm_id: ends.value for crm_id, ends in exact.items()})
        return told

    def _too_long_for_search(self, shape: Shape, conditions: Sequence[Filter]) -> bool:
        longest = [{"propertyName": shape.stamp_property, "operator": "GTE", "value": "0" * 13}] * 3
        body = search.body([[*longest, *conditions]], shape.stamp_property, shape.properties)
        return len(json.dumps(body)) > search.MAX_BODY


def _with_progress(pages: Sequence[BatchPage], state: Mapping[str, Any] | None) -> Iterator[BatchPage]:
    """The pages; the last one says how far reading has come."""
    yield from pages[:-1]
    if pages:
        yield replace(pages[-1], progress=state)


def _list_state(after: str | None) -> dict[str, Any]:
    return _archived_state(None, begun=False) if after is None else {"kind": "list", "after": after}


def _archived_state(after: str | None, *, begun: bool = True) -> dict[str, Any]:
    return {"kind": "end"} if begun and after is None else {"kind": "archived", "after": after}


def _joined(several: Sequence[Sequence[BatchPage]]) -> list[BatchPage]:
    """Pages with the same columns as one page."""
    by_columns: dict[tuple[str, ...], list[pa.RecordBatch]] = {}
    for page in (page for pages in several for page in pages):
        by_columns.setdefault(tuple(page.batch.schema.names), []).append(page.batch)
    return [
        BatchPage(pa.Table.from_batches(batches).combine_chunks().to_batches()[0])
        for batches in by_columns.values()
    ]


def _gathered(
    found: Iterator[tuple[list[Record], search.Place]], size: int
) -> Iterator[tuple[list[Record], search.Place]]:
    """Lists of a search's page joined, as long as they surely hold at most `size` records."""
    for records, place in found:
        gathered, behind = records, place
        while len(gathered) + search.PAGE <= size and (more := next(found, None)) is not None:
            gathered, behind = [*gathered, *more[0]], more[1]
        yield gathered, behind


def _by_the_thousand(batches: Iterator[list[Record]], shape: Shape) -> Iterator[list[Record]]:
    """Batches joined, as far as one call tells the associations of."""
    while some := list(islice(batches, GATHER // BATCH if shape.associations else 1)):
        yield [record for batch in some for record in batch]


def _before_end(record: Record, shape: Shape, window: Window) -> bool:
    if window.end is None:
        return True
    moment = modified(record, shape.stamp_property)
    return moment is None or moment < window.end


def _archived_in(record: Record, window: Window) -> bool:
    text = record.get("archivedAt") or record.get("updatedAt")
    if not text:
        return True
    moment = instant(str(text))
    return (window.start is None or moment >= window.start) and (window.end is None or moment < window.end)
