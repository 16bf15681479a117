"""What subscribers are told about a write. Not here: who subscribed and how it is delivered (webhooks.py)."""

from collections.abc import Mapping
from typing import Any

from crm_sync.simulators.hubspot.links import LinkType
from crm_sync.simulators.hubspot.records import Record
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Source, Store

_NOT_SUBSCRIBABLE = {"hs_lastmodifieddate", "lastmodifieddate", "num_unique_conversion_events"}


def tell(
    store: Store,
    kind: Kind,
    what: str,
    record: Record,
    source: Source,
    *,
    more: Mapping[str, Any] | None = None,
) -> None:
    store.emit(
        {"kind": kind, "what": what, "objectId": record.id, "occurredAt": store.clock.now(), "changeSource": source.kind,
         "sourceId": source.id, **(more or {})}
    )  # fmt: skip


def tell_property(store: Store, kind: Kind, record: Record, name: str, source: Source) -> None:
    if name not in _NOT_SUBSCRIBABLE:
        value = record.values.get(name, "")
        tell(
            store, kind, "propertyChange", record, source, more={"propertyName": name, "propertyValue": value}
        )


def tell_link(store: Store, type_: LinkType, ends: tuple[int, int], source: Source, *, removed: bool) -> None:
    for one, a, b in ((type_, *ends), (store.links.types[type_.inverse], *ends[::-1])):
        store.emit({
            "kind": store.kinds[one.source], "what": "associationChange", "occurredAt": store.clock.now(),
            "changeSource": source.kind, "sourceId": source.id, "associationType": one.name.upper(), "fromObjectId": a,
            "toObjectId": b, "associationRemoved": removed, "isPrimaryAssociation": one.primary,
        })  # fmt: skip
