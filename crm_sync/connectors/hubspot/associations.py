"""Associations: the records that a record belongs to, in the port a field with one id.

Here: reading and changing them in batches (developers.hubspot.com/docs/api-reference/legacy/crm/associations/
associate-records/guide). HubSpot has sets where a mapping has one value: the value of a field is the primary
associated record where HubSpot knows a primary (only companies are), else the one with the lowest id. Changing
the value adds the new association and removes the one that was the value; all others stay. Changing an
association does not touch the record's modification time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from crm_sync.connectors.hubspot.api import Api, Json
from crm_sync.connectors.hubspot.errors import record_error
from crm_sync.core.errors import CrmError, ErrorClass, RecordError

T = TypeVar("T")

MAX_READ = 1000
MAX_WRITE = 1000
FAMILY = "associations"

# Type ids of "primary" by direction. Seen from the company many records may be primary, so there it says nothing.
PRIMARY = {("contacts", "companies"): 1, ("deals", "companies"): 5, ("tickets", "companies"): 26}


@dataclass(frozen=True, slots=True)
class Ends:
    """The associated records of one record: all ids, and the primary ones."""

    ids: frozenset[str] = frozenset()
    primary: frozenset[str] = frozenset()

    @property
    def value(self) -> str | None:
        return min(self.primary or self.ids, key=_order, default=None)

    def without(self, other: str) -> "Ends":
        return Ends(self.ids - {other}, self.primary - {other})

    def having(self, other: str, *, primary: bool) -> "Ends":
        return Ends(self.ids | {other}, frozenset({other}) if primary else self.primary)


@dataclass(frozen=True, slots=True)
class Change:
    """Make `target` the value of `source`'s field, or remove the value (None)."""

    source: str
    target: str | None


def _order(crm_id: str) -> tuple[int, str]:
    return (int(crm_id) if crm_id.isdecimal() else 0, crm_id)


class Associations:
    """Associations of one account. Methods raise CrmError when a whole request fails."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def read(self, source: str, target: str, ids: Iterable[str]) -> dict[str, Ends]:
        """The associated `target` records of each `source` record; a record without any has empty ends."""
        found: dict[str, Ends] = {crm_id: Ends() for crm_id in ids}
        path = self._api.paths.associations(source, target, "read")
        waiting: list[Json] = [{"id": crm_id} for crm_id in found]
        while waiting:
            answer = self._api.read(path, FAMILY, {"inputs": waiting[:MAX_READ]})
            waiting = waiting[MAX_READ:]
            _refuse_failures(answer, source, target)
            for result in answer.get("results") or ():
                crm_id = str(result["from"]["id"])
                found[crm_id] = _joined(found.get(crm_id, Ends()), result.get("to") or (), (source, target))
                after = ((result.get("paging") or {}).get("next") or {}).get("after")
                if after:
                    waiting.append({"id": crm_id, "after": after})
        return found

    def change(
        self, source: str, target: str, changes: Sequence[Change], before: Mapping[str, Ends]
    ) -> dict[str, str | RecordError | None]:
        """Carry out changes; `before` is what `read` said. The value that each record now has, or why not.

        First the new ones are added, then the old removed, so that no record is ever without."""
        primary = PRIMARY.get((source, target))
        add = [c for c in changes if c.target is not None and c.target != before[c.source].value]
        failed = self._add(source, target, add, primary)
        outcome: dict[str, str | RecordError | None] = dict(failed)
        remove: list[tuple[str, str]] = []
        for change in changes:
            if change.source in failed:
                continue
            ends, old = before[change.source], before[change.source].value
            if change.target is not None:
                ends = ends.having(change.target, primary=primary is not None)
            if old is not None and old != change.target:
                remove.append((change.source, old))
                ends = ends.without(old)
            outcome[change.source] = ends.value
        self._remove(source, target, remove)
        return outcome

    def _add(
        self, source: str, target: str, changes: Sequence[Change], primary: int | None
    ) -> dict[str, RecordError]:
        verb = "associate/default" if primary is None else "create"
        path = self._api.paths.associations(source, target, verb)
        failed: dict[str, RecordError] = {}
        for chunk in chunks(changes, MAX_WRITE):
            inputs: list[Json] = [{"from": {"id": c.source}, "to": {"id": c.target}} for c in chunk]
            for entry in inputs:
                if primary is not None:
                    kind = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": primary}
                    entry["types"] = [kind]
            # An association is a fact, not an event: stating it twice changes nothing.
            try:
                answer = self._api.write(path, FAMILY, {"inputs": inputs}, idempotent=True)
            except CrmError as error:
                if error.error_class is not ErrorClass.VALIDATION:
                    raise
                if len(chunk) > 1:
                    for half in (chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]):
                        failed |= self._add(source, target, half, primary)
                    continue
                answer = {"results": [], "errors": [{"category": error.code}]}
            done = {_pair(result) for result in answer.get("results") or ()}
            errors = [record_error(entry) for entry in answer.get("errors") or ()]
            for change in chunk if errors else ():
                if (change.source, change.target) not in done:
                    failed[change.source] = _refused(source, target, change, errors)
        return failed

    def _remove(self, source: str, target: str, pairs: Sequence[tuple[str, str]]) -> None:
        path = self._api.paths.associations(source, target, "archive")
        for chunk in chunks(pairs, MAX_WRITE):
            inputs = [{"from": {"id": one}, "to": [{"id": other}]} for one, other in chunk]
            answer = self._api.write(path, FAMILY, {"inputs": inputs}, idempotent=True)
            _refuse_failures(answer, source, target)


def chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Pieces of at most `size`."""
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece


def _joined(ends: Ends, targets: Iterable[Mapping[str, Any]], pair: tuple[str, str]) -> Ends:
    ids, primary = set(ends.ids), set(ends.primary)
    for target in targets:
        crm_id = str(target["toObjectId"])  # a number in some answers, a string in others
        ids.add(crm_id)
        for kind in target.get("associationTypes") or ():
            if kind.get("category") == "HUBSPOT_DEFINED" and kind.get("typeId") == PRIMARY.get(pair):
                primary.add(crm_id)
    return Ends(frozenset(ids), frozenset(primary))


def _pair(result: Mapping[str, Any]) -> tuple[str, str]:
    one = result.get("fromObjectId") or (result.get("from") or {}).get("id")
    other = result.get("toObjectId") or (result.get("to") or {}).get("id")
    return str(one), str(other)


def _refused(source: str, target: str, change: Change, errors: Sequence[RecordError]) -> RecordError:
    codes = ", ".join(dict.fromkeys(error.code for error in errors)) or "no reason given"
    text = f"HubSpot did not associate {source} {change.source} with {target} {change.target}: {codes}"
    return RecordError(ErrorClass.VALIDATION, "ASSOCIATION_REFUSED", text)


def _refuse_failures(answer: Mapping[str, Any], source: str, target: str) -> None:
    """A 207 names records that have no association, which is no failure; anything else is one."""
    for entry in answer.get("errors") or ():
        words = {str(entry.get(key) or "") for key in ("category", "subCategory", "code")}
        if not any("NO_ASSOCIATION" in word or "NOT_FOUND" in word for word in words):
            said = record_error(entry)
            text = f"HubSpot could not read or remove associations of {source} with {target}: {said.code}"
            raise CrmError(said.error_class, text, code=said.code)
