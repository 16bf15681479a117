"""How records are shown. Not here: who asks and for which (objects.py, batch.py, search.py)."""

from collections.abc import Iterable, Sequence
from typing import Any

from crm_sync.simulators.hubspot.clock import iso
from crm_sync.simulators.hubspot.records import Record
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Store, origin

ASSOCIATIONS_SHOWN = 100


class View:
    """How records are shown for one request: which properties, histories and associations."""

    def __init__(
        self,
        store: Store,
        kind: Kind,
        names: Sequence[str] = (),
        history: Sequence[str] = (),
        associations: Sequence[str] = (),
    ) -> None:
        self.store = store
        self.kind = kind
        wanted = dict.fromkeys((*names, *history, *kind.always)) if names or history else kind.defaults
        known = [name for name in wanted if kind.known(name)]
        self.stored = [name for name in known if name not in kind.computed]
        self.computed = [(name, kind.computed[name]) for name in known if name in kind.computed]
        self.history = [name for name in history if kind.known(name)]
        self.others = [store.kind(name) for name in associations]

    def show(self, record: Record) -> dict[str, Any]:
        """The record as the API shows it."""
        values = record.values
        properties = {name: values.get(name) for name in self.stored}
        for name, compute in self.computed:
            properties[name] = compute(values)
        shown = {
            "id": str(record.id),
            "properties": properties,
            "createdAt": values[self.kind.created],
            "updatedAt": values[self.kind.modified],
            "archived": record.archived is not None,
        }
        if record.archived is not None:
            shown["archivedAt"] = iso(record.archived)
        if self.history:
            shown["propertiesWithHistory"] = {
                name: _history(self.kind, record, name) for name in self.history
            }
        if self.others:
            linked = {o.name: found for o in self.others if (found := self._associations(record.id, o))}
            if linked:
                shown["associations"] = linked
        return shown

    def _associations(self, number: int, other: Kind) -> dict[str, Any] | None:
        found = [
            {"id": str(target), "type": self.store.links.types[each].name}
            for target, types in sorted(self.store.links.of(self.kind.name, number, other.name).items())
            for each in types
        ]
        if not found:
            return None
        shown: dict[str, Any] = {"results": found[:ASSOCIATIONS_SHOWN]}
        if len(found) > ASSOCIATIONS_SHOWN:
            after = found[ASSOCIATIONS_SHOWN]["id"]
            link = f"{self.store.base_url}/crm/v3/objects/{self.kind.name}/{number}/associations/{other.name}?after={after}"
            shown["paging"] = {"next": {"after": after, "link": link}}
        return shown


def show_written(kind: Kind, record: Record, names: Iterable[str] | None = None) -> dict[str, Any]:
    """A record as the answer to a write: what was written (None: everything it has) and what is always there."""
    values = record.values
    if names is None:
        properties: dict[str, Any] = dict(sorted(values.items()))
        for name, compute in kind.computed.items():
            value = compute(values)
            if value is not None:
                properties[name] = value
    else:
        properties = {name: values.get(name) for name in sorted({*names, *kind.always})}
    return {
        "id": str(record.id),
        "properties": properties,
        "createdAt": values[kind.created],
        "updatedAt": values[kind.modified],
        "archived": record.archived is not None,
    }


def _history(kind: Kind, record: Record, name: str) -> list[dict[str, Any]]:
    """All values a property had, newest first."""
    changes = [change for change in record.trail or () if change.name == name]
    if not changes:
        value = record.values.get(name)
        stamp = record.values[kind.created]
        source, source_id = origin(record)
        return (
            []
            if value is None
            else [{"value": value, "timestamp": stamp, "sourceType": source, "sourceId": source_id}]
        )
    return [
        {
            "value": change.value,
            "timestamp": iso(change.at),
            "sourceType": change.source,
            "sourceId": change.source_id,
        }
        for change in reversed(changes)
    ]
