"""A mapping's conditions in the words of search."""

from dataclasses import replace

import pytest

from crm_sync.connectors.crm import FieldInfo, ObjectInfo
from crm_sync.connectors.hubspot.filters import check, search_filters
from crm_sync.connectors.hubspot.pipelines import StageNames
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import Condition, Operator
from tests.connectors.hubspot.conftest import CONTACT


def described(**kinds):
    infos = {name: FieldInfo(name, name, kind, True, True, False) for name, kind in kinds.items()}
    return ObjectInfo("contacts", infos)


INFO = described(city="string.text", color="enumeration.select")


def made(condition, stages=None):
    (found,) = search_filters([condition], INFO, stages)
    return found


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        (Operator.EQ, ("A",), {"operator": "EQ", "value": "A"}),
        (Operator.NEQ, ("A",), {"operator": "NEQ", "value": "A"}),
        (Operator.LT, ("1",), {"operator": "LT", "value": "1"}),
        (Operator.LTE, ("1",), {"operator": "LTE", "value": "1"}),
        (Operator.GT, ("1",), {"operator": "GT", "value": "1"}),
        (Operator.GTE, ("1",), {"operator": "GTE", "value": "1"}),
        (Operator.IN, ("A", "b"), {"operator": "IN", "values": ["a", "b"]}),
        (Operator.NOT_IN, ("A",), {"operator": "NOT_IN", "values": ["a"]}),
        (Operator.IS_BLANK, (), {"operator": "NOT_HAS_PROPERTY"}),
        (Operator.IS_NOT_BLANK, (), {"operator": "HAS_PROPERTY"}),
    ],
)
def test_every_operator_has_a_counterpart(operator, values, expected):
    assert made(Condition("city", operator, values)) == {"propertyName": "city", **expected}


def test_the_values_of_enumerations_stay_as_they_are():
    assert made(Condition("color", Operator.IN, ("Red", "blue")))["values"] == ["Red", "blue"]


def test_stages_are_given_by_name():
    stages = StageNames("pipeline", "dealstage", {"1": "Sales"}, {"11": "Open"}, {"11": "1"})
    assert made(Condition("dealstage", Operator.EQ, ("Open",)), stages)["value"] == "11"
    assert made(Condition("pipeline", Operator.EQ, ("Sales",)), stages)["value"] == "1"
    assert made(Condition("city", Operator.EQ, ("Open",)), stages)["value"] == "Open"


def test_what_search_cannot_express():
    check([Condition("a", Operator.IS_BLANK)] * 3)
    with pytest.raises(CrmError, match="at most 3") as caught:
        check([Condition("a", Operator.IS_BLANK)] * 4)
    assert caught.value.error_class is ErrorClass.VALIDATION
    with pytest.raises(CrmError, match="association"):
        check([Condition("association:companies", Operator.IS_BLANK)])


def test_what_a_filter_leaves_out_is_asked_in_groups_or_not_at_all(crm):
    """Blanks are minded, whatever HubSpot's NEQ says of them; three values to compare would take six groups."""
    eq, given = (
        Condition("firstname", Operator.EQ, ("Ann",)),
        Condition("email", Operator.IS_NOT_BLANK),
    )
    others = [Condition(name, Operator.EQ, ("x",)) for name in ("lastname", "phone")]

    def asked(*conditions):
        stream = replace(CONTACT, filters=conditions)
        return crm._opposite(stream, crm._shape(stream))

    assert asked(eq, given) == [
        [{"propertyName": "firstname", "operator": "NEQ", "value": "Ann"}],
        [{"propertyName": "email", "operator": "NOT_HAS_PROPERTY"}],
        [{"propertyName": "firstname", "operator": "NOT_HAS_PROPERTY"}],
    ]
    assert asked(eq, *others) == [[]]
