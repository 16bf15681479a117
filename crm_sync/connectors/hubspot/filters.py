"""A mapping's filter in the words of HubSpot's search.

Here: operators, the spelling of values, and what cannot be expressed (developers.hubspot.com/docs/api-reference/
search/guide). Every operator of a mapping has a counterpart:

    eq EQ · neq NEQ · lt LT · lte LTE · gt GT · gte GTE · in IN · not_in NOT_IN
    is_blank NOT_HAS_PROPERTY · is_not_blank HAS_PROPERTY
"""

from collections.abc import Sequence
from dataclasses import replace

from crm_sync.connectors.crm import ObjectInfo
from crm_sync.connectors.hubspot.pipelines import StageNames
from crm_sync.connectors.hubspot.properties import ASSOCIATION
from crm_sync.connectors.hubspot.search import Filter
from crm_sync.connectors.taking_part import OPPOSITE
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import Condition, Operator

MAX_CONDITIONS = 3  # of the six that a search may have; walking through a window takes up to three

_OPERATORS = {
    Operator.EQ: "EQ",
    Operator.NEQ: "NEQ",
    Operator.LT: "LT",
    Operator.LTE: "LTE",
    Operator.GT: "GT",
    Operator.GTE: "GTE",
    Operator.IN: "IN",
    Operator.NOT_IN: "NOT_IN",
    Operator.IS_BLANK: "NOT_HAS_PROPERTY",
    Operator.IS_NOT_BLANK: "HAS_PROPERTY",
}
_WITHOUT_VALUE = frozenset({Operator.IS_BLANK, Operator.IS_NOT_BLANK})
_WITH_VALUES = frozenset({Operator.IN, Operator.NOT_IN})


def check(conditions: Sequence[Condition]) -> None:
    """Raise CrmError(VALIDATION) for conditions that a search cannot express."""
    if len(conditions) > MAX_CONDITIONS:
        text = (
            f"a filter on HubSpot has at most {MAX_CONDITIONS} conditions, this one has {len(conditions)}: HubSpot "
            "allows six in a search, and reading a window takes three"
        )
        raise CrmError(ErrorClass.VALIDATION, text)
    for condition in conditions:
        if condition.vendor.startswith(ASSOCIATION):
            text = f"{condition.vendor}: HubSpot's search cannot filter by this association"
            raise CrmError(ErrorClass.VALIDATION, text)


def search_filters(
    conditions: Sequence[Condition], info: ObjectInfo, stages: StageNames | None
) -> list[Filter]:
    """The conditions as filters of one group. Stages and pipelines are given by name."""
    return [_filter(condition, info, stages) for condition in conditions]


def opposite(conditions: Sequence[Condition], info: ObjectInfo, stages: StageNames | None) -> list[Filter]:
    """Filters of which at least one holds where one of the conditions does not, and wherever a compared property is
    blank: what HubSpot says of a blank in NEQ and NOT_IN is its own decision."""
    found = [
        _filter(replace(condition, operator=OPPOSITE[condition.operator]), info, stages)
        for condition in conditions
    ]
    for condition in conditions:
        if condition.operator not in _WITHOUT_VALUE:
            found.append(_filter(Condition(condition.vendor, Operator.IS_BLANK), info, stages))
    return [one for number, one in enumerate(found) if one not in found[:number]]


def _filter(condition: Condition, info: ObjectInfo, stages: StageNames | None) -> Filter:
    """HubSpot compares texts without regard to case, and wants the values of IN and NOT_IN in lower case for that, but
    those of enumerations exactly as they are. Whether NEQ and NOT_IN count records without the property is HubSpot's
    decision."""
    field = info.fields.get(condition.vendor)
    exact = field is not None and field.vendor_type.startswith("enumeration")
    values = condition.values
    if stages is not None:
        values = tuple(stages.to_id(condition.vendor, value) or value for value in values)
    made: Filter = {"propertyName": condition.vendor, "operator": _OPERATORS[condition.operator]}
    if condition.operator in _WITH_VALUES:
        made["values"] = [value if exact else value.lower() for value in values]
    elif condition.operator not in _WITHOUT_VALUE:
        made["value"] = values[0]
    return made
