"""From a row to a JSON record: own values, parents, child records, in order of the SELECT list."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.schema import Row, SObject
from crm_sync.simulators.salesforce.soql_ast import Path
from crm_sync.simulators.salesforce.soql_columns import Column, Resolver

Record = dict[str, Any]


@dataclass(slots=True)
class Shape:
    """How a row becomes a JSON record: own values, parents, child records, in order of the SELECT list."""

    o: SObject
    keys: dict[str, "Column | Shape | Children"] = field(default_factory=dict)
    hop: Callable[[Row], Row | None] | None = None


@dataclass(slots=True)
class Children:
    """A parent-to-child subquery; ``by_parent`` is filled when first needed."""

    shape: Shape
    rows: Callable[[], dict[str, list[Row]]]
    by_parent: dict[str, list[Row]] | None = None


def place(shape: Shape, column: Column, resolver: Resolver, at: int) -> None:
    """Put a column where it belongs in the record. Raises INVALID_FIELD for one that is there already."""
    for relationship in column.names[:-1]:
        inner = shape.keys.get(relationship)
        if not isinstance(inner, Shape):
            reference = shape.o.parent(relationship)
            if reference is None:  # below Who and What: the first object that has it
                raise resolver.error(at, f"Didn't understand relationship '{relationship}' in field path.")
            inner = Shape(
                resolver.store.schema.objects[reference.reference_to[0]], hop=resolver.hop(shape.o, reference)
            )
            shape.keys[relationship] = inner
        shape = inner
    name = column.names[-1]
    if name in shape.keys:
        raise ApiError(400, "INVALID_FIELD", f"duplicate field selected: {name}")
    place = shape.o.position.get(name)
    own = column if len(column.names) == 1 else _last(resolver, shape.o, column)
    shape.keys[name] = (
        own if place is None or len(column.names) == 1 else resolver.column(shape.o, Path((name,)))
    )


def _last(resolver: Resolver, o: SObject, column: Column) -> Column:
    """The column as seen from the parent's own row."""
    if o.find(column.names[-1]) is None:
        prefixes = {s.prefix: s.name for s in resolver.store.schema.objects.values()}
        return Column(column.field, column.names[-1:], lambda row: prefixes.get(row[0][:3]))
    tables = {s.prefix: resolver.store.tables[s.name] for s in resolver.store.schema.objects.values()}
    name = column.names[-1]

    def get(row: Row) -> Any:
        table = tables[row[0][:3]]
        return table.get(row, name) if table.object.find(name) else None

    return Column(column.field, column.names[-1:], get)


def record(shape: Shape, row: Row, version: str) -> Record:
    """A row as JSON."""
    made: Record = {"attributes": attributes(shape.o.name, row[0], version)}
    for key, part in shape.keys.items():
        if isinstance(part, Column):
            made[key] = part.get(row)
        elif isinstance(part, Shape):
            parent = part.hop(row) if part.hop is not None else None
            made[key] = None if parent is None else record(part, parent, version)
        else:
            if part.by_parent is None:
                part.by_parent = part.rows()
            children = part.by_parent.get(row[0])
            made[key] = None if children is None else {
                "totalSize": len(children),
                "done": True,
                "records": [record(part.shape, child, version) for child in children],
            }  # fmt: skip
    return made


def attributes(kind: str, record_id: str, version: str) -> Record:
    return {"type": kind, "url": f"/services/data/v{version}/sobjects/{kind}/{record_id}"}
