"""Reading all sides back through their public interfaces, each record as its own side spells it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from crm_sync.demo.accounts import HubSpotPerson, SalesforcePerson

Record = Mapping[str, Any]  # our field names -> values as the side gives them
Side = Mapping[str, Record]  # by the record's id on that side


@dataclass(frozen=True, slots=True)
class Books:
    """Everything that is compared: the hub by entity, each CRM by stream, and the links by stream (hub id → CRM id)."""

    hub: Mapping[str, Side]
    crm: Mapping[str, Side]
    links: Mapping[str, Mapping[str, str]]


def hub_records(conn: psycopg.Connection, entity: str) -> Side:
    """`select * from hub.<entity>`."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(sql.SQL("select * from {}").format(sql.Identifier("hub", entity))).fetchall()
    return {str(row["id"]): row for row in rows}


def links(conn: psycopg.Connection, stream: StreamSpec) -> dict[str, str]:
    """CRM ids by hub id, as the base table has them."""
    query = sql.SQL("select hub_id::text, crm_id from {}").format(
        sql.Identifier(stream.connection, f"{stream.entity}_base")
    )
    return dict(conn.execute(query).fetchall())


def salesforce_records(person: SalesforcePerson, stream: StreamSpec) -> Side:
    """By SOQL over REST, page by page."""
    fields = [spec for spec in stream.fields if spec.vendor.template is None]
    return {
        row["Id"]: {spec.name: row[spec.vendor.name] for spec in fields}
        for row in person.records(stream.object, [spec.vendor.name for spec in fields])
    }


def hubspot_records(person: HubSpotPerson, stream: StreamSpec, stages: Mapping[str, str]) -> Side:
    """By the list endpoint, with associations; stages by their labels."""
    plain = [
        spec for spec in stream.fields if spec.vendor.association is None and spec.vendor.template is None
    ]
    linked = [spec for spec in stream.fields if spec.vendor.association is not None]
    found: dict[str, Record] = {}
    for row in person.records(
        stream.object,
        [spec.vendor.name for spec in plain],
        [spec.vendor.association for spec in linked if spec.vendor.association],
    ):
        values = {
            spec.name: _property(spec, row["properties"].get(spec.vendor.name), stages) for spec in plain
        }
        values |= {spec.name: _associated(spec, row.get("associations") or {}) for spec in linked}
        found[row["id"]] = values
    return found


def _property(spec: FieldSpec, value: str | None, stages: Mapping[str, str]) -> str | None:
    return stages.get(value, value) if spec.vendor.name == "dealstage" and value is not None else value


def _associated(spec: FieldSpec, associations: Mapping[str, Any]) -> str | None:
    """The one that counts: the primary association if there is one (its type has no `_unlabeled`), else the first."""
    assert spec.type is FieldType.REFERENCE
    results: Sequence[Mapping[str, str]] = associations.get(spec.vendor.association or "", {}).get(
        "results", []
    )
    primary = [one for one in results if not one["type"].endswith("_unlabeled")]
    chosen = primary or results
    return chosen[0]["id"] if chosen else None
