"""Salesforce's limits: a rolling 24 hours for the whole organisation, and what may run at once.

Source: "API Request Limits and Allocations" of the Salesforce developer limits. There is no limit on calls in a
short time. Of requests that take longer than 20 seconds 25 may run at once (5 in a developer's organisation), and it
cannot be known before which will: so few are sent at once. Bulk jobs wait in a queue that the organisation shares.
"""

import re
from collections.abc import Iterator

import httpx

from crm_sync.core.quota import DAILY, JOBS, REQUESTS, Heard, Quotas

QUOTAS = Quotas(
    slots={JOBS: 5, REQUESTS: 10},
    renewal="as calls of 24 hours ago are forgotten, one after the other",
)

_USAGE = re.compile(r"(?:per-app-)?api-usage=(\d+)/(\d+)")


def hear(response: httpx.Response) -> Iterator[Heard]:
    """What `Sforce-Limit-Info` tells: of the organisation's calls and the app's own, those of which less is left."""
    told = _USAGE.findall(response.headers.get("Sforce-Limit-Info", ""))
    found = [
        Heard(DAILY, int(allowed), max(int(allowed) - int(used), 0)) for used, allowed in told if int(allowed)
    ]
    if found:
        yield min(found, key=lambda one: one.left / one.allowed)
