"""The look at records right before they are updated: one batch read, and their associations if those are to change."""

from collections.abc import Sequence
from dataclasses import replace

from crm_sync.connectors import unmoved
from crm_sync.connectors.crm import Operation
from crm_sync.connectors.hubspot.reading import Reader
from crm_sync.connectors.hubspot.rows import Shape
from crm_sync.connectors.hubspot.search import Record
from crm_sync.connectors.hubspot.values import Row


class Look:
    """Looks at records of one shape; may be used by several threads."""

    def __init__(self, reader: Reader, shape: Shape) -> None:
        self._reader = reader
        self._shape = shape

    def at(self, operations: Sequence[Operation]) -> dict[str, Row]:
        """What the records of these updates (a batch at most) say in the fields to be compared. A record that is not
        there is left out, as is a property that its answer does not mention."""
        wanted = unmoved.compared(operations)
        names = unmoved.fields_of(wanted)
        shape = replace(
            self._shape,
            fields={name: kind for name, kind in self._shape.fields.items() if name in names},
            associations={name: other for name, other in self._shape.associations.items() if name in names},
        )
        ids = [operation.crm_id or "" for operation in wanted]
        records: list[Record] = [{"id": crm_id} for crm_id in ids]
        if shape.fields:
            records = [record for found in self._reader.by_id(shape, ids) for record in found]
        associated = self._reader.associated(shape, records)
        return {
            crm_id: {
                **shape.values(record.get("properties") or {}),
                **{name: values.get(crm_id) for name, values in associated.items()},
            }
            for record in records
            for crm_id in (str(record["id"]),)
        }
