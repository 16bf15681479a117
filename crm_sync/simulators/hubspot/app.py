"""The HubSpot simulator put together: store, routes, gate, faults. Not here: sockets and TLS (serve.py)."""

from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from crm_sync.simulators.faults import FaultMiddleware, Vendor
from crm_sync.simulators.hubspot import (
    account,
    acts,
    associations,
    batch,
    control,
    exports,
    labels,
    oauth,
    objects,
    pipelines,
    properties,
    schemas,
    search,
    seed,
    subscriptions,
)
from crm_sync.simulators.hubspot.access import ALL_SCOPES, Access
from crm_sync.simulators.hubspot.errors import ApiError, answer_fault, not_found
from crm_sync.simulators.hubspot.gate import Gate, Limits
from crm_sync.simulators.hubspot.http import refuse
from crm_sync.simulators.hubspot.store import Store
from crm_sync.simulators.hubspot.webhooks import Webhooks
from crm_sync.simulators.serve import App, Options

API_VERSION = "2026-09"
# Search and batch come before objects: /search and /batch would else be taken for ids.
MODULES = (
    search,
    batch,
    objects,
    associations,
    labels,
    properties,
    pipelines,
    account,
    schemas,
    exports,
    subscriptions,
    oauth,
    control,
)


def create(options: Options) -> App:
    """A portal with its data, one private app and one OAuth app, ready to be served."""
    store = Store(options.seed, options.plan)
    store.settings.change(options.plan.settings)
    seed.fill(store, options.records, options.companies, options.deals, options.seed)
    access = Access()
    limits = Limits(store)
    private = access.add_app("private app", private=True)
    public = access.add_app("public app")
    info = {
        "kind": "hubspot",
        "api_version": API_VERSION,
        "portal_id": store.portal_id,
        "app_id": public.id,
        "client_id": public.client_id,
        "client_secret": public.client_secret,
        "access_token": access.private_token(private),
        "refresh_token": access.issue(public, "refresh", ALL_SCOPES),
        "webhook_secret": public.client_secret,
        "developer_api_key": access.developer_key,
    }
    routes = [route for module in MODULES for route in module.routes()]
    inner = Starlette(
        routes=routes, exception_handlers={ApiError: refuse, 404: _unknown, 405: _unknown, 500: _broken}
    )
    inner.state.store = store
    inner.state.access = access
    inner.state.limits = limits
    inner.state.plan = options.plan
    inner.state.exports = {}
    inner.state.webhooks = webhooks = Webhooks(store)
    store.emit = webhooks.emit
    gate = Gate(inner, store, access, limits)

    def base_url(url: str) -> None:
        store.base_url = url

    vendor = Vendor(answer_fault, lambda: store.clock.now() / 1000, partial(acts.act, store, access))
    return App(FaultMiddleware(gate, options.plan, vendor), info, base_url)


def _unknown(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    if status == 405:
        return refuse(request, ApiError(405, f"{request.method} is not allowed here", "METHOD_NOT_ALLOWED"))
    return refuse(request, not_found("resource not found"))


def _broken(request: Request, _error: Exception) -> Response:
    return refuse(request, ApiError(500, "internal error", "INTERNAL_ERROR"))
