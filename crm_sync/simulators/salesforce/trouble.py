"""What can happen to the org by itself or by an administrator's hand: the ``act`` and the events of a fault plan.

act: {expire: sessions | refresh_tokens | locators | results}
act: {hide: {object: Contact, field: Title}}        the integration user may no longer see it
act: {retire: {object: Account, field: Industry, value: Energy}}     a picklist value is removed
act: {retype: {object: Contact, field: Title, type: picklist, values: [CEO]}}     another type of text; values are kept,
                                                    and from now on only these are taken (of a picklist)
act: {rename: {object: Contact, field: Title, to: Job__c}}     the API name is another one
act: {remove: {object: Contact}}                    any record goes to the recycle bin
act: {clock: 300}                                   the org's clock jumps by so many seconds
``seconds`` beside it: as long as it lasts (not for expire and clock), or ``until another plan``. What is done to a field that is
retired, retyped or renamed already does nothing, and does not count.

event          subject                 do
row lock       object                  {}                          UNABLE_TO_LOCK_ROW
validation rule  object                {message, field}            FIELD_CUSTOM_VALIDATION_EXCEPTION
duplicate rule  object                 {rule}                      DUPLICATES_DETECTED, by a rule of that name
rewrite        object                  {field, pattern, replace}   as by a trigger, after saving
late commit                            {seconds}                   stamped so long before it becomes visible
equal stamps                           {seconds}                   stamps are cut down to multiples of it
bulk job       "ingest update Contact" {state, message}            Failed before, or Aborted half-way
shuffled results  the same             {}                          results in another order than the upload
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from crm_sync.simulators.salesforce import browser
from crm_sync.simulators.salesforce.org import Org
from crm_sync.simulators.salesforce.schema import TEXT, Field, SObject

CAN = "expire, clock, hide, retire, retype, rename, remove"


def act(org: Org, what: Mapping[str, Any]) -> Callable[[], None] | None:
    """Let it happen; what is returned takes it back, None if nothing happened. Raises ValueError for what cannot happen."""
    for kind, about in what.items():
        if kind == "expire":
            expire(org, str(about))
        elif kind == "clock":
            org.clock.advance(float(about))
        elif kind == "hide":
            return _hide(org, about)
        elif kind == "retire":
            return _retire(org, about)
        elif kind == "retype":
            return _retype(org, about)
        elif kind == "rename":
            return _rename(org, about)
        elif kind == "remove":
            return _remove(org, str(about["object"]))
        else:
            raise ValueError(f"{kind!r} cannot happen; what can: {CAN}")
    return lambda: None


def expire(org: Org, what: str) -> int:
    """Let all of these end now; return how many there were. Raises ValueError."""
    if what == "sessions":
        number = len(org.sessions.sessions)
        org.sessions.sessions.clear()
    elif what == "refresh_tokens":
        number = len(org.sessions.refresh_tokens)
        org.sessions.refresh_tokens.clear()
    elif what == "locators":
        number = org.cursors.expire()
    elif what == "results":
        jobs = [job for job in org.jobs.all.values() if job.finished is not None]
        number = len(jobs)
        for job in jobs:
            job.finished = float("-inf")
    else:
        raise ValueError("what must be sessions, refresh_tokens, locators or results")
    return number


def _hide(org: Org, about: Mapping[str, str]) -> Callable[[], None]:
    o, f = _field(org, about)
    hidden = org.settings.hidden_fields.setdefault(org.account.username, {}).setdefault(o.name, [])
    hidden.append(f.name)
    org.describe_changed = org.clock.now()

    def undo() -> None:
        if f.name in hidden:
            hidden.remove(f.name)
        org.describe_changed = org.clock.now()

    return undo


def _retire(org: Org, about: Mapping[str, str]) -> Callable[[], None] | None:
    o, before = _field(org, about)
    key, value = (o.name, before.name), about["value"]
    if key in org.changed:
        return None
    org.changed[key] = before
    _put(org, o, replace(before, picklist=tuple(v for v in before.picklist if v != value)))

    def undo() -> None:
        del org.changed[key]
        _put(org, o, before)

    return undo


def _retype(org: Org, about: Mapping[str, Any]) -> Callable[[], None] | None:
    """Only between types of text: what Salesforce makes a number or a date loses its values, and does not get them back."""
    o, before = _field(org, about)
    kind, values = str(about["type"]), tuple(about.get("values", ()))
    if kind not in TEXT or before.type not in TEXT:
        raise ValueError(f"{before.name} cannot become {kind} without losing its values")
    key = o.name, before.name
    if key in org.changed:
        return None
    org.changed[key] = before
    _put(org, o, replace(before, type=kind, picklist=values, restricted=bool(values)))

    def undo() -> None:
        del org.changed[key]
        _put(org, o, before)

    return undo


def _rename(org: Org, about: Mapping[str, str]) -> Callable[[], None] | None:
    o, before = _field(org, about)
    key = o.name, before.name
    if key in org.changed:
        return None
    org.changed[key] = before
    renamed = replace(before, name=about["to"])
    o.position[renamed.name] = o.position[before.name]
    o.by_name[renamed.name.lower()] = renamed
    del o.by_name[before.name.lower()]
    _list(org, o, before.name, renamed)

    def undo() -> None:
        del org.changed[key]
        o.by_name[before.name.lower()] = before
        del o.by_name[renamed.name.lower()]
        del o.position[renamed.name]
        _list(org, o, renamed.name, before)

    return undo


def _remove(org: Org, name: str) -> Callable[[], None]:
    o = browser.object_named(org, name)
    rows = org.store.tables[o.name].rows
    deleted = o.position["IsDeleted"]
    record = org.plan.dice.choice([row[0] for row in rows.values() if not row[deleted]])
    browser.write(org, {"object": o.name, "operation": "delete", "id": record})

    def undo() -> None:
        browser.write(org, {"object": o.name, "operation": "undelete", "id": record})

    return undo


def _put(org: Org, o: SObject, f: Field) -> None:
    o.by_name[f.name.lower()] = f
    _list(org, o, f.name, f)


def _list(org: Org, o: SObject, name: str, f: Field) -> None:
    """The field takes the place of that name among the object's."""
    o.fields = [f if each.name == name else each for each in o.fields]
    org.describe_changed = org.clock.now()


def _field(org: Org, about: Mapping[str, str]) -> tuple[SObject, Field]:
    o = org.store.schema.find(about["object"])
    f = o.find(about["field"]) if o is not None else None
    if o is not None and f is None:  # it may be renamed just now
        f = org.changed.get((o.name, about["field"]))
    if o is None or f is None:
        raise ValueError(f"There is no field {about}")
    return o, f
