"""Requests about object types: HubSpot's own, and custom ones (object schemas API)."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from crm_sync.simulators.hubspot.catalog import custom_kind
from crm_sync.simulators.hubspot.clock import iso
from crm_sync.simulators.hubspot.errors import ApiError, invalid, not_found
from crm_sync.simulators.hubspot.http import Route, answer, body_of, no_content, store_of
from crm_sync.simulators.hubspot.links import LinkType
from crm_sync.simulators.hubspot.properties import define
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Store


async def listing(request: Request) -> Response:
    store = store_of(request)
    return answer(
        {"results": [_shown(store, kind) for kind in store.kinds.values() if kind.custom is not None]}
    )


async def create(request: Request) -> Response:
    store = store_of(request)
    document = await body_of(request)
    name = str(document.get("name") or "")
    missing = [n for n in ("name", "labels", "requiredProperties", "properties") if not document.get(n)]
    if missing:
        raise invalid(f"Some required fields were not set: {missing}", context={"missing": missing})
    if name.lower() in store.names:
        raise ApiError(409, f"Object type with name '{name}' already exists", "OBJECT_ALREADY_EXISTS")
    store.next_custom_type += 1
    now = store.clock.now()
    kind = custom_kind(f"2-{store.next_custom_type}", name, document, now)
    store.add_kind(kind)
    store.names[f"p{store.portal_id}_{name}".lower()] = kind
    group = next(iter(kind.groups))
    for each in document["properties"]:
        define(store, kind, {"groupName": group, "fieldType": "text", "type": "string", **each})
    for other in document.get("associatedObjects") or []:
        _associate(store, kind, store.kind(str(other)))
    return answer(_shown(store, kind), 201)


async def read(request: Request) -> Response:
    store = store_of(request)
    return answer(_shown(store, _kind(request)))


async def update(request: Request) -> Response:
    store, kind = store_of(request), _kind(request)
    about = _custom(kind)
    document = await body_of(request)
    about["labels"] = document.get("labels", about["labels"])
    about["primaryDisplayProperty"] = document.get("primaryDisplayProperty", about["primaryDisplayProperty"])
    kind.required = tuple(document.get("requiredProperties", kind.required))
    kind.searchable = tuple(document.get("searchableProperties", kind.searchable))
    about["updated"] = store.clock.now()
    return answer(_shown(store, kind))


async def delete(request: Request) -> Response:
    store, kind = store_of(request), _kind(request)
    _custom(kind)
    if store.tables[kind.name].live:
        raise invalid("An object type that still has records cannot be deleted")
    del store.kinds[kind.name], store.tables[kind.name]
    store.names = {name: each for name, each in store.names.items() if each is not kind}
    return no_content()


async def add_association(request: Request) -> Response:
    store = store_of(request)
    document = await body_of(request)
    left = store.kind(str(document.get("fromObjectTypeId") or request.path_params["kind"]))
    right = store.kind(str(document.get("toObjectTypeId")))
    there = _associate(store, left, right, document.get("name"))
    return answer(_association(store, there, store.clock.now()), 201)


async def remove_association(request: Request) -> Response:
    store, kind = store_of(request), _kind(request)
    given = request.path_params["identifier"]
    found = next(
        (t for t in store.links.types.values() if str(t.id) == given and t.source == kind.name), None
    )
    if found is None:
        raise not_found(f"No association {given} of {kind.name}")
    store.links.remove_label(found.id)
    return no_content()


def routes() -> list[Route]:
    base = "/crm-object-schemas/v3/schemas"
    one = f"{base}/{{kind}}"
    return [
        Route(base, listing, methods=["GET"], name="schemas.list"),
        Route(base, create, methods=["POST"], name="schemas.create"),
        Route(one, read, methods=["GET"], name="schemas.read"),
        Route(one, update, methods=["PATCH"], name="schemas.update"),
        Route(one, delete, methods=["DELETE"], name="schemas.delete"),
        Route(f"{one}/associations", add_association, methods=["POST"], name="schemas.associate"),
        Route(
            f"{one}/associations/{{identifier}}",
            remove_association,
            methods=["DELETE"],
            name="schemas.dissociate",
        ),
    ]


def _kind(request: Request) -> Kind:
    return store_of(request).kind(request.path_params["kind"])


def _custom(kind: Kind) -> dict[str, Any]:
    if kind.custom is None:
        raise invalid(f"{kind.name} is an object type of HubSpot's own and cannot be changed")
    return kind.custom


def _associate(store: Store, left: Kind, right: Kind, name: Any = None) -> LinkType:
    return store.links.define_label(
        left.name, right.name, str(name or f"{left.singular}_to_{right.singular}"), None
    )[0]


def _shown(store: Store, kind: Kind) -> dict[str, Any]:
    custom = kind.custom is not None
    about = kind.custom or {
        "labels": {"singular": kind.singular, "plural": kind.name},
        "created": 0,
        "updated": 0,
    }
    return {
        "id": kind.type_id.split("-")[1],
        "objectTypeId": kind.type_id,
        "name": kind.name,
        "fullyQualifiedName": f"p{store.portal_id}_{kind.name}" if custom else kind.caps,
        "labels": about["labels"],
        "primaryDisplayProperty": about.get("primaryDisplayProperty"),
        "secondaryDisplayProperties": [],
        "requiredProperties": list(kind.required),
        "searchableProperties": list(kind.searchable),
        "properties": [p.document() for p in kind.properties.values() if p.archived is None],
        "associations": [
            _association(store, t, about["created"])
            for t in store.links.types.values()
            if kind.name in {t.source, t.target}
        ],
        "archived": False,
        "createdAt": iso(about["created"]),
        "updatedAt": iso(about["updated"]),
    }


def _association(store: Store, type_: LinkType, at: int) -> dict[str, Any]:
    return {
        "id": str(type_.id),
        "fromObjectTypeId": store.kinds[type_.source].type_id,
        "toObjectTypeId": store.kinds[type_.target].type_id,
        "name": type_.name,
        "createdAt": iso(at),
        "updatedAt": iso(at),
    }
