"""What pydantic found wrong, said so that the reader of the file can put it right.

Here: from a validation error to `Problem`s with a dotted path, a line, the allowed keys or values, and the nearest
one. What was written is repeated only where the allowed values are names of ours; never below `auth`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from crm_sync.core.errors import Problem
from crm_sync.mapping.nodes import Node, Path, dotted

_SECRETIVE = "auth"
_TAG = "grant"
_SHAPES = {
    "string_type": "must be a text",
    "dict_type": "must be a mapping (key: value)",
    "model_type": "must be a mapping (key: value)",
    "model_attributes_type": "must be a mapping (key: value)",
    "list_type": "must be a list ([a, b])",
    "too_short": "must not be empty",
}


def blanks(node: Node, file: str) -> list[Problem]:
    """Keys without a value. `external_id: null` means something, and options of tests may be anything."""
    return [
        Problem(file, node.line_of(path), dotted(path), "has no value; give it one or remove the key")
        for path in _nulls(node, ())
        if path[-1:] != ("external_id",) and not (path[:1] == ("options",) and len(path) > 1)
    ]


def _nulls(node: Node, path: Path) -> Iterator[Path]:
    if isinstance(node.value, dict):
        for key, inner in node.value.items():
            yield from _nulls(inner, (*path, key))
    elif isinstance(node.value, list):
        for index, inner in enumerate(node.value):
            yield from _nulls(inner, (*path, index))
    elif node.value is None:
        yield path


def explain(error: ValidationError, model: type[BaseModel], node: Node, file: str) -> list[Problem]:
    """The problems of one file, in the order of its lines, without those that `blanks` tells."""
    told = {problem.field for problem in blanks(node, file)}
    found: dict[tuple[Path, str], Problem] = {}
    for detail in error.errors(include_url=False):
        path = _path(detail["loc"], detail["type"])
        if detail["type"] not in ("missing", "extra_forbidden") and dotted(path) in told:
            continue
        message = _message(detail, path, model)
        found.setdefault((path, message), Problem(file, node.line_of(path), dotted(path), message))
    return sorted(found.values(), key=lambda problem: problem.line or 0)


def _path(loc: Sequence[str | int], kind: str) -> Path:
    """Where in the file: without the name of the grant, which pydantic puts between `auth` and its keys."""
    path = tuple(loc)
    if len(path) > 1 and path[0] == _SECRETIVE:
        path = (path[0], *path[2:])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        path = (*path, _TAG)
    if path[-1:] == ("[key]",):
        path = path[:-1]
    return path


def _message(detail: Mapping[str, Any], path: Path, model: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), keys_at(model, path[:-1], detail))
    if kind in ("enum", "literal_error"):
        shown = None if path[:1] == (_SECRETIVE,) else detail["input"]
        return unknown_value(shown, _quoted(context["expected"]))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        what = "is missing" if kind == "union_tag_not_found" else "this is not one of the allowed values"
        return f"{what}; allowed: {', '.join(_grants(model))}"
    if kind == "missing":
        return _missing(model, path)
    return _SHAPES.get(kind) or str(detail["msg"])


def _missing(model: type[BaseModel], path: Path) -> str:
    for found in models_at(model, path[:-1]):
        for name, info in found.model_fields.items():
            if path[-1] == (info.alias or name) and info.description:
                return f"is missing: {info.description[0].lower()}{info.description[1:].rstrip('.')}"
    return "is missing"


def unknown_value(value: object, allowed: Sequence[str]) -> str:
    """`'two-way' is not known; did you mean two_way? Allowed: ...`; None: the value is not to be shown."""
    shown = repr(str(value)[:40]) if isinstance(value, str) else "this"
    return f"{shown} is not one of the allowed values{nearest(value, allowed)}; allowed: {', '.join(allowed)}"


def _unknown_key(key: str, allowed: Sequence[str]) -> str:
    return f"there is no such key here{nearest(key, allowed)}; allowed: {', '.join(allowed)}"


def nearest(word: object, allowed: Iterable[str]) -> str:
    """` (did you mean two_way?)`, or nothing if nothing is near."""
    if not isinstance(word, str):
        return ""
    lowered = word.lower().replace("-", "_").replace(" ", "_")
    found = get_close_matches(lowered, {name.lower(): name for name in allowed}, n=1, cutoff=0.6)
    by_lower = {name.lower(): name for name in allowed}
    return f" (did you mean {by_lower[found[0]]}?)" if found else ""


def _quoted(expected: str) -> list[str]:
    return re.findall(r"'([^']*)'", expected)


def _grants(model: type[BaseModel]) -> list[str]:
    return [
        name
        for found in models_at(model, (_SECRETIVE,))
        for name in get_args(found.model_fields[_TAG].annotation)
    ]


def keys_at(model: type[BaseModel], path: Path, detail: Mapping[str, Any] | None = None) -> list[str]:
    """The keys allowed in the mapping at `path`; below `auth`, those of the grant that was chosen."""
    found = models_at(model, path)
    if detail is not None and path[:1] == (_SECRETIVE,):
        grant = detail["loc"][1]
        found = [one for one in found if grant in get_args(one.model_fields[_TAG].annotation)]
    return list(dict.fromkeys(info.alias or name for one in found for name, info in one.model_fields.items()))


def models_at(model: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    """The models that the value at `path` may have: several for a union, none if it is no mapping of ours."""
    types: list[Any] = [model]
    for part in path:
        types = [inner for one in types for inner in _inside(one, part)]
    return [one for one in types if isinstance(one, type) and issubclass(one, BaseModel)]


def _inside(annotation: Any, part: str | int) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, info in annotation.model_fields.items():
            if part == (info.alias or name):
                yield from alternatives(info.annotation)
    elif get_origin(annotation) in (dict, list):
        yield from alternatives(get_args(annotation)[-1])


def alternatives(annotation: Any) -> Iterator[Any]:
    """The plain types of an annotation: without `Annotated`, the members of a union one by one."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for inner in get_args(annotation):
            yield from alternatives(inner)
    else:
        yield annotation
