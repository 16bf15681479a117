"""What the catalogue says about each asset without a run: columns, description, kinds. From the connection files."""

import dagster as dg

from crm_sync.core.spec import FieldSpec, StreamSpec, System
from crm_sync.hub.sql import HUB_TYPES

OWNERS = ["team:crm_sync"]


def kinds(kind: str) -> set[str]:
    """The icons of an asset that lies between a CRM and Postgres."""
    return {kind, "postgres"}


def inbound_metadata(stream: StreamSpec) -> dict[str, object]:
    """The mirror table: the CRM's own values, as text."""
    return _metadata(
        f"{stream.connection}.{stream.entity}", [_column(s, "text", [stream]) for s in stream.fields]
    )


def hub_metadata(system: System, entity: str) -> dict[str, object]:
    """The hub table, with what each column is in every CRM."""
    return _metadata(
        f"hub.{entity}",
        [
            _column(spec, HUB_TYPES[spec.type], [s for s in system.of_entity(entity) if _has(s, name)])
            for name, spec in system.hub_fields(entity).items()
        ],
    )


def outbound_metadata(stream: StreamSpec) -> dict[str, object]:
    """The vendor's object, with the fields that are written to it."""
    columns = [
        dg.TableColumn(spec.vendor.name, str(spec.type), description=f"hub: {spec.computed or spec.name}")
        for spec in stream.fields
        if spec.direction != "inbound"
    ]
    return _metadata(f"{stream.connection}.{stream.object}", columns)


def references(system: System, stream: StreamSpec) -> list[str]:
    """Entities that records of the stream refer to, without the ones that come later in the order (cycles)."""
    place = {entity: number for number, entity in enumerate(system.entities)}
    targets = {spec.entity for spec in stream.fields if spec.entity is not None}
    return sorted(
        (t for t in targets if t in place and place[t] < place[stream.entity]),
        key=lambda target: place[target],
    )


def _metadata(table: str, columns: list[dg.TableColumn]) -> dict[str, object]:
    return {"dagster/table_name": table, "dagster/column_schema": dg.TableSchema(columns)}


def _column(spec: FieldSpec, sql_type: str, streams: list[StreamSpec]) -> dg.TableColumn:
    theirs = (f"{stream.connection}: {stream.field(spec.name).vendor.name}" for stream in streams)
    rules = dg.TableColumnConstraints(nullable=not spec.required)
    return dg.TableColumn(spec.name, sql_type, description=", ".join(theirs), constraints=rules)


def _has(stream: StreamSpec, name: str) -> bool:
    return any(spec.name == name for spec in stream.columns)
