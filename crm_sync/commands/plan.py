"""`crm-sync plan` and `crm-sync apply`: see what would be written, approve it, write exactly that."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import typer

from crm_sync.commands import console, plan_file, plan_shown
from crm_sync.commands.workspace import Workspace, workspace
from crm_sync.core.errors import SyncError
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import plan_rows, plans
from crm_sync.hub.plans import Plan
from crm_sync.hub.store import Store
from crm_sync.steps import unread
from crm_sync.steps.apply import apply as work
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from crm_sync.steps.person import person
from crm_sync.steps.proposal import propose

REFUSED = 100  # records shown


def make(
    connections: Sequence[str],
    entity: str,
    *,
    read: bool,
    out: Path | None,
    limit: int,
    by: str,
    as_json: bool,
) -> int:
    """Make a plan and show it. Raises SyncError for a name that does not exist, BusyError while a sync works."""
    here = workspace()
    who = person(by)
    streams = _streams(here, connections, entity)
    if out is not None and here.settings.mask_review:
        raise SyncError("--out writes values, and CRM_SYNC_MASK_REVIEW hides them: leave one of the two out")
    url, run_id = here.database(), str(uuid.uuid4())
    with here.crms(url) as crm, console.err.status("deciding what would be written"):
        if read:
            with Store(url, run_id=run_id) as store:
                for stream in streams:
                    inbound(store, crm(stream.connection), stream, Options())
        made = propose(url, streams, crm, origin="person", made_by=who, run_id=run_id)
    with Store(url) as store:
        for said in unread.told(store, streams):
            console.err.print(said, markup=False, soft_wrap=True)
    if made is None:
        console.document({"plan": None, "rows": 0}) if as_json else console.out.print(
            "nothing would be written"
        )
        return 0
    with Store(url) as store:
        if out is not None:
            plan_file.write(out, made, plan_rows.read(store.conn, made.id))
        _show(here, store, made, limit=limit, as_json=as_json)
    if not as_json:
        _say_how_on(here, made)
    return 0


def show(number: int, *, limit: int, as_json: bool) -> int:
    """Show a plan that was made."""
    here = workspace()
    with Store(here.database()) as store:
        found = _get(store, number)
        _show(here, store, found, limit=limit, as_json=as_json)
        refused = plan_rows.refused(store.conn, number, limit) if found.journal_from is not None else []
    if refused and not as_json:
        console.out.print()
        for one in refused:
            console.out.print(
                f"refused: {one.stream} {one.record}: {one.moved}", markup=False, soft_wrap=True
            )
    return 0


def listed(*, ended: bool, limit: int, as_json: bool) -> int:
    """List plans. Returns 1 if any waits for a decision."""
    here = workspace()
    with Store(here.database()) as store:
        statuses: tuple[plans.Status, ...] = ("proposed", "approved", "applied", "rejected", "expired")
        found = plans.find(store.conn, statuses=statuses if ended else statuses[:2], limit=limit)
    if as_json:
        console.document([plan_file.header(one) for one in found])
    elif found:
        console.out.print(plan_shown.listed(found))
    else:
        console.out.print("no plan waits")
    return int(any(one.status == "proposed" for one in found))


def decide(number: int, decision: Literal["approved", "rejected"], *, by: str, yes: bool) -> int:
    """Approve or reject a plan."""
    here = workspace()
    who = person(by)
    with Store(here.database()) as store:
        found = _get(store, number)
        if not yes and decision == "approved":
            _show(here, store, found, limit=20, as_json=False)
            if not typer.confirm(f"Approve these {found.rows:,} writes?"):
                console.out.print("nothing was changed")
                return 0
        if plans.decide(store.conn, number, decision, who) is None:
            raise SyncError(f"plan {number} is {_get(store, number).status} already")
    console.out.print(f"plan {number} is {decision} by {who}", markup=False)
    if decision == "approved":
        console.out.print(
            f"it is written with the next sync that waits for it, or now: crm-sync apply {number}"
        )
    return 0


def apply(plan: str, *, by: str, yes: bool, as_json: bool) -> int:
    """Apply a plan, by number or file. Returns 1 if something of it was not written."""
    here = workspace()
    who = person(by)
    number, content = (int(plan), None) if plan.isdecimal() else plan_file.read(Path(plan))
    url, run_id = here.database(), str(uuid.uuid4())
    with Store(url, run_id=run_id) as store, here.crms(url) as crm:
        found = _get(store, number)
        if content not in (None, found.hash):
            raise SyncError(
                f"{plan}: plan {number} of this database is another one; make a new plan: crm-sync plan"
            )
        if found.status == "proposed":
            _may_approve(here, found)
            if not as_json:
                _show(here, store, found, limit=20, as_json=False)
            if not yes and not typer.confirm(f"Make these {found.rows:,} writes?", err=as_json):
                console.err.print("nothing was written")
                return 0
            plans.decide(store.conn, number, "approved", who)
        with console.err.status("deciding again, and writing what is as it was planned"):
            done = work(store, here.system, crm, number)
        refused = plan_rows.refused(store.conn, number, REFUSED)
    if as_json:
        console.document(plan_shown.applied_as_json(done, refused))
    else:
        plan_shown.applied(done, refused)
    return int(bool(done.refused or done.waiting or done.failures))


def _may_approve(here: Workspace, found: Plan) -> None:
    """Who applies approves, but where approval is required that is a step of its own."""
    waiting = [s.name for s in here.system.streams if s.name in found.streams and s.approval]
    if waiting:
        raise SyncError(
            f"plan {found.id}: writes of {', '.join(waiting)} wait for approval; approve it first:"
            f" crm-sync plan approve {found.id}"
        )


def _streams(here: Workspace, connections: Sequence[str], entity: str) -> list[StreamSpec]:
    targets = here.targets(connections)
    if entity and entity not in here.system.entities:
        raise SyncError(f"there is no entity {entity!r}; there are: {', '.join(here.system.entities)}")
    found = [
        s for s in here.streams() if s.entity in targets.get(s.connection, ()) and entity in ("", s.entity)
    ]
    if not found:
        raise SyncError(f"none of these connections has the entity {entity!r}")
    return found


def _get(store: Store, number: int) -> Plan:
    found = plans.get(store.conn, number)
    if found is None:
        raise SyncError(f"there is no plan {number}; those that wait: crm-sync plan list")
    return found


def _show(here: Workspace, store: Store, found: Plan, *, limit: int, as_json: bool) -> None:
    rows = list(plan_rows.read(store.conn, found.id, limit=limit))
    mask = _mask(here)
    if as_json:
        console.document(plan_shown.as_json(found, rows, mask))
    else:
        plan_shown.plan(found, rows, mask)


def _say_how_on(here: Workspace, made: Plan) -> None:
    waits = any(s.approval for s in here.system.streams if s.name in made.streams)
    word = "plan approve" if waits and made.status == "proposed" else "apply"
    console.out.print(f"to write exactly this: crm-sync {word} {made.id}")


def _mask(here: Workspace) -> plan_shown.Mask:
    """How values are shown: as they are, unless the setting hides them."""
    if not here.settings.mask_review:
        return lambda _entity, _field, value: value
    from crm_sync.assets.tables import Masking

    return Masking(here.system, here.settings)
