"""SOQL as text, built so that no value can become syntax.

Names come from describe only; values pass `literal`, which knows the type of the field they are compared with.
Pure: nothing is sent from here. Source: "SOQL and SOSL Reference", "Quoted String Escape Sequences", "Date Formats
and Date Literals".
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from urllib.parse import quote

from simple_salesforce.format import quote_soql_value

from crm_sync.connectors.crm import CONVERTED, CRM_ID, DELETED, HUB_ID, MERGED_INTO, MODIFIED_AT, Window
from crm_sync.connectors.salesforce import values
from crm_sync.connectors.salesforce.describe import SObject
from crm_sync.connectors.taking_part import OPPOSITE
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import Condition, Operator, StreamSpec

URL_LIMIT = 14_000  # characters of an encoded query: 16,384 bytes hold the request line and the headers too
_CONVERTED = ("ConvertedContactId", "ConvertedAccountId", "ConvertedOpportunityId")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x07\x0b\x0e-\x1f]")
_COMPARE = {
    Operator.EQ: "=",
    Operator.NEQ: "!=",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.IN: "IN",
    Operator.NOT_IN: "NOT IN",
}
_RECORD_TYPE = "RecordType.DeveloperName"


@dataclass(frozen=True, slots=True)
class Selection:
    """What is read of an object: fields in order, and which of them play the parts of the port's system columns."""

    sobject: SObject
    fields: tuple[str, ...]
    roles: dict[str, str]
    missing: dict[str, str]  # mapped fields that cannot be read, with the reason

    @property
    def stamp(self) -> str:
        return self.roles[MODIFIED_AT]

    def query(self, where: Sequence[str], *, ordered: bool = False, limit: int | None = None) -> str:
        """The statement that reads the records for which all conditions hold."""
        return (
            f"SELECT {', '.join(self.fields)} FROM {self.sobject.name}"
            + _where(where)
            + (f" ORDER BY {self.stamp}, Id" if ordered else "")
            + (f" LIMIT {limit:d}" if limit is not None else "")
        )

    def count(self, where: Sequence[str]) -> str:
        """The statement that counts them."""
        return f"SELECT COUNT() FROM {self.sobject.name}{_where(where)}"


def selection(stream: StreamSpec, sobject: SObject) -> Selection:
    """What to read for a stream: the system fields the object has, and the mapped fields the user may see.

    Raises CrmError(PERMISSION) if the object shows no modification time.
    """
    if sobject.stamp is None:
        raise CrmError(ErrorClass.PERMISSION, f"{stream.name}: {sobject.name} shows no modification time")
    roles = {CRM_ID: "Id", MODIFIED_AT: sobject.stamp}
    optional = {DELETED: "IsDeleted", MERGED_INTO: "MasterRecordId", HUB_ID: stream.external_id}
    if sobject.name == "Lead":
        optional |= dict(zip(CONVERTED, _CONVERTED, strict=True))
    roles |= {role: name for role, name in optional.items() if name is not None and name in sobject.fields}
    wanted = list(stream.vendor_fields)
    missing = {name: reason for name in wanted if (reason := _unreadable(sobject, name))}
    readable = [name for name in wanted if name not in missing]
    return Selection(sobject, tuple(dict.fromkeys([*roles.values(), *readable])), roles, missing)


def conditions(stream: StreamSpec, sobject: SObject, window: Window | None = None) -> list[str]:
    """The conditions of a stream (filter, record type) and of a window of its modification time.

    Raises CrmError(VALIDATION) for a condition that cannot be asked.
    """
    found = [_condition(stream, sobject, condition) for condition in stream.filters]
    if stream.record_type is not None:
        found.append(f"{_RECORD_TYPE} = {text(stream.record_type)}")
    return found if window is None else found + within(sobject, window)


def within(sobject: SObject, window: Window) -> list[str]:
    """The conditions of a window of the modification time."""
    found = [] if window.start is None else [f"{sobject.stamp} >= {moment(window.start)}"]
    return found if window.end is None else [*found, f"{sobject.stamp} < {moment(window.end)}"]


def negated(stream: StreamSpec, sobject: SObject) -> str:
    """The condition that holds wherever one of the stream's conditions does not, and for blank fields in any case."""
    found = []
    for condition in stream.filters:
        opposite = replace(condition, operator=OPPOSITE[condition.operator])
        found.append(_condition(stream, sobject, opposite))
        if condition.operator not in {Operator.IS_BLANK, Operator.IS_NOT_BLANK}:
            found.append(f"{condition.vendor} = null")
    if stream.record_type is not None:
        found += [f"{_RECORD_TYPE} != {text(stream.record_type)}", f"{_RECORD_TYPE} = null"]
    return f"({' OR '.join(dict.fromkeys(found))})"


def after(stamp_field: str, stamp: str, crm_id: str) -> str:
    """Keyset: what comes after that record in the order of (stamp, Id)."""
    at = moment(datetime.fromisoformat(stamp))
    return f"(({stamp_field} = {at} AND Id > {text(crm_id)}) OR {stamp_field} > {at})"


def chunks_of(
    field: str, wanted: Sequence[str], selection: Selection, where: Sequence[str] = ()
) -> Iterator[str]:
    """Statements that read the records whose field is one of `wanted` and for which the conditions hold, each short
    enough for a URL."""
    room = URL_LIMIT - len(quote(selection.query([*where, f"{field} IN ()"])))
    chunk: list[str] = []
    used = 0
    for value in dict.fromkeys(wanted):
        item = text(value)
        cost = len(quote(f"{item},", safe=""))
        if chunk and used + cost > room:
            yield selection.query([*where, f"{field} IN ({','.join(chunk)})"])
            chunk, used = [], 0
        chunk.append(item)
        used += cost
    if chunk:
        yield selection.query([*where, f"{field} IN ({','.join(chunk)})"])


def text(value: str) -> str:
    """A quoted string. Raises CrmError(VALIDATION) for control characters, which SOQL cannot express."""
    if _CONTROL.search(value):
        raise CrmError(ErrorClass.VALIDATION, "a value to compare with holds a control character")
    return str(quote_soql_value(value))


def moment(value: datetime) -> str:
    """A datetime literal, UTC, unquoted; never naive."""
    if value.tzinfo is None:
        raise ValueError("a datetime without a time zone cannot be compared")
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def literal(value: str, vendor_type: str) -> str:
    """The literal of a value for comparison with a field of that type; ValueError if it is not of the type."""
    if vendor_type in values.NUMBERS:
        return values.number(value)
    if vendor_type == "boolean":
        if value.lower() not in {"true", "false"}:
            raise ValueError("not true or false")
        return value.upper()
    if vendor_type == "date":
        return date.fromisoformat(value).isoformat()
    if vendor_type == "datetime":
        return moment(datetime.fromisoformat(value))
    return text(value)


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _condition(stream: StreamSpec, sobject: SObject, condition: Condition) -> str:
    field = sobject.fields.get(condition.vendor)
    where = f"{stream.name}: filter on {condition.vendor}"
    if field is None or not _NAME.fullmatch(condition.vendor):
        raise CrmError(ErrorClass.VALIDATION, f"{where}: {sobject.name} shows no such field")
    if not field.filterable or not field.readable:
        raise CrmError(
            ErrorClass.VALIDATION, f"{where}: Salesforce cannot filter by a field of type {field.type}"
        )
    if condition.operator is Operator.IS_BLANK:
        return f"{condition.vendor} = null"
    if condition.operator is Operator.IS_NOT_BLANK:
        return f"{condition.vendor} != null"
    try:
        literals = [literal(value, field.type) for value in condition.values]
    except ValueError:
        raise CrmError(ErrorClass.VALIDATION, f"{where}: a value is not a {field.type}") from None
    several = condition.operator in {Operator.IN, Operator.NOT_IN}
    if not literals or (len(literals) > 1 and not several):
        raise CrmError(ErrorClass.VALIDATION, f"{where}: wrong number of values for {condition.operator}")
    return f"{condition.vendor} {_COMPARE[condition.operator]} " + (
        f"({','.join(literals)})" if several else literals[0]
    )


def _unreadable(sobject: SObject, name: str) -> str | None:
    field = sobject.fields.get(name)
    if field is None:
        same = next((known for known in sobject.fields if known.lower() == name.lower()), None)
        if same is not None:
            return f"it is spelled {same}"
        return "it does not exist or the user may not see it (field-level security)"
    if not field.readable:
        return f"it is of type {field.type}: map the fields it consists of instead"
    return None
