"""What a field and an object are: the facts that describe reports and writes obey.

Here: the types and their lookups. Not here: the objects of our org (objects.py), the describe
document (describe.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

TEXT = frozenset(
    {
        "string",
        "textarea",
        "phone",
        "email",
        "url",
        "picklist",
        "combobox",
        "encryptedstring",
        "multipicklist",
    }
)
NUMBERS = frozenset({"int", "double", "currency", "percent", "long"})
COMPOUND = frozenset({"address", "location"})

Row = list[Any]
"""One record: values by ``SObject.position``, as the REST API prints them in JSON."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field. ``compute`` makes the value of a calculated or compound one from the stored row."""

    name: str
    label: str
    type: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    nillable: bool = True
    createable: bool = True
    updateable: bool = True
    defaulted: bool = False
    default: Any = None
    calculated: bool = False
    formula: str | None = None
    external_id: bool = False
    unique: bool = False
    case_sensitive: bool = False
    name_field: bool = False
    reference_to: tuple[str, ...] = ()
    relationship: str | None = None
    child_relationship: str | None = None
    cascade: bool = False
    picklist: tuple[str, ...] = ()
    restricted: bool = False
    compound: str | None = None
    compute: Callable[[Any], Any] | None = None

    @property
    def custom(self) -> bool:
        return self.name.endswith("__c")

    @property
    def required(self) -> bool:
        return self.createable and not self.nillable and not self.defaulted and self.type != "boolean"

    @property
    def long_text(self) -> bool:
        return self.type == "textarea" and self.length > 4000

    @property
    def filterable(self) -> bool:
        return not self.long_text and self.type not in COMPOUND


@dataclass(slots=True)
class SObject:
    """An object: its fields in order, and where in a row the stored ones are."""

    name: str
    label: str
    plural: str
    prefix: str
    fields: Sequence[Field]
    createable: bool = True
    updateable: bool = True
    deletable: bool = True
    mergeable: bool = False
    record_types: bool = False
    by_name: dict[str, Field] = field(init=False)
    position: dict[str, int] = field(init=False)
    width: int = field(init=False)

    def __post_init__(self) -> None:
        self.by_name = {f.name.lower(): f for f in self.fields}
        stored = [f.name for f in self.fields if f.compute is None]
        self.position = {name: place for place, name in enumerate(stored)}
        self.width = len(stored)

    def find(self, name: str) -> Field | None:
        """The field of this name, in any letter case."""
        return self.by_name.get(name.lower())

    def parent(self, relationship: str) -> Field | None:
        """The reference field behind ``Account`` in ``Account.Name``."""
        wanted = relationship.lower()
        for f in self.fields:
            if f.relationship is not None and f.relationship.lower() == wanted:
                return f
        return None

    @property
    def name_field(self) -> Field | None:
        return next((f for f in self.fields if f.name_field), None)


@dataclass(slots=True)
class Schema:
    """All objects of the org."""

    objects: dict[str, SObject]

    def find(self, name: str) -> SObject | None:
        """The object of this name, in any letter case."""
        exact = self.objects.get(name)
        if exact is not None:
            return exact
        wanted = name.lower()
        return next((o for o in self.objects.values() if o.name.lower() == wanted), None)

    def children(self, parent: str) -> list[tuple[SObject, Field]]:
        """Every (object, reference field) that points at ``parent``."""
        return [
            (child, f) for child in self.objects.values() for f in child.fields if parent in f.reference_to
        ]

    def by_prefix(self, record_id: str) -> SObject | None:
        return next((o for o in self.objects.values() if o.prefix == record_id[:3]), None)
