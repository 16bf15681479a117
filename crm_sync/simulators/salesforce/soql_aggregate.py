"""COUNT, SUM, GROUP BY, HAVING: queries whose records are of type AggregateResult.

Source: SOQL and SOSL Reference, "Aggregate Functions", "GROUP BY", "HAVING".
"""

import datetime as dt
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, cast

from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.schema import NUMBERS, Field, Row, SObject
from crm_sync.simulators.salesforce.soql_ast import Comparison, Condition, Function, Path, Select
from crm_sync.simulators.salesforce.soql_columns import AGGREGATES, Column, Resolver
from crm_sync.simulators.salesforce.soql_conditions import Subquery, comparison, folds

Group = Sequence[Row]
OfGroup = Callable[[Group], Any]
MAX_GROUPS = 2000


def is_aggregate(select: Select) -> bool:
    return bool(select.group_by) or any(
        isinstance(item.value, Function) and item.value.name in AGGREGATES for item in select.items
    )


def run(
    select: Select, o: SObject, resolver: Resolver, rows: Sequence[Row], today: dt.date, subquery: Subquery
) -> list[dict[str, Any]]:
    """The AggregateResult records, in the order asked for."""
    grouping = [resolver.scalar(o, value, select.alias) for value in select.group_by]
    outputs = _outputs(select, o, resolver, grouping)
    groups = _groups(rows, grouping) if grouping else [list(rows)]
    if select.having is not None:
        test = _having(select.having, o, resolver, select.alias, today, subquery)
        groups = [group for group in groups if test(group)]
    for order in reversed(select.order_by):
        of_group, _ = _of_group(order.value, o, resolver, select.alias)
        groups.sort(
            key=_sort_key(of_group, null_is_high=order.nulls_last != order.descending),
            reverse=order.descending,
        )
    if len(groups) > MAX_GROUPS:
        raise ApiError(
            400,
            "EXCEEDED_ID_LIMIT",
            "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch",
        )
    return [
        {"attributes": {"type": "AggregateResult"}} | {name: of_group(group) for name, of_group in outputs}
        for group in groups
    ]


def _sort_key(of_group: OfGroup, *, null_is_high: bool) -> Callable[[Group], tuple[bool, Any]]:
    def key(group: Group) -> tuple[bool, Any]:
        value = of_group(group)
        if value is None:
            return (null_is_high, 0)
        return (not null_is_high, value.lower() if isinstance(value, str) else value)

    return key


def _outputs(
    select: Select, o: SObject, resolver: Resolver, grouping: Sequence[Column]
) -> list[tuple[str, OfGroup]]:
    outputs = []
    numbers = count()
    for item in select.items:
        if isinstance(item.value, Select):
            raise ApiError(
                400, "MALFORMED_QUERY", "Grouped query cannot use child relationships in the SELECT list"
            )
        of_group, column = _of_group(item.value, o, resolver, select.alias)
        if isinstance(item.value, Path):
            if column.header not in {c.header for c in grouping}:
                raise ApiError(400, "MALFORMED_QUERY", f"Field must be grouped or aggregated: {item.value}")
            outputs.append((item.alias or column.names[-1], of_group))
        else:
            outputs.append((item.alias or f"expr{next(numbers)}", of_group))
    return outputs


def _groups(rows: Sequence[Row], grouping: Sequence[Column]) -> list[Group]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    fold = [folds(column.field) for column in grouping]
    for row in rows:
        values = (column.get(row) for column in grouping)
        key = tuple(v.lower() if f and v is not None else v for v, f in zip(values, fold, strict=True))
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _of_group(value: Path | Function, o: SObject, resolver: Resolver, alias: str) -> tuple[OfGroup, Column]:
    if isinstance(value, Path) or value.name not in AGGREGATES:
        column = resolver.scalar(o, value, alias)
        return (lambda group: column.get(group[0]) if group else None), column
    if value.argument is None:
        counted = Column(Field("Id", "Count", "int"), ("Id",), lambda row: row[0])
        return len, counted
    column = resolver.scalar(o, value.argument, alias)
    if value.name in {"SUM", "AVG"} and column.field.type not in NUMBERS:
        raise ApiError(
            400, "INVALID_FIELD", f"field {column.header} does not support aggregate operator {value.name}"
        )
    function = _FUNCTIONS[value.name]
    of_group: OfGroup = lambda group: function([v for v in map(column.get, group) if v is not None])  # noqa: E731
    kind = "int" if value.name.startswith("COUNT") else column.field.type
    return of_group, Column(Field(column.field.name, column.field.label, kind), column.names, column.get)


def _having(
    condition: Condition, o: SObject, resolver: Resolver, alias: str, today: dt.date, subquery: Subquery
) -> Callable[[Group], bool]:
    if isinstance(condition, Comparison):
        of_group, column = _of_group(condition.left, o, resolver, alias)
        # The comparison is made for rows; here its "row" is a group.
        over_group = Column(column.field, column.names, cast("Callable[[Row], Any]", of_group))
        return cast("Callable[[Group], bool]", comparison(over_group, condition, today, subquery))
    parts = [_having(part, o, resolver, alias, today, subquery) for part in condition.parts]
    if condition.operator == "NOT":
        return lambda group: not parts[0](group)
    decide = all if condition.operator == "AND" else any
    return lambda group: decide(part(group) for part in parts)


_FUNCTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "COUNT": len,
    "COUNT_DISTINCT": lambda values: len(set(values)),
    "SUM": lambda values: sum(values) if values else None,
    "AVG": lambda values: sum(values) / len(values) if values else None,
    "MIN": lambda values: min(values, default=None),
    "MAX": lambda values: max(values, default=None),
}
