"""Requests about associations: v4 and dated, and the v3 ones today's SDKs still use.

Here: HTTP. Not here: the links themselves (links.py) and what linking does to records (writes.py).
"""

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from crm_sync.simulators.hubspot import linking
from crm_sync.simulators.hubspot.errors import ApiError, invalid, not_found
from crm_sync.simulators.hubspot.http import (
    Route,
    answer,
    batch_answer,
    body_of,
    inputs_of,
    limit_of,
    no_content,
    number_of,
    source_of,
    store_of,
    version_of,
)
from crm_sync.simulators.hubspot.links import LinkType
from crm_sync.simulators.hubspot.objects import link_type
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Store
from crm_sync.simulators.hubspot.view import View

MAX_CREATE, MAX_READ = 2_000, 1_000
MAX_PAGE = 500
BATCH_PAGE = 1_000


async def batch_create(request: Request) -> Response:
    return await _batch_link(request, default=False)


async def batch_default(request: Request) -> Response:
    return await _batch_link(request, default=True)


async def batch_read(request: Request) -> Response:
    store, left, right = _sides(request)
    inputs = inputs_of(await body_of(request), MAX_READ)
    v3 = version_of(request) == "v3"
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for each in inputs:
        number = number_of(each.get("id"), "id")
        found = sorted(store.links.of(left.name, number, right.name).items())
        if not found:
            message = f"No {right.singular} is associated with {left.singular} {number}."
            trouble = ApiError(
                404, message, "OBJECT_NOT_FOUND", subCategory="crm.associations.NO_ASSOCIATIONS_FOUND"
            )
            errors.append(trouble.in_batch({"fromObjectId": [str(number)]}))
            continue
        after = number_of(each.get("after") or 0, "after")
        page = [item for item in found if item[0] >= after]
        shown: dict[str, Any] = {"from": {"id": str(number)}, "to": _targets(store, page[:BATCH_PAGE], v3=v3)}
        if len(page) > BATCH_PAGE:
            shown["paging"] = {"next": {"after": str(page[BATCH_PAGE][0])}}
        results.append(shown)
    return batch_answer(store, results, errors, 200)


async def batch_archive(request: Request) -> Response:
    store, left, right = _sides(request)
    v3 = version_of(request) == "v3"
    for each in inputs_of(await body_of(request), MAX_CREATE):
        number = number_of((each.get("from") or {}).get("id"), "from.id")
        targets = each.get("to") or []
        types = _type_by_name(store, left, right, each.get("type")) if v3 else None
        for target in [targets] if isinstance(targets, dict) else targets:
            wanted = None if types is None else [types.id]
            linking.unlink(
                store,
                (left, number),
                (right, number_of(target.get("id"), "to.id")),
                wanted,
                source_of(request),
            )
    return _archived(request, store)


async def batch_labels_archive(request: Request) -> Response:
    store, left, right = _sides(request)
    for each in inputs_of(await body_of(request), MAX_CREATE):
        one, other = _pair(each)
        types = [link_type(store, left, right, spec).id for spec in each.get("types") or []]
        linking.unlink(store, (left, one), (right, other), types, source_of(request))
    return _archived(request, store)


async def of_record(request: Request) -> Response:
    """One record's associations with one object type, paged."""
    store, left, right = _sides(request)
    number = _existing(store, left, request.path_params["id"])
    limit = limit_of(request, MAX_PAGE, MAX_PAGE)
    after = number_of(request.query_params.get("after", "0"), "after")
    found = [
        item for item in sorted(store.links.of(left.name, number, right.name).items()) if item[0] >= after
    ]
    v3 = version_of(request) == "v3"
    document: dict[str, Any] = {"results": _targets(store, found[:limit], v3=v3)}
    if len(found) > limit:
        more = str(found[limit][0])
        link = f"{store.base_url}{request.scope['state']['path']}?limit={limit}&after={more}"
        document["paging"] = {"next": {"after": more, "link": link}}
    return answer(document)


async def put_default(request: Request) -> Response:
    store, left, right = _sides(request)
    one, other = (
        _existing(store, left, request.path_params["id"]),
        _existing(store, right, request.path_params["other_id"]),
    )
    plain = _plain(store, left, right)
    linking.link(store, (left, one), (right, other), [plain], source_of(request))
    return batch_answer(store, [_default_shown(plain, one, other)], [], 200)


async def put_labels(request: Request) -> Response:
    store, left, right = _sides(request)
    one, other = (
        _existing(store, left, request.path_params["id"]),
        _existing(store, right, request.path_params["other_id"]),
    )
    specs = await _list_of(request)
    types = [link_type(store, left, right, spec) for spec in specs]
    linking.link(store, (left, one), (right, other), types, source_of(request), replace=True)
    return answer(_pair_shown((left, one), (right, other), types), 201)


async def delete(request: Request) -> Response:
    store, left, right = _sides(request)
    one, other = (number_of(request.path_params[name], name) for name in ("id", "other_id"))
    types = None
    if "type" in request.path_params:
        types = [_type_by_name(store, left, right, request.path_params["type"]).id]
    linking.unlink(store, (left, one), (right, other), types, source_of(request))
    return no_content()


async def put_v3(request: Request) -> Response:
    """PUT .../associations/{to}/{id}/{type}: answers with the record."""
    store, left, right = _sides(request)
    one, other = (
        _existing(store, left, request.path_params["id"]),
        _existing(store, right, request.path_params["other_id"]),
    )
    type_ = _type_by_name(store, left, right, request.path_params["type"])
    linking.link(store, (left, one), (right, other), [type_], source_of(request))
    return answer(View(store, left, associations=[right.name]).show(store.tables[left.name].live[one]))


def routes() -> list[Route]:
    made: list[Route] = []
    for version in ("v3", "v4"):
        batch = f"/crm/{version}/associations/{{left}}/{{right}}/batch"
        one = f"/crm/{version}/objects/{{left}}/{{id}}/associations"
        pair = one + "/{right}/{other_id}"
        made += [
            _post(f"{batch}/create", batch_create, "create"),
            _post(f"{batch}/associate/default", batch_default, "default"),
            _post(f"{batch}/read", batch_read, "read"),
            _post(f"{batch}/archive", batch_archive, "archive"),
            _post(f"{batch}/labels/archive", batch_labels_archive, "labels-archive"),
            Route(
                f"{one}/default/{{right}}/{{other_id}}",
                put_default,
                methods=["PUT"],
                name="associations.put-default",
            ),
            Route(f"{one}/{{right}}", of_record, methods=["GET"], name="associations.of-record"),
            Route(pair, put_labels, methods=["PUT"], name="associations.put"),
            Route(pair, delete, methods=["DELETE"], name="associations.delete"),
            Route(f"{pair}/{{type}}", put_v3, methods=["PUT"], name="associations.put-v3"),
            Route(f"{pair}/{{type}}", delete, methods=["DELETE"], name="associations.delete-v3"),
        ]
    return made


def _post(path: str, endpoint: Any, name: str) -> Route:
    return Route(path, endpoint, methods=["POST"], name=f"associations.{name}")


async def _batch_link(request: Request, *, default: bool) -> Response:
    store, left, right = _sides(request)
    v3 = version_of(request) == "v3"
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for each in inputs_of(await body_of(request), MAX_CREATE):
        one, other = _pair(each)
        if default:
            types = [_plain(store, left, right)]
        elif v3:
            types = [_type_by_name(store, left, right, each.get("type"))]
        else:
            types = [link_type(store, left, right, spec) for spec in each.get("types") or []]
        if not types:
            raise invalid("types must not be empty")
        absent = next(
            (f"{k.caps}={n}" for k, n in ((left, one), (right, other)) if n not in store.tables[k.name].live),
            None,
        )
        if absent is not None:
            errors.append(invalid(f"{absent} is not valid").in_batch())
            continue
        linking.link(store, (left, one), (right, other), types, source_of(request))
        if default:
            results.append(_default_shown(types[0], one, other))
        elif v3:
            results.append({"from": {"id": str(one)}, "to": {"id": str(other)}, "type": types[0].name})
        else:
            results.append(_pair_shown((left, one), (right, other), types))
    # The v3 answer is documented as 201; for a while in 2025 it was 200, which broke the SDKs of the day.
    created = {"v3": store.settings.v3_association_status, "v4": 200 if default else 201}.get(
        version_of(request), 200
    )
    return batch_answer(store, results, errors, created)


def _sides(request: Request) -> tuple[Store, Kind, Kind]:
    store = store_of(request)
    return store, store.kind(request.path_params["left"]), store.kind(request.path_params["right"])


def _existing(store: Store, kind: Kind, given: Any) -> int:
    number = number_of(given, "id")
    if number not in store.tables[kind.name].live:
        raise not_found(f"{kind.caps}={number} is not valid")
    return number


def _pair(each: dict[str, Any]) -> tuple[int, int]:
    return number_of((each.get("from") or {}).get("id"), "from.id"), number_of(
        (each.get("to") or {}).get("id"), "to.id"
    )


def _plain(store: Store, left: Kind, right: Kind) -> LinkType:
    plain = store.links.plain(left.name, right.name)
    if plain is None:
        raise invalid(f"{left.name} cannot be associated with {right.name}")
    return plain


def _type_by_name(store: Store, left: Kind, right: Kind, given: Any) -> LinkType:
    """A v3 association type: its name or id."""
    for each in store.links.between(left.name, right.name):
        if str(given) in {each.name, str(each.id)}:
            return each
    raise invalid(f"{given} is not an association type from {left.name} to {right.name}")


async def _list_of(request: Request) -> list[dict[str, Any]]:
    document = await request.json()
    if not isinstance(document, list) or not document or not all(isinstance(each, dict) for each in document):
        raise invalid("Invalid input JSON: a list of association types was expected")
    return document


def _targets(store: Store, found: Iterable[tuple[int, tuple[int, ...]]], *, v3: bool) -> list[dict[str, Any]]:
    known = store.links.types
    if v3:
        return [{"id": str(other), "type": known[each].name} for other, types in found for each in types]
    return [
        {"toObjectId": other, "associationTypes": [known[each].spec() for each in types]}
        for other, types in found
    ]


def _pair_shown(left: linking.End, right: linking.End, types: Iterable[LinkType]) -> dict[str, Any]:
    return {
        "fromObjectTypeId": left[0].type_id,
        "fromObjectId": left[1],
        "toObjectTypeId": right[0].type_id,
        "toObjectId": right[1],
        "labels": [each.label for each in types if each.label is not None],
    }


def _default_shown(plain: LinkType, one: int, other: int) -> dict[str, Any]:
    spec = {"associationCategory": plain.category, "associationTypeId": plain.id}
    return {"from": {"id": str(one)}, "to": {"id": str(other)}, "associationSpec": spec}


def _archived(request: Request, store: Store) -> Response:
    """204 in v3 and v4, a batch answer in the dated versions (OpenAPI documents)."""
    if version_of(request) in {"v3", "v4"}:
        return no_content()
    return batch_answer(store, [])
