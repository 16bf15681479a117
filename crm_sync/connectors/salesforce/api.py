"""The REST API of one organisation: versioned paths, and JSON with exact numbers.

Here: what every call of the connector shares. What is called is in the modules named after it (query, collections,
bulk_query, bulk_ingest, deleted).
"""

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeVar

import orjson

from crm_sync.connectors.answers import remembered
from crm_sync.connectors.http import Transport
from crm_sync.connectors.salesforce import describe
from crm_sync.core.errors import CrmError, ErrorClass

log = logging.getLogger(__name__)

T = TypeVar("T")


def headers(*, assignment_rules: bool) -> dict[str, str]:
    """What every request says. The client's name shows in the change origin of events that our own writes cause. Not told
    otherwise, Salesforce lets active assignment rules choose the owner of every Account, Case and Lead that is created or
    updated by REST ("Assignment Rule Header" of the REST API guide): a sync that corrects a telephone number would take
    leads away from who works on them."""
    return {
        "Sforce-Call-Options": "client=crm_sync",
        "Sforce-Auto-Assign": "TRUE" if assignment_rules else "FALSE",
    }


class Api:
    """Calls below `/services/data/v<version>/`. Describes are kept for the life of the instance."""

    def __init__(self, transport: Transport, version: str) -> None:
        self.transport = transport
        self.version = version
        self._described: dict[str, describe.SObject] = {}

    def path(self, tail: str) -> str:
        return f"/services/data/v{self.version}/{tail}"

    def call(
        self,
        method: str,
        tail: str,
        *,
        family: str,
        idempotent: bool,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        once_if_slow: bool = False,
    ) -> Any:
        """Send a request; the answer's JSON with numbers as int or Decimal, None for an empty answer.

        tail: below the version, or an absolute path that Salesforce gave (`/services/...`). body: to be sent as JSON;
        may hold orjson fragments. Raises CrmError.
        """
        sent = content
        extra = dict(headers or {})
        if body is not None:
            sent = orjson.dumps(body)
            extra["Content-Type"] = "application/json; charset=UTF-8"
        response = self.transport.request(
            method,
            tail if tail.startswith("/") else self.path(tail),
            family=family,
            idempotent=idempotent,
            params=params,
            content=sent,
            headers=extra,
            once_if_slow=once_if_slow,
        )
        try:
            return parse(response.content)
        except ValueError as error:
            outcome = ErrorClass.TRANSIENT if idempotent else ErrorClass.UNKNOWN_OUTCOME
            raise CrmError(
                outcome, f"Salesforce's answer to a call of family {family} is not JSON"
            ) from error

    def get(
        self,
        tail: str,
        *,
        family: str,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        return self.call("GET", tail, family=family, idempotent=True, params=params, headers=headers)

    def describe(self, name: str) -> describe.SObject:
        """The object as the token's user sees it. Raises CrmError(PERMISSION) if the user does not."""
        if name not in self._described:
            if not re.fullmatch(r"\w+", name):
                raise CrmError(ErrorClass.PERMISSION, "an object's name consists of letters, digits and _")
            try:
                found = remembered(
                    self.transport.settings.memory,
                    self.transport.connection,
                    self._key(name),
                    lambda: self.get(f"sobjects/{name}/describe", family="describe"),
                )
            except CrmError as error:
                if error.error_class is not ErrorClass.GONE:
                    raise
                text = f"Salesforce shows no object {name} to this user: correct the name or the permissions"
                raise CrmError(ErrorClass.PERMISSION, text, code=error.code, status=error.status) from error
            self._described[name] = describe.parse(found)
        return self._described[name]

    def as_described(self, name: str, pages: Callable[[], Iterator[T]]) -> Iterator[T]:
        """Pages of a query that names an object's fields. If already the first is refused because one of them is not to
        be seen any more, the object is described anew and the pages are asked for once more, without it."""
        begun = False
        try:
            for page in pages():
                begun = True
                yield page
        except CrmError as error:
            if error.error_class is not ErrorClass.PERMISSION:
                raise
            self.forget(name)
            if begun:
                raise
            log.info("%s: described anew, for a query of it was refused (%s)", name, error.code)
            yield from pages()

    def forget(self, name: str) -> None:
        """Describe the object anew when it is asked for next."""
        self._described.pop(name, None)
        self.transport.settings.memory.forget(self.transport.connection, self._key(name))

    def _key(self, name: str) -> str:
        return f"describe {self.version} {name}"


def parse(content: bytes) -> Any:
    """JSON with exact numbers; None for nothing. Raises ValueError for what is not JSON."""
    return json.loads(content, parse_float=Decimal) if content else None
