"""Field paths and functions of a query, resolved against the schema into getters.

Here: what ``Account.Owner.Name`` means for a row of Contact, who may see it, and the messages when it
means nothing. Not here: conditions (soql_conditions.py), results (soql_run.py).
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.schema import Field, Row, SObject
from crm_sync.simulators.salesforce.soql_ast import Function, Path
from crm_sync.simulators.salesforce.store import Store
from crm_sync.simulators.salesforce.writes import Hidden

MAX_LEVELS = 5
AGGREGATES = frozenset({"COUNT", "COUNT_DISTINCT", "SUM", "AVG", "MIN", "MAX"})
UNCHANGED = frozenset({"TOLABEL", "FORMAT", "CONVERTCURRENCY", "CONVERTTIMEZONE"})
Getter = Callable[[Row], Any]


def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text[:10])


_DATE_PARTS: dict[str, tuple[str, Callable[[str], Any]]] = {
    # function: (type of its value, value)
    "CALENDAR_YEAR": ("int", lambda t: int(t[:4])),
    "CALENDAR_MONTH": ("int", lambda t: int(t[5:7])),
    "CALENDAR_QUARTER": ("int", lambda t: (int(t[5:7]) + 2) // 3),
    "FISCAL_YEAR": ("int", lambda t: int(t[:4])),
    "DAY_IN_MONTH": ("int", lambda t: int(t[8:10])),
    "DAY_IN_WEEK": ("int", lambda t: _day(t).isoweekday() % 7 + 1),
    "DAY_IN_YEAR": ("int", lambda t: _day(t).timetuple().tm_yday),
    "WEEK_IN_YEAR": ("int", lambda t: (_day(t).timetuple().tm_yday - 1) // 7 + 1),
    "HOUR_IN_DAY": ("int", lambda t: int(t[11:13])),
    "DAY_ONLY": ("date", lambda t: t[:10]),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A value of a row: ``names`` is the path in canonical spelling, ``place`` its slot if stored in the row itself."""

    field: Field
    names: tuple[str, ...]
    get: Getter
    place: int | None = None

    @property
    def header(self) -> str:
        return ".".join(self.names)


@dataclass(slots=True)
class Resolver:
    """Resolves within one query of one session."""

    store: Store
    hidden: Hidden
    text: str = ""

    def source(self, name: str) -> SObject:
        o = self.store.schema.find(name)
        if o is None:
            raise ApiError(
                400, "INVALID_TYPE",
                f"sObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to append "
                "the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names.",
            )  # fmt: skip
        return o

    def column(self, o: SObject, path: Path, alias: str = "") -> Column:
        """A field of ``o`` or of its parents."""
        parts = path.parts
        if (
            len(parts) > 1
            and parts[0].lower() in {alias.lower(), o.name.lower()}
            and o.parent(parts[0]) is None
        ):
            parts = parts[1:]
        if len(parts) > MAX_LEVELS + 1:
            raise self.error(path.column, f"Maximum number of relationship levels exceeded in '{path}'")
        return self._column(o, parts, path.column)

    def _column(self, o: SObject, parts: tuple[str, ...], column: int) -> Column:
        if len(parts) == 1:
            return self._own(o, parts[0], column)
        reference = o.parent(parts[0])
        if reference is None or self._is_hidden(o, reference.name):
            raise self.error(
                column,
                f"Didn't understand relationship '{parts[0]}' in field path. If you are attempting to use a custom "
                "relationship, be sure to append the '__r' after the custom relationship name. Please reference your "
                "WSDL or the describe call for the appropriate names.",
            )
        inner = self._parent_column(reference, parts[1:], column)
        hop = self.hop(o, reference)

        def get(row: Row) -> Any:
            parent = hop(row)
            return None if parent is None else inner.get(parent)

        return Column(inner.field, (str(reference.relationship), *inner.names), get)

    def _parent_column(self, reference: Field, parts: tuple[str, ...], column: int) -> Column:
        targets = [self.store.schema.objects[name] for name in reference.reference_to]
        if len(targets) == 1:
            return self._column(targets[0], parts, column)
        # Who and What: the parent's own type decides at run time; the pseudo-object is called Name.
        if parts[0].lower() == "type":
            prefixes = {t.prefix: t.name for t in targets}
            kind = Field("Type", "Type", "picklist", length=40)
            return Column(kind, ("Type",), lambda row: prefixes.get(row[0][:3]))
        found = {
            t.prefix: self._column(t, parts, column)
            for t in targets
            if t.find(parts[0]) or t.parent(parts[0])
        }
        if not found:
            raise self._no_such_column("Name", parts[0], column)
        first = next(iter(found.values()))
        return Column(
            first.field, first.names, lambda row: found[row[0][:3]].get(row) if row[0][:3] in found else None
        )

    def hop(self, o: SObject, reference: Field) -> Callable[[Row], Row | None]:
        """From a row to the row that its reference names."""
        place = o.position[reference.name]
        tables = {
            self.store.schema.objects[name].prefix: self.store.tables[name].rows
            for name in reference.reference_to
        }

        def parent(row: Row) -> Row | None:
            record_id = row[place]
            if record_id is None:
                return None
            rows = tables.get(record_id[:3])
            return None if rows is None else rows.get(record_id)

        return parent

    def _own(self, o: SObject, name: str, column: int) -> Column:
        f = o.find(name)
        if f is None or self._is_hidden(o, f.name):
            raise self._no_such_column(o.name, name, column)
        place = o.position.get(f.name)
        if place is not None:
            return Column(f, (f.name,), itemgetter(place), place)
        table = self.store.tables[o.name]
        return Column(f, (f.name,), lambda row: table.get(row, f.name))

    def scalar(self, o: SObject, value: Path | Function, alias: str = "") -> Column:
        """A path, or a function of one row's value."""
        if isinstance(value, Path):
            return self.column(o, value, alias)
        if value.argument is None or value.name in AGGREGATES:
            raise self.error(value.column, f"Aggregate function {value.name} is not allowed here")
        inner = self.scalar(o, value.argument, alias)
        if value.name in UNCHANGED:
            return inner
        if value.name not in _DATE_PARTS:
            raise self.error(value.column, f"Unknown function '{value.name}'")
        if inner.field.type not in {"date", "datetime"}:
            raise self.error(value.column, f"field {inner.header} does not support function {value.name}")
        kind, convert = _DATE_PARTS[value.name]
        derived = Field(inner.field.name, inner.field.label, kind)

        def get(row: Row) -> Any:
            text = inner.get(row)
            return None if text is None else convert(text)

        return Column(derived, inner.names, get)

    def visible(self, o: SObject) -> list[Field]:
        return [f for f in o.fields if not self._is_hidden(o, f.name)]

    def _is_hidden(self, o: SObject, name: str) -> bool:
        return name.lower() in self.hidden.get(o.name, ())

    def _no_such_column(self, entity: str, name: str, column: int) -> ApiError:
        return self.error(
            column,
            f"No such column '{name}' on entity '{entity}'. If you are attempting to use a custom field, be sure to append "
            "the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names.",
        )

    def error(self, column: int, message: str, code: str = "INVALID_FIELD") -> ApiError:
        """A semantic error at a place in the text, laid out as the service does."""
        start = max(0, column - 21)
        near = self.text[start : column + 20].replace("\n", " ")
        caret = " " * (column - 1 - start) + "^"
        return ApiError(400, code, f"\n{near}\n{caret}\nERROR at Row:1:Column:{column}\n{message}")
