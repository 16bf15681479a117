"""The tree of a YAML file, which knows the line of everything in it.

Here: the tree and the ways to values in it. How a text becomes a tree is in `parse.py`, what it may say in `models.py`.
"""

from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]


class Plain(str):
    """A scalar written without quotes: a text, unless the model wants a number or a boolean."""

    __slots__ = ()


@dataclass(slots=True)
class Node:
    """A scalar (text, or None for YAML's null), a mapping or a sequence, with the line (from 1) it starts on.

    keys: for a mapping, the line of each key. size: number of nodes below, aliases counted each time."""

    line: int
    value: "str | dict[str, Node] | list[Node] | None"
    keys: dict[str, int] = field(default_factory=dict)
    size: int = 1

    def plain(self) -> Any:
        """The tree as dicts, lists, texts (`Plain` or str) and None."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def line_of(self, path: Path) -> int:
        """Line of what `path` leads to: of the scalar, or of a collection's key. If the path leaves the tree (a
        missing key), the line of the last part that is there."""
        node, line = self, self.line
        for part in path:
            if isinstance(node.value, dict) and part in node.value:
                line = node.keys[str(part)]
                node = node.value[str(part)]
            elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.line
            else:
                return line
        return line if isinstance(node.value, dict | list) or node.value is None else node.line


def dotted(path: Path) -> str:
    """`entities.contact.match[0]`: the way to a value as errors show it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
