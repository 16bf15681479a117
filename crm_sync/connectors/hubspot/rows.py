"""From HubSpot's records to pages of the port.

Here: which properties a stream needs, and how one record becomes one row. How records are found is in reading.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crm_sync.connectors.crm import CRM_ID, DELETED, HUB_ID, MERGED_INTO, MODIFIED_AT, BatchPage, ObjectInfo
from crm_sync.connectors.hubspot.paths import plural
from crm_sync.connectors.hubspot.pipelines import StageNames
from crm_sync.connectors.hubspot.values import (
    Row,
    from_hubspot,
    instant,
    modified,
    modified_property,
    page,
    stamp,
    tombstones,
)
from crm_sync.core.spec import FieldType, StreamSpec

_MERGES = ("hs_merged_object_ids", "hs_calculated_merged_vids")
_GONE = (CRM_ID, MODIFIED_AT, DELETED, MERGED_INTO)

Associated = Mapping[str, Mapping[str, str | None]]
"""Field name -> record id -> id of the associated record."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked for of a stream's records.

    fields: type by property, only those that the token may see: what is not visible is absent from pages, not
    blank. associations: our field name to the other object. external_id: None if the account has no such property.
    """

    object: str
    stamp_property: str
    fields: Mapping[str, FieldType]
    associations: Mapping[str, str]
    external_id: str | None
    stages: StageNames | None

    @property
    def properties(self) -> tuple[str, ...]:
        """Names to ask HubSpot for."""
        own = [self.external_id] if self.external_id else []
        return tuple(dict.fromkeys([*self.fields, *own, self.stamp_property, *_MERGES]))

    @property
    def columns(self) -> tuple[str, ...]:
        return (*((HUB_ID,) if self.external_id else ()), *self.fields, *self.associations)

    def values(self, properties: Mapping[str, Any]) -> Row:
        """The stream's fields among a record's properties, in the port's spelling."""
        told: Row = {}
        for name, kind in self.fields.items():
            if name in properties:
                value = from_hubspot(properties[name], kind)
                told[name] = self.stages.from_hubspot(name, value) if self.stages else value
        return told

    def modified(self, record: Mapping[str, Any]) -> str | None:
        found = modified(record, self.stamp_property)
        return None if found is None else stamp(found)

    def row(self, record: Mapping[str, Any], associated: Associated) -> Row:
        """A live or archived record. An archived one counts as modified when it was archived."""
        properties = record.get("properties") or {}
        crm_id = str(record["id"])
        archived_at = record.get("archivedAt") if record.get("archived") else None
        row: Row = {
            CRM_ID: crm_id,
            MODIFIED_AT: stamp(instant(str(archived_at))) if archived_at else self.modified(record),
            DELETED: "true" if record.get("archived") else "false",
            **{name: associated.get(name, {}).get(crm_id) for name in self.associations},
            **self.values(properties),
        }
        if self.external_id:
            row[HUB_ID] = from_hubspot(properties.get(self.external_id), FieldType.STRING)
        return row

    def page(self, records: Iterable[Mapping[str, Any]], associated: Associated) -> BatchPage:
        """One answer's records. A known property without a value comes as null; one that an answer does not mention
        was archived or hidden since it was described: it is absent from the page, not blank."""
        kept = list(records)
        absent = {n for record in kept for n in self.fields if n not in (record.get("properties") or {})}
        columns = [name for name in self.columns if name not in absent]
        return page([self.row(record, associated) for record in kept], columns)

    def merged(self, records: Iterable[Mapping[str, Any]]) -> BatchPage | None:
        """The records that were merged into these. They have no values, so the page has none either."""
        rows = [row for record in records for row in tombstones(record, self.modified(record))]
        return page(rows, ()) if rows else None


def gone(records: Sequence[Mapping[str, Any]], shape: Shape) -> BatchPage:
    """Archived records without their values."""
    return page([{name: row.get(name) for name in _GONE} for row in (shape.row(r, {}) for r in records)], ())


def shape(stream: StreamSpec, info: ObjectInfo, stages: StageNames | None) -> Shape:
    """What to ask for, given what the token may see."""
    wanted = stream.vendor_fields.values()
    return Shape(
        object=plural(stream.object),
        stamp_property=modified_property(plural(stream.object)),
        fields={f.name: f.type for f in wanted if f.association is None and f.name in info.fields},
        associations={f.name: plural(f.association) for f in wanted if f.association is not None},
        external_id=stream.external_id if stream.external_id in info.fields else None,
        stages=stages,
    )
