"""Plans as values: the field writes that wait for approval, their canonical form, and what makes two of them the same.

Pure. The rows lie in Postgres (`hub/plans.py`), are made by the hub and outbound steps (`steps/proposal.py`), and are
written by `steps/apply.py`, which decides each record again.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self

from crm_sync.core.guard import Guard
from crm_sync.core.spec import StreamSpec

Target = Literal["hub", "crm"]


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One field write. Values are personal data.

    stream: connection/entity. target: where it would be written. action: create, update, link, delete, ...; those that
    are about the record have no field. record: the id by which the plan knows the record (a hub id; of a record that is
    new in the hub, or gets its link, the CRM's). old, new: in the target's terms; a reference that is taken is given as
    the CRM's id, for its target may be new itself. hub_then, crm_then: both halves of the base. policy: the field's.
    """

    stream: str
    target: Target
    action: str
    record: str
    field: str
    old: str | None
    new: str | None
    reason: str
    hub_id: str | None = None
    crm_id: str | None = None
    hub_then: str | None = None
    crm_then: str | None = None
    verdict: str = ""
    policy: str = ""

    @property
    def key(self) -> str:
        """What belongs to one record has one key: its hub id, if it has one already."""
        return self.hub_id or self.record

    @property
    def canonical(self) -> bytes:
        """The row as one line that is the same for the same row, whatever process writes it."""
        return json.dumps([getattr(self, name) for name in self.__slots__]).encode() + b"\n"

    @classmethod
    def read(cls, values: Mapping[str, object]) -> Self:
        """The row that a line of a file holds; TypeError or ValueError if it holds another thing."""
        if not all(value is None or isinstance(value, str) for value in values.values()):
            raise TypeError("a row's values are texts")
        return cls(**values)  # type: ignore[arg-type]


class Digest:
    """The content hash of a plan: SHA-256 over the mappings of its streams and its rows in canonical order."""

    def __init__(self, streams: Mapping[str, str]) -> None:
        self._hash = hashlib.sha256(json.dumps(dict(streams), sort_keys=True).encode())

    def add(self, row: PlanRow) -> str:
        """Take the next row in; returns the hash up to it."""
        self._hash.update(row.canonical)
        return self.value

    @property
    def value(self) -> str:
        return self._hash.hexdigest()


def content(streams: Mapping[str, str], rows: Iterable[PlanRow]) -> str:
    """The content hash of these rows, given in canonical order."""
    digest = Digest(streams)
    for row in rows:
        digest.add(row)
    return digest.value


def mapping_digest(stream: StreamSpec) -> str:
    """What the mapping of a stream says, in short: other mapping, other digest. Limits and approvals are no part of it."""
    plain = replace(stream, guard=Guard(), approval=frozenset())
    return hashlib.sha256(repr(plain).encode()).hexdigest()[:16]


def moved(planned: Iterable[PlanRow], found: Iterable[PlanRow]) -> str:
    """What is not as it was planned about one record, in words without values; empty if all is."""
    before = {(row.target, row.field): row for row in planned}
    now = {(row.target, row.field): row for row in found}
    return "; ".join(_differences(before, now))


_Rows = Mapping[tuple[Target, str], PlanRow]


def _differences(before: _Rows, now: _Rows) -> Iterator[str]:
    for key, row in before.items():
        other = now.get(key)
        about = f"{row.field or 'the record'}"
        if other is None:
            yield f"{about}: nothing to write to the {_side(row.target)} any more"
        elif other != row:
            names = [word for name, word in _WORDS.items() if getattr(other, name) != getattr(row, name)]
            yield f"{about}: {', '.join(names)} changed"
    for key, row in now.items():
        if key not in before:
            yield f"{row.field or 'the record'}: {row.action} in the {_side(row.target)} was not planned"


_WORDS = {
    "action": "what is done",
    "hub_id": "the hub record",
    "crm_id": "the CRM record",
    "old": "the old value",
    "new": "the new value",
    "hub_then": "the hub's base",
    "crm_then": "the CRM's base",
    "verdict": "the verdict",
    "reason": "the reason",
    "policy": "the policy",
}


def _side(target: str) -> str:
    return "hub" if target == "hub" else "CRM"
