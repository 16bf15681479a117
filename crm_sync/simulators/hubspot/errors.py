"""How HubSpot says no. Here: the exception every handler raises and the body it becomes.

Source: the error handling page of HubSpot's API reference; every field but ``status`` and ``message`` is optional
there. The middleware adds the correlation id.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import orjson

_STATUS_WORDS = {
    400: "VALIDATION_ERROR",
    401: "INVALID_AUTHENTICATION",
    403: "MISSING_SCOPES",
    404: "OBJECT_NOT_FOUND",
    409: "CONFLICT",
    423: "LOCKED",
    429: "RATE_LIMITS",
    477: "MIGRATION_IN_PROGRESS",
}


class ApiError(Exception):
    """An answer that is not a success; ``extra`` is merged into the body (errors, context, subCategory, ...)."""

    def __init__(
        self,
        status: int,
        message: str,
        category: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.category = category or _STATUS_WORDS.get(status)
        self.headers = dict(headers or {})
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """The JSON document, with a fresh correlation id."""
        document: dict[str, Any] = {"status": "error", "message": self.message, "correlationId": str(uuid4())}
        if self.category is not None:
            document["category"] = self.category
        return document | self.extra

    def in_batch(self, context: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
        """The same trouble as one entry of ``errors`` in a 207."""
        entry: dict[str, Any] = {"status": "error", "category": self.category, "message": self.message}
        if self.extra.get("subCategory"):
            entry["subCategory"] = self.extra["subCategory"]
        merged = {**self.extra.get("context", {}), **(context or {})}
        if merged:
            entry["context"] = merged
        return entry


def invalid(message: str, **extra: Any) -> ApiError:
    """400 VALIDATION_ERROR."""
    return ApiError(400, message, **extra)


def not_found(message: str = "resource not found", **extra: Any) -> ApiError:
    """404 OBJECT_NOT_FOUND."""
    return ApiError(404, message, **extra)


class InvalidValuesError(ApiError):
    """400 for property values: the details are JSON inside the message, and again in ``errors``."""

    def __init__(self, issues: Sequence[Mapping[str, Any]]) -> None:
        details = [{"isValid": False, **issue, "localizedErrorMessage": issue["message"]} for issue in issues]
        super().__init__(
            400,
            "Property values were not valid: " + orjson.dumps(details).decode(),
            errors=[
                {
                    "message": issue["message"],
                    "code": issue["error"],
                    "context": {"propertyName": [issue["name"]]},
                }
                for issue in issues
            ],
        )


def answer_fault(status: int, path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What HubSpot says for a status that a fault plan asks for: (body, headers)."""
    messages = {
        401: "The OAuth token used to make this call expired",
        423: "This resource is locked. Please try again shortly.",
        429: "You have reached your ten_secondly_rolling limit.",
        477: "This account is being migrated between data centers.",
        502: "Bad Gateway",
        503: "Service Unavailable",
        504: "Gateway Timeout",
    }
    error = ApiError(
        status, messages.get(status, "internal error"), "EXPIRED_AUTHENTICATION" if status == 401 else None
    )
    body = error.body()
    headers: dict[str, str] = {}
    if status == 429:
        search = path.endswith("/search")
        body = limit_body("secondly" if search else "ten_secondly_rolling")
    elif status == 477:
        headers["Retry-After"] = "5"
    return body, headers


def limit_body(policy: str) -> dict[str, Any]:
    """The body of a 429. ``policy`` is secondly, ten_secondly_rolling or daily."""
    correlation = str(uuid4())
    return {
        "status": "error",
        "message": f"You have reached your {policy} limit.",
        "errorType": "RATE_LIMIT",
        "category": "RATE_LIMITS",
        "correlationId": correlation,
        "policyName": policy.upper(),
        "requestId": correlation,
    }
