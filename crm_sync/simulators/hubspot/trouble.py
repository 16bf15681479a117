"""What can happen to the portal by itself or by an administrator's hand: the ``act`` and the events of a fault plan.

    act: {expire: access_tokens}
    act: {hide: {object: contacts, property: jobtitle}}     the property is archived
    act: {retire: {object: companies, property: industry, value: ENERGY}}     an option is removed
    act: {clock: 300}                                       the portal's clock jumps by so many seconds
    ``seconds`` beside it: as long as it lasts (not for expire and clock)

    event            subject            do
    locked           object type        {}                            423 for the record
    validation rule  object type        {message, property}           400 VALIDATION_ERROR for the record
    rewrite          object type        {property, pattern, replace}  as by a workflow, with the write
    late commit                         {seconds}                     stamped so long before it becomes visible
    equal stamps                        {seconds}                     stamps are cut down to multiples of it
    index lag        object type        {seconds}                     search sees the change so much later
    shuffled results object type        {}                            results of a batch in another order

In a batch whose inputs carry trace ids, "locked" and "validation rule" make it partial (207).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from crm_sync.simulators.hubspot.access import Access
from crm_sync.simulators.hubspot.errors import ApiError, InvalidValuesError
from crm_sync.simulators.hubspot.schema import Kind, Property
from crm_sync.simulators.hubspot.store import Store


def act(store: Store, access: Access, what: Mapping[str, Any]) -> Callable[[], None]:
    """Let it happen; what is returned takes it back. Raises ValueError for what cannot happen."""
    for kind, about in what.items():
        if kind == "expire" and about == "access_tokens":
            expire(access, store.clock.now())
        elif kind == "clock":
            store.clock.advance(round(float(about) * 1000))
        elif kind == "hide":
            return _hide(store, _property(store, about))
        elif kind == "retire":
            return _retire(_property(store, about), about["value"])
        else:
            raise ValueError(f"{kind!r} cannot happen; what can: expire access_tokens, clock, hide, retire")
    return lambda: None


def expire(access: Access, now: int) -> None:
    """OAuth access tokens end now."""
    for grant in access.tokens.values():
        if grant.kind == "access" and not grant.app.private:
            grant.expires = now


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


def _hide(store: Store, definition: Property) -> Callable[[], None]:
    definition.archived = store.clock.now()

    def undo() -> None:
        definition.archived = None

    return undo


def _retire(definition: Property, value: str) -> Callable[[], None]:
    before = definition.options
    definition.options = [option for option in before if option.value != value]

    def undo() -> None:
        definition.options = before

    return undo


def _property(store: Store, about: Mapping[str, str]) -> Property:
    kind = store.kinds.get(about["object"])
    definition = kind.properties.get(about["property"]) if kind is not None else None
    if definition is None:
        raise ValueError(f"There is no property {about}")
    return definition
