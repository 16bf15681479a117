"""What a portal's records look like: object types and property definitions, as values.

Here: the shapes and their JSON. Not here: which ones HubSpot has (catalog.py), checking values (values.py), requests
that change definitions (properties.py, schemas.py).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from crm_sync.simulators.hubspot.clock import iso

FIELD_TYPES = {
    "bool": {"booleancheckbox", "calculation_equation"},
    "enumeration": {"booleancheckbox", "checkbox", "radio", "select", "calculation_equation"},
    "date": {"date"},
    "datetime": {"date"},
    "string": {"text", "textarea", "html", "file", "phonenumber", "calculation_equation"},
    "number": {"number", "calculation_equation"},
    "phone_number": {"phonenumber"},
}
"""Property type -> field types it goes with (properties guide)."""


@dataclass(slots=True)
class Option:
    value: str
    label: str
    order: int = -1
    hidden: bool = False
    description: str = ""

    def document(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "value": self.value,
            "description": self.description,
            "displayOrder": self.order,
            "hidden": self.hidden,
        }


@dataclass(slots=True)
class Property:
    """A property definition; ``read_only`` is about values, ``standard`` ones cannot be changed or archived."""

    name: str
    label: str
    type: str
    field_type: str
    group: str
    description: str = ""
    options: list[Option] = field(default_factory=list)
    order: int = -1
    standard: bool = True
    read_only: bool = False
    calculated: bool = False
    unique: bool = False
    hidden: bool = False
    external: str | None = None
    form_field: bool = False
    formula: str | None = None
    created: int | None = None
    updated: int | None = None
    archived: int | None = None

    @property
    def multiple(self) -> bool:
        return self.field_type == "checkbox"

    def document(self) -> dict[str, Any]:
        """The definition as the API shows it."""
        shown: dict[str, Any] = {
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field_type,
            "description": self.description,
            "groupName": self.group,
            "options": [option.document() for option in self.options],
            "displayOrder": self.order,
            "calculated": self.calculated,
            "externalOptions": self.external is not None,
            "archived": self.archived is not None,
            "hasUniqueValue": self.unique,
            "hidden": self.hidden,
            "modificationMetadata": {
                "archivable": not self.standard,
                "readOnlyDefinition": self.standard,
                "readOnlyValue": self.read_only or self.calculated,
            },
            "formField": self.form_field,
            "dataSensitivity": "non_sensitive",
        }
        if self.standard:
            shown["hubspotDefined"] = True
        if self.options:
            shown["modificationMetadata"]["readOnlyOptions"] = self.standard
        if self.external is not None:
            shown["referencedObjectType"] = self.external
        if self.formula is not None:
            shown["calculationFormula"] = self.formula
        for key, moment in (
            ("createdAt", self.created),
            ("updatedAt", self.updated),
            ("archivedAt", self.archived),
        ):
            if moment is not None:
                shown[key] = iso(moment)
        return shown


@dataclass(slots=True)
class Group:
    name: str
    label: str
    order: int = -1
    archived: bool = False

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "label": self.label, "displayOrder": self.order, "archived": self.archived}


@dataclass(slots=True)
class Kind:
    """An object type: contacts, companies, ..., or a custom one.

    ``always`` are returned whatever was asked for, ``defaults`` when nothing was asked for. ``one_of`` and ``required``
    are checked at creation. ``computed`` are calculated at reading time from (stored values, record id).
    """

    name: str
    singular: str
    type_id: str
    modified: str
    created: str
    defaults: tuple[str, ...]
    searchable: tuple[str, ...]
    scope: str
    one_of: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    properties: dict[str, Property] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    computed: dict[str, Callable[[dict[str, str]], str | None]] = field(default_factory=dict)
    activity: bool = False
    custom: dict[str, Any] | None = None
    always: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.always = (self.created, self.modified, "hs_object_id")

    @property
    def caps(self) -> str:
        """The name that stands in some error messages: CONTACT, COMPANY, ..."""
        return self.singular.upper()

    def known(self, name: str) -> Property | None:
        """The definition that is in force, not an archived one."""
        found = self.properties.get(name)
        return found if found is not None and found.archived is None else None

    def add(self, properties: Iterable[Property]) -> None:
        for each in properties:
            self.properties[each.name] = each

    def unique_names(self) -> list[str]:
        """Properties whose values identify a record, the contacts' email among them."""
        return [
            p.name
            for p in self.properties.values()
            if p.unique or (self.name == "contacts" and p.name == "email")
        ]
