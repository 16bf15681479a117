"""From the text of a YAML file to its tree (`nodes.py`).

Here belong the traps of YAML itself: encodings, tabs, duplicate keys, tags, aliases that explode, `yes` and `no`.
What the tree may say is in `models.py`. The tree is built from the parser's events and not by YAML's own
constructors, so no scalar is guessed to be a number, a date or a boolean before the models say what it should be:
`62.0`, `012` and `NO` keep their spelling. Messages never show values, because a value may be a secret.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from crm_sync.core.errors import Problem
from crm_sync.mapping.nodes import Node, Path, Plain, dotted

MAX_BYTES = 256_000
MAX_NODES = 50_000
MAX_DEPTH = 30
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_MERGE = "<<"
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class _Refused(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def parse(data: bytes | str, file: str) -> tuple[Node | None, list[Problem]]:
    """The tree of one file and what is wrong with its YAML. None if it cannot be read as YAML at all."""
    builder = _Builder(file)
    try:
        for event in _events(_decode(data)):
            builder.feed(event)
    except _Refused as error:
        return None, [*builder.problems, Problem(file, error.line, "", str(error))]
    if builder.root is None:
        builder.problems.append(Problem(file, None, "", "the file is empty; begin with `kind:`"))
    return builder.root, builder.problems


def _events(text: str) -> Iterator[Event]:
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except Exception as error:  # noqa: BLE001 - the parser answers some broken texts with errors of Python's own
        raise _syntax_refusal(error, text) from None


def _decode(data: bytes | str) -> str:
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    if len(data) > MAX_BYTES:
        raise _Refused(1, f"the file is larger than {MAX_BYTES} bytes; a connection file is never that long")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _Refused(line, "the file is not UTF-8; save it again with the encoding UTF-8") from None


def _syntax_refusal(error: Exception, text: str) -> _Refused:
    """The parser's complaint without the text it quotes, and with what usually helps."""
    line = 1
    what = "it cannot be read"
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        what = "a character that must not be in a YAML file (a control character?)"
    elif isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        what = re.sub(r"(['\"]).{2,}\1", "…", str(error.problem or what), flags=re.DOTALL)
        if "'\\t'" in what or (mark is not None and "\t" in _indent(text, mark.line)):
            return _Refused(line, "a tab in the indentation; YAML only takes spaces")
    hint = "put a text with : # { [ * & ! | > ' \" % @ ` in quotes, and indent with spaces"
    return _Refused(line, f"not valid YAML: {what}; {hint}")


def _indent(text: str, line: int) -> str:
    lines = text.splitlines()
    found = re.match(r"\s*", lines[line]) if line < len(lines) else None
    return found.group() if found else ""


@dataclass(slots=True)
class _Open:
    """A collection whose end was not seen yet; `key` waits for its value."""

    node: Node
    anchor: str | None
    path: Path
    key: tuple[str, int] | None = None
    merged: list[Node] = field(default_factory=list)


class _Builder:
    """Takes the events one by one; not recursive, so that a deep file cannot break the interpreter's stack."""

    def __init__(self, file: str) -> None:
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._file = file
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0

    def feed(self, event: Event) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _Refused(
                    line, "a second YAML document (---) begins here; write one connection per file"
                )
        elif isinstance(event, AliasEvent):
            self._alias(event, line)
        elif isinstance(event, ScalarEvent):
            node = Node(line, self._scalar(event, line))
            self._remember(event.anchor, node)
            self._add(node)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._tag(event, line)
            if len(self._stack) >= MAX_DEPTH:
                raise _Refused(
                    line, f"more than {MAX_DEPTH} levels deep; a connection file is never that deep"
                )
            node = Node(line, {} if isinstance(event, MappingStartEvent) else [])
            self._stack.append(_Open(node, event.anchor, self._path()))
        elif isinstance(event, CollectionEndEvent):
            done = self._stack.pop()
            self._merge(done)
            self._remember(done.anchor, done.node)
            self._add(done.node)

    def _problem(self, line: int, message: str, path: Path = ()) -> None:
        self.problems.append(Problem(self._file, line, dotted(path), message))

    def _path(self) -> Path:
        if not self._stack:
            return ()
        top = self._stack[-1]
        if isinstance(top.node.value, list):
            return (*top.path, len(top.node.value))
        return (*top.path, top.key[0]) if top.key else top.path

    def _tag(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent, line: int) -> str | None:
        tag: str | None = str(event.tag) if event.tag is not None else None
        if tag not in (None, "tag:yaml.org,2002:str"):
            self._problem(
                line,
                "YAML tags (!...) are not used here; put a text that begins with ! in quotes",
                self._path(),
            )
        return tag

    def _scalar(self, event: ScalarEvent, line: int) -> str | None:
        tagged = self._tag(event, line) is not None
        if _UNPRINTABLE.search(event.value):
            self._problem(
                line, "a control character in the text; remove the escape (\\0, \\x.., \\u....)", self._path()
            )
            return ""
        if event.style or tagged:
            return str(event.value)
        is_key = (
            bool(self._stack) and isinstance(self._stack[-1].node.value, dict) and self._stack[-1].key is None
        )
        return None if event.value in _NULLS and not is_key else Plain(event.value)

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _alias(self, event: AliasEvent, line: int) -> None:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _Refused(
                line,
                "an alias (*...) without a finished anchor (&...) before it; if it is a text that begins with *, put it in quotes",
            )
        self._add(node, line)

    def _add(self, node: Node, line: int | None = None) -> None:
        """Hang a finished node into the collection that is open; `line` is where an alias stands."""
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        line = line or node.line
        value = top.node.value
        if isinstance(value, list):
            value.append(node)
        elif isinstance(value, dict):
            if top.key is None:
                top.key = (self._key(node, line), line)
                return
            (key, key_line), top.key = top.key, None
            if key == _MERGE:
                top.merged.append(node)
            elif key in value:
                first = top.node.keys[key]
                self._problem(
                    key_line, f"this key was given before, on line {first}; keep one", (*top.path, key)
                )
            else:
                value[key] = node
                top.node.keys[key] = key_line
        self._count(top.node, node, line)

    def _count(self, parent: Node, node: Node, line: int) -> None:
        parent.size += node.size
        if parent.size > MAX_NODES:
            raise _Refused(
                line, f"more than {MAX_NODES} values once aliases are written out; use fewer aliases"
            )

    def _key(self, node: Node, line: int) -> str:
        if isinstance(node.value, str) and node.value:
            return str(node.value)
        raise _Refused(line, "a key must be a text; if the line begins with { or [, put the key in quotes")

    def _merge(self, done: _Open) -> None:
        """Take over what `<<: *anchor` brings; what the mapping says itself comes first."""
        for source in _each(done.merged):
            if not isinstance(source.value, dict) or not isinstance(done.node.value, dict):
                self._problem(
                    source.line, "`<<` takes an alias of a mapping, or a list of such aliases", done.path
                )
                continue
            for key, node in source.value.items():
                if key not in done.node.value:
                    done.node.value[key] = node
                    done.node.keys[key] = source.keys[key]


def _each(nodes: list[Node]) -> Iterator[Node]:
    for node in nodes:
        if isinstance(node.value, list):
            yield from node.value
        else:
            yield node
