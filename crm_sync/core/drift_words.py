"""What a change of a CRM's object means, in sentences for people: what changed, what follows, what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crm_sync.core.drift import Change, Kind
from crm_sync.core.spec import FieldSpec, StreamSpec

MOST = 5
"""Names that a sentence lists."""


@dataclass(frozen=True, slots=True)
class Words:
    """Three sentences, or parts of some."""

    what: str
    follows: str
    do: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stream's mapping stands: the connection file, and its lines by dotted path."""

    file: str = ""
    lines: Mapping[str, int] | None = None

    def of(self, *path: str) -> str:
        """`file:line` of what the path leads to, or of the nearest that stands around it; "" if nothing is known."""
        known = self.lines or {}
        for end in range(len(path), 0, -1):
            line = known.get(".".join(path[:end]))
            if line is not None:
                return f"{self.file}:{line}"
        return self.file


def words(change: Change, stream: StreamSpec, place: Place, records: int | None = None) -> Words:
    """records: how many hold one of the removed picklist values, where that was counted."""
    ours = [spec for spec in stream.fields if change.field in stream.read_from(spec.name)]
    made = _MADE.get(change.kind)
    if change.kind is Kind.OPTIONS_REMOVED:
        return _options_removed(change, ours, stream, place, records)
    if change.kind is Kind.REMOVED:
        return _removed(change, ours, stream, place)
    if change.kind is Kind.RETYPED:
        return _retyped(change, stream, place)
    if change.kind is Kind.ADDED:
        return _added(change, ours, stream, place)
    if change.kind is Kind.REQUIRED:
        return _required(ours, stream, place)
    what, follows, do = made or ("", "", "")
    before, after = _listed(change.before), _listed(change.after)
    return Words(what.format(before=before or "any", after=after or "any"), follows, do)


_ACKNOWLEDGE = "acknowledge it if it is meant to be so"
_MADE = {
    Kind.OBJECT_REMOVED: (
        "the whole object is away, or this user may not see it",
        "nothing of it is synced; nothing is blanked or deleted",
        "give the permission back, or correct the object in the mapping",
    ),
    Kind.READ_ONLY: (
        "can no longer be written",
        "the CRM's changes are taken; the hub's are not sent, and their records are parked for that field",
        f"give the permission back, or set `direction: inbound`; {_ACKNOWLEDGE}",
    ),
    Kind.WRITABLE: ("can be written again", "the hub's changes are sent", "nothing"),
    Kind.OPTIONS_ADDED: (
        "picklist values added: {after}",
        "they are allowed at once; with a map of values, those that it lacks are parked when they come in",
        "add them to the field's `values` if it has any",
    ),
    Kind.LONGER: ("holds {after} characters (was {before})", "longer values are sent at once", "nothing"),
    Kind.SHORTER: (
        "holds {after} characters (was {before})",
        "longer values of the hub are parked and not cut off",
        f"shorten the values that are parked; {_ACKNOWLEDGE}",
    ),
    Kind.NOT_REQUIRED: ("is no longer required", "records without it are sent", "nothing"),
}


def _removed(change: Change, ours: Sequence[FieldSpec], stream: StreamSpec, place: Place) -> Words:
    what = "cannot be seen any more: removed, renamed, or no permission"
    if change.after:
        what += f"; perhaps it is called {_listed(change.after)} now"
    follows = "nothing is taken, sent or blanked for it; all else goes on"
    if ours:
        follows = f"{_listed([spec.name for spec in ours])} frozen: {follows}"
    if change.fatal:
        follows = "records cannot be told apart, found or created without it: the stream may stop"
    at = (
        place.of("entities", stream.entity, "fields", ours[0].name)
        if ours
        else place.of("entities", stream.entity)
    )
    return Words(what, follows, f"give it back, or name another one in the mapping{_at(at)}")


def _retyped(change: Change, stream: StreamSpec, place: Place) -> Words:
    what = f"type is {_listed(change.after)} (was {_listed(change.before)})"
    if not change.freezes:
        return Words(what, "values mean the same, the sync goes on", "nothing")
    at = place.of("entities", stream.entity, "fields", change.freezes[0], "type")
    return Words(
        what,
        f"{_listed(change.freezes)} frozen: nothing is taken, sent or blanked for it; all else goes on",
        f"name the new type in the mapping{_at(at)}, take the change back in the CRM, or acknowledge it: then its values"
        " are taken as they are",
    )


def _added(change: Change, ours: Sequence[FieldSpec], stream: StreamSpec, place: Place) -> Words:
    if ours:
        return Words("can be seen", f"{_listed([s.name for s in ours])} is synced from now on", "nothing")
    at = place.of("entities", stream.entity, "fields")
    return Words(f"new field, {_listed(change.after)}", "not mapped", f"map it if you need it{_at(at)}")


def _required(ours: Sequence[FieldSpec], stream: StreamSpec, place: Place) -> Words:
    if ours:
        at = place.of("entities", stream.entity, "fields", ours[0].name)
        return Words(
            "is required now", "hub records without it are parked", f"fill it{_at(at)}; {_ACKNOWLEDGE}"
        )
    at = place.of("entities", stream.entity, "fields")
    return Words(
        "is required now, and not mapped",
        "no record can be created in the CRM; updates go on",
        f"map it, or give it a value under `constants`{_at(at)}",
    )


def _options_removed(
    change: Change, ours: Sequence[FieldSpec], stream: StreamSpec, place: Place, records: int | None
) -> Words:
    what = f"picklist values removed: {_listed(change.before)}"
    if records:
        what += f"; {records:,}{_or_more(records)}"
    follows = "records keep what they hold; the hub's writes of these values are refused and parked"
    gone, named = set(change.before), []
    for spec in ours:
        for mine, theirs in (spec.to_crm or {}).items():
            if theirs in gone:
                at = place.of("entities", stream.entity, "fields", spec.name, "values", mine)
                named.append(f"{mine}: {theirs}{_at(at)}")
    if named:
        return Words(
            what,
            follows,
            f"the map of values names what is gone: {'; '.join(named)}; let it name another value",
        )
    return Words(what, follows, _ACKNOWLEDGE)


def _or_more(records: int) -> str:
    if records == 1:
        return " record still holds one"
    return f"{' or more' if records >= 1_000 else ''} records still hold one"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST])
    return shown if len(names) <= MOST else f"{shown} and {len(names) - MOST} more"


def _at(place: str) -> str:
    return f" ({place})" if place else ""
