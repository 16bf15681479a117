"""`crm-sync conflicts`: the review table in a terminal. Rules and withdrawn decisions are in `conflicts_rules.py`."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import typer
from rich.table import Table

from crm_sync.commands import console
from crm_sync.commands.workspace import Workspace, workspace
from crm_sync.core.errors import SyncError
from crm_sync.core.rules import When
from crm_sync.core.spec import Policy
from crm_sync.hub import review
from crm_sync.hub.review import Conflict, Decision
from crm_sync.hub.store import Store
from crm_sync.steps import resolve as steps
from crm_sync.steps import ruling

EXAMPLES = 20
_DECISIONS: dict[str, Decision] = {"hub": "use_hub", "crm": "use_crm", "skip": "skip"}
_POLICIES = [policy.value for policy in Policy if policy is not Policy.MANUAL]
_STATES = ("open", "decided", "applied", "skipped", "superseded")
_WORDS = {"use_hub": "the hub's value", "use_crm": "the CRM's value", "skip": "left as it is"}

Mask = Callable[[str, str, str | None], str | None]


def selection(
    ids: Sequence[int],
    entity: str,
    connection: str,
    field: str,
    older_than: str,
    newer: str,
    blank: str,
    as_of: str = "",
) -> steps.Selection:
    """What the options select. Raises SyncError for an age or a moment that is none."""
    age, moment = steps.parse_age(older_than), steps.parse_moment(as_of)
    return steps.Selection(tuple(ids), connection, entity, field, age, newer, blank, moment)


def listed(chosen: steps.Selection, *, status: str, limit: int, as_json: bool) -> None:
    """Show the conflicts of this status that match, oldest first. Raises SyncError for names that do not exist."""
    if status not in _STATES:
        raise SyncError(f"--status takes one of {', '.join(_STATES)}, not {status!r}")
    here = workspace()
    with Store(here.database()) as store:
        found = steps.select(store, here.system, chosen, status=status, limit=limit)
    mask = _mask(here)
    if as_json:
        rows = [_as_json(conflict, mask) for conflict in found]
        console.document(rows)
    elif found and status in ("decided", "applied"):
        console.out.print(_table(found, mask, "decided", lambda c: f"{_said(c.decision)}, {c.decided_by}"))
    elif found:
        console.out.print(_table(found, mask, "suggestion", lambda c: c.suggestion.replace("_", " ")))
    else:
        console.out.print(f"no {status} conflicts")


def resolve(
    chosen: steps.Selection, *, use: str, policy: str, always: bool, only_when: str, yes: bool
) -> int:
    """Preview, ask, decide, apply. Returns 1 if applying failed, else 0. Raises SyncError for bad arguments."""
    decision = _decision(use, policy)
    when = _when(only_when, always=always)
    here = workspace()
    url = here.database()
    mask = _mask(here)
    with Store(url) as store:
        chosen = replace(chosen, as_of=chosen.as_of or steps.moment(store))
        found = steps.select(store, here.system, chosen)
        missing, _ = steps.missed(store, chosen, found)
        if missing:
            told = "; ".join(f"conflict {number} {why}" for number, why in missing.items())
            raise SyncError(f"nothing was decided: {told}; see `crm-sync conflicts list`")
        if not found:
            console.out.print("no open conflict matches")
            return 0
        others = ruling.preview(store.conn, here.system, found, decision, when) if when else []
    ends = {c.id: _result(c, decision) for c in found}
    _preview(found, mask, ends, "conflicts" if len(found) != 1 else "conflict")
    if when is not None:
        first = found[0]
        console.out.print(
            f"and from now on, for {first.field} of {first.connection}/{first.entity}"
            f"{_WHENS[when]}: {ruling.outcome(decision)}"
        )
        _preview(
            [c for c, _ in others], mask, {c.id: _said(end) for c, end in others}, "more that are open now"
        )
    if not yes and not typer.confirm(
        f"Decide {len(found)} conflict{'s' if len(found) != 1 else ''} this way?"
    ):
        console.out.print("nothing was changed")
        return 0
    return _run(here, url, found, [c for c, _ in others], _config(chosen, found, decision, when))


_WHENS = {
    When.ANY: "",
    When.HUB_BLANK: ", when the hub has none",
    When.CRM_BLANK: ", when the CRM has none",
}


def _config(
    chosen: steps.Selection, found: Sequence[Conflict], decision: Decision | Policy, when: When | None
) -> dict[str, Any]:
    """The configuration of the job: the filter, not what it selects, which may be very much. Its moment is that of the
    last of the values that were shown, or a sync that committed since could have written later ones before `chosen.as_of`."""
    as_of = max(c.values_at for c in found) if chosen.older_than is None else chosen.as_of
    config: dict[str, Any] = {
        "ids": ",".join(map(str, chosen.ids)),
        "connection": chosen.connection,
        "entity": chosen.entity,
        "field": chosen.field,
        "older_than": steps.age_text(chosen.older_than),
        "newer": chosen.newer,
        "blank": chosen.blank,
        "as_of": as_of.isoformat() if as_of else "",
    }
    if isinstance(decision, Policy):
        config |= {"decision": "policy", "policy": decision.value}
    else:
        config["decision"] = decision
    return config if when is None else config | {"always": True, "only_when": when.value}


def _run(
    here: Workspace, url: str, found: Sequence[Conflict], others: Sequence[Conflict], config: dict[str, Any]
) -> int:
    """The job `resolve_conflicts`, as the UI would run it, so that its table is brought up to date too."""
    from crm_sync.assets import links, names
    from crm_sync.commands import instance, runs
    from crm_sync.definitions import build

    job = build(here.system, here.settings).resolve_job_def(names.RESOLVE)
    with instance.recording(here.settings, url) as dagster, console.progress() as progress:
        run = runs.execute(
            job,
            dagster,
            {"ops": {links.OP: {"config": config}}},
            progress=progress,
            title="deciding",
            total=1,
        )
    for failure in run.failures:
        console.err.print(f"failed: {failure}", markup=False, soft_wrap=True)
    values = {c.id: c.values_at for c in (*found, *others)}
    with Store(url) as store:
        left = review.find(store.conn, ids=list(values))
    console.out.print(f"decided: {len(values) - len(left)} of {len(values)}")
    changed = [c.id for c in left if c.values_at != values[c.id]]
    if changed:
        told = ", ".join(map(str, changed[:EXAMPLES])) + (", …" if len(changed) > EXAMPLES else "")
        console.err.print(f"changed since they were shown, and not decided: {told}")
    return 1 if run.failures or (changed and config["ids"]) else 0


def _decision(use: str, policy: str) -> Decision | Policy:
    if bool(use) == bool(policy):
        raise SyncError("say how: either --use hub, crm or skip, or --policy and its name")
    if use and use not in _DECISIONS:
        raise SyncError(f"--use takes hub, crm or skip, not {use!r}")
    if policy and policy not in _POLICIES:
        raise SyncError(f"--policy takes one of {', '.join(_POLICIES)}, not {policy!r}")
    return _DECISIONS[use] if use else Policy(policy)


def _when(only_when: str, *, always: bool) -> When | None:
    """The condition of the rule that is wanted, None for none."""
    if not only_when:
        return When.ANY if always else None
    if not always:
        raise SyncError("--only-when says when a rule holds: give --always too")
    try:
        return When(only_when.replace("-", "_"))
    except ValueError:
        raise SyncError(f"--only-when takes hub-blank or crm-blank, not {only_when!r}") from None


def _said(decision: str | None) -> str:
    return _WORDS.get(decision or "", decision or "stays open")


def _result(conflict: Conflict, decision: Decision | Policy) -> str:
    """How a conflict would end, in a word."""
    return _said(steps.choice(conflict, decision) if isinstance(decision, Policy) else decision)


def _preview(found: Sequence[Conflict], mask: Mask, ends: dict[int, str], what: str) -> None:
    """How many would end which way, and the first of them."""
    counts = ", ".join(f"{end} ({number})" for end, number in Counter(ends.values()).most_common())
    console.out.print(f"{len(found)} {what}{': ' if counts else ''}{counts}", markup=False)
    if found:
        console.out.print(_table(found[:EXAMPLES], mask, "would end with", lambda c: ends[c.id]))
    if len(found) > EXAMPLES:
        console.out.print(f"and {len(found) - EXAMPLES} more like these")


def _table(found: Sequence[Conflict], mask: Mask, title: str, last: Callable[[Conflict], str]) -> Table:
    columns = ["id", "record", "field", "hub", "CRM", "hub changed (UTC)", "CRM changed (UTC)"]
    table = console.table(*columns, title, numbers=("id",))
    for c in found:
        table.add_row(
            str(c.id),
            f"{c.connection}/{c.entity} {c.crm_id}",
            c.field,
            console.value(mask(c.entity, c.field, c.hub_value)),
            console.value(mask(c.entity, c.field, c.crm_value)),
            f"{c.hub_changed_at:%Y-%m-%d %H:%M:%S}" if c.hub_changed_at else "unknown",
            f"{c.crm_changed_at:%Y-%m-%d %H:%M:%S}" if c.crm_changed_at else "unknown",
            console.value(last(c)),
        )
    return table


def _as_json(conflict: Conflict, mask: Mask) -> dict[str, Any]:
    row = asdict(conflict)
    for name in ("hub_value", "crm_value", "crm_value_as_hub"):
        row[name] = mask(conflict.entity, conflict.field, row[name])
    return row


def _mask(here: Workspace) -> Mask:
    """How values are shown: as they are, unless the setting hides them as it does in the UI."""
    if not here.settings.mask_review:
        return lambda _entity, _field, value: value
    from crm_sync.assets.tables import Masking

    return Masking(here.system, here.settings)
