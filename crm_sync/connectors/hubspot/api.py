"""HubSpot's API as JSON in and JSON out.

Here: the three ways of calling (get, read by POST, write) and what is done with an answer that is not JSON. What
to call is said by the other modules; retries, limits and error classes come from the transport.
"""

from collections.abc import Callable, Mapping
from typing import Any

import httpx

from crm_sync.connectors.answers import remembered
from crm_sync.connectors.http import Transport
from crm_sync.connectors.hubspot.paths import Paths
from crm_sync.core.errors import CrmError, ErrorClass

Json = dict[str, Any]


class Api:
    """Calls by family: "list", "search", "batch_read", "batch_write", "associations", "properties", "pipelines",
    "account". Every method raises CrmError."""

    def __init__(self, transport: Transport, paths: Paths) -> None:
        self.transport = transport
        self.paths = paths

    def get(self, path: str, family: str, params: Mapping[str, Any] | None = None) -> Json:
        return self._reading("GET", path, family, params=params)

    def read(self, path: str, family: str, body: Json, params: Mapping[str, Any] | None = None) -> Json:
        """A POST that only reads (search, batch read): may be repeated."""
        return self._reading("POST", path, family, params=params, json=body)

    def write(self, path: str, family: str, body: Json, *, idempotent: bool = False) -> Json:
        """A POST that changes something. An empty answer (204) is an empty object.

        Class UNKNOWN_OUTCOME where it may have taken effect without an answer that can be read."""
        response = self.transport.request("POST", path, family=family, idempotent=idempotent, json=body)
        found = _json(response)
        if found is None:
            raise CrmError(
                ErrorClass.UNKNOWN_OUTCOME,
                f"{self.transport.connection}: the answer to a write was not JSON; it may have taken effect",
                status=response.status_code,
            )
        return found

    def remembered(self, path: str, ask: Callable[[], Json]) -> Json:
        """A slowly changing answer, from memory if it is young enough."""
        found: Json = remembered(self.transport.settings.memory, self.transport.connection, path, ask)
        return found

    def forget(self, path: str) -> None:
        """Ask anew next time."""
        self.transport.settings.memory.forget(self.transport.connection, path)

    def _reading(self, method: str, path: str, family: str, **content: Any) -> Json:
        response = self.transport.request(method, path, family=family, idempotent=True, **content)
        found = _json(response)
        if found is None:
            raise CrmError(
                ErrorClass.TRANSIENT,
                f"{self.transport.connection}: HubSpot answered {path} with something that is not JSON; check "
                "base_url if this goes on",
                status=response.status_code,
            )
        return found


def _json(response: httpx.Response) -> Json | None:
    if not response.content:
        return {}
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
