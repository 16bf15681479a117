"""The org's own rules: validation rules, unique fields, duplicate rules, automations.

Settings describe them (settings.py); here they are applied to one record.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from crm_sync.simulators.fault_plan import Plan
from crm_sync.simulators.salesforce.errors import RecordError
from crm_sync.simulators.salesforce.schema import Row
from crm_sync.simulators.salesforce.store import Table


def validate(rules: Sequence[Mapping[str, Any]], table: Table, values: Mapping[str, Any]) -> None:
    """Refuse a value that matches a validation rule's pattern."""
    for rule in rules:
        value = values.get(rule["field"])
        if (
            rule["object"] == table.object.name
            and value is not None
            and re.search(rule["pattern"], str(value))
        ):
            raise RecordError("FIELD_CUSTOM_VALIDATION_EXCEPTION", rule["message"], rule.get("fields", ()))


def by_plan(plan: Plan, table: Table) -> None:
    """Refuse a record because the plan of faults says so."""
    refused = plan.happens("validation rule", table.object.name)
    if refused is not None:
        fields = [refused["field"]] if "field" in refused else []
        raise RecordError(
            "FIELD_CUSTOM_VALIDATION_EXCEPTION", refused.get("message", "Not like this"), fields
        )
    found = plan.happens("duplicate rule", table.object.name)
    if found is not None:
        rule = {"name": found.get("rule", "Duplicates"), "allowSave": False}
        raise RecordError(
            "DUPLICATES_DETECTED",
            "Use one of these records?",
            (),
            {"duplicateResut": _result(rule, table, [])},
        )


def unique(table: Table, row: Row | None, values: Mapping[str, Any], *, external_ids: bool) -> None:
    """Refuse a second record with a unique value. Deleted records do not count."""
    for name in table.keys:
        f = table.object.by_name[name.lower()]
        if values.get(name) is None or not f.unique or (f.external_id and not external_ids):
            continue
        for holder in table.holders(name, values[name]):
            taken = not table.rows[holder][table.object.position["IsDeleted"]]
            if taken and (row is None or holder != row[0]):
                raise RecordError(
                    "DUPLICATE_VALUE",
                    f"duplicate value found: {name} duplicates value on record with id: {holder}",
                )


def duplicates(
    rules: Sequence[Mapping[str, Any]],
    table: Table,
    row: Row | None,
    values: Mapping[str, Any],
    *,
    allow_save: bool,
) -> None:
    """Refuse what a duplicate rule finds, unless the rule and the caller's header both let it pass.

    The misspelt ``duplicateResut`` is what the service sends (captured with API 54 and 56).
    """
    for rule in rules:
        if rule["object"] != table.object.name or (allow_save and rule.get("allowSave")):
            continue
        matches = _matches(rule["fields"], table, row, values)
        if matches:
            raise RecordError(
                "DUPLICATES_DETECTED",
                "Use one of these records?",
                (),
                {"duplicateResut": _result(rule, table, matches)},
            )


def _matches(names: Sequence[str], table: Table, row: Row | None, values: Mapping[str, Any]) -> list[str]:
    position = table.object.position
    wanted = [str(values[name]).lower() for name in names if values.get(name) is not None]
    if len(wanted) < len(names):
        return []
    return [
        other[0]
        for other in table.rows.alike([position[name] for name in names], wanted)
        if not other[position["IsDeleted"]] and (row is None or other[0] != row[0])
    ]


def _result(rule: Mapping[str, Any], table: Table, matches: Sequence[str]) -> dict[str, Any]:
    kind = table.object.name
    name = rule.get("name", f"Standard_{kind}_Duplicate_Rule")
    return {
        "allowSave": bool(rule.get("allowSave")),
        "duplicateRule": name,
        "duplicateRuleEntityType": kind,
        "errorMessage": "Use one of these records?",
        "matchResults": [
            {
                "entityType": kind,
                "errors": [],
                "matchEngine": "ExactMatchEngine",
                "matchRecords": [
                    {
                        "additionalInformation": [],
                        "fieldDiffs": [],
                        "matchConfidence": 100.0,
                        "record": {"attributes": {"type": kind}, "Id": record_id},
                    }
                    for record_id in matches
                ],
                "rule": f"Standard_{kind}_Match_Rule",
                "size": len(matches),
                "success": True,
            }
        ],
    }


def automate(rules: Sequence[Mapping[str, Any]], table: Table, row: Row) -> dict[str, Any]:
    """What triggers and flows make of a record after it was saved: field -> new value."""
    changed = {}
    for rule in rules:
        if rule["object"] != table.object.name:
            continue
        place = table.object.position[rule["field"]]
        if isinstance(row[place], str):
            rewritten = re.sub(rule["pattern"], rule["replace"], row[place])
            if rewritten != row[place]:
                changed[rule["field"]] = rewritten
    return changed
