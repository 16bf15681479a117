"""Which records a stream's filter leaves out, and which associations changed, asked of HubSpot.

A search has at most five groups of filters, 18 in all, and each group repeats the window. Where the opposite of a filter
does not fit into that, the window is searched without any filter: `fulfilling` decides anyway.
"""

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from crm_sync.connectors.crm import CRM_ID, MODIFIED_AT, BatchPage, ObjectInfo, Window
from crm_sync.connectors.hubspot import filters, search
from crm_sync.connectors.hubspot.associations import Associations, chunks
from crm_sync.connectors.hubspot.paths import plural
from crm_sync.connectors.hubspot.pipelines import Pipelines, properties_of
from crm_sync.connectors.hubspot.reading import BATCH, Reader
from crm_sync.connectors.hubspot.rows import Shape, shape
from crm_sync.connectors.hubspot.search import Filter
from crm_sync.connectors.hubspot.values import page
from crm_sync.connectors.taking_part import TakingPart, is_filtered
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import StreamSpec

MAX_GROUPS = 4  # of which each has a condition, and three filters of the walk through the window


class HubSpotTakingPart(TakingPart):
    """The part of `HubSpotCrm` about what takes part in a stream, and with what."""

    _associations: Associations
    _pipelines: Pipelines
    _reader: Reader

    @abstractmethod
    def describe(self, object_name: str) -> ObjectInfo: ...

    def left(self, stream: StreamSpec, window: Window) -> Iterator[BatchPage]:
        """By search, 200 records a call, as late as search is; archived records are not told."""
        if not is_filtered(stream):
            return
        found = self._shape(stream)
        groups = self._opposite(stream, found)
        wanted = (found.stamp_property, search.OBJECT_ID)

        def fetch(bounds: Sequence[Filter], sort: str) -> search.Found:
            return self._reader.found(
                found, search.body([[*bounds, *group] for group in groups], sort, wanted)
            )

        for records, _ in search.walk(fetch, found.stamp_property, window):
            yield page(({CRM_ID: str(r["id"]), MODIFIED_AT: found.modified(r)} for r in records), ())

    def fulfilling(self, stream: StreamSpec, crm_ids: Sequence[str]) -> set[str]:
        """By search, 100 ids a call, as late as search is.

        Raises CrmError if HubSpot counts more records than it shows: what is not shown would pass for outside.
        """
        found, conditions = self._shape(stream), self._conditions(stream)
        inside: set[str] = set()
        for some in chunks(list(dict.fromkeys(crm_ids)), BATCH):
            among = {"propertyName": search.OBJECT_ID, "operator": "IN", "values": some}
            asked = search.body([[among, *conditions]], search.OBJECT_ID, [search.OBJECT_ID])
            answer = self._reader.found(found, asked)
            if answer.more:  # so few ids never have a second page
                raise CrmError(
                    ErrorClass.TRANSIENT,
                    f"{stream.name}: a search by {len(some)} record ids showed fewer records than it counted; nothing was"
                    " taken for outside the filter, run the sync again",
                )
            inside.update(str(record["id"]) for record in answer.records)
        return inside

    def references(
        self, stream: StreamSpec, crm_ids: Sequence[str]
    ) -> Mapping[str, Mapping[str, str | None]]:
        """One call for a thousand records and association."""
        return {
            spec.name: {
                crm_id: ends.value
                for crm_id, ends in self._associations.read(
                    plural(stream.object), plural(spec.vendor.association), crm_ids
                ).items()
            }
            for spec in stream.fields
            if spec.vendor.association is not None
        }

    def _opposite(self, stream: StreamSpec, found: Shape) -> list[list[Filter]]:
        groups = [
            [each] for each in filters.opposite(stream.filters, self.describe(stream.object), found.stages)
        ]
        if len(groups) > MAX_GROUPS or len(json.dumps(groups)) > search.MAX_BODY // 2:
            return [[]]
        return groups

    def _conditions(self, stream: StreamSpec) -> list[Filter]:
        return filters.search_filters(
            stream.filters, self.describe(stream.object), self._shape(stream).stages
        )

    def _shape(self, stream: StreamSpec) -> Shape:
        name = plural(stream.object)
        used = {spec.vendor.name for spec in stream.fields}.union(
            stream.vendor_fields, stream.constants, (condition.vendor for condition in stream.filters)
        )
        staged = not used.isdisjoint(properties_of(name))
        return shape(stream, self.describe(name), self._pipelines.of(name) if staged else None)
