"""What can go wrong with single writes inside the portal: the events of a fault plan.

    event            subject            do
    locked           object type        {}                            423 for the record
    validation rule  object type        {message, property}           400 VALIDATION_ERROR for the record
    rewrite          object type        {property, pattern, replace}  as by a workflow, with the write
    late commit                         {seconds}                     stamped so long before it becomes visible
    equal stamps                        {seconds}                     stamps are cut down to multiples of it
    index lag        object type        {seconds}                     search sees the change so much later
    shuffled results object type        {}                            results of a batch in another order

In a batch whose inputs carry trace ids, "locked" and "validation rule" make it partial (207). What can happen to the
portal as a whole: acts.py.
"""

import re

from crm_sync.simulators.hubspot.errors import ApiError, InvalidValuesError
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Store


def refuse(store: Store, kind: Kind) -> None:
    """Raise the ApiError that strikes the write of a record, if any does."""
    if store.plan.happens("locked", kind.name) is not None:
        raise ApiError(423, "This resource is locked. Please try again shortly.")
    rule = store.plan.happens("validation rule", kind.name)
    if rule is not None:
        message, name = rule.get("message", "Not like this"), rule.get("property", "")
        raise InvalidValuesError(
            [{"message": message, "error": "VALIDATION_RULE", "name": name, "portalId": store.portal_id}]
        )


def rewrite(store: Store, kind: Kind, changes: dict[str, str]) -> None:
    """What a workflow makes of the values of a write."""
    rule = store.plan.happens("rewrite", kind.name)
    if rule is not None and rule["property"] in changes:
        changes[rule["property"]] = re.sub(rule["pattern"], rule["replace"], changes[rule["property"]])
