"""The one catalogue of refusals: our own codes and those of every kind of CRM that is in use.

Here they are only joined; the rows are in `core/catalogue.py` and `connectors/<kind>/catalogue.py`.
"""

import importlib
from collections.abc import Iterable, Sequence
from importlib.util import find_spec

from crm_sync.core import errors
from crm_sync.core.catalogue import BY_CLASS, OWN, Entry, row_of
from crm_sync.core.spec import System

DOCUMENTED = ("salesforce", "hubspot")


def of_kind(kind: str) -> Sequence[Entry]:
    """The codes of a kind of CRM; none if its connector has no catalogue: the classes' rows stand for them."""
    package = find_spec(f"crm_sync.connectors.{kind}")
    if package is None or package.submodule_search_locations is None:
        return ()
    name = f"{package.name}.catalogue"
    if find_spec(name) is None:
        return ()
    found: Sequence[Entry] = importlib.import_module(name).CODES
    return found


def of_system(system: System) -> dict[str, Sequence[Entry]]:
    """The vendors' codes for the connections of a system, by kind of CRM."""
    return {kind: of_kind(kind) for kind in sorted({one.kind for one in system.connections})}


def reference() -> str:
    """Classes and codes as a page of the documentation (`docs/reference/errors.md`)."""
    parts = [
        errors.reference(),
        _CODES,
        *_table("Any code that is not listed, by its class", BY_CLASS.values()),
    ]
    parts += _table("Codes of crm_sync", OWN)
    for kind in DOCUMENTED:
        parts += _table(f"Codes of {_NAMES.get(kind, kind)}", of_kind(kind))
    return "\n".join(parts)


_NAMES = {"salesforce": "Salesforce", "hubspot": "HubSpot"}

_CODES = """## Codes

Each refusal of a record also has a code: the CRM's own, or ours. In the database the same rows are in `sync.error_code`,
joined to what is parked in the view `review.parked` ([Parked records](../howto/parked-records.md)).

- **Tried again**: `when the record changes`: on either side. `by itself, with backoff`: in the next run, then after growing
  pauses, and after ten tries it is parked. `after requeue`: what has to change is not the record, so say when it has. A
  reconcile tries all of them again.
"""


def _table(title: str, rows: Iterable[Entry]) -> list[str]:
    head = "| Code | Class | Cause | What to do | Who | Tried again |\n|---|---|---|---|---|---|"
    return [f"### {title}\n", head, *map(row_of, rows), ""]
