"""One value in its canonical form: text, numbers, dates, booleans, JSON. Addresses and phones have own modules.

Every function here takes cleaned text (`clean`) and returns canonical text, or raises `Unfit`; a function never
sees a column, a field or a policy. What is canonical is told in docs/reference/field-types.md.
"""

import json
import re
import unicodedata
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any

LENGTH_LIMIT = 131_072  # characters; the longest text area of Salesforce (HubSpot takes 65,536)
NUMBER_DIGITS = 1_000  # on either side of the point; Postgres would take 131,072 and 16,383
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_EXACT = Context(prec=3 * NUMBER_DIGITS, rounding=ROUND_HALF_EVEN)

_PLAIN_NUMBER = re.compile(r"(?!-0$)-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{0,99}[1-9])?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?)"
    r" ?([Zz]|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_PLAIN_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_MILLISECONDS = re.compile(r"-?[0-9]{9,15}")  # shorter ones could be a year, or a date without dashes

_BOOLEANS = dict.fromkeys(("true", "t", "yes", "y", "1", "on"), "true") | dict.fromkeys(
    ("false", "f", "no", "n", "0", "off"), "false"
)

NUL_MARK = "\ufffe"
"""Stands for a NUL character in what was read from a CRM, since Postgres cannot store one: a code point that is
never a character. Such a value is refused with its reason, so that the record is parked and the others go on."""


class Unfit(Exception):  # noqa: N818 - it says what the value is
    """A value that cannot be what its field is. The text is the reason; it never quotes the value."""


def clean(text: str) -> str | None:
    """Text without outer blanks, line ends as LF, composed (NFC); None if nothing is left.

    Raises Unfit for what no column of Postgres can hold: a NUL byte, half a surrogate pair.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Unfit("holds half of a surrogate pair, which is no character") from error
        text = unicodedata.normalize("NFC", text)
    if "\0" in text or NUL_MARK in text:
        raise Unfit("holds a NUL byte, which Postgres cannot store")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.strip() or None


def short(text: str) -> str:
    """The text as it is; Unfit if it is longer than any CRM's longest field."""
    if len(text) > LENGTH_LIMIT:
        raise Unfit(f"is longer than {LENGTH_LIMIT:,} characters")
    return text


def number(text: str) -> str:
    """Plain decimal: no exponent, no plus, no needless zeros, `0` for minus zero; every digit is kept."""
    if _PLAIN_NUMBER.fullmatch(text):
        return text
    if not _NUMBER.fullmatch(text):
        raise Unfit("is not a decimal number (digits, one point, no thousands separators)")
    return _plain(Decimal(text))


def rounded(text: str, scale: int) -> str:
    """A canonical number with at most `scale` digits after the point, halves to the even neighbour."""
    return _plain(Decimal(text).quantize(Decimal(1).scaleb(-scale), context=_EXACT))


def _plain(value: Decimal) -> str:
    if not value:
        return "0"
    if (
        not value.is_finite()
        or abs(value.adjusted()) > NUMBER_DIGITS
        or len(value.as_tuple().digits) > NUMBER_DIGITS
    ):
        raise Unfit(f"has more than {NUMBER_DIGITS:,} digits on one side of the point")
    return decimal_text(value)


def decimal_text(value: Decimal) -> str:
    """A finite number without exponent, needless zeros and minus zero: 1.0E7 is 10000000."""
    fixed = format(value, "f")
    if "." in fixed:
        fixed = fixed.rstrip("0").rstrip(".")
    return "0" if fixed in {"-0", ""} else fixed


def boolean(text: str) -> str:
    """`true` or `false`."""
    try:
        return _BOOLEANS[text.lower()]
    except KeyError as error:
        raise Unfit("is neither true nor false") from error


def day(text: str) -> str:
    """`YYYY-MM-DD`. Of a moment, its day in UTC; without an offset, only midnight says which day is meant."""
    try:
        if _DATE.fullmatch(text):
            date.fromisoformat(text)
            return text
        parts = _MOMENT.fullmatch(text)
        if parts is not None and parts[3] is None:
            if parts[2].strip("0:.,"):
                raise Unfit("is a time without an offset, so its day is not certain")
            return day(parts[1])
        return _instant(text).date().isoformat()
    except (ValueError, OverflowError) as error:
        raise Unfit("is not a date (YYYY-MM-DD)") from error


def moment(text: str) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`; finer fractions are cut off."""
    try:
        found = _instant(text)
    except (ValueError, OverflowError) as error:
        raise Unfit("is not a date with time and offset") from error
    if _PLAIN_MOMENT.fullmatch(text):
        return text
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _instant(text: str) -> datetime:
    """ISO 8601 with an offset, or milliseconds since 1970. ValueError or OverflowError if it is neither."""
    if _PLAIN_MOMENT.fullmatch(text):
        return datetime.fromisoformat(text)
    if _MILLISECONDS.fullmatch(text):
        return EPOCH + timedelta(milliseconds=int(text))
    parts = _MOMENT.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    if parts[3] is None:
        raise Unfit("is a time without an offset, so it is not certain which moment is meant")
    offset = "+00:00" if parts[3] in {"Z", "z", "UTC"} else parts[3]
    return datetime.fromisoformat(f"{parts[1]}T{parts[2].replace(',', '.')}{offset}").astimezone(UTC)


def json_text(text: str) -> str:
    """Compact JSON with sorted keys and plain numbers, as exact as it was written."""
    try:
        value = json.loads(text, parse_float=_exact, parse_int=_exact, parse_constant=_no_constant)
        return _dump(value)
    except (ValueError, RecursionError) as error:
        raise Unfit("is not JSON that Postgres can store") from error


def _exact(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(text) from error


def _no_constant(name: str) -> Any:
    raise Unfit(f"holds {name}, which is not JSON")


def _dump(value: Any) -> str:
    match value:
        case dict():
            members = {_storable(name): item for name, item in value.items()}
            return "{" + ",".join(f"{_quoted(name)}:{_dump(members[name])}" for name in sorted(members)) + "}"
        case list():
            return "[" + ",".join(_dump(item) for item in value) + "]"
        case Decimal():
            return _plain(value)
        case str():
            return _quoted(_storable(value))
        case _:
            return json.dumps(value)


def _storable(text: str) -> str:
    if "\0" in text or NUL_MARK in text:
        raise Unfit("holds a NUL character, which Postgres cannot store")
    text.encode()  # half a surrogate pair is a ValueError
    return unicodedata.normalize("NFC", text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def choices(text: str) -> list[str]:
    """The parts of a multi-select (`A;B`), trimmed, without blanks, in the order given."""
    return [part for part in (piece.strip() for piece in text.split(";")) if part]
