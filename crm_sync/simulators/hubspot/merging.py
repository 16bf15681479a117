"""Merging two records into one. Sources: merge guide, and the merge webhook's ``newObjectId``."""

from crm_sync.simulators.hubspot.catalog import LIFECYCLE
from crm_sync.simulators.hubspot.clock import iso
from crm_sync.simulators.hubspot.errors import ApiError, invalid
from crm_sync.simulators.hubspot.notices import tell
from crm_sync.simulators.hubspot.records import Record
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Source, Store, emails_of

MAX_MERGED = 250


def merge(store: Store, kind: Kind, primary: Record, loser: Record, source: Source) -> Record:
    """Make one record of two: the primary's values, the loser's where the primary has none. Returns the survivor."""
    table = store.tables[kind.name]
    if primary is loser:
        raise invalid(f"Cannot merge a {kind.singular} with itself")
    now = store.clock.now()
    gone = [loser] if not store.settings.merge_mints_new_id else [primary, loser]
    before = [r.values.get("hs_merged_object_ids", "") for r in (primary, loser)]
    ids = [str(r.id) for r in gone]
    merged = ";".join(filter(None, (before[0], *ids, before[1])))
    if merged.count(";") >= MAX_MERGED:
        raise ApiError(414, "Cannot have more than 250 identities on a profile", "VALIDATION_ERROR")
    values = _merged_values(kind, primary, loser, gone, now) | {"hs_merged_object_ids": merged}
    links = {each.id: list(store.links.all_of(kind.name, each.id)) for each in (loser, primary)}
    for each in gone:
        store.release(table, each)
        store.links.drop_all(kind.name, each.id)
        table.live.pop(each.id)
        store.to_index(table, each.id, None, now)
    survivor = primary
    if store.settings.merge_mints_new_id:
        survivor = Record(table.new_id(), dict(primary.values), min(primary.created, loser.created), now)
        survivor.trail = list(primary.trail or [])
        values["hs_object_id"] = str(survivor.id)
        table.add(survivor)
    for each in gone:
        table.merged[each.id] = survivor.id
    store.put(table, survivor, values, source, now)
    store.claim(table, survivor)
    for each in gone:
        for other, target, types in links[each.id]:
            if other != kind.name or target != survivor.id:
                keep = [
                    t for t in map(store.links.types.__getitem__, types) if each is primary or not t.primary
                ]
                store.links.put(kind.name, survivor.id, other, target, keep)
    tell(store, kind, "merge", survivor, source, more={
        "primaryObjectId": primary.id, "mergedObjectIds": [r.id for r in gone], "newObjectId": survivor.id,
        "numberOfPropertiesMoved": len(values),
    })  # fmt: skip
    return survivor


def _merged_values(
    kind: Kind, primary: Record, loser: Record, gone: list[Record], now: int
) -> dict[str, str]:
    values = {n: v for n, v in loser.values.items() if n not in primary.values}
    values[kind.created] = iso(min(primary.created, loser.created))
    if kind.name == "contacts":
        primary_email = primary.values.get("email") or loser.values.get("email", "")
        others = [e for r in (primary, loser) for e in emails_of(r) if e != primary_email]
        vids = primary.values.get("hs_calculated_merged_vids", "").split(";")
        vids += [f"{r.id}:{now}" for r in gone]
        vids += loser.values.get("hs_calculated_merged_vids", "").split(";")
        values |= {
            "email": primary_email,
            "hs_additional_emails": ";".join(dict.fromkeys(others)),
            "hs_calculated_merged_vids": ";".join(filter(None, vids)),
        }
        stages = [v for r in (primary, loser) if (v := r.values.get("lifecyclestage")) in LIFECYCLE]
        if stages:
            values["lifecyclestage"] = max(stages, key=LIFECYCLE.index)
    return values
