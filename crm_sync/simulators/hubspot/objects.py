"""Requests about single records: list, read, create, update, archive, merge, erase (CRM objects API).

Here: HTTP in and out, and how a record is shown. Not here: the rules (writes.py), batches (batch.py).
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from crm_sync.simulators.hubspot import merging, writes
from crm_sync.simulators.hubspot.clock import DAY
from crm_sync.simulators.hubspot.errors import ApiError, invalid, not_found
from crm_sync.simulators.hubspot.http import (
    Route,
    answer,
    body_of,
    flag_of,
    limit_of,
    names_of,
    no_content,
    number_of,
    source_of,
    store_of,
)
from crm_sync.simulators.hubspot.links import HUBSPOT, LinkType
from crm_sync.simulators.hubspot.records import Record
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Source, Store
from crm_sync.simulators.hubspot.trouble import refuse
from crm_sync.simulators.hubspot.view import View, show_written

BIN_DAYS = 90
MAX_PROPERTIES_LENGTH = 14_000


def properties_in(document: dict[str, Any]) -> dict[str, Any]:
    """The ``properties`` of a write. Raises ApiError 400."""
    properties = document.get("properties")
    if not isinstance(properties, dict):
        raise invalid("Invalid input JSON: properties must be an object")
    return properties


def links_in(store: Store, kind: Kind, document: dict[str, Any]) -> list[tuple[str, int, list[LinkType]]]:
    """The ``associations`` of a create: (kind, id, types). Raises ApiError 400."""
    found = []
    for each in document.get("associations") or []:
        types = [link_type(store, kind, None, spec) for spec in each.get("types") or []]
        if not types:
            raise invalid("associations: types must not be empty")
        target = number_of((each.get("to") or {}).get("id"), "associations: to.id")
        other = types[0].target
        if target not in store.tables[other].live:
            raise invalid(
                f"{store.kinds[other].caps}={target} is not valid",
                errors=[{"message": "invalid association"}],
            )
        found.append((other, target, types))
    return found


def link_type(store: Store, kind: Kind, other: Kind | None, spec: dict[str, Any]) -> LinkType:
    """The association type a spec names, which must go from ``kind`` (to ``other``). Raises ApiError 400."""
    number = spec.get("associationTypeId")
    category = spec.get("associationCategory", HUBSPOT)
    found = (
        store.links.types.get(int(number))
        if isinstance(number, int | str) and str(number).isdigit()
        else None
    )
    if (
        found is None
        or found.category != category
        or found.source != kind.name
        or (other and found.target != other.name)
    ):
        there = f" to {other.name}" if other else ""
        raise invalid(
            f"associationTypeId {number} ({category}) is not an association type from {kind.name}{there}"
        )
    return found


async def listing(request: Request) -> Response:
    store, kind = _target(request)
    history = names_of(request, "propertiesWithHistory")
    limit = limit_of(request, 10, 50 if history else 100)
    after = request.query_params.get("after", "0")
    if not after.isdigit():
        raise invalid(f"Invalid after: {after}")
    archived = flag_of(request, "archived")
    if archived:
        _empty_bin(store, kind)
    view = View(store, kind, _requested(request), history, names_of(request, "associations"))
    records, more = store.tables[kind.name].page(int(after), limit, archived=archived)
    document: dict[str, Any] = {"results": [view.show(record) for record in records]}
    if more is not None:
        query = request.query_params
        rest = "&".join(f"{k}={v}" for k, v in query.multi_items() if k != "after")
        link = f"{store.base_url}{request.scope['state']['path']}?{rest}&after={more}"
        document["paging"] = {"next": {"after": str(more), "link": link}}
    return answer(document)


async def read(request: Request) -> Response:
    store, kind = _target(request)
    archived = flag_of(request, "archived")
    if archived:
        _empty_bin(store, kind)
    record = store.find(
        store.tables[kind.name],
        request.path_params["id"],
        request.query_params.get("idProperty"),
        archived=archived,
    )
    view = View(
        store,
        kind,
        _requested(request),
        names_of(request, "propertiesWithHistory"),
        names_of(request, "associations"),
    )
    return answer(view.show(record))


async def create(request: Request) -> Response:
    store, kind = _target(request)
    document = await body_of(request)
    links = links_in(store, kind, document)
    refuse(store, kind)
    record = writes.create(store, kind, properties_in(document), links, source_of(request))
    shown = show_written(kind, record)
    if document.get("objectWriteTraceId"):
        shown["objectWriteTraceId"] = document["objectWriteTraceId"]
    return answer(shown, 201)


async def update(request: Request) -> Response:
    store, kind = _target(request)
    document = await body_of(request)
    record = store.find(
        store.tables[kind.name], request.path_params["id"], request.query_params.get("idProperty")
    )
    refuse(store, kind)
    names = writes.update(store, kind, record, properties_in(document), source_of(request))
    return answer(show_written(kind, record, [*names, *properties_in(document)]))


async def archive(request: Request) -> Response:
    store, kind = _target(request)
    record = store.look_up(store.tables[kind.name], request.path_params["id"])
    if record is not None:
        writes.archive(store, kind, record, source_of(request))
    return no_content()


async def merge(request: Request) -> Response:
    store, kind = _target(request)
    document = await body_of(request)
    table = store.tables[kind.name]
    found: list[Record] = []
    for name in ("primaryObjectId", "objectIdToMerge"):
        number = number_of(document.get(name), name)
        record = table.live.get(number)
        if record is None:
            raise invalid(
                f"{name} {number} is not a valid {kind.singular} or is already in the process of being merged"
            )
        found.append(record)
    survivor = merging.merge(store, kind, found[0], found[1], source_of(request))
    return answer(show_written(kind, survivor))


async def gdpr_delete(request: Request) -> Response:
    store, kind = _target(request)
    document = await body_of(request)
    key, id_property = str(document.get("objectId", "")), document.get("idProperty")
    record = store.look_up(store.tables[kind.name], key, id_property)
    record = record or store.look_up(store.tables[kind.name], key, id_property, archived=True)
    if record is not None:
        writes.erase(store, kind, record, source_of(request))
    elif id_property == "email":
        store.blocked_emails.add(key.strip().lower())
    else:
        raise not_found()
    return no_content()


def routes() -> list[Route]:
    base = "/crm/v3/objects/{kind}"
    return [
        Route(base, listing, methods=["GET"], name="objects.list"),
        Route(base, create, methods=["POST"], name="objects.create"),
        Route(base + "/merge", merge, methods=["POST"], name="objects.merge"),
        Route(base + "/gdpr-delete", gdpr_delete, methods=["POST"], name="objects.gdpr-delete"),
        Route(base + "/{id}", read, methods=["GET"], name="objects.read"),
        Route(base + "/{id}", update, methods=["PATCH"], name="objects.update"),
        Route(base + "/{id}", archive, methods=["DELETE"], name="objects.archive"),
    ]


def person(user: int = 1) -> Source:
    """The source of an edit made by hand in the user interface."""
    return Source("CRM_UI", f"userId:{user}")


def _target(request: Request) -> tuple[Store, Kind]:
    store = store_of(request)
    return store, store.kind(request.path_params["kind"])


def _requested(request: Request) -> list[str]:
    names = names_of(request, "properties")
    if len(request.scope["query_string"]) > MAX_PROPERTIES_LENGTH:
        raise ApiError(414, "URI Too Long", "URI_TOO_LONG")
    return names


def _empty_bin(store: Store, kind: Kind) -> None:
    """Records in the recycle bin for more than 90 days are gone."""
    table = store.tables[kind.name]
    oldest = store.clock.now() - BIN_DAYS * DAY
    for number in [n for n, r in table.archived.items() if r.archived is not None and r.archived < oldest]:
        del table.archived[number]
