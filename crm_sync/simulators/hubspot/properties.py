"""Requests about property definitions and their groups (CRM properties API, and its behaviour as observed).

Changing ``options`` replaces the whole list; posting an archived name again brings it back.
"""

import re
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from crm_sync.simulators.hubspot.errors import ApiError, invalid, not_found
from crm_sync.simulators.hubspot.http import (
    Route,
    answer,
    batch_answer,
    body_of,
    flag_of,
    inputs_of,
    no_content,
    store_of,
    version_of,
)
from crm_sync.simulators.hubspot.schema import FIELD_TYPES, Group, Kind, Option, Property
from crm_sync.simulators.hubspot.store import Store

MAX_INPUTS = 100
MAX_UNIQUE = 10
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


async def listing(request: Request) -> Response:
    _, kind = _target(request)
    archived = flag_of(request, "archived")
    if request.query_params.get("dataSensitivity", "non_sensitive") != "non_sensitive":
        return answer({"results": []})
    return answer(
        {"results": [p.document() for p in kind.properties.values() if (p.archived is not None) == archived]}
    )


async def read(request: Request) -> Response:
    _, kind = _target(request)
    return answer(_find(kind, request.path_params["name"], archived=flag_of(request, "archived")).document())


async def create(request: Request) -> Response:
    store, kind = _target(request)
    return answer(define(store, kind, await body_of(request)).document(), 201)


async def update(request: Request) -> Response:
    store, kind = _target(request)
    document = await body_of(request)
    definition = _find(kind, request.path_params["name"])
    if definition.standard and set(document) - {
        "options",
        "groupName",
        "displayOrder",
        "hidden",
        "formField",
    }:
        raise invalid(f"{definition.name} is a HubSpot-defined property; its definition is read only")
    if "groupName" in document and document["groupName"] not in kind.groups:
        raise invalid(f"Property group {document['groupName']} does not exist")
    _type_fits(document.get("type", definition.type), document.get("fieldType", definition.field_type))
    if "options" in document:
        definition.options = _options(document["options"])
    definition.type = document.get("type", definition.type)
    definition.field_type = document.get("fieldType", definition.field_type)
    definition.label = document.get("label", definition.label)
    definition.description = document.get("description", definition.description)
    definition.group = document.get("groupName", definition.group)
    definition.order = document.get("displayOrder", definition.order)
    definition.hidden = bool(document.get("hidden", definition.hidden))
    definition.form_field = bool(document.get("formField", definition.form_field))
    definition.updated = store.clock.now()
    return answer(definition.document())


async def archive(request: Request) -> Response:
    store, kind = _target(request)
    _archive(store, kind, request.path_params["name"])
    return no_content()


async def batch_create(request: Request) -> Response:
    store, kind = _target(request)
    results, errors = [], []
    for each in inputs_of(await body_of(request), MAX_INPUTS):
        try:
            results.append(define(store, kind, each).document())
        except ApiError as error:
            errors.append(error.in_batch({"name": [str(each.get("name"))]}))
    return batch_answer(store, results, errors, 201 if version_of(request) == "v3" else 200)


async def batch_read(request: Request) -> Response:
    store, kind = _target(request)
    document = await body_of(request)
    results, errors = [], []
    for name in _names(inputs_of(document, MAX_INPUTS)):
        try:
            results.append(_find(kind, name, archived=bool(document.get("archived"))).document())
        except ApiError as error:
            errors.append(error.in_batch({"name": [name]}))
    return batch_answer(store, results, errors, 200)


async def batch_archive(request: Request) -> Response:
    store, kind = _target(request)
    for name in _names(inputs_of(await body_of(request), MAX_INPUTS)):
        if kind.known(name) is not None:
            _archive(store, kind, name)
    return no_content()


async def groups(request: Request) -> Response:
    _, kind = _target(request)
    return answer({"results": [group.document() for group in kind.groups.values() if not group.archived]})


async def create_group(request: Request) -> Response:
    _, kind = _target(request)
    document = await body_of(request)
    name, label = str(document.get("name") or ""), str(document.get("label") or "")
    if not name or not label:
        raise invalid("name and label are required")
    if name in kind.groups and not kind.groups[name].archived:
        raise ApiError(409, f"A property group named '{name}' already exists.", "OBJECT_ALREADY_EXISTS")
    kind.groups[name] = Group(name, label, int(document.get("displayOrder", -1)))
    return answer(kind.groups[name].document(), 201)


async def read_group(request: Request) -> Response:
    _, kind = _target(request)
    return answer(_group(kind, request).document())


async def update_group(request: Request) -> Response:
    _, kind = _target(request)
    group = _group(kind, request)
    document = await body_of(request)
    group.label = str(document.get("label", group.label))
    group.order = int(document.get("displayOrder", group.order))
    return answer(group.document())


async def archive_group(request: Request) -> Response:
    _, kind = _target(request)
    group = _group(kind, request)
    if any(p.group == group.name and p.archived is None for p in kind.properties.values()):
        raise invalid(f"The property group {group.name} still holds properties")
    group.archived = True
    return no_content()


def routes() -> list[Route]:
    base = "/crm/v3/properties/{kind}"
    return [
        Route(base, listing, methods=["GET"], name="properties.list"),
        Route(base, create, methods=["POST"], name="properties.create"),
        Route(f"{base}/batch/create", batch_create, methods=["POST"], name="properties.batch-create"),
        Route(f"{base}/batch/read", batch_read, methods=["POST"], name="properties.batch-read"),
        Route(f"{base}/batch/archive", batch_archive, methods=["POST"], name="properties.batch-archive"),
        Route(f"{base}/groups", groups, methods=["GET"], name="properties.groups"),
        Route(f"{base}/groups", create_group, methods=["POST"], name="properties.create-group"),
        Route(f"{base}/groups/{{group}}", read_group, methods=["GET"], name="properties.read-group"),
        Route(f"{base}/groups/{{group}}", update_group, methods=["PATCH"], name="properties.update-group"),
        Route(f"{base}/groups/{{group}}", archive_group, methods=["DELETE"], name="properties.archive-group"),
        Route(f"{base}/{{name}}", read, methods=["GET"], name="properties.read"),
        Route(f"{base}/{{name}}", update, methods=["PATCH"], name="properties.update"),
        Route(f"{base}/{{name}}", archive, methods=["DELETE"], name="properties.archive"),
    ]


def define(store: Store, kind: Kind, document: dict[str, Any]) -> Property:
    """Add a property of the portal's own. Raises ApiError 400 or 409."""
    missing = [n for n in ("name", "label", "type", "fieldType", "groupName") if not document.get(n)]
    if missing:
        raise invalid(f"Some required fields were not set: {missing}", context={"missing": missing})
    name = str(document["name"])
    if not _NAME.fullmatch(name):
        raise invalid(
            f"{name} is not a valid property name: lower-case letters, digits and _ only, a letter first"
        )
    _type_fits(document["type"], document["fieldType"])
    if document["groupName"] not in kind.groups:
        raise invalid(
            f"Property group {document['groupName']} does not exist",
            subCategory="Properties.GROUP_DOES_NOT_EXIST",
        )
    if kind.known(name) is not None:
        raise ApiError(
            409,
            f"A property named '{name}' already exists.",
            "OBJECT_ALREADY_EXISTS",
            subCategory="Properties.PROPERTY_WITH_NAME_EXISTS",
        )
    unique = bool(document.get("hasUniqueValue"))
    if unique and sum(p.unique for p in kind.properties.values() if p.archived is None) >= MAX_UNIQUE:
        raise invalid(f"An object type can have at most {MAX_UNIQUE} unique properties")
    now = store.clock.now()
    definition = Property(
        name=name, label=str(document["label"]), type=document["type"], field_type=document["fieldType"],
        group=document["groupName"], description=str(document.get("description") or ""),
        options=_options(document.get("options") or []), order=int(document.get("displayOrder", -1)), standard=False,
        calculated=document["fieldType"] == "calculation_equation", unique=unique, hidden=bool(document.get("hidden")),
        external=document.get("referencedObjectType") if document.get("externalOptions") else None,
        form_field=bool(document.get("formField")), formula=document.get("calculationFormula"), created=now, updated=now,
    )  # fmt: skip
    if definition.type == "bool" and not definition.options:
        definition.options = [Option("true", "Yes", 0), Option("false", "No", 1)]
    kind.properties[name] = definition
    if unique:
        store.tables[kind.name].add_unique(name)
    return definition


def _archive(store: Store, kind: Kind, name: str) -> None:
    definition = _find(kind, name)
    if definition.standard:
        raise invalid(f"{name} is a HubSpot-defined property and cannot be archived")
    users = [
        p.name for p in kind.properties.values() if p.archived is None and p.formula and name in p.formula
    ]
    if users:
        raise invalid(
            f"{name} is used by {users}", subCategory="PropertyValidationError.CANNOT_DELETE_PROPERTY_IN_USE"
        )
    definition.archived = store.clock.now()
    store.tables[kind.name].unique.pop(name, None)


def _options(given: Any) -> list[Option]:
    if not isinstance(given, list) or not all(
        isinstance(each, dict) and each.get("value") not in {None, ""} for each in given
    ):
        raise invalid("options must be a list of objects with label and value")
    made = [
        Option(str(each["value"]), str(each.get("label") or each["value"]), int(each.get("displayOrder", -1)),
               bool(each.get("hidden")), str(each.get("description") or ""))
        for each in given
    ]  # fmt: skip
    for what, seen in (("value", [o.value for o in made]), ("label", [o.label for o in made])):
        if len(set(seen)) < len(seen):
            raise invalid(f"Option {what}s must be unique")
    return made


def _type_fits(type_: Any, field_type: Any) -> None:
    if type_ not in FIELD_TYPES or field_type not in FIELD_TYPES[type_]:
        allowed = sorted(FIELD_TYPES.get(type_, FIELD_TYPES))
        raise invalid(f"Invalid type {type_} with fieldType {field_type}; allowed are {allowed}")


def _find(kind: Kind, name: str, *, archived: bool = False) -> Property:
    found = kind.properties.get(name)
    if found is None or (found.archived is not None) != archived:
        raise not_found(
            f"No property named '{name}' exists for {kind.name}", subCategory="Properties.PROPERTY_NOT_FOUND"
        )
    return found


def _group(kind: Kind, request: Request) -> Group:
    group = kind.groups.get(request.path_params["group"])
    if group is None or group.archived:
        raise not_found(f"No property group named '{request.path_params['group']}'")
    return group


def _names(inputs: Iterable[dict[str, Any]]) -> list[str]:
    return [str(each.get("name")) for each in inputs]


def _target(request: Request) -> tuple[Store, Kind]:
    store = store_of(request)
    return store, store.kind(request.path_params["kind"])
