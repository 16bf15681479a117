"""Reading requests and writing answers the way all handlers do. Not here: authentication and limits (gate.py)."""

from collections.abc import Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.routing import Route as StarletteRoute
from starlette.types import Scope

from crm_sync.simulators.hubspot.clock import iso
from crm_sync.simulators.hubspot.errors import ApiError, invalid
from crm_sync.simulators.hubspot.store import Source, Store

JSON = "application/json;charset=utf-8"


def answer(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(document), status, headers, JSON)


def batch_answer(
    store: Store, results: list[dict[str, Any]], errors: Sequence[dict[str, Any]] = (), status: int = 200
) -> Response:
    """What every batch answers: 207 with ``errors`` if there are any, else ``status``."""
    now = iso(store.clock.now())
    document: dict[str, Any] = {
        "status": "COMPLETE",
        "results": results,
        "startedAt": now,
        "completedAt": now,
    }
    if errors:
        document |= {"numErrors": len(errors), "errors": list(errors)}
    return answer(document, 207 if errors else status)


def no_content() -> Response:
    return Response(status_code=204)


def refuse(_request: Request, error: Exception) -> Response:
    """Starlette's handler for ApiError."""
    assert isinstance(error, ApiError)
    return answer(error.body(), error.status, error.headers)


def store_of(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def source_of(request: Request) -> Source:
    """Who writes: the app behind the token, by the version of the path."""
    return Source(
        "INTEGRATION",
        str(request.scope["state"].get("app_id", "0")),
        request.scope["state"].get("version", "v3"),
    )


def version_of(request: Request) -> str:
    """``v3``, ``v4`` or the date in the path."""
    version: str = request.scope["state"].get("version", "v3")
    return version


async def body_of(request: Request) -> dict[str, Any]:
    """The request's JSON object. Raises ApiError 400."""
    raw = await request.body()
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise invalid("Invalid input JSON: could not be parsed") from error
    if not isinstance(document, dict):
        raise invalid("Invalid input JSON: an object was expected")
    return document


def inputs_of(document: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """The ``inputs`` of a batch. Raises ApiError 400 if there are none, too many, or something else."""
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        raise invalid("Invalid input JSON: inputs must be a list of objects")
    if not inputs:
        raise invalid("inputs must not be empty")
    if len(inputs) > limit:
        raise invalid(f"The maximum number of inputs in a batch is {limit}, but there were {len(inputs)}")
    return inputs


def names_of(request: Request, parameter: str) -> list[str]:
    """A list parameter, given with commas, repeated, or both."""
    return [
        name.strip()
        for given in request.query_params.getlist(parameter)
        for name in given.split(",")
        if name.strip()
    ]


def flag_of(request: Request, parameter: str) -> bool:
    return request.query_params.get(parameter, "false").lower() == "true"


def limit_of(request: Request, default: int, most: int) -> int:
    given = request.query_params.get("limit", str(default))
    if not given.isdigit() or int(given) == 0:
        raise invalid(f"Invalid limit: {given}")
    if int(given) > most:
        raise invalid(
            f"The limit {given} is too high; the maximum is {most}",
            errors=[{"message": "limit is too high", "in": "limit"}],
        )
    return int(given)


def number_of(text: Any, what: str) -> int:
    """A record id that may come as text or number. Raises ApiError 400."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    if isinstance(text, str) and text.isascii() and text.isdigit():
        return int(text)
    raise invalid(f"{what} is not a valid id: {text}")


class Route(StarletteRoute):
    """A route that leaves its name in the scope, for the counts of requests."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match is Match.FULL:
            found["family"] = self.name
        return match, found
