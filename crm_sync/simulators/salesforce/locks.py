"""Row locks: which records a write holds, and who holds them now.

Source: "Record Locking Cheat Sheet": a write locks the record and the parents it points at.
Not here: the refusal of a write that meets a lock (writes.py).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crm_sync.simulators.salesforce.schema import Row, SObject


@dataclass(slots=True)
class Locks:
    """Parents held by transactions that are still under way (monotonic time)."""

    held: dict[str, tuple[float, str]] = field(default_factory=dict)

    def take(self, names: set[str], owner: str, seconds: float) -> str | None:
        """Hold ``names`` for ``seconds``; return one that somebody else holds, then take none."""
        now = time.monotonic()
        for name in names:
            until, holder = self.held.get(name, (0.0, ""))
            if until > now and holder != owner:
                return name
        if seconds:
            self.held.update(dict.fromkeys(names, (now + seconds, owner)))
        return None


def concerned(o: SObject, row: Row | None, values: Mapping[str, Any]) -> set[str]:
    """Ids that a write holds: the record itself, and the parents it had and will have."""
    names = {row[0]} if row is not None else set()
    for f in o.fields:
        if f.type == "reference" and f.child_relationship is not None:
            old = row[o.position[f.name]] if row is not None else None
            names.update(record_id for record_id in (old, values.get(f.name)) if record_id)
    return names
