"""What a property accepts, and the text it is stored as. Everything in HubSpot is text (properties guide).

Here: one value against one definition. Not here: rules that look at the whole record (writes.py).
"""

import re
from collections.abc import Callable, Collection
from decimal import Decimal, InvalidOperation
from typing import Any

from crm_sync.simulators.hubspot.clock import DAY, day_of, iso, milliseconds_of
from crm_sync.simulators.hubspot.schema import Property

MAX_TEXT = 65_536
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_EMAIL = re.compile(r"[^@\s\"(),:;<>\[\\\]]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_][\w-]{1,62}")


class InvalidValueError(ValueError):
    """``code`` is HubSpot's word for what is wrong."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def clean(definition: Property, raw: Any, current: str | None, owners: Collection[str]) -> str | None:
    """The text to store for ``raw``: ``""`` empties the property, None means leave it alone (a JSON null does that).

    ``current`` is what is stored now (a leading ``;`` appends to it), ``owners`` the ids an owner property may hold.
    Raises InvalidValueError.
    """
    if raw is None:
        return None
    if isinstance(raw, bool):
        raw = "true" if raw else "false"
    if isinstance(raw, dict | list):
        raise InvalidValueError("INVALID_VALUE", f"{raw} is not a value for the property {definition.name}")
    text = str(raw).strip()
    if not text:
        return ""
    if definition.name == "email" and definition.standard:
        return _email(text)
    if definition.external == "OWNER":
        return _owner(text, owners)
    return _BY_TYPE.get(definition.type, _string)(definition, text, current)


def _string(definition: Property, text: str, _current: str | None) -> str:
    if len(text) > MAX_TEXT:
        raise InvalidValueError(
            "PROPERTY_VALUE_TOO_LONG",
            f"{definition.name} was too long: {len(text)} characters; the maximum is {MAX_TEXT}",
        )
    return text


def _number(_definition: Property, text: str, _current: str | None) -> str:
    if not _NUMBER.fullmatch(text):
        raise InvalidValueError("INVALID_NUMBER", f"{text} was not a valid number.")
    if "e" not in text.lower():
        return text.removeprefix("+")
    try:
        return f"{Decimal(text):f}"
    except InvalidOperation as error:
        raise InvalidValueError("INVALID_NUMBER", f"{text} was not a valid number.") from error


def _bool(definition: Property, text: str, current: str | None) -> str:
    if text.lower() in {"true", "false"}:
        return text.lower()
    return _enumeration(definition, text, current)


def _enumeration(definition: Property, text: str, current: str | None) -> str:
    allowed = {option.value for option in definition.options}
    if not definition.multiple:
        chosen = [text]
    else:
        chosen = [part.strip() for part in text.split(";") if part.strip()]
    for value in chosen:
        if value not in allowed:
            shown = ", ".join(f'label: "{o.label}" value: "{o.value}"' for o in definition.options[:200])
            raise InvalidValueError(
                "INVALID_OPTION", f"{value} was not one of the allowed options: [{shown}]"
            )
    if definition.multiple and text.startswith(";") and current:
        chosen = [*current.split(";"), *chosen]
    return ";".join(dict.fromkeys(chosen))


def _date(_definition: Property, text: str, _current: str | None) -> str:
    moment = milliseconds_of(text)
    if moment is None:
        raise InvalidValueError("INVALID_DATE", f"{text} was not a valid date.")
    if moment % DAY:
        raise InvalidValueError("INVALID_DATE", f"{text} is at {iso(moment)[11:-1]} UTC, not midnight!")
    return _within_years(text, moment, lambda: day_of(moment).isoformat(), "INVALID_DATE")


def _datetime(_definition: Property, text: str, _current: str | None) -> str:
    moment = milliseconds_of(text)
    if moment is None:
        raise InvalidValueError("INVALID_LONG", f"{text} was not a valid long.")
    return _within_years(text, moment, lambda: iso(moment), "INVALID_LONG")


def _within_years(text: str, _moment: int, write: Callable[[], str], code: str) -> str:
    try:
        return write()
    except OverflowError as error:
        raise InvalidValueError(code, f"{text} is out of range.") from error


def _email(text: str) -> str:
    if len(text) > 254 or ".." in text or not _EMAIL.fullmatch(text):
        raise InvalidValueError("INVALID_EMAIL", f"Email address {text} is invalid")
    return text.lower()


def _owner(text: str, owners: Collection[str]) -> str:
    if text not in owners:
        raise InvalidValueError("INVALID_OWNER_ID", f"{text} is not the id of an active owner")
    return text


_BY_TYPE: dict[str, Callable[[Property, str, str | None], str]] = {
    "number": _number,
    "bool": _bool,
    "enumeration": _enumeration,
    "date": _date,
    "datetime": _datetime,
}
