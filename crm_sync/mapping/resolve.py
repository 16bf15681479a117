"""From the models of all files to core specifications, with the checks that need several files.

Here: names that must be unique, fields of the hub on which connections must agree, the order of entities. The
functions take what could be read; complaints are collected, and raised together by `load.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any

from crm_sync.core.deletes import Deletes
from crm_sync.core.errors import Problem
from crm_sync.core.guard import Guard, Limit
from crm_sync.core.quota import Limits
from crm_sync.core.spec import (
    Condition,
    ConnectionSpec,
    FieldSpec,
    FieldType,
    StreamSpec,
    System,
    VendorField,
)
from crm_sync.mapping.checks import connection_name_problem, entity_complaints, field_direction
from crm_sync.mapping.models import ConnectionModel, EntityModel, FieldModel
from crm_sync.mapping.nodes import Node, Path, dotted
from crm_sync.mapping.rivals import acquainted

_FILE_OPTIONS = ("ca_bundle", "private_key_file")


@dataclass(frozen=True, slots=True)
class Parsed:
    """One file as far as it could be read.

    model: the whole connection, or None if anything in it is wrong. entities: those that are right in themselves.
    known: the names of all entities in the file, right or wrong."""

    file: str
    node: Node
    name: str
    kind: str
    shape: type[ConnectionModel]
    model: ConnectionModel | None
    entities: dict[str, EntityModel]
    known: frozenset[str]

    def problem(self, path: Path, message: str) -> Problem:
        return Problem(self.file, self.node.line_of(path), dotted(path), message)

    def place(self, path: Path) -> str:
        return f"{self.file}:{self.node.line_of(path)}"


def problems_of(files: list[Parsed]) -> list[Problem]:
    """Everything wrong within and between the files, beyond their shape."""
    found = list(_name_problems(files))
    for parsed in files:
        for path, message in parsed.model.complaints() if parsed.model is not None else ():
            found.append(parsed.problem(path, message))
        for name, entity in parsed.entities.items():
            for path, message in entity_complaints(parsed.shape, name, entity, parsed.known):
                found.append(parsed.problem(("entities", name, *path), message))
    found += _disagreements(files)
    found += _clashes(files)
    _, cycle = _order(files)
    return found + cycle


def _name_problems(files: list[Parsed]) -> Iterator[Problem]:
    first: dict[str, Parsed] = {}
    for parsed in files:
        complaint = connection_name_problem(parsed.name)
        path: Path = ("name",)
        if complaint is not None:
            hint = "" if "name" in (parsed.node.value or {}) else " (it is the file's name; add `name:`)"
            yield parsed.problem(path, f"{complaint}{hint}")
        other = first.setdefault(parsed.name, parsed)
        if other is not parsed:
            yield parsed.problem(
                path, f"another connection is called {parsed.name} too, in {other.file}; rename one"
            )


def _columns(files: list[Parsed]) -> Iterator[tuple[Parsed, str, str, FieldModel]]:
    for parsed in files:
        for entity, model in parsed.entities.items():
            for name, field in model.fields.items():
                yield parsed, entity, name, field


def _disagreements(files: list[Parsed]) -> Iterator[Problem]:
    """A column of the hub is one thing: every connection that maps it must mean the same."""
    first: dict[tuple[str, str], tuple[Parsed, FieldModel]] = {}
    for parsed, entity, name, field in _columns(files):
        path: Path = ("entities", entity, "fields", name)
        other, theirs = first.setdefault((entity, name), (parsed, field))
        if (field.computed is None) != (theirs.computed is None):
            yield parsed.problem(
                path,
                f"is computed in one connection and a column in another ({other.place(path)}); give it another name",
            )
        elif field.computed is None and field.type is not theirs.type:
            yield parsed.problem(
                (*path, "type"),
                f"{entity}.{name} has type {field.type} here, but {theirs.type} in {other.place((*path, 'type'))};"
                " it is one column, so give it one type",
            )
        elif field.entity != theirs.entity:
            yield parsed.problem(
                (*path, "entity"),
                f"{entity}.{name} points to {field.entity} here, but to {theirs.entity} in {other.place((*path, 'entity'))};"
                " it is one column, so let it point to one entity",
            )


def _clashes(files: list[Parsed]) -> Iterator[Problem]:
    """An entity that has the name of another entity's index: both would be relations of the schema hub."""
    indexes = {
        f"{entity}_{name}": (entity, name) for _, entity, name, field in _columns(files) if field.entity
    }
    indexes |= {
        f"{entity}_match_{name}": (entity, name)
        for parsed in files
        for entity, model in parsed.entities.items()
        for rule in model.match
        for name in rule
    }
    for parsed in files:
        for entity in parsed.entities:
            if entity in indexes:
                owner, name = indexes[entity]
                yield parsed.problem(
                    ("entities", entity),
                    f"the index on {owner}.{name} has this name in Postgres; choose another name",
                )


def _order(files: list[Parsed]) -> tuple[list[str], list[Problem]]:
    """Entities, referenced ones first and otherwise as first mentioned; and the cycles that forbid it."""
    needs: dict[str, dict[str, tuple[Parsed, Path]]] = {}
    for parsed in files:
        for entity in parsed.entities:
            needs.setdefault(entity, {})
    for parsed, entity, name, field in _columns(files):
        if field.type is FieldType.REFERENCE and field.entity in needs and field.entity != entity:
            needs[entity].setdefault(field.entity, (parsed, ("entities", entity, "fields", name)))
    ordered: list[str] = []
    while len(ordered) < len(needs):
        ready = next((e for e in needs if e not in ordered and all(n in ordered for n in needs[e])), None)
        if ready is None:
            return ordered, [_cycle({e: n for e, n in needs.items() if e not in ordered})]
        ordered.append(ready)
    return ordered, []


def _cycle(stuck: dict[str, dict[str, tuple[Parsed, Path]]]) -> Problem:
    """One round trip among entities that all wait for another."""
    way = [next(iter(stuck))]
    while way[-1] not in way[:-1]:
        way.append(next(target for target in stuck[way[-1]] if target in stuck))
    way = way[way.index(way[-1]) :]
    steps = [stuck[one][other] for one, other in pairwise(way)]
    places = ", ".join(f"{dotted(path)} ({parsed.place(path)})" for parsed, path in steps)
    parsed, path = steps[0]
    return parsed.problem(
        path,
        f"entities refer to each other in a circle: {' → '.join(way)}; remove one of these references: {places}",
    )


def system_of(files: list[Parsed]) -> System:
    """The system that the files describe; they have no problems left."""
    ordered, _ = _order(files)
    connections = tuple(
        _connection(parsed, parsed.model, ordered) for parsed in files if parsed.model is not None
    )
    return System(acquainted(connections), tuple(ordered))


def _connection(parsed: Parsed, model: ConnectionModel, ordered: list[str]) -> ConnectionSpec:
    streams = [_stream(parsed, model, name, ordered.index(name)) for name in model.entities]
    return ConnectionSpec(
        name=parsed.name,
        kind=parsed.kind,
        options=_located(model.options(), FilePath(parsed.file).parent),
        streams=tuple(sorted(streams, key=lambda stream: stream.order)),
        file=parsed.file,
        schedule=model.schedule,
        auto_resolve=model.auto_resolve.auto_resolve() if model.auto_resolve is not None else None,
        limits=model.limits.limits() if model.limits is not None else Limits(),
        lines=dict(_lines(parsed.node, model.options(), ())) | dict(_entity_lines(parsed.node)),
    )


def _lines(node: Node, options: Mapping[str, Any], above: Path) -> Iterator[tuple[str, int]]:
    """Where each option stands, by its dotted path."""
    for key, value in options.items():
        path = (*above, key)
        yield dotted(path), node.line_of(path)
        if isinstance(value, dict):
            yield from _lines(node, value, path)


def _entity_lines(node: Node) -> Iterator[tuple[str, int]]:
    """Where each part of the mapping stands, by its dotted path: `entities.contact.fields.stage.values.won`."""
    entities = node.value.get("entities") if isinstance(node.value, dict) else None
    if entities is not None:
        yield from _lines(node, {"entities": entities.plain()}, ())


def _located(options: dict[str, Any], folder: FilePath) -> dict[str, Any]:
    """Paths of files, which a connection file gives relative to itself, as absolute ones."""
    located: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, dict):
            value = _located(value, folder)  # noqa: PLW2901 - the same value, made absolute
        located[key] = str((folder / value).resolve()) if key in _FILE_OPTIONS else value
    return located


def _stream(parsed: Parsed, model: ConnectionModel, name: str, order: int) -> StreamSpec:
    entity = model.entities[name]
    external = entity.external_id if "external_id" in entity.model_fields_set else model.default_external_id
    return StreamSpec(
        connection=parsed.name,
        kind=parsed.kind,
        entity=name,
        object=entity.object,
        fields=tuple(_field(model, entity, *item) for item in entity.fields.items()),
        direction=entity.direction,
        match=tuple(tuple(rule) for rule in entity.match),
        similar=entity.similar.similar() if entity.similar is not None else None,
        filters=tuple(
            Condition(
                one.field, one.operator, tuple(one.values or ([one.value] if one.value is not None else []))
            )
            for one in entity.filter
        ),
        external_id=external,
        constants=dict(entity.constants),
        record_type=entity.record_type,
        order=order,
        guard=_guard(model, entity),
        approval=(model.approval if entity.approval is None else entity.approval) or frozenset(),
        deletes=entity.deletes.deletes() if entity.deletes is not None else Deletes(),
    )


def _guard(model: ConnectionModel, entity: EntityModel) -> Guard:
    """The limits of the entity, else those of the connection, else the defaults."""
    given: dict[str, Limit] = {}
    for one in (model.guard, entity.guard):
        given |= one.given() if one is not None else {}
    return Guard(**given)


def _field(model: ConnectionModel, entity: EntityModel, name: str, field: FieldModel) -> FieldSpec:
    if field.association is not None:
        vendor = VendorField(f"association:{field.association}", field.type, association=field.association)
    elif field.from_ is not None:
        vendor = VendorField(f"computed:{name}", field.type, template=field.from_)
    else:
        vendor = VendorField(field.field or "", field.type)
    to_hub: dict[str, str] = {}
    for ours, theirs in (field.values or {}).items():
        to_hub.setdefault(
            theirs, ours
        )  # where several of ours lead to one of theirs, the first one comes back
    to_hub |= field.from_crm or {}
    return FieldSpec(
        name=name,
        vendor=vendor,
        direction=field_direction(entity, field),
        policy=field.policy or entity.policy,
        to_crm=dict(field.values) if field.values else None,
        to_hub=to_hub or None,
        entity=field.entity,
        computed=field.computed,
        region=field.region or model.default_region,
        scale=field.scale,
        required=field.required,
    )
