"""What an object looks like to the user of the token: fields, types, record types.

Source: "sObject Describe" of the REST API guide. Fields that field-level security hides are simply not there; two
tokens may see two different objects.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crm_sync.connectors.crm import FieldInfo, ObjectInfo

COMPOUND = frozenset({"address", "location"})
_UNREADABLE = COMPOUND | {"base64", "complexvalue"}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: what the port knows of it, and what only queries and writes need."""

    info: FieldInfo
    external_id: bool
    filterable: bool
    references: tuple[str, ...]

    @property
    def type(self) -> str:
        return self.info.vendor_type

    @property
    def readable(self) -> bool:
        """Whether its value is one cell: compound fields and files are not."""
        return self.type not in _UNREADABLE


@dataclass(frozen=True, slots=True)
class SObject:
    """An object and its fields by name; record types by developer name."""

    name: str
    fields: Mapping[str, Field]
    record_types: Mapping[str, str]
    replicateable: bool

    @property
    def stamp(self) -> str | None:
        """The field with the time of the last change: SystemModstamp, which sees changes by automation too, or the
        next best that the object has (history and share objects lack it)."""
        candidates = ("SystemModstamp", "LastModifiedDate", "CreatedDate", "LoginTime")
        return next((name for name in candidates if name in self.fields), None)

    def type_of(self, name: str) -> str:
        """Type of a field; text for one that is not known."""
        found = self.fields.get(name)
        return found.type if found is not None else "string"

    def info(self) -> ObjectInfo:
        """What the port tells of the object."""
        return ObjectInfo(
            self.name, {name: field.info for name, field in self.fields.items()}, dict(self.record_types)
        )


def parse(document: Mapping[str, Any]) -> SObject:
    """The answer of `GET /sobjects/<name>/describe`."""
    return SObject(
        name=document["name"],
        fields={field["name"]: _field(field) for field in document["fields"]},
        record_types={
            found["developerName"]: found["recordTypeId"]
            for found in document.get("recordTypeInfos") or ()
            if found.get("developerName") and found.get("active", True)
        },
        replicateable=bool(document.get("replicateable", True)),
    )


def _field(found: Mapping[str, Any]) -> Field:
    createable = bool(found.get("createable"))
    nillable = bool(found.get("nillable", True))
    computed = bool(found.get("calculated")) or bool(found.get("autoNumber"))
    options = [value["value"] for value in found.get("picklistValues") or () if value.get("active", True)]
    kind = str(found["type"])
    numeric = kind in {"double", "currency", "percent"}
    info = FieldInfo(
        name=found["name"],
        label=str(found.get("label") or found["name"]),
        vendor_type=kind,
        createable=createable,
        updateable=bool(found.get("updateable")),
        required=createable and not nillable and not found.get("defaultedOnCreate") and kind != "boolean",
        max_length=found.get("length") or None,
        options=tuple(options) if found.get("restrictedPicklist") else None,
        scale=found.get("scale") if numeric else None,
        unique=bool(found.get("unique")),
        calculated=computed,
    )
    return Field(
        info,
        external_id=bool(found.get("externalId")),
        filterable=bool(found.get("filterable", True)),
        references=tuple(found.get("referenceTo") or ()),
    )
