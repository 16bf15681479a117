"""The look at records right before they are updated: one batch read, and their associations if those are to change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from crm_sync.connectors import unmoved
from crm_sync.connectors.crm import Operation
from crm_sync.connectors.hubspot.reading import Reader
from crm_sync.connectors.hubspot.rows import Shape
from crm_sync.connectors.hubspot.values import Row, losers


@dataclass(frozen=True, slots=True)
class Seen:
    """now: what records say in the fields to be compared; one that is not there is left out, as is a property that its
    answer does not mention. merged: ids that stand for another record by now."""

    now: Mapping[str, Row]
    merged: frozenset[str]


class Look:
    """Looks at records of one shape; may be used by several threads."""

    def __init__(self, reader: Reader, shape: Shape) -> None:
        self._reader = reader
        self._shape = shape

    def at(self, operations: Sequence[Operation]) -> Seen:
        """What is seen of the records of these updates (a batch at most).

        For the id of a record that was merged HubSpot answers with the survivor, under the survivor's id, and a write
        to it changes the survivor. So an id that is missing from the answer has been merged if the answer has records
        that nobody asked for, or one that says so."""
        wanted = unmoved.compared(operations)
        names = unmoved.fields_of(wanted)
        shape = replace(
            self._shape,
            fields={name: kind for name, kind in self._shape.fields.items() if name in names},
            associations={name: other for name, other in self._shape.associations.items() if name in names},
        )
        ids = {operation.crm_id or "" for operation in wanted}
        found = {str(one["id"]): one for some in self._reader.by_id(shape, ids) for one in some}
        strange = found.keys() - ids
        told = {loser for record in found.values() for loser in losers(record)}
        missing = ids - found.keys()
        records = [record for crm_id, record in found.items() if crm_id in ids]
        associated = self._reader.associated(shape, records)
        now = {
            crm_id: {
                **shape.values(record.get("properties") or {}),
                **{name: values.get(crm_id) for name, values in associated.items()},
            }
            for record in records
            for crm_id in (str(record["id"]),)
        }
        return Seen(now, frozenset(missing if strange else missing & told))
