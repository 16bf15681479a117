"""What it means that an exchange failed, where the vendor did not say: by the status, or by how the connection broke.

Pure. What a vendor says in words is read by its own `errors.py`; what follows from a class is in `core/errors.py`.
"""

import ssl

import httpx

from crm_sync.core.errors import CrmError, ErrorClass


class SlowError(CrmError):
    """No answer came in time to a request that may be sent again."""


_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_BY_STATUS = {
    401: ErrorClass.AUTH,
    403: ErrorClass.PERMISSION,
    404: ErrorClass.GONE,
    408: ErrorClass.TRANSIENT,
    409: ErrorClass.CONCURRENCY,
    410: ErrorClass.GONE,
    412: ErrorClass.CONCURRENCY,
    425: ErrorClass.TRANSIENT,
    429: ErrorClass.RATE_LIMIT,
    400: ErrorClass.VALIDATION,
    422: ErrorClass.VALIDATION,
}


def by_status(connection: str, response: httpx.Response, *, idempotent: bool) -> CrmError:
    """An answer of status 300 and above of which only the status is understood."""
    status = response.status_code
    if status >= 500:
        outcome = ErrorClass.TRANSIENT if idempotent else ErrorClass.UNKNOWN_OUTCOME
    else:
        outcome = _BY_STATUS.get(status, ErrorClass.PERMANENT)
    text = f"{connection}: {response.request.url.host} answered {status} {response.reason_phrase}"
    if response.is_redirect:
        text += "; redirects are not followed: correct the host in the connection file"
    return CrmError(outcome, text.rstrip(), status=status)


def unreachable(
    connection: str, error: httpx.TransportError, request: httpx.Request, *, idempotent: bool
) -> CrmError:
    """No whole answer came: whether the request can have taken effect depends on how far it got."""
    where, what = request.url.host, type(error).__name__
    if _untrusted(error):
        return CrmError(
            ErrorClass.PERMANENT,
            f"{connection}: the TLS certificate of {where} cannot be verified. If it is issued by an authority "
            "of your own, give that authority's PEM file as ca_bundle.",
        )
    if isinstance(error, _NEVER_SENT):
        return CrmError(ErrorClass.TRANSIENT, f"{connection}: cannot reach {where} ({what})")
    if idempotent:
        kind = SlowError if isinstance(error, httpx.ReadTimeout) else CrmError
        return kind(ErrorClass.TRANSIENT, f"{connection}: no whole answer from {where} ({what})")
    return CrmError(
        ErrorClass.UNKNOWN_OUTCOME,
        f"{connection}: no answer from {where} ({what}); the request may have taken effect",
    )


def _untrusted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
