"""Whether two sides mean the same, by rules written a second time, apart from the engine's.

A proof that used the engine's own normalisation would only show that it agrees with itself.
"""

import unicodedata
from collections.abc import Hashable, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import phonenumbers

from crm_sync.core.spec import FieldSpec, FieldType


def same(spec: FieldSpec, ours: Any, theirs: Any, hub_of: Mapping[str, str]) -> bool:
    """Whether the hub's value and the CRM's mean the same. hub_of: hub ids of the referenced records by CRM id."""
    match spec.type:
        case FieldType.REFERENCE:
            return _text(ours) == (hub_of.get(theirs, theirs) if theirs else None)
        case FieldType.PICKLIST:
            return _text(ours) == _translated(spec, _text(theirs))
        case FieldType.MULTIPICKLIST:
            return _chosen(ours) == {_translated(spec, part) for part in _chosen(theirs)}
        case FieldType.NUMBER:
            return _number(ours, spec.scale) == _number(theirs, spec.scale)
        case FieldType.BOOLEAN:
            return _truth(ours) == _truth(theirs)
        case _:
            return _meaning(spec, ours) == _meaning(spec, theirs)


def _meaning(spec: FieldSpec, value: Any) -> Hashable:
    text = _text(value)
    if text is None:
        return None
    match spec.type:
        case FieldType.EMAIL | FieldType.URL:
            return text.lower()
        case FieldType.PHONE:
            return _phone(text, spec.region)
        case FieldType.DATE:
            return date.fromisoformat(text[:10])
        case FieldType.DATETIME:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(text)
            return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)
        case _:
            return text


def _text(value: Any) -> str | None:
    """Trimmed, composed, with the line ends of Unix; blank is None."""
    if value is None:
        return None
    return unicodedata.normalize("NFC", str(value)).replace("\r\n", "\n").replace("\r", "\n").strip() or None


def _phone(text: str, region: str) -> str:
    try:
        return phonenumbers.format_number(
            phonenumbers.parse(text, region), phonenumbers.PhoneNumberFormat.E164
        )
    except phonenumbers.NumberParseException:
        return text


def _number(value: Any, scale: int | None) -> Decimal | None:
    if value in (None, ""):
        return None
    found = Decimal(str(value))
    return found if scale is None else found.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_EVEN)


def _truth(value: Any) -> bool | None:
    return None if value in (None, "") else str(value).lower() == "true"


def _chosen(value: Any) -> set[str]:
    parts = value if isinstance(value, list) else str(value or "").split(";")
    return {part.strip() for part in parts if part.strip()}


def _translated(spec: FieldSpec, value: str | None) -> str | None:
    """The hub's word for the CRM's; a word that is in no map stays what it is, and will not be equal."""
    return value if value is None or spec.to_hub is None else spec.to_hub.get(value, value)
