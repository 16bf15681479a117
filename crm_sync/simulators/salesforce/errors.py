"""How Salesforce says no.

``ApiError`` ends a request with a list of one error object; ``RecordError`` concerns one record and is
an ``errorCode`` in single-record calls, a ``statusCode`` in collections, a text in Bulk results.
Source: REST API Developer Guide, "Status Codes and Error Responses".
"""

from collections.abc import Mapping, Sequence
from typing import Any

HTTP_STATUS = {
    "ENTITY_IS_DELETED": 404,
    "NOT_FOUND": 404,
    "INVALID_CROSS_REFERENCE_KEY": 400,
    "INSUFFICIENT_ACCESS_OR_READONLY": 400,
    "METHOD_NOT_ALLOWED": 405,
}


class ApiError(Exception):
    """The request as a whole is refused with ``status`` and ``[{"message", "errorCode", ...}]``."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        fields: Sequence[str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        self.extra = extra or {}

    def body(self) -> list[dict[str, Any]]:
        entry: dict[str, Any] = {"message": self.message, "errorCode": self.code, **self.extra}
        if self.fields is not None:
            entry["fields"] = list(self.fields)
        return [entry]


class RecordError(Exception):
    """One record is refused."""

    def __init__(
        self, code: str, message: str, fields: Sequence[str] = (), extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fields = tuple(fields)
        self.extra = extra or {}

    def single(self) -> ApiError:
        """The same, as the answer to a call about this record alone."""
        return ApiError(HTTP_STATUS.get(self.code, 400), self.code, self.message, self.fields, self.extra)

    def row(self) -> dict[str, Any]:
        """The same, as one of the ``errors`` of a collection's result (``statusCode``, not ``errorCode``)."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields), **self.extra}

    def bulk(self) -> str:
        """The same, as the ``sf__Error`` of a Bulk API 2.0 result."""
        return f"{self.code}:{self.message}:{','.join(self.fields)} --"


def not_found() -> ApiError:
    return ApiError(404, "NOT_FOUND", "The requested resource does not exist")
