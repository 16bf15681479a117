"""SOQL text to ``soql_ast.Select``: the grammar.

Here: clauses and conditions. Not here: what a token is, and how errors show where they are
(soql_tokens.py). Source: SOQL and SOSL Reference, "SOQL SELECT Syntax", "Logical Operators" (AND and
OR only mix with parentheses).
"""

from typing import Any, Literal, cast

from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.soql_ast import (
    Comparison,
    Condition,
    Constant,
    Function,
    Item,
    Logical,
    Order,
    Path,
    Select,
)
from crm_sync.simulators.salesforce.soql_tokens import RESERVED, Token, Tokens, malformed

MAX_STATEMENT = 100_000
MAX_OFFSET = 2_000


def parse(text: str) -> Select:
    """Parse a whole statement. Raises ApiError MALFORMED_QUERY."""
    if len(text) > MAX_STATEMENT:
        raise malformed(f"SOQL statements cannot be longer than {MAX_STATEMENT} characters.")
    return _Parser(text).statement()


class _Parser(Tokens):
    def statement(self) -> Select:
        if not self.word("select"):
            raise self.unexpected()
        select = self.select()
        if self.peek().kind != "end":
            raise self.unexpected()
        return select

    def select(self) -> Select:
        items = [self.item()]
        while self.symbol(","):
            items.append(self.item())
        if not self.word("from"):
            raise self.unexpected()
        source = self.name()
        alias = ""
        if self.peek().kind == "name" and self.peek().text.lower() not in RESERVED | {
            "using",
            "order",
            "offset",
            "for",
            "all",
        }:
            alias = self.next().text
        if self.word("using", "scope"):
            self.name()
        where = self.condition() if self.word("where") else None
        if self.word("with"):
            self.name()
        group_by = self.list_of_values() if self.word("group", "by") else ()
        having = self.condition() if self.word("having") else None
        order_by = self.orders() if self.word("order", "by") else ()
        limit = self.count() if self.word("limit") else None
        offset = self.count() if self.word("offset") else None
        if offset is not None and offset > MAX_OFFSET:
            raise ApiError(400, "NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MAX_OFFSET}")
        options = set()
        while self.word("for"):
            options.add(self.name().text.lower())
        return Select(
            tuple(items),
            source.text,
            alias,
            source.column,
            where,
            group_by,
            having,
            order_by,
            limit,
            offset,
            frozenset(options),
        )

    def item(self) -> Item:
        if self.symbol("("):
            if not self.word("select"):
                raise self.unexpected()
            inner = self.select()
            self.expect(")")
            return Item(inner)
        value = self.value()
        token = self.peek()
        alias = None
        if token.kind == "name" and "." not in token.text and token.text.lower() not in RESERVED:
            alias = self.next().text
        return Item(value, alias)

    def value(self) -> Path | Function:
        token = self.name()
        if not self.symbol("("):
            return Path(tuple(token.text.split(".")), token.column)
        argument = None
        if not self.symbol(")"):
            argument = self.value()
            self.expect(")")
        return Function(token.text.upper(), argument, token.column)

    def list_of_values(self) -> tuple[Path | Function, ...]:
        values = [self.value()]
        while self.symbol(","):
            values.append(self.value())
        return tuple(values)

    def orders(self) -> tuple[Order, ...]:
        orders = [self.order()]
        while self.symbol(","):
            orders.append(self.order())
        return tuple(orders)

    def order(self) -> Order:
        value = self.value()
        descending = self.word("desc") or (self.word("asc") and False)
        nulls_last = self.word("nulls", "last")
        if not nulls_last:
            self.word("nulls", "first")
        return Order(value, descending, nulls_last)

    def name(self) -> Token:
        token = self.peek()
        if token.kind != "name" or token.text.lower() in RESERVED:
            raise self.unexpected()
        return self.next()

    def count(self) -> int:
        token = self.peek()
        if token.kind != "number" or not token.text.isdigit():
            raise self.unexpected()
        self.at += 1
        return int(token.text)

    # Conditions

    def condition(self) -> Condition:
        first = self.negation()
        for keyword in ("and", "or"):
            parts = [first]
            while self.word(keyword):
                parts.append(self.negation())
            if len(parts) > 1:
                if self.peek().text.lower() in {"and", "or"}:
                    raise self.unexpected()
                return Logical(cast("Literal['AND', 'OR']", keyword.upper()), tuple(parts))
        return first

    def negation(self) -> Condition:
        if self.word("not"):
            return Logical("NOT", (self.negation(),))
        if self.symbol("("):
            inner = self.condition()
            self.expect(")")
            return inner
        left = self.value()
        return Comparison(left, operator := self.operator(), self.right(operator))

    def operator(self) -> str:
        token = self.peek()
        if token.kind == "operator" and token.text in {"=", "!=", "<>", "<", "<=", ">", ">="}:
            self.at += 1
            return "!=" if token.text == "<>" else token.text
        if self.word("not", "in"):
            return "NOT IN"
        for word in ("in", "like", "includes", "excludes"):
            if self.word(word):
                return word.upper()
        raise self.unexpected()

    def right(self, operator: str) -> "Constant | tuple[Constant, ...] | Select":
        if operator not in {"IN", "NOT IN", "INCLUDES", "EXCLUDES"}:
            return self.literal()
        self.expect("(")
        if self.word("select"):
            inner = self.select()
            self.expect(")")
            return inner
        values = [self.literal()]
        while self.symbol(","):
            values.append(self.literal())
        self.expect(")")
        return tuple(values)

    def literal(self) -> Constant:
        token = self.next()
        if token.kind == "string":
            return Constant("string", self.unquote(token))
        if token.kind == "number":
            return Constant("number", float(token.text))
        if token.kind in {"date", "datetime", "currency"}:
            kind = cast("Literal['date', 'datetime', 'currency']", token.kind)
            return Constant(kind, token.text)
        word = token.text.lower()
        if token.kind == "name" and word in {"true", "false"}:
            return Constant("boolean", word == "true")
        if token.kind == "name" and word == "null":
            return Constant("null", None)
        if token.kind == "name" and "." not in word and word not in RESERVED:
            number: Any = None
            if self.symbol(":"):
                number = self.count()
            return Constant("function", (token.text.upper(), number))
        self.at -= 1
        raise self.unexpected()
