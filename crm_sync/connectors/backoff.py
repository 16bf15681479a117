"""How long to wait before a request is sent again: what the vendor asks for, or a guess that spreads the load.

Pure but for the dice. Whether a request may be sent again at all is the transport's business (http.py).
"""

import random
from contextlib import suppress
from email.utils import parsedate_to_datetime

import httpx


def retry_after(response: httpx.Response, now: float) -> float | None:
    """Seconds asked for by a Retry-After header (a number or a date, RFC 9110 10.2.3), None if there is none.
    `now` is seconds since the epoch."""
    text = response.headers.get("Retry-After", "").strip()
    with suppress(ValueError):
        return max(float(text), 0.0)
    with suppress(ValueError, TypeError):
        return max(parsedate_to_datetime(text).timestamp() - now, 0.0)
    return None


def jitter(attempt: int) -> float:
    """Seconds to wait after that many failed attempts: exponential backoff with full jitter: anything between 0 and 0.5, 1, 2, 4 ... 30 s."""
    return random.uniform(0.0, min(30.0, 0.25 * 2**attempt))  # noqa: S311 - spreads load, guards nothing
