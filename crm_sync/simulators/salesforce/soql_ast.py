"""A parsed SOQL query, as values. Columns are 1-based positions in the text, for error messages."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Path:
    """``Account.Owner.Name`` as its parts."""

    parts: tuple[str, ...]
    column: int = 0

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Function:
    """``COUNT(Id)``, ``CALENDAR_YEAR(CreatedDate)``; ``argument`` is None in ``COUNT()``."""

    name: str
    argument: "Path | Function | None"
    column: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """One column of the SELECT list."""

    value: "Path | Function | Select"
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Constant:
    """A value in a condition, with the type it was written in."""

    kind: Literal["string", "number", "boolean", "null", "date", "datetime", "function", "currency"]
    value: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    left: "Path | Function"
    operator: str
    right: "Constant | tuple[Constant, ...] | Select"


@dataclass(frozen=True, slots=True)
class Logical:
    """AND, OR over several; NOT over one."""

    operator: Literal["AND", "OR", "NOT"]
    parts: "tuple[Condition, ...]"


Condition: TypeAlias = Comparison | Logical


@dataclass(frozen=True, slots=True)
class Order:
    value: Path | Function
    descending: bool = False
    nulls_last: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    items: tuple[Item, ...]
    source: str
    alias: str = ""
    column: int = 0
    where: Condition | None = None
    group_by: tuple[Path | Function, ...] = ()
    having: Condition | None = None
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int | None = None
    options: frozenset[str] = field(default_factory=frozenset)
