"""Reading a folder of connection files.

`load` is the way in: a folder becomes a `System`, or one `ConfigError` that lists everything wrong in all files.
How YAML is read is in `parse.py`, what a file may say in `models.py` and `kinds.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from crm_sync.core.errors import ConfigError, Problem
from crm_sync.core.spec import System
from crm_sync.mapping.explain import blanks, explain, unknown_value
from crm_sync.mapping.kinds import KINDS
from crm_sync.mapping.models import EntityModel
from crm_sync.mapping.nodes import Node
from crm_sync.mapping.parse import parse
from crm_sync.mapping.resolve import Parsed, problems_of, system_of

SUFFIXES = (".yaml", ".yml")


def load(folder: Path) -> System:
    """The system described by the *.yaml and *.yml files of `folder`, in the order of their names.

    Files whose name begins with a dot, and folders, are left alone. Raises ConfigError with all problems found, also
    when there is no such folder or no file in it.
    """
    if not folder.is_dir():
        message = "there is no such folder; make it and copy a file from examples/ into it"
        raise ConfigError([Problem(str(folder), None, "", message)])
    contents: dict[str, bytes | str] = {}
    problems: list[Problem] = []
    for path in sorted(folder.iterdir()):
        if path.suffix not in SUFFIXES or path.name.startswith(".") or path.is_dir():
            continue
        try:
            contents[str(path)] = path.read_bytes()
        except OSError as error:
            problems.append(Problem(str(path), None, "", f"cannot be read: {error.strerror}"))
    if not contents and not problems:
        message = "no connection file (*.yaml) in this folder; copy one from examples/"
        raise ConfigError([Problem(str(folder), None, "", message)])
    return _system(contents, problems)


def load_text(text: bytes | str, file: str = "connection.yaml") -> System:
    """The system of a single connection file whose content is given. Raises ConfigError."""
    return _system({file: text}, [])


def load_texts(texts: Mapping[str, bytes | str]) -> System:
    """The system of several files, content by file name. Raises ConfigError."""
    return _system(texts, [])


def _system(contents: Mapping[str, bytes | str], problems: list[Problem]) -> System:
    files: list[Parsed] = []
    for file, data in contents.items():
        node, found = parse(data, file)
        problems += found
        if node is not None:
            parsed, found = _parsed(node, file)
            problems += found
            files += [parsed] if parsed is not None else []
    problems += problems_of(files)
    if problems:
        raise ConfigError(sorted(problems, key=lambda one: (one.file, one.line or 0, one.field)))
    return system_of(files)


def _parsed(node: Node, file: str) -> tuple[Parsed | None, list[Problem]]:
    """The models of one file, and what is wrong with its shape."""
    data = node.plain()
    if not isinstance(data, dict):
        return None, [Problem(file, node.line, "", "a connection file is a mapping; begin with `kind:`")]
    model = KINDS.get(kind) if isinstance(kind := data.get("kind"), str) else None
    if model is None:
        allowed = f"allowed: {', '.join(KINDS)}"
        message = unknown_value(kind, list(KINDS)) if "kind" in data else f"is missing: which CRM; {allowed}"
        return None, [Problem(file, node.line_of(("kind",)), "kind", message)]
    problems = blanks(node, file)
    whole = None
    try:
        whole = model.model_validate(data)
    except ValidationError as error:
        problems += explain(error, model, node, file)
    name = data.get("name")
    parsed = Parsed(
        file=file,
        node=node,
        name=str(name) if isinstance(name, str) else Path(file).stem,
        kind=str(kind),
        shape=model,
        model=whole,
        entities=whole.entities if whole is not None else _sound_entities(data.get("entities")),
        known=frozenset(data["entities"]) if isinstance(data.get("entities"), dict) else frozenset(),
    )
    return parsed, problems


def _sound_entities(entities: Any) -> dict[str, EntityModel]:
    """The entities without a mistake of their own, so that what they mean can be checked too."""
    sound: dict[str, EntityModel] = {}
    for name, entity in entities.items() if isinstance(entities, dict) else ():
        try:
            sound[name] = EntityModel.model_validate(entity)
        except ValidationError:
            continue
    return sound
