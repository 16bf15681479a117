"""What a client may write, and what becomes of it: create, update, upsert, delete, undelete.

Here: the rules of DML (permissions, required fields, references, rules of the org, locks, cascades).
Not here: how a call is worded (sobjects.py, sobject_collections.py, bulk_ingest.py), value types
(values.py). Source: SOAP API Developer Guide, "Core Data Types" and the calls create(), update(),
upsert(), delete().
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crm_sync.simulators.fault_plan import Plan
from crm_sync.simulators.salesforce import ids, rules
from crm_sync.simulators.salesforce.errors import ApiError, RecordError
from crm_sync.simulators.salesforce.locks import Locks, concerned
from crm_sync.simulators.salesforce.objects import STAGES
from crm_sync.simulators.salesforce.schema import Field, Row, SObject
from crm_sync.simulators.salesforce.settings import Settings
from crm_sync.simulators.salesforce.store import Actor, Store, Table
from crm_sync.simulators.salesforce.transaction import Transaction
from crm_sync.simulators.salesforce.values import TypeMismatchError, coerce

Hidden = Mapping[str, frozenset[str]]
"""Object name -> lower-case field names that this session may not see."""


@dataclass(slots=True)
class Writer:
    """One transaction's writes on behalf of a user. ``person`` lifts the limits of an integration."""

    store: Store
    settings: Settings
    transaction: Transaction
    locks: Locks
    hidden: Hidden = field(default_factory=dict)
    allow_duplicates: bool = False
    person: bool = False
    plan: Plan = field(default_factory=Plan)
    assigns: bool = False

    def create(self, o: SObject, raw: Mapping[str, Any]) -> str:
        """Insert and return the id. Raises RecordError, or ApiError for a body that cannot be read."""
        if not o.createable:
            raise RecordError(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"entity type {o.name} does not support create"
            )
        values = self._values(o, raw, creating=True)
        missing = [f.name for f in o.fields if f.required and values.get(f.name) is None]
        if missing:
            raise _missing(missing)
        for f in o.fields:
            if f.defaulted and f.default is not None and values.get(f.name) is None:
                values[f.name] = f.default
        if "OwnerId" in o.position:
            values.setdefault("OwnerId", self.transaction.actor.user_id)
        if o.name == "Opportunity" and values.get("Probability") is None:
            values["Probability"] = STAGES[values["StageName"]][0]
        table = self.store.tables[o.name]
        self._check(table, None, values)
        row = self.transaction.insert(table, values)
        self._automate(table, row)
        return str(row[0])

    def update(self, o: SObject, record_id: object, raw: Mapping[str, Any]) -> str:
        """Change the record with this id and return the 18-character id."""
        table, row = self.target(o, record_id)
        if o.name == "Lead" and row[o.position["IsConverted"]]:
            raise RecordError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        values = self._values(o, raw, creating=False)
        missing = [
            name for name, value in values.items()
            if value is None and not o.by_name[name.lower()].nillable and o.by_name[name.lower()].updateable
        ]  # fmt: skip
        if missing:
            raise _missing(missing)
        if o.name == "Opportunity" and "StageName" in values and "Probability" not in values:
            values["Probability"] = STAGES[values["StageName"]][0]
        self._check(table, row, values)
        self.transaction.change(table, row, values)
        self._automate(table, row)
        return str(row[0])

    def upsert(self, o: SObject, key: Field, value: object, raw: Mapping[str, Any]) -> tuple[str, bool]:
        """Update the record whose external id has ``value``, or create it: (id, whether it was created).

        Raises MultipleMatchesError when several records have it.
        """
        text = "" if value is None else str(value).strip()
        if not text:
            raise RecordError("MISSING_ARGUMENT", f"{key.name} not specified", [key.name])
        if key.type == "id":
            return self.update(o, text, raw), False
        table = self.store.tables[o.name]
        found = [i for i in table.holders(key.name, text) if not table.rows[i][o.position["IsDeleted"]]]
        if len(found) > 1:
            raise MultipleMatchesError(found)
        if found:
            return self.update(o, found[0], raw), False
        return self.create(o, {**raw, key.name: text}), True

    def delete(self, o: SObject, record_id: object, *, hard: bool = False) -> str:
        """Into the recycle bin (or past it), with what hangs on it by cascade."""
        table, row = self.target(o, record_id)
        if not o.deletable:
            raise RecordError(
                "INSUFFICIENT_ACCESS_OR_READONLY", f"entity type {o.name} does not support delete"
            )
        self._lock(table, row, {})
        for child, reference in self.store.schema.children(o.name):
            self._loosen(child, reference, row[0])
        if hard:
            self.transaction.erase(table, row)
        else:
            self.transaction.delete(table, row)
        return str(row[0])

    def undelete(self, o: SObject, record_id: object) -> str:
        table, row = self._any(o, record_id)
        if not row[o.position["IsDeleted"]]:
            raise RecordError("UNDELETE_FAILED", "Entity is not in the recycle bin")
        self.transaction.undelete(table, row)
        return str(row[0])

    def target(self, o: SObject, record_id: object) -> tuple[Table, Row]:
        """The live record of this id. Raises RecordError as update and delete do."""
        table, row = self._any(o, record_id)
        if row[o.position["IsDeleted"]]:
            raise RecordError("ENTITY_IS_DELETED", "entity is deleted")
        return table, row

    def _any(self, o: SObject, record_id: object) -> tuple[Table, Row]:
        normal = ids.normalise(record_id)
        if normal is None:
            raise RecordError("MALFORMED_ID", f"malformed id {record_id}", ["Id"])
        if normal[:3] != o.prefix:
            raise RecordError("MALFORMED_ID", f"bad id {record_id}", ["Id"])
        row = self.store.tables[o.name].rows.take(normal)
        if row is None:
            raise RecordError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        return self.store.tables[o.name], row

    # What was sent

    def _values(self, o: SObject, raw: Mapping[str, Any], *, creating: bool) -> dict[str, Any]:
        values: dict[str, Any] = {}
        refused: list[str] = []
        for name, sent in raw.items():
            value = sent
            if name.lower() in {"attributes", "id"}:
                continue
            f = o.find(name)
            if f is None or name.lower() in self.hidden.get(o.name, ()):
                parent = o.parent(name)
                if parent is None or not isinstance(value, Mapping):
                    raise ApiError(
                        400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {o.name}"
                    )
                f, value = parent, self._by_external_id(o, parent, value)
            if f.compute is not None or not (f.createable if creating else f.updateable):
                refused.append(f.name)
                continue
            values[f.name] = coerce(f, value)
            if f.reference_to and values[f.name] is not None:
                self._reference(o, f, values[f.name])
        if refused:
            raise RecordError(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                f"Unable to create/update fields: {', '.join(refused)}. Please check the security settings of this "
                "field and verify that it is read/write for your profile or permission set.",
                refused,
            )
        return values

    def _by_external_id(self, o: SObject, reference: Field, parent: Mapping[str, Any]) -> str:
        keys = [(name, value) for name, value in parent.items() if name != "attributes"]
        for target in reference.reference_to:
            table = self.store.tables[target]
            key = table.object.find(keys[0][0]) if len(keys) == 1 else None
            if key is None or key.name not in table.keys:
                continue
            found = [
                i
                for i in table.holders(key.name, keys[0][1])
                if not table.rows[i][table.object.position["IsDeleted"]]
            ]
            if found:
                return found[0]
            raise RecordError(
                "INVALID_FIELD",
                f"Foreign key external ID: {str(keys[0][1]).lower()} not found for field {key.name} in entity {target}",
            )
        raise ApiError(
            400, "INVALID_FIELD",
            f"Field name provided, {keys[0][0] if keys else ''} is not an External ID or indexed field for {o.name}",
        )  # fmt: skip

    def _reference(self, o: SObject, f: Field, record_id: str) -> None:
        if not any(self.store.schema.objects[name].prefix == record_id[:3] for name in f.reference_to):
            raise RecordError(
                "FIELD_INTEGRITY_EXCEPTION", f"{f.label}: id value of incorrect type: {record_id}", [f.name]
            )
        found = self.store.row(record_id)
        if found is None:
            raise RecordError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [f.name])
        table, row = found
        if row[table.object.position["IsDeleted"]]:
            raise RecordError("ENTITY_IS_DELETED", "entity is deleted", [f.name])
        if f.name == "RecordTypeId" and row[table.object.position["SobjectType"]] != o.name:
            raise RecordError(
                "INVALID_CROSS_REFERENCE_KEY",
                "Record Type ID: this ID value isn't valid for the user: " + record_id, ["RecordTypeId"],
            )  # fmt: skip

    # The org's own rules

    def _check(self, table: Table, row: Row | None, values: Mapping[str, Any]) -> None:
        self._lock(table, row, values)
        rules.validate(self.settings.validation_rules, table, values)
        if not self.person:
            rules.by_plan(self.plan, table)
        rules.unique(table, row, values, external_ids=self.settings.unique_external_ids)
        if not self.person:
            rules.duplicates(
                self.settings.duplicate_rules, table, row, values, allow_save=self.allow_duplicates
            )

    def _lock(self, table: Table, row: Row | None, values: Mapping[str, Any]) -> None:
        if self.person:
            return
        names = concerned(table.object, row, values)
        settings = self.settings
        busy = next((name for name in names if name in settings.locked or name[:15] in settings.locked), None)
        if busy is None:
            busy = self.locks.take(names, self.transaction.key, settings.transaction_seconds)
        if busy is None and settings.lock_probability and random.random() < settings.lock_probability:
            busy = row[0] if row is not None else ""
        if busy is None and self.plan.happens("row lock", table.object.name) is not None:
            busy = row[0] if row is not None else ""
        if busy is not None:
            about = f" or 1 records: {busy}" if busy else ""
            raise RecordError(
                "UNABLE_TO_LOCK_ROW", f"unable to obtain exclusive access to this record{about}"
            )

    def _automate(self, table: Table, row: Row) -> None:
        rewrite = self.plan.happens("rewrite", table.object.name)
        more = [{"object": table.object.name, **rewrite}] if rewrite is not None else []
        more += self.settings.assignment_rules if self.assigns else []
        changed = rules.automate([*self.settings.automations, *more], table, row)
        if changed:
            self.transaction.change(table, row, changed)

    def _loosen(self, child: SObject, reference: Field, parent_id: str) -> None:
        """Delete or detach the records that point at a parent which is about to go."""
        if reference.name not in child.position or reference.child_relationship is None:
            return
        table, deleted = self.store.tables[child.name], child.position["IsDeleted"]
        for row in table.rows.pointing(reference.name, parent_id):
            if row[deleted]:
                continue
            if reference.cascade:
                self.delete(child, row[0])
            else:
                self.transaction.change(table, row, {reference.name: None})


class MultipleMatchesError(Exception):
    """Several records have this external id (HTTP 300)."""

    def __init__(self, record_ids: list[str]) -> None:
        super().__init__(f"{len(record_ids)} records match")
        self.record_ids = record_ids


def _missing(names: list[str]) -> RecordError:
    return RecordError("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(names)}]", names)


def writer(
    store: Store,
    settings: Settings,
    actor: Actor,
    locks: Locks,
    *,
    hidden: Hidden,
    allow_duplicates: bool = False,
    person: bool = False,
    plan: Plan,
) -> Writer:
    """A writer with its own transaction, stamped as the commit delay and the plan say."""
    delay = settings.commit_delay + random.random() * settings.commit_jitter
    transaction = Transaction(store, actor, delay + plan.seconds_before(store.clock.now() - delay))
    return Writer(store, settings, transaction, locks, hidden, allow_duplicates, person, plan)


def parser_error(error: TypeMismatchError) -> ApiError:
    """How REST answers a JSON value of the wrong type."""
    return ApiError(400, "JSON_PARSER_ERROR", str(error))
