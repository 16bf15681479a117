"""From what a client sends (JSON, or text in a CSV cell) to what a field holds.

Trimming, rounding, cutting off of milliseconds and the ordering of multi-select values happen
here, so that what is read back may differ from what was written, as it does at Salesforce.
"""

import datetime as dt
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from crm_sync.simulators.salesforce import ids
from crm_sync.simulators.salesforce.errors import RecordError
from crm_sync.simulators.salesforce.schema import TEXT, Field

EMAIL = re.compile(r"[^@\s,;<>()\[\]\\\"]+@[^@\s,;<>()\[\]\\\"]+\.[^@\s,;<>()\[\]\\\".]{2,}")
DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?", re.IGNORECASE)
YEARS = range(1700, 4001)


class TypeMismatchError(Exception):
    """A JSON value cannot become the field's type. REST refuses the whole request with JSON_PARSER_ERROR."""

    def __init__(self, kind: str, raw: object) -> None:
        shown = "VALUE_TRUE" if raw is True else "VALUE_FALSE" if raw is False else "VALUE_STRING"
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            shown = "VALUE_NUMBER_INT" if isinstance(raw, int) else "VALUE_NUMBER_FLOAT"
        elif isinstance(raw, dict):
            shown = "START_OBJECT"
        elif isinstance(raw, list):
            shown = "START_ARRAY"
        value = f" value {raw}" if isinstance(raw, str | int | float) else ""
        super().__init__(
            f"Cannot deserialize instance of {kind} from {shown}{value} or request may be missing a required field"
        )


def coerce(field: Field, raw: object) -> Any:
    """The stored value. Raises TypeMismatchError, or RecordError for values of the right type that are refused."""
    if raw is None or (isinstance(raw, str) and not raw.strip() and field.type != "boolean"):
        if field.type == "boolean":
            raise RecordError(
                "INVALID_TYPE_ON_FIELD_IN_RECORD",
                f"{field.label}: value not of required type: ",
                [field.name],
            )
        return None
    if isinstance(raw, dict | list):
        raise TypeMismatchError(_JSON_NAMES.get(field.type, "string"), raw)
    return _COERCE.get(field.type, _text)(field, raw)


def _text(field: Field, raw: object) -> str | None:
    text = ("true" if raw is True else "false" if raw is False else str(raw)).replace("\0", "").strip()
    if not text:
        return None
    if field.length and len(text) > field.length:
        raise RecordError(
            "STRING_TOO_LONG",
            f"{field.label}: data value too large: {text} (max length={field.length})",
            [field.name],
        )
    return text


def _email(field: Field, raw: object) -> str | None:
    text = _text(field, raw)
    if text is not None and not EMAIL.fullmatch(text):
        raise RecordError(
            "INVALID_EMAIL_ADDRESS", f"{field.label}: invalid email address: {text}", [field.name]
        )
    return text


def _picklist(field: Field, raw: object) -> str | None:
    text = _text(field, raw)
    if text is not None and field.restricted and text not in field.picklist:
        raise _bad_choice(field, text)
    return text


def _multipicklist(field: Field, raw: object) -> str | None:
    chosen = {part.strip() for part in str(raw).split(";")} - {""}
    unknown = sorted(chosen.difference(field.picklist))
    if unknown and field.restricted:
        raise _bad_choice(field, unknown[0])
    # The order is the org's, whatever order they were sent in.
    return ";".join([*(v for v in field.picklist if v in chosen), *unknown]) or None


def _bad_choice(field: Field, text: str) -> RecordError:
    return RecordError(
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        f"{field.label}: bad value for restricted picklist field: {text}",
        [field.name],
    )


def _boolean(_field: Field, raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    text = str(raw).strip().lower()
    if text in {"true", "1"}:
        return True
    if text in {"false", "0"}:
        return False
    raise TypeMismatchError("boolean", raw)


def _decimal(field: Field, raw: object) -> Decimal:
    kind = "int" if field.type == "int" else "double"
    if isinstance(raw, bool):
        raise TypeMismatchError(kind, raw)
    try:
        number = Decimal(str(raw).strip())
    except InvalidOperation:
        raise TypeMismatchError(kind, raw) from None
    if not number.is_finite():
        raise TypeMismatchError(kind, raw)
    if abs(number) >= Decimal(10) ** (field.precision - field.scale):
        raise RecordError(
            "NUMBER_OUTSIDE_VALID_RANGE",
            f"{field.label}: value outside of valid range on numeric field: {raw}",
            [field.name],
        )
    return number.quantize(Decimal(1).scaleb(-field.scale), ROUND_HALF_UP)


def _integer(field: Field, raw: object) -> int:
    number = _decimal(field, raw)
    if isinstance(raw, str) and "." in raw and Decimal(raw.strip()) % 1:
        raise TypeMismatchError("int", raw)
    return int(number)


def _double(field: Field, raw: object) -> float:
    return float(_decimal(field, raw))


def _date(_field: Field, raw: object) -> str:
    found = DATE.match(str(raw).strip())
    if found is None:
        raise TypeMismatchError("date", raw)
    try:
        day = dt.date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        raise TypeMismatchError("date", raw) from None
    if day.year not in YEARS:
        raise TypeMismatchError("date", raw)
    return day.isoformat()


def _datetime(_field: Field, raw: object) -> str:
    found = MOMENT.fullmatch(str(raw).strip())
    if found is None:
        raise TypeMismatchError("datetime", raw)
    zone = (found[3] or "Z").upper().replace("Z", "+00:00")
    try:
        moment = dt.datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}")
    except ValueError:
        raise TypeMismatchError("datetime", raw) from None
    if moment.year not in YEARS:
        raise TypeMismatchError("datetime", raw)
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def _reference(field: Field, raw: object) -> str:
    record_id = ids.normalise(str(raw).strip())
    if record_id is None:
        raise RecordError("MALFORMED_ID", f"{field.label}: id value of incorrect type: {raw}", [field.name])
    return record_id


_JSON_NAMES = {"date": "date", "datetime": "datetime", "boolean": "boolean", "int": "int", "double": "double"}
_COERCE: dict[str, Callable[[Field, object], Any]] = {
    **dict.fromkeys(TEXT, _text),
    "email": _email,
    "picklist": _picklist,
    "multipicklist": _multipicklist,
    "boolean": _boolean,
    "int": _integer,
    "double": _double,
    "currency": _double,
    "percent": _double,
    "date": _date,
    "datetime": _datetime,
    "reference": _reference,
    "id": _reference,
}
