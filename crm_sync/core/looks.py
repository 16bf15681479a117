"""Looks: what a CRM says about the fields of an object, as far as the sync has to expect it, and which types go together."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from crm_sync.core import plan
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec


class Described(plan.Described, Protocol):
    """What the vendor's describe says about a field (`connectors.crm.FieldInfo`)."""

    @property
    def label(self) -> str: ...
    @property
    def vendor_type(self) -> str: ...
    @property
    def calculated(self) -> bool: ...


RECORD_TYPE = "record type "
"""Before the name of a stream's record type, which is looked at like a field."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a field looks like. options: the allowed values, None if any value is. length: characters."""

    type: str
    label: str = ""
    creates: bool = True
    updates: bool = True
    required: bool = False
    length: int | None = None
    options: tuple[str, ...] | None = None
    calculated: bool = False

    def as_json(self) -> dict[str, Any]:
        """Without what is as usual."""
        return {name: value for name, value in asdict(self).items() if value != _USUAL[name]}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Look":
        options = told.get("options")
        return cls(**{**told, "options": None if options is None else tuple(options)})


_USUAL = asdict(Look("?"))
Looks = Mapping[str, Look]
"""What an object looks like, by vendor field."""


def looks(
    fields: Mapping[str, Described], record_types: Collection[str], stream: StreamSpec
) -> dict[str, Look]:
    """The look of an object as a token sees it now. Associations are no fields of it."""
    found = {
        _storable(name): Look(
            _storable(f.vendor_type),
            _storable(f.label),
            f.createable,
            f.updateable,
            f.required,
            f.max_length,
            None if f.options is None else tuple(map(_storable, f.options)),
            f.calculated,
        )
        for name, f in fields.items()
        if not name.startswith("association:")
    }
    if stream.record_type is not None and stream.record_type in record_types:
        found[RECORD_TYPE + stream.record_type] = Look("record type")
    return found


def _storable(text: str) -> str:
    """Without what Postgres cannot keep: NUL and halves of surrogate pairs."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


_FAMILIES = {
    "text": "string textarea email phone url encryptedstring combobox id string.text string.textarea string.html"
    " string.phonenumber string.file phone_number.phonenumber",
    "choice": "picklist enumeration.select enumeration.radio",
    "choices": "multipicklist enumeration.checkbox",
    "number": "int double currency percent long number.number number.text",
    "date": "date date.date",
    "moment": "datetime datetime.date",
    "boolean": "boolean bool.booleancheckbox enumeration.booleancheckbox",
}
_FAMILY = {name: family for family, names in _FAMILIES.items() for name in names.split()}

_FITTING = {
    FieldType.PICKLIST: {"choice", "text"},
    FieldType.MULTIPICKLIST: {"choices"},
    FieldType.NUMBER: {"number"},
    FieldType.DATE: {"date"},
    FieldType.DATETIME: {"moment"},
    FieldType.BOOLEAN: {"boolean"},
    FieldType.REFERENCE: {"reference"},
}
"""Which families a field of our type can stand for without harm to its values; all others stand for text."""


def family(vendor_type: str) -> str:
    """Types whose values are spelled alike and mean the same. A type that nobody here knows is one of its own."""
    return _FAMILY.get(vendor_type, vendor_type)


def fits(spec: FieldSpec, vendor_type: str) -> bool:
    """Whether values of that type can be taken and sent as what the mapping says the field is."""
    if spec.vendor.template is not None:
        return True  # a template makes text of anything
    return family(vendor_type) in _FITTING.get(spec.type, {"text"})
