"""Running a query: rows found, ordered, cut, and shaped into records.

Here: the whole way from a parsed query to a ``Result``. Not here: pages and locators (query.py), CSV
(bulk_query.py).
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from crm_sync.simulators.salesforce import ids, soql_aggregate
from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.rows import LAST, Selection
from crm_sync.simulators.salesforce.schema import Field, Row, SObject
from crm_sync.simulators.salesforce.soql_ast import Function, Order, Path, Select
from crm_sync.simulators.salesforce.soql_columns import Column, Resolver
from crm_sync.simulators.salesforce.soql_conditions import (
    Conditions,
    folds,
    key_values,
    only_stamps,
    stamp_bounds,
)
from crm_sync.simulators.salesforce.soql_parse import parse
from crm_sync.simulators.salesforce.soql_shape import Children, Record, Shape, place, record
from crm_sync.simulators.salesforce.soql_tokens import malformed
from crm_sync.simulators.salesforce.store import Store, Table
from crm_sync.simulators.salesforce.writes import Hidden

FIELDS_LIMIT = 200
MAX_SUBQUERIES = 20


@dataclass(slots=True)
class Result:
    """Rows of a query. ``records`` for aggregates, ``total`` alone for ``COUNT()``."""

    o: SObject
    rows: Sequence[Row] = ()
    shape: Shape | None = None
    columns: Sequence[Column] = ()
    records: Sequence[Record] | None = None
    total: int = 0

    def render(self, start: int, end: int, version: str) -> list[Record]:
        """Records ``start`` to ``end`` as JSON."""
        if self.records is not None:
            return list(self.records[start:end])
        if self.shape is None:
            return []
        return [record(self.shape, row, version) for row in self.rows[start:end]]


@dataclass(slots=True)
class Runner:
    """Runs queries for one session."""

    store: Store
    hidden: Hidden
    today: dt.date
    deleted_too: bool = False

    def run(self, text: str) -> Result:
        """Parse and execute. Raises ApiError MALFORMED_QUERY, INVALID_FIELD, INVALID_TYPE ..."""
        self.store.purge()
        return self.execute(parse(text), Resolver(self.store, self.hidden, text))

    def check(self, text: str) -> Result:
        """Everything but looking at rows: the errors of ``run``, and the columns."""
        select = parse(text)
        resolver = Resolver(self.store, self.hidden, text)
        o = resolver.source(select.source)
        shape, columns = self._shape(select, o, resolver)
        if select.where is not None:
            Conditions(resolver, o, select.alias, self.today, self._values_of).compile(select.where)
        for order in select.order_by:
            _check_sortable(resolver.scalar(o, order.value, select.alias).field)
        return Result(o, shape=shape, columns=columns)

    def execute(self, select: Select, resolver: Resolver) -> Result:
        o = resolver.source(select.source)
        rows = self._ordered(select, o, resolver)
        if soql_aggregate.is_aggregate(select):
            return self._aggregate(select, o, resolver, rows)
        if select.having is not None:
            raise malformed("having clause requires a group by clause")
        shape, columns = self._shape(select, o, resolver)
        start = select.offset or 0
        end = None if select.limit is None else start + select.limit
        cut = rows.cut(start, end) if isinstance(rows, Selection) else rows[start:end]
        return Result(o, cut, shape, columns, total=len(cut))

    def _aggregate(self, select: Select, o: SObject, resolver: Resolver, rows: Sequence[Row]) -> Result:
        only = select.items[0].value
        if (
            len(select.items) == 1
            and isinstance(only, Function)
            and only.argument is None
            and not select.group_by
        ):
            total = len(rows) if select.limit is None else min(len(rows), select.limit)
            return Result(o, total=total)
        records = soql_aggregate.run(select, o, resolver, rows, self.today, self._values_of)
        start = select.offset or 0
        records = records[start : None if select.limit is None else start + select.limit]
        return Result(o, records=records, total=len(records))

    # Rows

    def _ordered(self, select: Select, o: SObject, resolver: Resolver) -> Sequence[Row]:
        rows, in_stamp_order = self._found(select, o, resolver)
        if in_stamp_order and _is_stamp_order(select.order_by):
            return rows
        if select.order_by and not soql_aggregate.is_aggregate(select):
            rows = list(rows)
            for order in reversed(select.order_by):
                column = resolver.scalar(o, order.value, select.alias)
                _check_sortable(column.field)
                rows.sort(key=sort_key(column, order), reverse=order.descending)
        return rows

    def _found(self, select: Select, o: SObject, resolver: Resolver) -> tuple[Sequence[Row], bool]:
        """The rows that match, and whether they come in order of SystemModstamp and Id."""
        rows, in_stamp_order = self._candidates(select, self.store.tables[o.name])
        if select.where is None:
            return rows, in_stamp_order
        conditions = Conditions(resolver, o, select.alias, self.today, self._values_of)
        test = conditions.compile(select.where)
        if in_stamp_order and only_stamps(select.where):
            return rows, True
        if isinstance(rows, Selection) and conditions.places is not None:
            return rows.filtered(test, sorted(conditions.places)), in_stamp_order
        return list(filter(test, rows)), in_stamp_order

    def _candidates(self, select: Select, table: Table) -> tuple[Sequence[Row], bool]:
        """A superset of the rows that can match, by whichever index fits; and whether that is the one by stamp."""
        pinned = key_values(select.where, "Id")
        if pinned is not None:
            return self._those(table, {i for i in map(ids.normalise, pinned) if i}), False
        for name in table.keys:
            values = key_values(select.where, name)
            if values is not None:
                return self._those(table, {i for value in values for i in table.holders(name, value)}), False
        low, high = stamp_bounds(select.where)
        if (low, high) != ("", LAST):
            return table.rows.between(low, high, deleted_too=self.deleted_too), True
        return table.rows.everything(deleted_too=self.deleted_too), False

    def _those(self, table: Table, wanted: set[str]) -> list[Row]:
        place = table.object.position["IsDeleted"]
        rows = (table.rows.get(record_id) for record_id in sorted(wanted))
        return [row for row in rows if row is not None and (self.deleted_too or not row[place])]

    def _values_of(self, select: Select) -> frozenset[Any]:
        """The values that a semi-join's inner query yields."""
        if len(select.items) != 1:
            raise malformed("semi join sub-selects can only have one field")
        resolver = Resolver(self.store, self.hidden)
        result = self.execute(select, resolver)
        column = result.columns[0]
        fold = folds(column.field)
        values = (column.get(row) for row in result.rows)
        return frozenset(v.lower() if fold else v for v in values if v is not None)

    # Shape

    def _shape(self, select: Select, o: SObject, resolver: Resolver) -> tuple[Shape, list[Column]]:
        shape = Shape(o)
        columns: list[Column] = []
        subqueries = 0
        for item in select.items:
            value = item.value
            if isinstance(value, Select):
                subqueries += 1
                self._children(value, o, resolver, shape)
                continue
            for column in _expand(value, select, o, resolver):
                if item.alias is not None and isinstance(value, Path):
                    raise malformed("only aggregate expressions use field aliasing")
                columns.append(column)
                place(shape, column, resolver, value.column)
        if subqueries > MAX_SUBQUERIES:
            raise malformed(f"maximum number of subqueries exceeded: {MAX_SUBQUERIES}")
        return shape, columns

    def _children(self, select: Select, o: SObject, resolver: Resolver, shape: Shape) -> None:
        wanted = select.source.lower()
        related = [
            (child, f)
            for child, f in self.store.schema.children(o.name)
            if (f.child_relationship or "").lower() == wanted
        ]
        if not related:
            raise ApiError(
                400, "INVALID_TYPE",
                f"Didn't understand relationship '{select.source}' in FROM part of query call. If you are attempting to use "
                "a custom relationship, be sure to append the '__r' after the custom relationship name. Please reference "
                "your WSDL or the describe call for the appropriate names.",
            )  # fmt: skip
        child, reference = related[0]
        inner_shape, _ = self._shape(select, child, resolver)
        slot = child.position[reference.name]
        direct = Select(
            select.items, child.name, select.alias, select.column, select.where, order_by=select.order_by
        )

        def rows() -> dict[str, list[Row]]:
            by_parent: dict[str, list[Row]] = {}
            for row in self._ordered(direct, child, resolver):
                if row[slot] is not None:
                    by_parent.setdefault(row[slot], []).append(row)
            start = select.offset or 0
            end = None if select.limit is None else start + select.limit
            return {parent: found[start:end] for parent, found in by_parent.items() if found[start:end]}

        self._found(direct, child, resolver)  # wrong conditions fail now, not at the first page
        shape.keys[str(reference.child_relationship)] = Children(inner_shape, rows)


def _expand(value: Path | Function, select: Select, o: SObject, resolver: Resolver) -> Iterator[Column]:
    """The columns of one item: itself, or what FIELDS(...) stands for."""
    if not isinstance(value, Function) or value.name != "FIELDS":
        yield resolver.scalar(o, value, select.alias)
        return
    group = str(value.argument).upper()
    if group not in {"ALL", "STANDARD", "CUSTOM"}:
        raise malformed(f"unexpected token: '{value.argument}'")
    if group != "STANDARD" and (select.limit is None or select.limit > FIELDS_LIMIT):
        raise malformed("The SOQL FIELDS function must have a LIMIT of at most 200")
    for f in resolver.visible(o):
        if group == "ALL" or f.custom == (group == "CUSTOM"):
            yield resolver.column(o, Path((f.name,)))


def _is_stamp_order(orders: Sequence[Order]) -> bool:
    """ORDER BY SystemModstamp[, Id], both ascending: the order of the index."""
    if any(order.descending for order in orders):
        return False
    wanted = [str(order.value).lower() for order in orders]
    return wanted in (["systemmodstamp"], ["systemmodstamp", "id"])


def sort_key(column: Column, order: Order) -> Callable[[Row], Any]:
    """Nulls come first unless the query says otherwise, whichever the direction."""
    get, fold = column.get, folds(column.field)
    null_is_high = order.nulls_last != order.descending

    def key(row: Row) -> tuple[bool, Any]:
        value = get(row)
        if value is None:
            return (null_is_high, 0)
        return (not null_is_high, value.lower() if fold else value)

    return key


def _check_sortable(f: Field) -> None:
    if f.long_text or f.type in {"multipicklist", "address"}:
        raise ApiError(400, "INVALID_FIELD", f"field '{f.name}' can not be sorted in a query call")
