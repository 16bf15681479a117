"""Small read-only families: owners, account information, usage limits (owners, account-info and limits APIs)."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from crm_sync.simulators.hubspot.catalog import CURRENCIES
from crm_sync.simulators.hubspot.clock import datetime_of, iso
from crm_sync.simulators.hubspot.errors import not_found
from crm_sync.simulators.hubspot.gate import ZONE, Limits, day_end, day_number
from crm_sync.simulators.hubspot.http import Route, answer, flag_of, limit_of, store_of

MAX_OWNERS_PAGE = 500
RECORD_LIMIT = 15_000_000


async def owners(request: Request) -> Response:
    store = store_of(request)
    limit = limit_of(request, 100, MAX_OWNERS_PAGE)
    archived, email = flag_of(request, "archived"), request.query_params.get("email", "").lower()
    after = int(request.query_params.get("after") or 0)
    rows = [
        o
        for o in store.owners.values()
        if o["archived"] == archived and email in {"", o["email"]} and int(o["id"]) >= after
    ]
    document: dict[str, Any] = {"results": rows[:limit]}
    if len(rows) > limit:
        document["paging"] = {"next": {"after": rows[limit]["id"]}}
    return answer(document)


async def owner(request: Request) -> Response:
    store = store_of(request)
    key = "userId" if request.query_params.get("idProperty") == "userId" else "id"
    archived = flag_of(request, "archived")
    for each in store.owners.values():
        if str(each[key]) == request.path_params["id"] and each["archived"] == archived:
            return answer(each)
    raise not_found(f"No owner with {key} {request.path_params['id']}")


async def details(request: Request) -> Response:
    store = store_of(request)
    offset = _offset(store.clock.now())
    return answer({
        "portalId": store.portal_id, "accountType": "STANDARD", "timeZone": str(ZONE), "companyCurrency": "USD",
        "additionalCurrencies": [c for c in CURRENCIES if c != "USD"], "utcOffset": _offset_text(offset),
        "utcOffsetMilliseconds": offset, "uiDomain": "app.hubspot.com", "dataHostingLocation": "na1",
    })  # fmt: skip


async def usage(request: Request) -> Response:
    store = store_of(request)
    limits: Limits = request.app.state.limits
    now = store.clock.now()
    return answer({"results": [{
        "name": "private-apps-api-calls-daily", "usageLimit": store.settings.daily, "currentUsage": limits.today[day_number(now)],
        "collectedAt": iso(now), "fetchStatus": "SUCCESS", "resetsAt": iso(day_end(now)),
    }]})  # fmt: skip


async def record_limits(request: Request) -> Response:
    store = store_of(request)
    return answer({
        "hubspotDefinedObjectTypes": [
            {"objectTypeId": kind.type_id, "singularLabel": kind.singular, "pluralLabel": kind.name,
             "limit": RECORD_LIMIT, "usage": len(store.tables[kind.name].live),
             "percentage": 100 * len(store.tables[kind.name].live) / RECORD_LIMIT}
            for kind in store.kinds.values() if kind.custom is None
        ],
        "customObjectTypes": {"overallLimit": RECORD_LIMIT, "overallUsage": 0, "overallPercentage": 0, "byObjectType": []},
    })  # fmt: skip


async def property_limits(request: Request) -> Response:
    store = store_of(request)
    return answer({"byObjectType": [
        {"objectTypeId": kind.type_id, "singularLabel": kind.singular, "pluralLabel": kind.name, "limit": 1000,
         "usage": (used := sum(not p.standard and p.archived is None for p in kind.properties.values())), "percentage": used / 10}
        for kind in store.kinds.values()
    ]})  # fmt: skip


async def pipeline_limits(request: Request) -> Response:
    store = store_of(request)
    return answer({"hubspotDefinedObjectTypes": [
        {"objectTypeId": store.kinds[name].type_id, "singularLabel": store.kinds[name].singular, "pluralLabel": name,
         "limit": 100, "usage": len(pipelines), "percentage": len(pipelines)}
        for name, pipelines in store.pipelines.items()
    ], "customObjectTypes": {"byObjectType": []}})  # fmt: skip


def routes() -> list[Route]:
    return [
        Route("/crm/v3/owners", owners, methods=["GET"], name="owners.list"),
        Route("/crm/v3/owners/{id}", owner, methods=["GET"], name="owners.read"),
        Route("/account-info/v3/details", details, methods=["GET"], name="account.details"),
        Route("/account-info/v3/api-usage/daily/private-apps", usage, methods=["GET"], name="account.usage"),
        Route("/crm/v3/limits/records", record_limits, methods=["GET"], name="limits.records"),
        Route("/crm/v3/limits/custom-properties", property_limits, methods=["GET"], name="limits.properties"),
        Route("/crm/v3/limits/pipelines", pipeline_limits, methods=["GET"], name="limits.pipelines"),
    ]


def _offset(now: int) -> int:
    """How far the portal's zone is from UTC at ``now``, in ms."""
    shift = datetime_of(now).astimezone(ZONE).utcoffset()
    return 0 if shift is None else round(shift.total_seconds() * 1000)


def _offset_text(offset: int) -> str:
    minutes = abs(offset) // 60_000
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
