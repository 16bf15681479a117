"""`crm-sync conflicts`: the review table in a terminal."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import typer
from rich.table import Table

from crm_sync.commands import console
from crm_sync.commands.workspace import Workspace, workspace
from crm_sync.core.errors import SyncError
from crm_sync.core.spec import Policy
from crm_sync.hub import review
from crm_sync.hub.review import Conflict
from crm_sync.hub.store import Store
from crm_sync.steps import resolve as steps

_DECISIONS = {"hub": "use_hub", "crm": "use_crm", "skip": "skip"}
_POLICIES = [policy.value for policy in Policy if policy is not Policy.MANUAL]

Mask = Callable[[str, str, str | None], str | None]


def listed(entity: str, connection: str, field: str, *, limit: int, as_json: bool) -> None:
    """Show the open conflicts that match, oldest first."""
    here = workspace()
    with Store(here.database()) as store:
        found = review.find(
            store.conn, entity=entity or None, connection=connection or None, field=field or None, limit=limit
        )
    mask = _mask(here)
    if as_json:
        rows = [_as_json(conflict, mask) for conflict in found]
        console.out.print(
            json.dumps(rows, default=str, ensure_ascii=False, indent=2), soft_wrap=True, markup=False
        )
    elif found:
        console.out.print(_table(found, mask))
    else:
        console.out.print("no open conflicts")


def resolve(
    ids: Sequence[int], entity: str, connection: str, field: str, *, use: str, policy: str, yes: bool
) -> int:
    """Preview, ask, decide, apply. Returns 1 if applying failed, else 0. Raises SyncError for bad arguments."""
    decision = _decision(use, policy)
    here = workspace()
    url = here.database()
    with Store(url) as store:
        found = steps.select(store, here.system, steps.Selection(tuple(ids), connection, entity, field))
    if missing := sorted(set(ids) - {conflict.id for conflict in found}):
        raise SyncError(
            f"not open, or not there: {', '.join(map(str, missing))}; see `crm-sync conflicts list`"
        )
    if not found:
        console.out.print("no open conflict matches")
        return 0
    console.out.print(_table(found, _mask(here), decision))
    if not yes and not typer.confirm(
        f"Decide {len(found)} conflict{'s' if len(found) != 1 else ''} this way?"
    ):
        console.out.print("nothing was changed")
        return 0
    return _run(here, url, found, decision)


def _run(here: Workspace, url: str, found: Sequence[Conflict], decision: str) -> int:
    """The job `resolve_conflicts`, as the UI would run it, so that its table is brought up to date too."""
    from crm_sync.assets import links, names
    from crm_sync.commands import instance, runs
    from crm_sync.definitions import build

    config: dict[str, Any] = {"ids": ",".join(str(conflict.id) for conflict in found), "decision": decision}
    if decision in _POLICIES:
        config |= {"decision": "policy", "policy": decision}
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
    with Store(url) as store:
        left = review.find(store.conn, ids=[conflict.id for conflict in found])
    console.out.print(f"decided: {len(found) - len(left)}; still open: {len(left)}")
    return 1 if run.failures else 0


def _decision(use: str, policy: str) -> str:
    """use_hub, use_crm, skip, or the name of a policy."""
    if bool(use) == bool(policy):
        raise SyncError("say how: either --use hub, crm or skip, or --policy and its name")
    if use and use not in _DECISIONS:
        raise SyncError(f"--use takes hub, crm or skip, not {use!r}")
    if policy and policy not in _POLICIES:
        raise SyncError(f"--policy takes one of {', '.join(_POLICIES)}, not {policy!r}")
    return _DECISIONS[use] if use else policy


def _result(conflict: Conflict, decision: str) -> str:
    """How a conflict would end, in a word."""
    chosen = steps.choice(conflict, Policy(decision)) if decision in _POLICIES else decision
    return {"use_hub": "the hub's value", "use_crm": "the CRM's value", "skip": "left as it is"}.get(
        chosen or "", "stays open"
    )


def _table(found: Sequence[Conflict], mask: Mask, decision: str | None = None) -> Table:
    columns = ["id", "record", "field", "hub", "CRM", "hub changed (UTC)", "CRM changed (UTC)"]
    table = console.table(*columns, "suggestion" if decision is None else "would end with", numbers=("id",))
    for c in found:
        table.add_row(
            str(c.id),
            f"{c.connection}/{c.entity} {c.crm_id}",
            c.field,
            console.value(mask(c.entity, c.field, c.hub_value)),
            console.value(mask(c.entity, c.field, c.crm_value)),
            f"{c.hub_changed_at:%Y-%m-%d %H:%M:%S}" if c.hub_changed_at else "unknown",
            f"{c.crm_changed_at:%Y-%m-%d %H:%M:%S}" if c.crm_changed_at else "unknown",
            c.suggestion.replace("_", " ") if decision is None else _result(c, decision),
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
