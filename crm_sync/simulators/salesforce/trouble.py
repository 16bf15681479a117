"""What can happen to the org by itself or by an administrator's hand: the ``act`` and the events of a fault plan.

act: {expire: sessions | refresh_tokens | locators | results}
act: {hide: {object: Contact, field: Title}}        the integration user may no longer see it
act: {retire: {object: Account, field: Industry, value: Energy}}     a picklist value is removed
act: {remove: {object: Contact}}                    any record goes to the recycle bin
act: {clock: 300}                                   the org's clock jumps by so many seconds
``seconds`` beside it: as long as it lasts (not for expire and clock)

event          subject                 do
row lock       object                  {}                          UNABLE_TO_LOCK_ROW
validation rule  object                {message, field}            FIELD_CUSTOM_VALIDATION_EXCEPTION
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
from crm_sync.simulators.salesforce.schema import Field, SObject


def act(org: Org, what: Mapping[str, Any]) -> Callable[[], None]:
    """Let it happen; what is returned takes it back. Raises ValueError for what cannot happen."""
    for kind, about in what.items():
        if kind == "expire":
            expire(org, str(about))
        elif kind == "clock":
            org.clock.advance(float(about))
        elif kind == "hide":
            return _hide(org, about)
        elif kind == "retire":
            return _retire(org, about)
        elif kind == "remove":
            return _remove(org, str(about["object"]))
        else:
            raise ValueError(f"{kind!r} cannot happen; what can: expire, clock, hide, retire, remove")
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


def _retire(org: Org, about: Mapping[str, str]) -> Callable[[], None]:
    o, before = _field(org, about)
    value = about["value"]
    if value not in before.picklist:  # it is away already, and comes back then
        return lambda: None
    _put(org, o, replace(before, picklist=tuple(v for v in before.picklist if v != value)))

    def undo() -> None:
        _put(org, o, before)

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
    o.fields = [f if each.name == f.name else each for each in o.fields]
    o.by_name[f.name.lower()] = f
    org.describe_changed = org.clock.now()


def _field(org: Org, about: Mapping[str, str]) -> tuple[SObject, Field]:
    o = org.store.schema.find(about["object"])
    f = o.find(about["field"]) if o is not None else None
    if o is None or f is None:
        raise ValueError(f"There is no field {about}")
    return o, f
