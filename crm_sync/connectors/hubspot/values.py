"""HubSpot's property values and the port's: the same meaning, two spellings.

Here: text to text, by field type, and record to row. HubSpot sends every value as a string
(developers.hubspot.com/docs/api-reference/crm-properties-v3/guide): dates as "2026-02-28" or epoch milliseconds,
datetimes with or without a fraction, multi-selects in any order. A value that does not fit its type passes as it
is: the validation of the core names the field and parks the record. Stages and pipelines are in pipelines.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from crm_sync.connectors.columns import text_column
from crm_sync.connectors.crm import CRM_ID, DELETED, MERGED_INTO, MODIFIED_AT, BatchPage
from crm_sync.core.spec import FieldType
from crm_sync.core.values import decimal_text

Row = dict[str, str | None]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHORTEST_EPOCH = 9  # digits; eight are a date written without hyphens


def instant(text: str) -> datetime:
    """A time as HubSpot writes it (ISO 8601, or epoch milliseconds), UTC. Raises ValueError."""
    bare = text.strip()
    digits = bare.removeprefix("-")
    if digits.isdecimal() and (digits != bare or len(digits) >= SHORTEST_EPOCH):
        return EPOCH + timedelta(milliseconds=int(bare))
    moment = datetime.fromisoformat(bare)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def stamp(moment: datetime) -> str:
    """`2026-01-02T03:04:05.678Z`, the port's spelling."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(moment: datetime) -> int:
    """Epoch milliseconds, rounded down; exact, never through a float."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_hubspot(text: object, kind: FieldType) -> str | None:
    """A property's value in the port's spelling; blank is None."""
    if text is None or text == "":
        return None
    value = text if isinstance(text, str) else _scalar(text)
    try:
        match kind:
            case FieldType.NUMBER:
                value = plain(value)
            case FieldType.BOOLEAN:
                value = value.strip().lower()
            case FieldType.DATETIME:
                value = stamp(instant(value))
            case FieldType.DATE:
                value = instant(value).date().isoformat()
            case FieldType.MULTIPICKLIST:
                value = choices(value)
            case _:
                pass
    except (ValueError, OverflowError, InvalidOperation):
        return value
    return value or None


def to_hubspot(value: str | None, kind: FieldType) -> str:
    """A value of the port as HubSpot wants it written. The empty string clears a property."""
    if value is None:
        return ""
    if kind is FieldType.MULTIPICKLIST:
        return choices(value)  # never with a leading ";", which would append instead of replace
    return value


def plain(text: str) -> str:
    """A plain decimal: no exponent, no trailing zeros, no plus sign. Raises InvalidOperation."""
    number = Decimal(text.strip())
    if not number.is_finite():
        raise InvalidOperation
    return decimal_text(number)


def choices(text: str) -> str:
    """The chosen options, sorted, without blanks and repetitions."""
    return ";".join(sorted({part.strip() for part in text.split(";")} - {""}))


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def modified_property(object_name: str) -> str:
    """The property that search can filter and sort by modification time: contacts have their own."""
    return "lastmodifieddate" if object_name == "contacts" else "hs_lastmodifieddate"


def modified(record: Mapping[str, Any], stamp_property: str) -> datetime | None:
    """When a record was last modified.

    The timestamp property goes before `updatedAt`, which may be later: windows are searched by the property, so
    a watermark taken from `updatedAt` could pass rows that the next window would then not see.
    """
    found = (record.get("properties") or {}).get(stamp_property) or record.get("updatedAt")
    try:
        return instant(str(found)) if found else None
    except ValueError:
        return None


def losers(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Ids of the records that were merged into this one, in the order HubSpot names them.

    `hs_merged_object_ids` is "id;id"; contacts also have `hs_calculated_merged_vids`, "id:epochMs;id:epochMs".
    """
    properties = record.get("properties") or {}
    own = str(record.get("id", ""))
    found: dict[str, None] = {}
    for name in ("hs_merged_object_ids", "hs_calculated_merged_vids"):
        for entry in (properties.get(name) or "").split(";"):
            merged_id = entry.partition(":")[0].strip()
            if merged_id and merged_id != own:
                found[merged_id] = None
    return tuple(found)


def tombstones(record: Mapping[str, Any], modified_at: str | None) -> list[Row]:
    """One row for each record that was merged into this one."""
    survivor = str(record["id"])
    return [
        {CRM_ID: loser, MODIFIED_AT: modified_at, DELETED: "true", MERGED_INTO: survivor}
        for loser in losers(record)
    ]


def page(rows: Iterable[Row], columns: Sequence[str]) -> BatchPage:
    """Rows as an Arrow batch of strings: the system columns, then `columns`."""
    names = (CRM_ID, MODIFIED_AT, DELETED, MERGED_INTO, *columns)
    kept = list(rows)
    schema = pa.schema([(name, pa.string()) for name in names])
    arrays = [text_column([row.get(name) for row in kept]) for name in names]
    return BatchPage(pa.RecordBatch.from_arrays(arrays, schema=schema))
