"""Every path of HubSpot's API that the connector calls, for the dated and the numbered versions.

Here: strings only. HubSpot names its versions by month ("2026-03") and retires the numbered ones in 2027
(developers.hubspot.com/changelog, "legacy APIs and legacy apps"); both spellings answer alike, so the version is
a setting and this table is the only place that knows where it goes in a path.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

DEFAULT_VERSION = "2026-03"
VERSION = re.compile(r"v3|20\d\d-(03|09)")

PLURALS = {
    "contact": "contacts",
    "company": "companies",
    "deal": "deals",
    "ticket": "tickets",
    "product": "products",
    "line_item": "line_items",
    "lead": "leads",
    "note": "notes",
    "task": "tasks",
    "meeting": "meetings",
    "call": "calls",
    "email": "emails",
}

TYPE_IDS = {
    "0-1": "contacts",
    "0-2": "companies",
    "0-3": "deals",
    "0-5": "tickets",
    "0-7": "products",
    "0-8": "line_items",
    "0-27": "tasks",
    "0-46": "notes",
    "0-47": "meetings",
    "0-48": "calls",
    "0-49": "emails",
    "0-136": "leads",
}


def plural(name: str) -> str:
    """The plural name of an object ("Contact", "contact", "0-1" -> "contacts"); custom ones ("2-123") as given."""
    lowered = name.lower()
    known = lowered if lowered in PLURALS.values() else None
    return PLURALS.get(lowered) or TYPE_IDS.get(lowered) or known or name


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths under the base URL for one API version: "v3", or a month such as "2026-03"."""

    version: str = DEFAULT_VERSION

    def _versioned(self, area: str, numbered: str = "v3") -> str:
        if self.version == "v3":
            return f"/crm/{numbered}/{area}"
        return f"/crm/{area}/{self.version}"

    def objects(self, name: str) -> str:
        return f"{self._versioned('objects')}/{quote(plural(name))}"

    def search(self, name: str) -> str:
        return f"{self.objects(name)}/search"

    def batch(self, name: str, verb: str) -> str:
        """`verb`: read, create, update, upsert or archive."""
        return f"{self.objects(name)}/batch/{verb}"

    def associations(self, source: str, target: str, verb: str) -> str:
        """`verb`: read, create, archive or associate/default. The numbered version of associations is v4."""
        ends = f"{quote(plural(source))}/{quote(plural(target))}"
        return f"{self._versioned('associations', 'v4')}/{ends}/batch/{verb}"

    def properties(self, name: str) -> str:
        return f"{self._versioned('properties')}/{quote(plural(name))}"

    def pipelines(self, name: str) -> str:
        return f"{self._versioned('pipelines')}/{quote(plural(name))}"

    @property
    def account(self) -> str:
        return f"/account-info/{self.version}/details"

    @property
    def token(self) -> str:
        return f"/oauth/{self.version}/token"
