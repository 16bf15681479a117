"""The control surface ``/_simulator/``: what tests, demo and benchmarks do behind the API's back.

No token (the simulator only listens on the loopback), no limits, not counted. A mistake is a 400 with ``message``.

    GET  stats, POST stats/reset      counts of requests by family and status, refusals, records; start anew
    GET  settings, POST settings      the knobs (store.Settings); some or all of them
    POST edit      {object, id?, idProperty?, properties, associations?, user?}: a person writes; without id, creates
    POST do/archive, do/restore, do/erase   {object, id};  do/merge {object, primary, other}: a person does that
    POST touch     {object, id}: only the modification stamp moves, as by a calculated property
    GET  clock, POST clock            the simulator's time; {advance: seconds}
    GET  dump/contacts[?id=...]       every record with values, the history of each value, and links
    GET  webhooks, POST webhooks      deliveries so far; {target_url, app_id}
    POST tokens    {scopes?} another private app's token; {expire: true} OAuth access tokens end now
    GET  faults, POST faults          the fault plan in force; another one
"""

from dataclasses import asdict
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crm_sync.simulators.fault_plan import Plan
from crm_sync.simulators.hubspot import merging, writes
from crm_sync.simulators.hubspot.access import ALL_SCOPES, Access
from crm_sync.simulators.hubspot.acts import expire
from crm_sync.simulators.hubspot.clock import DAY, iso
from crm_sync.simulators.hubspot.errors import invalid
from crm_sync.simulators.hubspot.gate import Limits
from crm_sync.simulators.hubspot.http import answer, body_of, store_of
from crm_sync.simulators.hubspot.objects import links_in, person
from crm_sync.simulators.hubspot.records import Record
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Store
from crm_sync.simulators.hubspot.webhooks import Webhooks


async def stats(request: Request) -> Response:
    """GET: counts of requests by family and status, of records, and of what the limits refused."""
    store, limits = store_of(request), _limits(request)
    return answer({
        "requests": {name: n for name, n in sorted(store.stats.items()) if not name.startswith("status.")},
        "statuses": {name.removeprefix("status."): n for name, n in sorted(store.stats.items()) if name.startswith("status.")},
        "total": sum(n for name, n in store.stats.items() if name.startswith("status.")),
        "refused": dict(limits.refused),
        "records": {name: len(table.live) for name, table in store.tables.items()},
        "archived": {name: len(table.archived) for name, table in store.tables.items() if table.archived},
        "clock": iso(store.clock.now()),
    })  # fmt: skip


async def reset_stats(request: Request) -> Response:
    """POST: set all counts back to zero."""
    store_of(request).stats.clear()
    _limits(request).refused.clear()
    return answer({})


async def settings(request: Request) -> Response:
    """GET the settings; POST some of them to change them."""
    store = store_of(request)
    if request.method == "POST":
        try:
            store.settings.change(await body_of(request))
        except ValueError as error:
            raise invalid(str(error)) from error
    return answer(asdict(store.settings))


async def plan(request: Request) -> Response:
    """GET the report of the fault plan; POST another plan."""
    in_force: Plan = request.app.state.plan
    if request.method == "POST":
        try:
            in_force.replace(orjson.loads(await request.body()))
            store_of(request).settings.change(in_force.settings)
        except ValueError as error:
            raise invalid(str(error)) from error
    return answer({"faults": in_force.report()})


async def edit(request: Request) -> Response:
    """POST {object, id | idProperty+value, properties, user}: a person changes (or, without id, creates) a record."""
    store = store_of(request)
    document = await body_of(request)
    kind = store.kind(str(document.get("object")))
    source = person(int(document.get("user", 1)))
    properties = document.get("properties") or {}
    if "id" not in document:
        record = writes.create(store, kind, properties, links_in(store, kind, document), source)
    else:
        record = _record(store, kind, document)
        writes.update(store, kind, record, properties, source)
    return answer(_dumped(store, kind, record))


async def act(request: Request) -> Response:
    """POST {object, id, ...} to /archive, /restore, /erase, or {object, primary, other} to /merge, as a person."""
    store = store_of(request)
    document = await body_of(request)
    kind, source, what = store.kind(str(document.get("object"))), person(), request.path_params["what"]
    if what == "merge":
        primary, other = (_record(store, kind, {"id": document.get(name)}) for name in ("primary", "other"))
        return answer(_dumped(store, kind, merging.merge(store, kind, primary, other, source)))
    if what == "archive":
        writes.archive(store, kind, _record(store, kind, document), source)
    elif what == "restore":
        writes.restore(store, kind, _record(store, kind, document, archived=True), source)
    elif what == "erase":
        writes.erase(store, kind, _record(store, kind, document), source)
    else:
        raise invalid(f"Unknown action {what}; known are archive, restore, erase, merge")
    return answer({})


async def touch(request: Request) -> Response:
    """POST {object, id}: move the modification stamp, as HubSpot's own calculations do."""
    store = store_of(request)
    document = await body_of(request)
    kind = store.kind(str(document.get("object")))
    record = _record(store, kind, document)
    store.stamp(store.tables[kind.name], record, store.clock.now())
    return answer(_dumped(store, kind, record))


async def clock(request: Request) -> Response:
    """GET the simulator's time; POST {advance: seconds} to move it forward."""
    store = store_of(request)
    if request.method == "POST":
        seconds = (await body_of(request)).get("advance")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
            raise invalid("advance must be a number of seconds, 0 or more")
        store.clock.advance(round(seconds * 1000))
    return answer({"now": iso(store.clock.now()), "ahead_days": store.clock.ahead / DAY})


async def dump(request: Request) -> Response:
    """GET /dump/{object}[?id=]: every record with its values, the history of each changed value, and its links."""
    store = store_of(request)
    kind = store.kind(request.path_params["kind"])
    table = store.tables[kind.name]
    wanted = {int(n) for n in request.query_params.getlist("id") if n.isdigit()}
    rows = [r for r in (*table.live.values(), *table.archived.values()) if not wanted or r.id in wanted]
    return answer({
        "records": [_dumped(store, kind, record) for record in rows],
        "merged": {str(loser): str(survivor) for loser, survivor in table.merged.items()},
    })  # fmt: skip


async def webhooks(request: Request) -> Response:
    """GET: deliveries so far (the last 1,000) and how many events wait. POST {target_url, app_id}: set where they go."""
    sent: Webhooks = request.app.state.webhooks
    access: Access = request.app.state.access
    if request.method == "POST":
        document = await body_of(request)
        app = access.app_by_id(str(document.get("app_id")))
        if app is None:
            raise invalid("app_id must be the id of an app")
        sent.target(app).url = document.get("target_url")
    return answer({"deliveries": list(sent.log), "waiting": len(sent.waiting)})


async def tokens(request: Request) -> Response:
    """POST {scopes?, expire?: true}: a token of another private app; or let all OAuth access tokens expire now."""
    access: Access = request.app.state.access
    document = await body_of(request)
    if document.get("expire"):
        expire(access, store_of(request).clock.now())
        return answer({})
    app = access.add_app(str(document.get("name", "another private app")), private=True)
    scopes = frozenset(document.get("scopes", ALL_SCOPES))
    return answer(
        {
            "access_token": access.private_token(app, scopes),
            "app_id": app.id,
            "client_secret": app.client_secret,
        }
    )


def routes() -> list[Route]:
    base = "/_simulator"
    return [
        Route(f"{base}/stats", stats, methods=["GET"]),
        Route(f"{base}/stats/reset", reset_stats, methods=["POST"]),
        Route(f"{base}/settings", settings, methods=["GET", "POST"]),
        Route(f"{base}/faults", plan, methods=["GET", "POST"]),
        Route(f"{base}/edit", edit, methods=["POST"]),
        Route(f"{base}/touch", touch, methods=["POST"]),
        Route(f"{base}/clock", clock, methods=["GET", "POST"]),
        Route(f"{base}/webhooks", webhooks, methods=["GET", "POST"]),
        Route(f"{base}/tokens", tokens, methods=["POST"]),
        Route(f"{base}/dump/{{kind}}", dump, methods=["GET"]),
        Route(f"{base}/do/{{what}}", act, methods=["POST"]),
    ]


def _record(store: Store, kind: Kind, document: dict[str, Any], *, archived: bool = False) -> Record:
    return store.find(
        store.tables[kind.name], str(document.get("id")), document.get("idProperty"), archived=archived
    )


def _dumped(store: Store, kind: Kind, record: Record) -> dict[str, Any]:
    history: dict[str, list[dict[str, Any]]] = {}
    for change in record.trail or ():
        history.setdefault(change.name, []).append(
            {
                "value": change.value,
                "at": iso(change.at),
                "source": change.source,
                "sourceId": change.source_id,
            }
        )
    links: dict[str, dict[str, list[int]]] = {}
    for other, number, types in store.links.all_of(kind.name, record.id):
        links.setdefault(other, {})[str(number)] = list(types)
    return {
        "id": str(record.id),
        "values": record.values,
        "created": iso(record.created),
        "modified": iso(record.modified),
        "archived": None if record.archived is None else iso(record.archived),
        "history": history,
        "associations": links,
    }


def _limits(request: Request) -> Limits:
    limits: Limits = request.app.state.limits
    return limits
