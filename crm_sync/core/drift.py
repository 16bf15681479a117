"""Drift: what has changed about a CRM's object since the sync last agreed with it, and what follows for a stream.

Pure: two looks at the same object in, changes and the next look to compare with out. A change that only adds is
applied: from then on the new look is what is expected. A change that takes something away is held: the sync goes on to
expect the old look until that is back, the mapping says otherwise, or a person has acknowledged it. What a change
means for people is in drift_words.py; where looks are kept, in hub/schema.py.
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from crm_sync.core.looks import RECORD_TYPE, Look, Looks, family, fits
from crm_sync.core.spec import Direction, FieldSpec, StreamSpec


class Kind(StrEnum):
    """What changed."""

    ADDED = "added"
    REMOVED = "removed"  # archived, renamed, or no permission to see it: the CRM does not say which
    RETYPED = "retyped"
    READ_ONLY = "read only"
    WRITABLE = "writable"
    OPTIONS_ADDED = "picklist values added"
    OPTIONS_REMOVED = "picklist values removed"
    LONGER = "longer"
    SHORTER = "shorter"
    REQUIRED = "required"
    NOT_REQUIRED = "not required"
    OBJECT_REMOVED = "object removed"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a vendor field. before, after: types, lengths or picklist values, as the kind has it. held: the
    sync goes on to expect the old look. freezes: our fields for which nothing is taken or sent. fatal: something that
    is mapped cannot be synced at all."""

    field: str
    kind: Kind
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    held: bool = False
    freezes: tuple[str, ...] = ()
    fatal: bool = False

    @property
    def key(self) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
        """The same for what a person has acknowledged and what is seen again."""
        return self.field, str(self.kind), self.before, self.after


def digest(now: Looks, stream: StreamSpec) -> str:
    """A short name for a look and for all of the mapping that `changes` goes by: the same name, the same answer."""
    mapped = [(spec.name, stream.read_from(spec.name), spec.type, spec.direction) for spec in stream.fields]
    mapping = (mapped, stream.external_id, stream.filters, sorted(stream.constants), stream.record_type)
    text = repr((stream.object, stream.direction, mapping, sorted(now.items(), key=lambda item: item[0])))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def changes(before: Looks, now: Looks, stream: StreamSpec) -> list[Change]:
    """What has changed, ordered by field. Of fields that the stream does not use only that they are new, if they can be
    mapped, and that a create needs them."""
    used = _used(stream)
    found: list[Change] = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if name not in used:
            found += _unused(name, old, new, stream)
        elif old is None:
            found.append(Change(name, Kind.ADDED, after=(now[name].type,)))
        elif new is None:
            renamed = tuple(n for n in now if n not in before and _is_alike(old, now[n]))
            found.append(
                Change(name, Kind.REMOVED, (old.type,), renamed, held=True, freezes=_ours(stream, name),
                       fatal=name in _vital(stream))
            )  # fmt: skip
        else:
            found += _changed(name, old, new, used[name], stream)
    return found


def expected(
    before: Looks, now: Looks, found: Collection[Change], accepted: Collection[Change] = ()
) -> dict[str, Look]:
    """The look to compare with next time: as it is now, and as before where a change is held and not accepted. That a
    mapped field is away cannot be accepted: nobody else knows what it was."""
    known = {change.key for change in accepted if change.kind is not Kind.REMOVED}
    result = dict(now)
    for change in found:
        if not change.held or change.key in known:
            continue
        old = before.get(change.field)
        if change.kind in (Kind.REMOVED, Kind.RETYPED):
            if old is not None:
                result[change.field] = old
            continue
        look = result[change.field]
        if change.kind is Kind.REQUIRED:
            result[change.field] = replace(look, required=False)
        elif old is not None and change.kind is Kind.READ_ONLY:
            result[change.field] = replace(look, creates=old.creates, updates=old.updates)
        elif old is not None and change.kind is Kind.SHORTER:
            result[change.field] = replace(look, length=old.length)
        elif change.kind is Kind.OPTIONS_REMOVED and look.options is not None:
            result[change.field] = replace(look, options=(*look.options, *change.before))
    return result


def _unused(name: str, old: Look | None, new: Look | None, stream: StreamSpec) -> Iterator[Change]:
    if new is None:
        return
    if new.required and not (old is not None and old.required) and stream.direction is not Direction.INBOUND:
        yield Change(name, Kind.REQUIRED, held=True, fatal=True)
    elif old is None and not new.calculated and not name.startswith(RECORD_TYPE):
        yield Change(name, Kind.ADDED, after=(new.type,))


def _changed(
    name: str, old: Look, new: Look, specs: tuple[FieldSpec, ...], stream: StreamSpec
) -> Iterator[Change]:
    if old.type != new.type:
        hurt = (
            ()
            if family(old.type) == family(new.type)
            else tuple(s.name for s in specs if not fits(s, new.type))
        )
        yield Change(name, Kind.RETYPED, (old.type,), (new.type,), held=bool(hurt), freezes=hurt)
        if hurt:
            return  # what else is new of another type comes with it
    if sends := _sends(stream, specs):
        yield from _permission(name, old, new)
    gone, come = _apart(old.options, new.options)
    if gone and new.options is not None:
        yield Change(name, Kind.OPTIONS_REMOVED, gone, held=bool(specs))
    if come:
        yield Change(name, Kind.OPTIONS_ADDED, after=come)
    if sends and old.type == new.type and old.length != new.length:
        shorter = new.length is not None and (old.length is None or new.length < old.length)
        kind = Kind.SHORTER if shorter else Kind.LONGER
        yield Change(name, kind, _text(old.length), _text(new.length), held=shorter)
    if sends and old.required != new.required:
        yield Change(name, Kind.REQUIRED if new.required else Kind.NOT_REQUIRED, held=new.required)


def _permission(name: str, old: Look, new: Look) -> Iterator[Change]:
    if (old.creates and not new.creates) or (old.updates and not new.updates):
        yield Change(name, Kind.READ_ONLY, held=True)
    elif (old.creates, old.updates) != (new.creates, new.updates):
        yield Change(name, Kind.WRITABLE)


def _apart(
    old: tuple[str, ...] | None, new: tuple[str, ...] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Picklist values that went and that came. Without a list any value is allowed: then nothing went."""
    if old is None or new is None:
        return (), ()
    return tuple(v for v in old if v not in set(new)), tuple(v for v in new if v not in set(old))


def _used(stream: StreamSpec) -> dict[str, tuple[FieldSpec, ...]]:
    """Every vendor field that the stream needs, with those of our fields that are read from or sent to it."""
    found: dict[str, tuple[FieldSpec, ...]] = {}
    for spec in stream.fields:
        for name in stream.read_from(spec.name):
            found[name] = (*found.get(name, ()), spec)
    for name in (*_vital(stream), *stream.constants):
        found.setdefault(name, ())
    return found


def _vital(stream: StreamSpec) -> set[str]:
    """What the stream cannot do without: records could be neither found nor created."""
    found = {condition.vendor for condition in stream.filters}
    found |= {stream.external_id} if stream.external_id is not None else set()
    if stream.direction is not Direction.INBOUND:
        found |= set(stream.constants)
    if stream.record_type is not None:
        found.add(RECORD_TYPE + stream.record_type)
    return found


def _ours(stream: StreamSpec, vendor: str) -> tuple[str, ...]:
    return tuple(spec.name for spec in _used(stream).get(vendor, ()))


def _sends(stream: StreamSpec, specs: tuple[FieldSpec, ...]) -> bool:
    return stream.direction is not Direction.INBOUND and any(
        s.direction is not Direction.INBOUND for s in specs
    )


def _is_alike(old: Look, new: Look) -> bool:
    return bool(old.label) and (old.label, old.type) == (new.label, new.type)


def _text(length: int | None) -> tuple[str, ...]:
    return () if length is None else (str(length),)
