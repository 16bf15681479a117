"""SOQL text as tokens, and a place in them to read on from.

Here: what a token is, keywords, string literals, errors that show where they are. Not here: the
grammar (soql_parse.py). Source: SOQL and SOSL Reference, "Quoted String Escape Sequences", "Date
Formats and Date Literals".
"""

import re
from typing import NamedTuple

from crm_sync.simulators.salesforce.errors import ApiError

MAX_STRING = 4_000
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
RESERVED = frozenset(
    (
        "and", "asc", "desc", "excludes", "first", "from", "group", "having", "in", "includes", "last", "like", "limit",
        "not", "null", "nulls", "or", "select", "where", "with",
    )
)  # fmt: skip
TOKEN = re.compile(
    r"""\s*(?:
    (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
  | (?P<date>\d{4}-\d\d-\d\d(?![\dT]))
  | (?P<currency>[A-Z]{3}-?\d+(?:\.\d+)?(?![\w.]))
  | (?P<number>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w]))
  | (?P<name>[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)*)
  | (?P<string>'(?:[^'\\]|\\.)*')
  | (?P<operator><>|!=|<=|>=|[=<>(),:])
  | (?P<bad>\S)
  )""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    kind: str
    text: str
    column: int


def malformed(message: str) -> ApiError:
    return ApiError(400, "MALFORMED_QUERY", message)


class Tokens:
    """The tokens of a statement, taken from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [
            Token(found.lastgroup or "", found[found.lastgroup or ""], found.start(found.lastgroup or "") + 1)
            for found in TOKEN.finditer(text)
        ]
        self.at = 0

    # Moving along

    def peek(self, ahead: int = 0) -> Token:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else Token("end", "<EOF>", len(self.text) + 1)

    def next(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def word(self, *words: str) -> bool:
        """Take the coming words if they are these keywords."""
        coming = [self.peek(place) for place in range(len(words))]
        if all(t.kind == "name" and t.text.lower() == w for t, w in zip(coming, words, strict=True)):
            self.at += len(words)
            return True
        return False

    def symbol(self, text: str) -> bool:
        token = self.peek()
        if token.kind == "operator" and token.text == text:
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.symbol(text):
            raise self.unexpected(f"expecting '{text}', found '{self.peek().text}'")

    def unexpected(self, message: str | None = None) -> ApiError:
        token = self.peek()
        said = message or f"unexpected token: '{token.text}'"
        near = self.text[max(0, token.column - 25) : token.column + 20]
        if token.kind == "end" and message is None:
            return malformed("unexpected token: '<EOF>'")
        return malformed(
            f"\n{near}\n{' ' * min(24, token.column - 1)}^\nERROR at Row:1:Column:{token.column}\n{said}"
        )

    def unquote(self, token: Token) -> str:
        """The text of a string literal. Escaped wildcards stay escaped, for LIKE."""
        inner = token.text[1:-1]
        if len(inner) > MAX_STRING:
            raise malformed(f"filter criteria strings cannot be longer than {MAX_STRING} characters")

        def replace(found: re.Match[str]) -> str:
            code = found[1]
            if code in ESCAPES:
                return ESCAPES[code]
            if code in "_%":
                return found[0]
            if code[0] == "u" and len(code) == 5:
                return chr(int(code[1:], 16))
            self.at -= 1
            raise self.unexpected(f"Illegal escape sequence '\\{code}' in string literal")

        return re.sub(r"\\(u[0-9A-Fa-f]{4}|.)", replace, inner, flags=re.DOTALL)
