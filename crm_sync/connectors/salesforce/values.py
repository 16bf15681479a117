"""Values between Salesforce's JSON and the port's text.

REST and Bulk spell the same value differently (`+0000` and `Z`, `1.0E7` and `10000000.0`, JSON null and an empty
cell); from here on there is one spelling, that of the port (`connectors/crm.py`).
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from crm_sync.core.values import decimal_text

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")
_INTEGERS = frozenset({"int", "long"})
NUMBERS = frozenset({"int", "long", "double", "currency", "percent"})


def is_id(text: str) -> bool:
    """Whether the text has the form of a record id, 15 or 18 characters."""
    return _ID.fullmatch(text) is not None


def full_id(text: str) -> str:
    """The 18-character form of an id: 15 characters tell upper case from lower, the other three say which are
    upper, five at a time, so that systems blind to case can tell ids apart. Other text is returned as it is."""
    if len(text) != 15 or not is_id(text):
        return text
    suffix = ""
    for start in (0, 5, 10):
        bits = sum(1 << place for place, char in enumerate(text[start : start + 5]) if char.isupper())
        suffix += _ALPHABET[bits]
    return text + suffix


def to_text(value: Any, vendor_type: str) -> str | None:
    """The port's text of a JSON value; numbers must have been parsed as int or Decimal."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return decimal_text(Decimal(value))
    text = str(value)
    if vendor_type == "datetime":
        return stamp(text)
    if vendor_type == "multipicklist":
        return ";".join(sorted(text.split(";")))
    return text


def stamp(text: str) -> str:
    """A datetime of Salesforce (UTC, with milliseconds) as `…T…Z`."""
    return text[:-5] + "Z" if text.endswith("+0000") else text


def to_json(value: str | None, vendor_type: str) -> Any:
    """The JSON value of the port's text for a field of that type; numbers keep every digit.

    Raises ValueError, without the value, for text that is not of the type.
    """
    if value is None:
        return None
    if vendor_type in NUMBERS:
        return orjson.Fragment(number(value, whole=vendor_type in _INTEGERS))
    if vendor_type == "boolean":
        if value not in {"true", "false"}:
            raise ValueError("not true or false")
        return value == "true"
    return value


def number(value: str, *, whole: bool = False) -> str:
    """The text of a number in plain digits; ValueError, without the value, for what is none."""
    try:
        found = Decimal(value)
    except InvalidOperation:
        raise ValueError("not a number") from None
    if not found.is_finite() or abs(found.adjusted()) > 30:
        raise ValueError("not a number Salesforce can hold")
    if whole and found != found.to_integral_value():
        raise ValueError("not a whole number")
    return decimal_text(found)
