"""The filters of a search: each becomes a test of one record. Not here: groups, sorting and pages (search.py)."""

import re
from collections.abc import Callable
from fnmatch import translate
from typing import Any

from crm_sync.simulators.hubspot.clock import milliseconds_of
from crm_sync.simulators.hubspot.errors import invalid
from crm_sync.simulators.hubspot.schema import Kind, Property
from crm_sync.simulators.hubspot.store import Store

RANGES = {"LT", "LTE", "GT", "GTE", "BETWEEN"}
OPERATORS = RANGES | {
    "EQ", "NEQ", "IN", "NOT_IN", "HAS_PROPERTY", "NOT_HAS_PROPERTY", "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN",
}  # fmt: skip
Values = dict[str, str]
Test = Callable[[int, Values], bool]


def filter_test(store: Store, kind: Kind, each: dict[str, Any]) -> Test:
    """One filter of a search as a test of (record id, indexed values). Raises ApiError 400."""
    name, operator = each.get("propertyName"), each.get("operator")
    if operator not in OPERATORS:
        raise invalid(f"Invalid operator: {operator}")
    if isinstance(name, str) and name.startswith("associations."):
        return _association_test(store, kind, name.removeprefix("associations."), each)
    definition = kind.known(str(name))
    if definition is None:
        raise invalid(
            "There was a problem with the request.",
            errors=[
                {
                    "message": f"Property '{name}' does not exist",
                    "code": "PROPERTY_DOESNT_EXIST",
                    "context": {"propertyName": [name]},
                }
            ],
        )
    get = getter(kind, definition.name)
    test = _value_test(definition, str(operator), each)
    return lambda _, values: test(get(values))


def _value_test(definition: Property, operator: str, each: dict[str, Any]) -> Callable[[str | None], bool]:
    if operator == "HAS_PROPERTY":
        return bool
    if operator == "NOT_HAS_PROPERTY":
        return lambda value: not value
    if operator in RANGES:
        return _range_test(definition, operator, each)
    if operator in {"IN", "NOT_IN"}:
        given = {str(v) for v in _values(each)}
        return _negated(
            operator == "NOT_IN", lambda value: bool(_forms(definition, value, fold=True) & given)
        )
    if each.get("value") is None:
        raise invalid(f"value is required for the operator {operator}")
    wanted = str(each["value"])
    if operator in {"CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"}:
        return _negated(operator == "NOT_CONTAINS_TOKEN", _token_test(wanted))
    key = comparable(definition, wanted)
    return _negated(
        operator == "NEQ",
        lambda value: (
            value is not None
            and (comparable(definition, value) == key or (definition.multiple and wanted in value.split(";")))
        ),
    )


def _range_test(definition: Property, operator: str, each: dict[str, Any]) -> Callable[[str | None], bool]:
    if each.get("value") is None or (operator == "BETWEEN" and each.get("highValue") is None):
        raise invalid(f"value (and highValue for BETWEEN) is required for the operator {operator}")
    low = comparable(definition, str(each["value"]))
    high = comparable(definition, str(each["highValue"])) if operator == "BETWEEN" else low

    compare: Callable[[Any], bool] = {
        "LT": lambda here: here < low,
        "LTE": lambda here: here <= low,
        "GT": lambda here: here > low,
        "GTE": lambda here: here >= low,
        "BETWEEN": lambda here: low <= here <= high,
    }[operator]

    def test(value: str | None) -> bool:
        try:
            return bool(value) and compare(comparable(definition, value or ""))
        except TypeError:  # text that is no number cannot be before or after one
            return False

    return test


def _association_test(store: Store, kind: Kind, other: str, each: dict[str, Any]) -> Test:
    far = store.kind(other)
    if each["operator"] not in {"EQ", "IN"}:
        raise invalid("associations can only be searched with EQ and IN")
    given = _values(each) if each["operator"] == "IN" else [each.get("value")]
    wanted = {int(str(value)) for value in given if str(value).isdigit()}
    return lambda number, _: not wanted.isdisjoint(store.links.of(kind.name, number, far.name))


def _token_test(wanted: str) -> Callable[[str | None], bool]:
    pattern = wanted.lower().strip()
    if "*" in pattern:
        matches = re.compile(translate(pattern)).match
        return lambda value: any(matches(part) for part in _parts(value))
    tokens = set(_tokens(pattern))
    return lambda value: bool(value) and tokens <= set(_tokens((value or "").lower()))


def _parts(value: str | None) -> list[str]:
    """The whole text and its words: what a pattern with ``*`` may match."""
    text = (value or "").lower()
    return [text, *text.split()] if text else []


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _negated(negate: bool, test: Callable[[str | None], bool]) -> Callable[[str | None], bool]:
    return (lambda value: not test(value)) if negate else test


def _values(each: dict[str, Any]) -> list[Any]:
    values = each.get("values")
    if not isinstance(values, list):
        raise invalid(f"values is required for the operator {each['operator']}")
    return values


def _forms(definition: Property, value: str | None, *, fold: bool) -> set[str]:
    """What IN compares: enumerations as they are, text in lower case (given values are not folded)."""
    if not value:
        return set()
    if definition.type == "enumeration":
        return {value, *value.split(";")}
    return {value.lower() if fold else value}


def comparable(definition: Property, value: str) -> Any:
    """A value as it is compared: numbers, moments, text without regard to case, enumerations exactly."""
    if definition.type == "number":
        try:
            return float(value)
        except ValueError:
            return value
    if definition.type in {"date", "datetime"}:
        moment = milliseconds_of(value)
        return value if moment is None else moment
    return value if definition.type == "enumeration" else value.lower()


def getter(kind: Kind, name: str) -> Callable[[Values], str | None]:
    """How to get a property, calculated or stored, out of indexed values."""
    return kind.computed.get(name) or (lambda values: values.get(name))
