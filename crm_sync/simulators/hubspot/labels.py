"""Requests about association types: labels of the portal's own, and limits per pair (associations schema API v4)."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from crm_sync.simulators.hubspot.clock import iso
from crm_sync.simulators.hubspot.errors import ApiError, invalid, not_found
from crm_sync.simulators.hubspot.http import (
    Route,
    answer,
    batch_answer,
    body_of,
    inputs_of,
    no_content,
    number_of,
    store_of,
)
from crm_sync.simulators.hubspot.links import USER
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Store

MAX_CONFIGURATIONS = 100


async def listing(request: Request) -> Response:
    store, left, right = _sides(request)
    return answer({"results": [t.spec() for t in store.links.between(left.name, right.name)]})


async def create(request: Request) -> Response:
    store, left, right = _sides(request)
    document = await body_of(request)
    name, label = document.get("name"), document.get("label")
    if not isinstance(name, str) or not isinstance(label, str) or not name or not label:
        raise invalid("name and label are required")
    if any(t.name == name or t.label == label for t in store.links.between(left.name, right.name)):
        raise ApiError(
            409, f"A label named {name} already exists between these objects", "OBJECT_ALREADY_EXISTS"
        )
    pair = store.links.define_label(left.name, right.name, name, label, document.get("inverseLabel"))
    return answer({"results": [each.spec() for each in pair]})


async def update(request: Request) -> Response:
    store, _, _ = _sides(request)
    document = await body_of(request)
    number = number_of(document.get("associationTypeId"), "associationTypeId")
    if not store.links.relabel(number, str(document.get("label", "")), document.get("inverseLabel")):
        raise not_found("No label of this account has this associationTypeId")
    return no_content()


async def delete(request: Request) -> Response:
    store, _, _ = _sides(request)
    number = number_of(request.path_params["type"], "associationTypeId")
    found = store.links.types.get(number)
    if found is None or found.category != USER:
        raise not_found("No label of this account has this associationTypeId")
    store.links.remove_label(number)
    return no_content()


async def configurations(request: Request) -> Response:
    store = store_of(request)
    rows = [_shown(store, *key, limit) for key, limit in sorted(store.link_limits.items())]
    if "left" in request.path_params:
        _, left, right = _sides(request)
        rows = [
            r for r in rows if (r["fromObjectTypeId"], r["toObjectTypeId"]) == (left.type_id, right.type_id)
        ]
    return answer({"results": rows})


async def configure(request: Request) -> Response:
    """Create, update or purge the greatest number of records of a type that one record may be linked to."""
    store, left, right = _sides(request)
    done = []
    for each in inputs_of(await body_of(request), MAX_CONFIGURATIONS):
        number = number_of(each.get("typeId"), "typeId")
        key = (left.name, right.name, number)
        if number not in {t.id for t in store.links.between(left.name, right.name)}:
            raise invalid(f"typeId {number} is not an association type from {left.name} to {right.name}")
        if request.path_params["step"] == "purge":
            store.link_limits.pop(key, None)
        else:
            store.link_limits[key] = number_of(each.get("maxToObjectIds"), "maxToObjectIds")
            done.append(_shown(store, *key, store.link_limits[key]))
    if request.path_params["step"] == "purge":
        return no_content()
    return batch_answer(store, done)


async def v3_types(request: Request) -> Response:
    store, left, right = _sides(request)
    return answer(
        {"results": [{"id": str(t.id), "name": t.name} for t in store.links.between(left.name, right.name)]}
    )


async def high_usage_report(request: Request) -> Response:
    store = store_of(request)
    owner = next((o for o in store.owners.values() if str(o["userId"]) == request.path_params["user"]), None)
    if owner is None:
        raise not_found("No user with this id")
    return answer(
        {"userId": owner["userId"], "userEmail": owner["email"], "enqueueTime": iso(store.clock.now())}
    )


def routes() -> list[Route]:
    base = "/crm/v4/associations"
    labels = f"{base}/{{left}}/{{right}}/labels"
    defined = f"{base}/definitions/configurations"
    return [
        Route(
            f"{base}/usage/high-usage-report/{{user}}",
            high_usage_report,
            methods=["POST"],
            name="labels.report",
        ),
        Route("/crm/v3/associations/{left}/{right}/types", v3_types, methods=["GET"], name="labels.types"),
        Route(f"{defined}/all", configurations, methods=["GET"], name="labels.configurations"),
        Route(f"{defined}/{{left}}/{{right}}", configurations, methods=["GET"], name="labels.configurations"),
        Route(
            f"{defined}/{{left}}/{{right}}/batch/{{step}}",
            configure,
            methods=["POST"],
            name="labels.configure",
        ),
        Route(labels, listing, methods=["GET"], name="labels.list"),
        Route(labels, create, methods=["POST"], name="labels.create"),
        Route(labels, update, methods=["PUT"], name="labels.update"),
        Route(f"{labels}/{{type}}", delete, methods=["DELETE"], name="labels.delete"),
    ]


def _sides(request: Request) -> tuple[Store, Kind, Kind]:
    store = store_of(request)
    return store, store.kind(request.path_params["left"]), store.kind(request.path_params["right"])


def _shown(store: Store, left: str, right: str, number: int, limit: int) -> dict[str, Any]:
    type_ = store.links.types[number]
    return {
        "fromObjectTypeId": store.kinds[left].type_id,
        "toObjectTypeId": store.kinds[right].type_id,
        "category": type_.category,
        "typeId": number,
        "label": type_.label,
        "maxToObjectIds": limit,
        "userEnforcedMaxToObjectIds": limit,
    }
