"""Exports: a file of an object type's records, made in the background (CRM exports API). CSV only.

A finished file can be had without a token, for five minutes.
"""

import csv
import io
import zipfile
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from crm_sync.simulators.hubspot.clock import DAY
from crm_sync.simulators.hubspot.errors import ApiError, invalid, not_found
from crm_sync.simulators.hubspot.http import Route, answer, body_of, store_of
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.search import matching
from crm_sync.simulators.hubspot.store import Store

MAX_PER_DAY = 30
URL_MS = 300_000
ZIP_BYTES = 2_000_000


@dataclass(slots=True)
class Export:
    """One export: asked for at ``at``; ``files`` maps the secret part of a URL to when it was given out."""

    id: str
    at: int
    name: str
    content: bytes
    files: dict[str, int] = field(default_factory=dict)


async def start(request: Request) -> Response:
    store = store_of(request)
    document = await body_of(request)
    if document.get("exportType") not in {"VIEW", "LIST"}:
        raise invalid("exportType must be VIEW or LIST")
    if document["exportType"] == "LIST":
        raise invalid("Exports of lists are not served here; use VIEW")
    if document.get("format") != "CSV":
        raise invalid(f"The format {document.get('format')} is not served here; use CSV")
    if len(document.get("associatedObjectType") or []) > 4:
        raise invalid("At most 4 associated object types can be exported")
    now, made = store.clock.now(), _exports(request)
    recent = [each for each in made.values() if each.at > now - DAY]
    if len(recent) >= MAX_PER_DAY:
        raise ApiError(429, f"At most {MAX_PER_DAY} exports are allowed in 24 hours", "RATE_LIMITS")
    kind = store.kind(str(document.get("objectType")))
    name = str(document.get("exportName") or "export")
    export = Export(str(len(made) + 1), now, name, _content(store, kind, document))
    made[export.id] = export
    link = f"{store.base_url}/crm/v3/exports/export/async/tasks/{export.id}/status"
    return answer({"id": export.id, "links": {"status": link}}, 202)


async def status(request: Request) -> Response:
    store, made = store_of(request), _exports(request)
    export = made.get(request.path_params["id"])
    if export is None:
        raise not_found(f"No export {request.path_params['id']}")
    now = store.clock.now()
    if now - export.at < store.settings.export_delay:
        return answer(
            {"status": "PENDING" if now - export.at < store.settings.export_delay // 2 else "PROCESSING"}
        )
    secret = uuid4().hex
    export.files[secret] = now
    return answer({"status": "COMPLETE", "result": f"{store.base_url}/exports/download/{export.id}/{secret}"})


async def download(request: Request) -> Response:
    store, export = store_of(request), _exports(request).get(request.path_params["id"])
    given = export.files.get(request.path_params["secret"]) if export else None
    if export is None or given is None or store.clock.now() - given > URL_MS:
        raise ApiError(403, "This link has expired", "FORBIDDEN")
    if len(export.content) <= ZIP_BYTES:
        disposition = {"content-disposition": f'attachment; filename="{export.id}.csv"'}
        return Response(export.content, headers=disposition, media_type="text/csv;charset=utf-8")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{export.id}.csv", export.content)
    disposition = {"content-disposition": f'attachment; filename="{export.id}.zip"'}
    return Response(packed.getvalue(), headers=disposition, media_type="application/zip")


def routes() -> list[Route]:
    base = "/crm/v3/exports/export/async"
    return [
        Route(base, start, methods=["POST"], name="exports.start"),
        Route(f"{base}/tasks/{{id}}/status", status, methods=["GET"], name="exports.status"),
        Route("/exports/download/{id}/{secret}", download, methods=["GET"], name="exports.download"),
    ]


def _exports(request: Request) -> dict[str, Export]:
    made: dict[str, Export] = request.app.state.exports
    return made


def _content(store: Store, kind: Kind, document: dict[str, Any]) -> bytes:
    names = [n for n in document.get("objectProperties") or kind.defaults if kind.known(n)]
    others = [store.kind(str(each)) for each in document.get("associatedObjectType") or []]
    internal = set(document.get("exportInternalValuesOptions") or [])
    labels = {n: n if "NAMES" in internal else kind.properties[n].label for n in names}
    texts = {
        n: {o.value: o.label for o in kind.properties[n].options} if "VALUES" not in internal else {}
        for n in names
    }
    search = document.get("publicCrmSearchRequest") or {}
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["Record ID", *labels.values(), *(f"Associated {o.singular.capitalize()} IDs" for o in others)]
    )
    live = store.tables[kind.name].live
    for number in matching(store, kind, search):
        if number in live:
            values = live[number].values
            shown = [
                ";".join(texts[n].get(v, v) for v in values.get(n, "").split(";"))
                if texts[n]
                else values.get(n, "")
                for n in names
            ]
            linked = [";".join(map(str, sorted(store.links.of(kind.name, number, o.name)))) for o in others]
            writer.writerow([number, *shown, *linked])
    return out.getvalue().encode("utf-8-sig")
