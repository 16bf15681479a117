"""Requests about webhook subscriptions and settings of an app (webhooks API v3 and dated). Delivery is in webhooks.py."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from crm_sync.simulators.hubspot.access import Access
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
)
from crm_sync.simulators.hubspot.webhooks import (
    EVENT_TYPES,
    MAX_SUBSCRIPTIONS,
    Subscription,
    Target,
    Webhooks,
)

_NOT_SUBSCRIBABLE = {"num_unique_conversion_events", "hs_lastmodifieddate"}


async def listing(request: Request) -> Response:
    _, target = _target(request)
    return answer({"results": [each.document() for each in target.subscriptions.values()]})


async def create(request: Request) -> Response:
    webhooks, target = _target(request)
    document = await body_of(request)
    event_type, name = document.get("eventType"), document.get("propertyName")
    if event_type not in EVENT_TYPES or event_type == "product.associationChange":
        raise invalid(f"{event_type} is not an event type")
    if str(event_type).endswith("propertyChange") and not name:
        raise invalid("propertyName is required for propertyChange")
    if name in _NOT_SUBSCRIBABLE:
        raise invalid(f"The property {name} cannot be subscribed to")
    if str(event_type).startswith("object.") and not document.get("objectTypeId"):
        raise invalid("objectTypeId is required for object events")
    object_type_id = document.get("objectTypeId")
    if any(
        (s.event_type, s.property_name, s.object_type_id) == (event_type, name, object_type_id)
        for s in target.subscriptions.values()
    ):
        raise ApiError(409, "A subscription of this kind already exists", "OBJECT_ALREADY_EXISTS")
    if len(target.subscriptions) >= MAX_SUBSCRIPTIONS:
        raise invalid(f"An app can have at most {MAX_SUBSCRIPTIONS} subscriptions")
    now = webhooks.store.clock.now()
    made = Subscription(
        webhooks.next_id, str(event_type), name, object_type_id, bool(document.get("active")), now, now
    )
    webhooks.next_id += 1
    target.subscriptions[made.id] = made
    return answer(made.document(), 201)


async def read(request: Request) -> Response:
    _, target = _target(request)
    return answer(_find(target, request.path_params["id"]).document())


async def update(request: Request) -> Response:
    webhooks, target = _target(request)
    found = _find(target, request.path_params["id"])
    _activate(webhooks, found, await body_of(request))
    return answer(found.document())


async def batch_update(request: Request) -> Response:
    webhooks, target = _target(request)
    done = []
    for each in inputs_of(await body_of(request), 100):
        found = _find(target, each.get("id"))
        _activate(webhooks, found, each)
        done.append(found.document())
    return batch_answer(webhooks.store, done)


async def delete(request: Request) -> Response:
    _, target = _target(request)
    del target.subscriptions[_find(target, request.path_params["id"]).id]
    return no_content()


async def read_settings(request: Request) -> Response:
    _, target = _target(request)
    if target.url is None:
        raise not_found("No webhook settings exist for this app")
    return answer(_settings(target))


async def put_settings(request: Request) -> Response:
    webhooks, target = _target(request)
    document = await body_of(request)
    url = document.get("targetUrl")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise invalid("targetUrl must be a URL")
    now = webhooks.store.clock.now()
    target.url, target.updated, target.created = url, now, target.created or now
    target.concurrent = int(
        (document.get("throttling") or {}).get("maxConcurrentRequests", target.concurrent)
    )
    return answer(_settings(target))


async def delete_settings(request: Request) -> Response:
    _, target = _target(request)
    target.url = None
    return no_content()


def routes() -> list[Route]:
    base = "/webhooks/v3/{app_id}"
    rows, one, about = f"{base}/subscriptions", f"{base}/subscriptions/{{id}}", f"{base}/settings"
    return [
        Route(rows, listing, methods=["GET"], name="webhooks.list"),
        Route(rows, create, methods=["POST"], name="webhooks.create"),
        Route(f"{rows}/batch/update", batch_update, methods=["POST"], name="webhooks.batch-update"),
        Route(one, read, methods=["GET"], name="webhooks.read"),
        Route(one, update, methods=["PATCH"], name="webhooks.update"),
        Route(one, delete, methods=["DELETE"], name="webhooks.delete"),
        Route(about, read_settings, methods=["GET"], name="webhooks.settings"),
        Route(about, put_settings, methods=["PUT"], name="webhooks.put-settings"),
        Route(about, delete_settings, methods=["DELETE"], name="webhooks.delete-settings"),
    ]


def _target(request: Request) -> tuple[Webhooks, Target]:
    access: Access = request.app.state.access
    webhooks: Webhooks = request.app.state.webhooks
    app = access.app_by_id(request.path_params["app_id"])
    if app is None:
        raise not_found(f"No app {request.path_params['app_id']}")
    return webhooks, webhooks.target(app)


def _find(target: Target, given: Any) -> Subscription:
    found = target.subscriptions.get(number_of(given, "subscriptionId"))
    if found is None:
        raise not_found(f"No subscription {given}")
    return found


def _activate(webhooks: Webhooks, found: Subscription, document: dict[str, Any]) -> None:
    if not isinstance(document.get("active"), bool):
        raise invalid("active must be true or false")
    found.active = document["active"]
    found.updated = webhooks.store.clock.now()


def _settings(target: Target) -> dict[str, Any]:
    return {
        "targetUrl": target.url,
        "throttling": {"maxConcurrentRequests": target.concurrent},
        "createdAt": iso(target.created),
        "updatedAt": iso(target.updated),
    }
