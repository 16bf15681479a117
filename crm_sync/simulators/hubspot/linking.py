"""Linking and unlinking records, with what that does to them. Not here: the links themselves (links.py)."""

from collections.abc import Iterable

from crm_sync.simulators.hubspot.clock import iso
from crm_sync.simulators.hubspot.links import LinkType
from crm_sync.simulators.hubspot.notices import tell_link
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Source, Store

End = tuple[Kind, int]
"""One end of an association."""


def link(
    store: Store, left: End, right: End, types: Iterable[LinkType], source: Source, *, replace: bool = False
) -> None:
    """Link two records; both count as modified (they carry calculated counts), and a primary company is noted."""
    before = _types(store, left, right)
    if store.links.put(left[0].name, left[1], right[0].name, right[1], types, replace=replace):
        after = _types(store, left, right)
        _linked(store, left, right, source)
        for number in sorted(after - before):
            tell_link(store, store.links.types[number], (left[1], right[1]), source, removed=False)


def unlink(store: Store, left: End, right: End, types: Iterable[int] | None, source: Source) -> None:
    """Unlink two records (or take these types away)."""
    before = _types(store, left, right)
    if store.links.drop(left[0].name, left[1], right[0].name, right[1], types):
        _linked(store, left, right, source)
        for number in sorted(before - _types(store, left, right)):
            tell_link(store, store.links.types[number], (left[1], right[1]), source, removed=True)


def _types(store: Store, left: End, right: End) -> set[int]:
    return set(store.links.of(left[0].name, left[1], right[0].name).get(right[1], ()))


def _linked(store: Store, left: End, right: End, source: Source) -> None:
    """Whether an association moves the modification time is told in both ways (airbyte #14390, #27199: it does not)."""
    if not store.settings.links_touch_records:
        return
    now = store.clock.now()
    for (one, number), (far, _) in ((left, right), (right, left)):
        table = store.tables[one.name]
        record = table.live.get(number)
        if record is None:
            continue
        if one.name == "contacts" and far.name == "companies":
            primary = store.links.primary_of("contacts", number, "companies")
            store.put(table, record, {"associatedcompanyid": str(primary or "")}, source, now)
        elif far.activity:
            noted = {"notes_last_updated": iso(now)} if one.known("notes_last_updated") else {}
            store.put(table, record, noted, source, now)
        else:
            store.stamp(table, record, now)
