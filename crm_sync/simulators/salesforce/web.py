"""Requests and answers as the handlers see them, and the table of routes.

The same handlers serve HTTP and the subrequests of composite calls, so they know neither Starlette nor
sockets.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

import orjson

from crm_sync.simulators.salesforce.errors import ApiError, not_found

if TYPE_CHECKING:
    from crm_sync.simulators.salesforce.org import Org
    from crm_sync.simulators.salesforce.sessions import Session

JSON = "application/json;charset=UTF-8"


@dataclass(slots=True)
class Call:
    """One request. ``path`` is decoded and without a trailing slash; header names are lower case."""

    org: "Org"
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    session: "Session | None" = None
    version: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    parsed: Any = None

    @property
    def user(self) -> "Session":
        """The session; only for handlers behind the gate."""
        assert self.session is not None
        return self.session

    def json(self) -> Any:
        """The body. Raises JSON_PARSER_ERROR."""
        if self.parsed is not None:
            return self.parsed
        try:
            self.parsed = orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise ApiError(400, "JSON_PARSER_ERROR", f"{error} at [line:1, column:1]") from None
        return self.parsed

    def mapping(self) -> dict[str, Any]:
        """The body, which must be a JSON object."""
        body = self.json()
        if not isinstance(body, dict):
            raise ApiError(400, "JSON_PARSER_ERROR", "The HTTP entity body is required to be a JSON object.")
        return body


@dataclass(slots=True)
class Answer:
    """``body`` is JSON unless it is bytes; ``stream`` makes a long body piece by piece. ``delay`` in seconds."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    stream: Iterator[bytes] | None = None
    delay: float = 0.0


Handler = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """``template`` as in ``/sobjects/{object}/{id}``; a part named ``{value...}`` takes slashes too."""

    method: str
    template: str
    handler: Handler
    pattern: re.Pattern[str]


class Router:
    """Finds the handler of a request."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def add(self, method: str, template: str, handler: Handler) -> None:
        pattern = re.sub(r"\\\{(\w+)\\\.\\\.\\\.\\\}", r"(?P<\1>.+)", re.escape(template))
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", pattern)
        self.routes.append(Route(method, template, handler, re.compile(pattern, re.IGNORECASE)))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its parts. Raises NOT_FOUND or METHOD_NOT_ALLOWED."""
        allowed = []
        for route in self.routes:
            found = route.pattern.fullmatch(path)
            if found is None:
                continue
            if route.method == method or (method == "HEAD" and route.method == "GET"):
                return route, found.groupdict()
            allowed.append(route.method)
        if allowed:
            raise ApiError(
                405,
                "METHOD_NOT_ALLOWED",
                f"HTTP Method '{method}' not allowed. Allowed are {','.join(dict.fromkeys(allowed))}",
            )
        raise not_found()


def split_url(url: str) -> tuple[str, dict[str, str]]:
    """Path (decoded, no trailing slash) and query of a subrequest's URL."""
    path, _, query = url.partition("?")
    return unquote(path).rstrip("/"), dict(parse_qsl(query, keep_blank_values=True))
