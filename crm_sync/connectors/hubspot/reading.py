"""Finding records: by list, by search, by id; with what they are associated with.

Here: which of HubSpot's ways of reading is used when, and how pages are cut. How a search walks through a window is
in search.py, how a record becomes a row in rows.py.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from urllib.parse import urlencode

from crm_sync.connectors.crm import BatchPage, Window
from crm_sync.connectors.hubspot import search
from crm_sync.connectors.hubspot.api import Api, Json
from crm_sync.connectors.hubspot.associations import Associations, chunks
from crm_sync.connectors.hubspot.paths import PLURALS
from crm_sync.connectors.hubspot.rows import Associated, Shape, gone
from crm_sync.connectors.hubspot.search import Filter, Record
from crm_sync.connectors.hubspot.values import instant, modified
from crm_sync.core.errors import CrmError

LIST_PAGE = 100
BATCH = 100
MAX_QUERY = 4000  # characters of a list's query string, well below what HubSpot answers with 414
URI_TOO_LONG = 414
GATHER = 1000  # records whose associations are read with one call

_INLINE = frozenset(PLURALS.values())


class Reader:
    """Reads records of one account. Everything is a generator: nothing is asked for before it is needed."""

    def __init__(self, api: Api, associations: Associations) -> None:
        self._api = api
        self._associations = associations

    def listed(self, shape: Shape, window: Window) -> Iterator[BatchPage]:
        """All live records by id, those modified at or after the window's end left out; then the merged ones."""
        for records in self._list(shape):
            kept = [record for record in records if _before_end(record, shape, window)]
            yield from self._pages(shape, kept, self._listed_associations(shape, kept))

    def searched(
        self, shape: Shape, window: Window, conditions: Sequence[Filter], size: int = GATHER
    ) -> Iterator[BatchPage]:
        """Live records modified in the window, oldest first; each page followed by its merged ones."""
        thin = self._too_long_for_search(shape, conditions)
        properties = (shape.stamp_property, search.OBJECT_ID) if thin else shape.properties
        path = self._api.paths.search(shape.object)

        def fetch(filters: Sequence[Filter], sort: str) -> list[Record]:
            body = search.body([*filters, *conditions], sort, properties)
            return list(self._api.read(path, "search", body).get("results") or ())

        found = search.walk(fetch, shape.stamp_property, window)
        for records in _gathered(found, size if shape.associations else 1):
            if thin:
                for full in self.by_id(shape, [str(record["id"]) for record in records]):
                    yield from self._pages(shape, full, self.associated(shape, full))
            else:
                yield from self._pages(shape, records, self.associated(shape, records))

    def archived(self, shape: Shape, window: Window) -> Iterator[BatchPage]:
        """Records archived in the window, without values.

        HubSpot neither filters nor sorts its list of archived records, so the whole recycle bin (90 days) is
        paged through, 100 records a call, whatever the window.
        """
        for records in self._list(shape, archived=True):
            kept = [record for record in records if _archived_in(record, window)]
            if kept:
                yield gone(kept, shape)

    def by_id(
        self, shape: Shape, ids: Iterable[str], *, id_property: str | None = None, archived: bool = False
    ) -> Iterator[list[Record]]:
        """The records with these ids (or values of a unique property) that exist, in any order."""
        path = self._api.paths.batch(shape.object, "read")
        params = {"archived": "true"} if archived else None
        for chunk in chunks(list(dict.fromkeys(ids)), BATCH):
            body: Json = {"properties": list(shape.properties), "propertiesWithHistory": []}
            body["inputs"] = [{"id": one} for one in chunk]
            if id_property is not None:
                body["idProperty"] = id_property
            answer = self._api.read(path, "batch_read", body, params)
            yield list(answer.get("results") or ())

    def pages_by_id(self, shape: Shape, ids: Sequence[str]) -> Iterator[BatchPage]:
        """The records with these ids as they are now, archived ones too. For the loser of a merge HubSpot may
        answer with the survivor: then both are told, the loser pointing to the survivor."""
        missing = dict.fromkeys(ids)
        for records in self.by_id(shape, ids):
            for record in records:
                missing.pop(str(record["id"]), None)
            yield from self._pages(shape, records, self.associated(shape, records), frozenset(missing))
        for records in self.by_id(shape, missing, archived=True):
            if records:
                yield shape.page([{**record, "archived": True} for record in records], {})

    def pages_by_property(self, shape: Shape, id_property: str, values: Sequence[str]) -> Iterator[BatchPage]:
        """The live records whose unique property has one of these values."""
        for records in self.by_id(shape, values, id_property=id_property):
            yield from self._pages(shape, records, self.associated(shape, records), frozenset())

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

    def _pages(
        self,
        shape: Shape,
        records: Sequence[Record],
        associated: Associated,
        losers: frozenset[str] | None = None,
    ) -> Iterator[BatchPage]:
        """A page of records, and one of those that were merged into them: all, or those among `losers`."""
        if records:
            yield shape.page(records, associated)
        merged = shape.merged(records, losers)
        if merged is not None:
            yield merged

    def _list(self, shape: Shape, *, archived: bool = False) -> Iterator[list[Record]]:
        """Pages of the list. Where the properties do not fit into a URL, they are read by id afterwards."""
        params: dict[str, str] = {"limit": str(LIST_PAGE), "archived": str(archived).lower()}
        thin = archived
        if not archived:
            params["properties"] = ",".join(shape.properties)
            inline = [target for target in shape.associations.values() if target in _INLINE]
            if inline:
                params["associations"] = ",".join(inline)
            thin = len(urlencode(params)) > MAX_QUERY
        after: str | None = None
        while True:
            asked = {name: text for name, text in params.items() if not (thin and name == "properties")}
            try:
                answer = self._api.get(
                    self._api.paths.objects(shape.object), "list", asked | ({"after": after} if after else {})
                )
            except CrmError as error:
                if error.status != URI_TOO_LONG or thin:
                    raise
                thin = True
                continue
            records = list(answer.get("results") or ())
            yield self._filled(shape, records) if thin and not archived else records
            after = ((answer.get("paging") or {}).get("next") or {}).get("after")
            if not after:
                return

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
        body = search.body([*longest, *conditions], shape.stamp_property, shape.properties)
        return len(json.dumps(body)) > search.MAX_BODY


def limited(pages: Iterator[BatchPage], limit: int) -> Iterator[BatchPage]:
    """The pages up to so many records."""
    left = limit
    for page in pages:
        if left <= 0:
            return
        yield BatchPage(page.batch.slice(0, left))
        left -= page.batch.num_rows


def _gathered(found: Iterator[list[Record]], size: int) -> Iterator[list[Record]]:
    """Lists of a search's page joined, as long as they surely hold at most `size` records."""
    while some := list(islice(found, 1)):
        records = some[0]
        while len(records) + search.PAGE <= size and (more := list(islice(found, 1))):
            records = [*records, *more[0]]
        yield records


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
