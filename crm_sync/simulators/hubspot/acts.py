"""What can happen to the portal by itself or by a person's hand: the ``act`` of a fault plan.

act: {expire: access_tokens}
act: {hide: {object: contacts, property: jobtitle}}     the property is archived
act: {retire: {object: companies, property: industry, value: ENERGY}}     an option is removed
act: {retype: {object: contacts, property: jobtitle, values: [CEO]}}     a text becomes a choice of these; values are kept
act: {remove: {object: contacts}}                       any record goes to the recycle bin
act: {clock: 300}                                       the portal's clock jumps by so many seconds
``seconds`` beside it: as long as it lasts (not for expire and clock), or ``until another plan``. What is done to a property whose options
or type are changed already does nothing, and does not count.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crm_sync.simulators.hubspot import writes
from crm_sync.simulators.hubspot.access import Access
from crm_sync.simulators.hubspot.objects import person
from crm_sync.simulators.hubspot.schema import Kind, Option, Property
from crm_sync.simulators.hubspot.store import Store


def act(store: Store, access: Access, what: Mapping[str, Any]) -> Callable[[], None] | None:
    """Let it happen; what is returned takes it back, None if nothing happened. Raises ValueError for what cannot happen."""
    for kind, about in what.items():
        if kind == "expire" and about == "access_tokens":
            expire(access, store.clock.now())
        elif kind == "clock":
            store.clock.advance(round(float(about) * 1000))
        elif kind == "hide":
            return _hide(store, _property(store, about))
        elif kind == "retire":
            return _retire(_property(store, about), about["value"])
        elif kind == "retype":
            return _retype(store, _property(store, about), about["values"])
        elif kind == "remove":
            return _remove(store, store.kind(about["object"]))
        else:
            raise ValueError(
                f"{kind!r} cannot happen; what can: expire access_tokens, clock, hide, retire, retype, remove"
            )
    return lambda: None


def expire(access: Access, now: int) -> None:
    """OAuth access tokens end now."""
    for grant in access.tokens.values():
        if grant.kind == "access" and not grant.app.private:
            grant.expires = now


def _hide(store: Store, definition: Property) -> Callable[[], None]:
    definition.archived = store.clock.now()

    def undo() -> None:
        definition.archived = None

    return undo


def _retire(definition: Property, value: str) -> Callable[[], None] | None:
    before = definition.options
    if not any(option.value == value for option in before):  # it is away already, and comes back then
        return None
    definition.options = [option for option in before if option.value != value]

    def undo() -> None:
        definition.options = before

    return undo


def _retype(store: Store, definition: Property, values: Sequence[str]) -> Callable[[], None] | None:
    """HubSpot's internal names never change, so there is no renaming beside it."""
    before = definition.type, definition.field_type, definition.options, definition.updated
    if definition.type != "string":
        return None
    definition.type, definition.field_type = "enumeration", "select"
    definition.options = [Option(value, value, place) for place, value in enumerate(values)]
    definition.updated = store.clock.now()

    def undo() -> None:
        definition.type, definition.field_type, definition.options, definition.updated = before

    return undo


def _remove(store: Store, kind: Kind) -> Callable[[], None]:
    table = store.tables[kind.name]
    record = table.live[store.plan.dice.choice(list(table.live.numbers(0)))]
    writes.archive(store, kind, record, person())
    return lambda: writes.restore(store, kind, record, person())


def _property(store: Store, about: Mapping[str, str]) -> Property:
    kind = store.kinds.get(about["object"])
    definition = kind.properties.get(about["property"]) if kind is not None else None
    if definition is None:
        raise ValueError(f"There is no property {about}")
    return definition
