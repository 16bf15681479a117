"""HubSpot's rules about writing records: what is checked, what happens by itself, what is told to subscribers.

Here: create, update, archive, restore, merge, erase. Not here: HTTP shapes (objects.py, batch.py), single values (values.py).
Every function either does everything or raises ApiError and does nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from crm_sync.simulators.hubspot import linking
from crm_sync.simulators.hubspot.catalog import LIFECYCLE
from crm_sync.simulators.hubspot.clock import iso
from crm_sync.simulators.hubspot.errors import ApiError, InvalidValuesError, invalid
from crm_sync.simulators.hubspot.links import LinkType
from crm_sync.simulators.hubspot.notices import tell, tell_property
from crm_sync.simulators.hubspot.records import Record
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Source, Store, Table, emails_of
from crm_sync.simulators.hubspot.trouble import rewrite
from crm_sync.simulators.hubspot.values import InvalidValueError, clean

PIPELINE_PROPERTIES = {"deals": ("pipeline", "dealstage"), "tickets": ("hs_pipeline", "hs_pipeline_stage")}
_CLOSED = {"closedwon", "closedlost"}


def check(
    store: Store, table: Table, raw: Mapping[str, Any], source: Source, record: Record | None
) -> dict[str, str]:
    """The values to store for a write to ``record`` (None: a new one). Raises InvalidValuesError or ApiError (400, 409)."""
    kind = table.kind
    current = record.values if record else {}
    issues: list[dict[str, Any]] = []
    changes: dict[str, str] = {}
    owners = store.active_owners()
    for name, value in raw.items():
        definition = kind.known(name)
        if definition is None:
            issues.append(_issue(store, name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist'))
        elif definition.read_only or definition.calculated:
            issues.append(
                _issue(
                    store,
                    name,
                    "READ_ONLY_VALUE",
                    f'"{name}" is a read only property; its value cannot be set.',
                )
            )
        else:
            try:
                cleaned = clean(definition, value, current.get(name), owners)
            except InvalidValueError as bad:
                issues.append(_issue(store, name, bad.code, str(bad)))
            else:
                if cleaned is not None:
                    changes[name] = cleaned
    issues += _stage_issues(store, kind, current, changes)
    if issues:
        raise InvalidValuesError(issues)
    _keep_lifecycle(current, changes)
    if changes.get(kind.created) == "":
        del changes[kind.created]
    if record is None:
        _require(kind, changes)
    _admin_rules(store, kind, {**current, **changes}, source)
    _check_unique(store, table, changes, record)
    if source.kind == "INTEGRATION":
        rewrite(store, kind, changes)
    return changes


def create(
    store: Store,
    kind: Kind,
    raw: Mapping[str, Any],
    links: Iterable[tuple[str, int, list[LinkType]]],
    source: Source,
) -> Record:
    """A new record, linked to ``links`` (kind, id, types)."""
    table = store.tables[kind.name]
    changes = check(store, table, raw, source, None)
    now = store.moment()
    number = table.new_id()
    values = {k: v for k, v in changes.items() if v} | {
        "hs_object_id": str(number),
        kind.modified: iso(now),
        "hs_object_source": "INTEGRATION" if source.kind == "INTEGRATION" else "CRM_UI",
        "hs_object_source_id": source.id,
    }
    values.setdefault(kind.created, iso(now))
    if kind.name == "contacts" and store.settings.default_lifecycle_stage:
        values.setdefault("lifecyclestage", store.settings.default_lifecycle_stage)
    if values.get("dealstage") in _CLOSED:
        values.setdefault("closedate", iso(now))
    record = Record(number, values, now, now)
    table.add(record)
    store.claim(table, record)
    store.to_index(table, number, values, now)
    tell(store, kind, "creation", record, source, more={"changeFlag": "CREATED"})
    for name in changes:
        tell_property(store, kind, record, name, source)
    for other, target, types in links:
        linking.link(store, (kind, number), (store.kinds[other], target), types, source)
    return record


def update(store: Store, kind: Kind, record: Record, raw: Mapping[str, Any], source: Source) -> list[str]:
    """Write properties of a live record; returns the names that were accepted."""
    table = store.tables[kind.name]
    changes = check(store, table, raw, source, record)
    now = store.moment()
    if changes.get("dealstage") in _CLOSED and not record.values.get("closedate"):
        changes.setdefault("closedate", iso(now))
    if "hubspot_owner_id" in changes:
        changes["hubspot_owner_assigneddate"] = iso(now) if changes["hubspot_owner_id"] else ""
    for name in store.put(table, record, changes, source, now):
        tell_property(store, kind, record, name, source)
    return list(changes)


def archive(store: Store, kind: Kind, record: Record, source: Source) -> None:
    """Move a record to the recycle bin; its links go."""
    table = store.tables[kind.name]
    now = store.clock.now()
    record.archived = now
    table.live.pop(record.id)
    table.archived[record.id] = record
    store.release(table, record)
    store.links.drop_all(kind.name, record.id)
    store.to_index(table, record.id, None, now)
    tell(store, kind, "deletion", record, source, more={"changeFlag": "DELETED"})


def restore(store: Store, kind: Kind, record: Record, source: Source) -> None:
    """Bring a record back from the recycle bin (a person does that in the user interface)."""
    table = store.tables[kind.name]
    _check_unique(store, table, {n: record.values.get(n, "") for n in table.unique}, record)
    table.archived.pop(record.id)
    record.archived = None
    table.live[record.id] = record
    store.claim(table, record)
    store.stamp(table, record, store.clock.now())
    tell(store, kind, "restore", record, source)


def erase(store: Store, kind: Kind, record: Record, source: Source) -> None:
    """Delete for good, as privacy law wants it: no recycle bin, addresses cannot be used again."""
    table = store.tables[kind.name]
    store.blocked_emails.update(emails_of(record))
    store.release(table, record)
    store.links.drop_all(kind.name, record.id)
    table.live.pop(record.id)
    table.archived.pop(record.id, None)
    store.to_index(table, record.id, None, store.clock.now())
    tell(store, kind, "privacyDeletion", record, source, more={"changeFlag": "DELETED"})
    tell(store, kind, "deletion", record, source, more={"changeFlag": "DELETED"})


def _require(kind: Kind, changes: Mapping[str, str]) -> None:
    missing = [name for name in kind.required if not changes.get(name)]
    if kind.one_of and not any(changes.get(name) for name in kind.one_of):
        missing = list(kind.one_of)
    if missing:
        raise invalid(
            f"Error creating {kind.caps}. Some required properties were not set.",
            errors=[
                {
                    "message": "Required property was not set",
                    "code": "REQUIRED_FIELD",
                    "context": {"properties": missing},
                }
            ],
            context={"properties": missing},
        )


def _admin_rules(store: Store, kind: Kind, values: Mapping[str, str], source: Source) -> None:
    """Validation rules of the portal's administrator hold on the write paths of 2026-09 only (changelog)."""
    if source.version != "2026-09":
        return
    missing = [name for name in store.settings.required_on_write.get(kind.name, ()) if not values.get(name)]
    if missing:
        raise invalid(
            f"Error writing {kind.caps}. Some required properties were not set.",
            errors=[
                {
                    "message": f"{name} is required",
                    "code": "MISSING_REQUIRED_PROPERTY",
                    "context": {"propertyName": [name]},
                }
                for name in missing
            ],
        )


def _check_unique(store: Store, table: Table, changes: Mapping[str, str], record: Record | None) -> None:
    for name, taken in table.unique.items():
        value = changes.get(name)
        if not value:
            continue
        if name == "email" and value in store.blocked_emails:
            raise invalid(
                f"Email {value} cannot be used: it belongs to a contact that was permanently deleted",
                subCategory="BLOCKLISTED",
            )
        holder = taken.get(value.lower())
        if holder is not None and (record is None or holder != record.id):
            if name == "email":
                raise ApiError(409, f"Contact already exists. Existing ID: {holder}", "CONFLICT")
            issue = _issue(store, name, "CONFLICTING_UNIQUE_VALUE",
                           f"{value} is already the {name} of another {table.kind.singular}. propertyName={name} objectId={holder}")  # fmt: skip
            raise InvalidValuesError([issue])


def _keep_lifecycle(current: Mapping[str, str], changes: dict[str, str]) -> None:
    """A stage before the present one is dropped without a word (lifecycle stage guide); empty it first."""
    wanted, present = changes.get("lifecyclestage"), current.get("lifecyclestage")
    if wanted in LIFECYCLE and present in LIFECYCLE and LIFECYCLE.index(wanted) < LIFECYCLE.index(present):
        del changes["lifecyclestage"]


def _stage_issues(
    store: Store, kind: Kind, current: Mapping[str, str], changes: dict[str, str]
) -> list[dict[str, Any]]:
    names = PIPELINE_PROPERTIES.get(kind.name)
    if names is None:
        return []
    pipeline_name, stage_name = names
    if stage_name not in changes and pipeline_name not in changes:
        return []
    pipelines = store.pipelines[kind.name]
    if not current and pipeline_name not in changes:
        changes[pipeline_name] = next(iter(pipelines))
    pipeline_id = changes.get(pipeline_name, current.get(pipeline_name, ""))
    stage = changes.get(stage_name, current.get(stage_name, ""))
    pipeline = pipelines.get(pipeline_id)
    if pipeline is not None and stage and stage not in pipeline.stages:
        allowed = ", ".join(pipeline.stages)
        return [_issue(store, stage_name, "INVALID_OPTION",
                       f"{stage} was not one of the allowed options: [{allowed}] of the pipeline {pipeline_id}")]  # fmt: skip
    return []


def _issue(store: Store, name: str, code: str, message: str) -> dict[str, Any]:
    return {"message": message, "error": code, "name": name, "portalId": store.portal_id}
