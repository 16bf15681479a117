"""Why an OAuth token endpoint gives no token: what passes, what a person has to connect again, what is a wrong setting.

Source: RFC 6749 section 5.2; "OAuth Authorization Flows" and "OAuth 2.0 error codes" of the Salesforce help; HubSpot's OAuth
guide. Pure.
"""

from contextlib import suppress
from typing import Any

import httpx

from crm_sync.core.errors import CrmError, ErrorClass

# What RFC 6749 names, and what Salesforce and HubSpot add. True: the person has to connect again; False: a setting is wrong.
_RECONNECT = {
    "invalid_grant": True,
    "access_denied": True,
    "inactive_user": True,
    "inactive_org": True,
    "invalid_client": False,
    "invalid_client_id": False,
    "unauthorized_client": False,
    "unsupported_grant_type": False,
    "invalid_app_access": False,
    "invalid_scope": False,
    "redirect_uri_mismatch": False,
}
# Descriptions that make an invalid_grant a matter of settings (Salesforce tells them apart by text only).
_SETTINGS = (
    "audience is invalid",
    "invalid assertion",
    "hasn't approved this consumer",
    "not admin approved",
    "no client credentials user enabled",
    "not supported on this domain",
    "ip restricted",
)
_PASSING = frozenset({"unknown_error", "server_error", "temporarily_unavailable"})
_BUSY = "already being processed"  # an invalid_grant of Salesforce: the same token, asked for twice at once
# Words of descriptions of an invalid_grant that say that this refresh token will never be accepted again.
_FINAL = (
    "authentication failure",
    "deleted",
    "disabled",
    "expired",
    "inactive",
    "invalid",
    "missing",
    "not exist",
    "not valid",
    "revoked",
    "unknown",
)


class LostLoginError(CrmError):
    """The refresh token is not accepted and never will be."""


def refusal(connection: str, response: httpx.Response) -> CrmError | None:
    """What an answer of a token endpoint of status 300 and above says; None where its status says enough."""
    if response.status_code == 429 or response.status_code >= 500:
        return None
    body: Any = None
    with suppress(ValueError):
        body = response.json()
    if not isinstance(body, dict):
        return None
    code = str(body.get("error") or body.get("status") or "")
    told = str(body.get("error_description") or body.get("message") or "")
    if code == "rate_limit_exceeded":
        return CrmError(ErrorClass.RATE_LIMIT, f"{connection}: too many token requests", code=code)
    said = ": ".join(part for part in (code, told[:200]) if part) or f"status {response.status_code}"
    text = f"{connection}: no access token from {response.request.url.host} ({said})"
    if code.lower() in _PASSING or _BUSY in told.lower():
        return CrmError(ErrorClass.TRANSIENT, text, code=code)
    # HubSpot's older endpoint says BAD_REFRESH_TOKEN and the like in `status`.
    reconnect = _RECONNECT.get(code.lower(), "refresh_token" in code.lower())
    if any(phrase in told.lower() for phrase in _SETTINGS):
        reconnect = False
    if not reconnect:
        advice = "correct the auth settings in the connection file or in the vendor's app"
        return CrmError(ErrorClass.AUTH, f"{text}; {advice}", code=code or None)
    final = code.lower() != "invalid_grant" or not told or any(word in told.lower() for word in _FINAL)
    kind = LostLoginError if final else CrmError
    advice = "connect this account again (its login was withdrawn or has expired)"
    return kind(ErrorClass.AUTH, f"{text}; {advice}", code=code or None)
