"""Every path of the API and its handler, on one page."""

from functools import partial

from crm_sync.simulators.salesforce import (
    bulk_ingest,
    bulk_jobs,
    bulk_query,
    composite,
    describe,
    limits,
    oauth,
    query,
    soap,
    sobject_collections,
    sobjects,
)
from crm_sync.simulators.salesforce.composite import Composites, Perform
from crm_sync.simulators.salesforce.web import Router


def login() -> Router:
    """What needs no session of its own accord: logging in, and the list of versions."""
    routes = Router()
    routes.add("GET", "/services/oauth2/authorize", oauth.authorize)
    routes.add("POST", "/services/oauth2/token", oauth.token)
    routes.add("POST", "/services/oauth2/revoke", oauth.revoke)
    routes.add("GET", "/services/oauth2/revoke", oauth.revoke)
    routes.add("POST", "/services/oauth2/introspect", oauth.introspect)
    routes.add("GET", "/.well-known/openid-configuration", oauth.metadata)
    routes.add("POST", "/services/Soap/u/{version...}", soap.login)
    routes.add("POST", "/services/Soap/c/{version...}", soap.login)
    routes.add("GET", "/services/data", limits.versions)
    return routes


def identity() -> Router:
    """What needs a session but is no API call."""
    routes = Router()
    routes.add("GET", "/services/oauth2/userinfo", oauth.identity)
    routes.add("POST", "/services/oauth2/userinfo", oauth.identity)
    routes.add("GET", "/id/{org}/{user}", oauth.identity)
    return routes


def api(perform: Perform) -> Router:
    """Everything below ``/services/data/vXX.X``."""
    routes = Router()
    composites = Composites(perform)
    add = routes.add
    add("GET", "", limits.resources)
    add("GET", "/limits", limits.limits)
    add("GET", "/limits/recordCount", limits.record_count)
    add("GET", "/query", query.query)
    add("GET", "/queryAll", query.query_all)
    add("GET", "/query/{locator}", query.more)
    add("GET", "/queryAll/{locator}", query.more)
    add("GET", "/search", query.search)

    add("GET", "/sobjects", describe.all_objects)
    add("GET", "/sobjects/{object}", describe.basic)
    add("POST", "/sobjects/{object}", sobjects.create)
    add("GET", "/sobjects/{object}/describe", describe.full)
    add("GET", "/sobjects/{object}/deleted", sobjects.deleted)
    add("GET", "/sobjects/{object}/updated", sobjects.updated)
    add("POST", "/sobjects/{object}/Id", sobjects.create)
    add("GET", "/sobjects/{object}/{id}", sobjects.read)
    add("PATCH", "/sobjects/{object}/{id}", sobjects.update)
    add("DELETE", "/sobjects/{object}/{id}", sobjects.delete)
    add("GET", "/sobjects/{object}/{field}/{value...}", sobjects.read_by_key)
    add("PATCH", "/sobjects/{object}/{field}/{value...}", sobjects.upsert)
    add("DELETE", "/sobjects/{object}/{field}/{value...}", sobjects.delete_by_key)

    add("POST", "/composite", composites.composite)
    add("POST", "/composite/batch", composites.batch)
    add("POST", "/composite/graph", composites.graph)
    add("POST", "/composite/tree/{object}", composite.tree)
    add("POST", "/composite/sobjects", sobject_collections.create)
    add("PATCH", "/composite/sobjects", sobject_collections.update)
    add("DELETE", "/composite/sobjects", sobject_collections.delete)
    add("PATCH", "/composite/sobjects/{object}/{field}", sobject_collections.upsert)
    add("POST", "/composite/sobjects/{object}", sobject_collections.retrieve)
    add("GET", "/composite/sobjects/{object}", sobject_collections.retrieve)

    add("POST", "/jobs/ingest", bulk_ingest.create)
    add("GET", "/jobs/ingest", partial(bulk_jobs.listing, kind="ingest"))
    add("GET", "/jobs/ingest/{id}", bulk_ingest.information)
    add("PATCH", "/jobs/ingest/{id}", bulk_ingest.change)
    add("DELETE", "/jobs/ingest/{id}", partial(bulk_jobs.remove, kind="ingest"))
    add("PUT", "/jobs/ingest/{id}/batches", bulk_ingest.upload)
    for which in ("successfulResults", "failedResults", "unprocessedrecords"):
        add("GET", f"/jobs/ingest/{{id}}/{which}", partial(bulk_ingest.results, which=which.lower()))
    add("POST", "/jobs/query", bulk_query.create)
    add("GET", "/jobs/query", partial(bulk_jobs.listing, kind="query"))
    add("GET", "/jobs/query/{id}", bulk_query.information)
    add("PATCH", "/jobs/query/{id}", bulk_query.change)
    add("DELETE", "/jobs/query/{id}", partial(bulk_jobs.remove, kind="query"))
    add("GET", "/jobs/query/{id}/results", bulk_query.results)
    add("GET", "/jobs/query/{id}/resultPages", bulk_query.result_pages)
    return routes
