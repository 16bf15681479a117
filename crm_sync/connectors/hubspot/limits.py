"""HubSpot's rate limits: what every account has, and what the headers tell.

Source: developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines. All calls but searches share ten
rolling seconds (100 calls for the smallest accounts, 190 and more for larger ones, 110 for public apps; the headers
say which) and, except those of public apps, a day that ends at midnight in the account's time zone. Searches have a
second of their own, five for the whole account, about which no header tells: one of them is left to others.
"""

from collections.abc import Iterator

import httpx

from crm_sync.core.quota import BURST, DAILY, SEARCH, Heard, Quotas, Rate

QUOTAS = Quotas(
    rates={BURST: Rate(100, 10.0), SEARCH: Rate(4, 1.0, even=1.0, late=0.1)},
    families={"search": SEARCH},
    renewal="when HubSpot's day begins anew: at midnight in the account's time zone",
)

_HEADERS = {
    BURST: ("X-HubSpot-RateLimit-Max", "X-HubSpot-RateLimit-Remaining"),
    DAILY: ("X-HubSpot-RateLimit-Daily", "X-HubSpot-RateLimit-Daily-Remaining"),
}


def hear(response: httpx.Response) -> Iterator[Heard]:
    """What an answer's headers tell; searches' tell nothing."""
    for budget, (most, remaining) in _HEADERS.items():
        allowed, left = response.headers.get(most, ""), response.headers.get(remaining, "")
        if allowed.isdecimal() and left.isdecimal() and int(allowed) > 0:
            yield Heard(budget, int(allowed), int(left))
