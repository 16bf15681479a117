"""WHERE clauses as predicates over rows, and what they say about where to look.

Here: comparison semantics (letter case, nulls, ids, dates, multi-select) and index hints. Source: SOQL
and SOSL Reference, "Comparison Operators", "Querying Multi-Select Picklists".
"""

import datetime as dt
import operator
import re
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from crm_sync.simulators.salesforce import ids, soql_dates
from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.rows import LAST
from crm_sync.simulators.salesforce.schema import NUMBERS, TEXT, Field, Row, SObject
from crm_sync.simulators.salesforce.soql_ast import Comparison, Condition, Constant, Logical, Path, Select
from crm_sync.simulators.salesforce.soql_columns import Column, Resolver

Predicate = Callable[[Row], bool]
Subquery = Callable[[Select], AbstractSet[Any]]
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(slots=True)
class Conditions:
    """Compiles the conditions of one query. ``subquery`` runs the inner query of a semi-join.

    ``places`` says which places of a row were compared; None when a test reads more than its row.
    """

    resolver: Resolver
    o: SObject
    alias: str
    today: dt.date
    subquery: Subquery
    places: set[int] | None = field(default_factory=set)

    def compile(self, condition: Condition) -> Predicate:
        """A function that says whether a row meets the condition."""
        if isinstance(condition, Comparison):
            return self._comparison(condition)
        parts = [self.compile(part) for part in condition.parts]
        if condition.operator == "NOT":
            inner = parts[0]
            return lambda row: not inner(row)
        if condition.operator == "AND":
            return lambda row: all(part(row) for part in parts)
        return lambda row: any(part(row) for part in parts)

    def _comparison(self, c: Comparison) -> Predicate:
        column = self.resolver.scalar(self.o, c.left, self.alias)
        if column.place is None:
            self.places = None
        elif self.places is not None:
            self.places.add(column.place)
        return comparison(column, c, self.today, self.subquery)


def comparison(column: Column, c: Comparison, today: dt.date, subquery: Subquery) -> Predicate:
    """The predicate of one comparison, over whatever ``column.get`` reads. Checks types as the service does."""
    f = column.field
    if not f.filterable:
        raise ApiError(400, "INVALID_FIELD", f"field '{f.name}' can not be filtered in a query call")
    if isinstance(c.right, Select):
        return _membership(column, subquery(c.right), negated=c.operator == "NOT IN")
    if c.operator in {"INCLUDES", "EXCLUDES"}:
        return _includes(column, c)
    if isinstance(c.right, tuple):
        if any(v.kind == "function" for v in c.right):
            raise ApiError(400, "MALFORMED_QUERY", f"date literals are not allowed in a list: {f.name}")
        return _membership(column, {operand(f, v) for v in c.right}, negated=c.operator == "NOT IN")
    if c.operator == "LIKE":
        return _like(column, c.right)
    if c.right.kind == "function":
        return _range(column, c.operator, c.right, today)
    return _plain(column, c.operator, operand(f, c.right))


def _plain(column: Column, op: str, value: Any) -> Predicate:
    get, fold = column.get, folds(column.field)
    if op in {"=", "!="}:
        wanted = op == "="
        if fold and value is not None:
            return lambda row: ((v := get(row)) is not None and v.lower() == value) is wanted
        return lambda row: (get(row) == value) is wanted
    if value is None:
        return lambda _row: False
    compare = _ORDERED[op]
    if fold:
        return lambda row: (v := get(row)) is not None and compare(v.lower(), value)
    return lambda row: (v := get(row)) is not None and compare(v, value)


def _membership(column: Column, values: AbstractSet[Any], *, negated: bool) -> Predicate:
    get = column.get
    if folds(column.field):
        return lambda row: ((v.lower() if (v := get(row)) is not None else None) in values) is not negated
    return lambda row: (get(row) in values) is not negated


def _includes(column: Column, c: Comparison) -> Predicate:
    if column.field.type != "multipicklist" or not isinstance(c.right, tuple):
        raise ApiError(
            400,
            "INVALID_QUERY_FILTER_OPERATOR",
            f"'{c.operator.lower()}' operator only valid on multipicklist field",
        )
    groups = [{part.strip().lower() for part in str(v.value or "").split(";")} for v in c.right]
    wanted = c.operator == "INCLUDES"

    def test(row: Row) -> bool:
        chosen = set((column.get(row) or "").lower().split(";"))
        return any(group <= chosen for group in groups) is wanted

    return test


def _like(column: Column, right: Constant) -> Predicate:
    if column.field.type not in TEXT or right.kind not in {"string", "null"}:
        raise ApiError(400, "INVALID_QUERY_FILTER_OPERATOR", f"invalid operator on {column.field.type} field")
    pattern = "".join(
        {"%": ".*", "_": "."}.get(
            piece, re.escape(piece.removeprefix("\\") if piece in {"\\%", "\\_"} else piece)
        )
        for piece in re.findall(r"\\[%_]|.", str(right.value or ""), re.DOTALL)
    )
    matches = re.compile(pattern, re.IGNORECASE | re.DOTALL).fullmatch
    get = column.get
    return lambda row: (v := get(row)) is not None and matches(v) is not None


def _range(column: Column, op: str, right: Constant, today: dt.date) -> Predicate:
    name, number = right.value
    days = soql_dates.resolve(name, number, today)
    if days is None or column.field.type not in {"date", "datetime"}:
        raise ApiError(400, "MALFORMED_QUERY", f"unexpected token: '{name}'")
    suffix = "" if column.field.type == "date" else "T00:00:00.000+0000"
    low, high = (day.isoformat() + suffix for day in days)
    get = column.get
    tests: dict[str, Callable[[Any], bool]] = {
        "=": lambda v: low <= v < high,
        "!=": lambda v: not low <= v < high,
        "<": lambda v: v < low,
        "<=": lambda v: v < high,
        ">": lambda v: v >= high,
        ">=": lambda v: v >= low,
    }
    test = tests[op]
    null = op == "!="
    return lambda row: null if (v := get(row)) is None else test(v)


def folds(f: Field) -> bool:
    """Whether text of this field compares without regard to letter case."""
    return f.type in TEXT and not f.case_sensitive


def operand(f: Field, constant: Constant) -> Any:  # noqa: PLR0911 - one return per type
    """A constant as the field's stored values look (text folded). Raises INVALID_FIELD for another type's literal."""
    kind = constant.kind
    if kind == "null":
        return None
    if f.type in TEXT and kind == "string":
        text = constant.value.replace("\\_", "_").replace("\\%", "%")
        return text.lower() if folds(f) else text
    if f.type in {"id", "reference"} and kind == "string":
        if not constant.value:
            return None
        record_id = ids.normalise(constant.value)
        if record_id is None:
            raise ApiError(400, "INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {constant.value}")
        return record_id
    if f.type in NUMBERS and kind == "number":
        return constant.value
    if f.type == "currency" and kind == "currency":
        return float(constant.value[3:])
    if f.type == "boolean" and kind == "boolean":
        return constant.value
    if f.type == "date" and kind == "date":
        return constant.value
    if f.type == "datetime" and kind == "datetime":
        return _stored_moment(constant.value)
    raise _wrong_literal(f, kind)


def _stored_moment(text: str) -> str:
    moment = dt.datetime.fromisoformat(text.replace("z", "Z"))
    utc = moment.astimezone(dt.UTC)
    # Milliseconds matter in comparisons: a stored stamp of .000 is less than a literal of .500.
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}+0000"


def _wrong_literal(f: Field, kind: str) -> ApiError:
    names = {"datetime": "dateTime", "id": "ID", "reference": "ID", "int": "integer"}
    wanted = names.get(f.type, "string" if f.type in TEXT else "double" if f.type in NUMBERS else f.type)
    quoted = f.type in TEXT or f.type in {"id", "reference"}
    ending = "should be enclosed in quotes" if quoted else "should not be enclosed in quotes"
    tail = f" and {ending}" if quoted or kind == "string" else ""
    return ApiError(
        400, "INVALID_FIELD", f"value of filter criterion for field '{f.name}' must be of type {wanted}{tail}"
    )


def stamp_bounds(condition: Condition | None) -> tuple[str, str]:
    """[low, high) of SystemModstamp outside of which no row can meet the condition."""
    if condition is None:
        return "", LAST
    if isinstance(condition, Logical):
        if condition.operator == "NOT":
            return "", LAST
        bounds = [stamp_bounds(part) for part in condition.parts]
        lows, highs = [low for low, _ in bounds], [high for _, high in bounds]
        return (max(lows), min(highs)) if condition.operator == "AND" else (min(lows), max(highs))
    if not _is_own(condition, "systemmodstamp") or not isinstance(condition.right, Constant):
        return "", LAST
    if condition.right.kind != "datetime":
        return "", LAST
    value = _stored_moment(condition.right.value)
    after = value + "~"
    return {
        "=": (value, after),
        ">": (after, LAST),
        ">=": (value, LAST),
        "<": ("", value),
        "<=": ("", after),
    }.get(condition.operator, ("", LAST))


def only_stamps(condition: Condition) -> bool:
    """Whether ``stamp_bounds`` says all that the condition says."""
    if isinstance(condition, Logical):
        return condition.operator == "AND" and all(map(only_stamps, condition.parts))
    return (
        _is_own(condition, "systemmodstamp")
        and condition.operator in {"=", ">", ">=", "<", "<="}
        and isinstance(condition.right, Constant)
        and condition.right.kind == "datetime"
    )


def key_values(condition: Condition | None, name: str) -> list[str] | None:  # noqa: PLR0911 - one per form
    """The values to which a condition pins an own field (``Id``, an external id), or None if it does not."""
    if condition is None:
        return None
    if isinstance(condition, Logical):
        if condition.operator != "AND":
            return None
        found: Iterable[list[str] | None] = (key_values(part, name) for part in condition.parts)
        return next((values for values in found if values is not None), None)
    if not _is_own(condition, name.lower()):
        return None
    right = condition.right
    if condition.operator == "=" and isinstance(right, Constant) and right.kind == "string":
        return [right.value]
    if condition.operator == "IN" and isinstance(right, tuple) and all(v.kind == "string" for v in right):
        return [v.value for v in right]
    return None


def _is_own(c: Comparison, name: str) -> bool:
    return isinstance(c.left, Path) and len(c.left.parts) == 1 and c.left.parts[0].lower() == name
