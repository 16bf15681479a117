"""`crm-sync undo`: put back what the sync wrote in a run or a period."""

import uuid
from datetime import UTC, datetime

import psycopg
import typer

from crm_sync.commands import console, undo_shown
from crm_sync.commands.workspace import Workspace, workspace
from crm_sync.core.errors import SyncError
from crm_sync.core.undo import Fate
from crm_sync.hub import undo as memory
from crm_sync.hub.store import Store
from crm_sync.hub.undo import Selection
from crm_sync.steps.person import person
from crm_sync.steps.undo import Undo
from crm_sync.steps.undo_told import Applied, Planned


def undo(
    run: str,
    since: str,
    until: str,
    *,
    entity: str,
    field: str,
    connection: str,
    by: str,
    created: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Show the plan, ask, apply. Returns 1 if something of the selection stays as it is, else 0. Raises SyncError for
    what cannot be selected."""
    who = person(by)
    here = workspace()
    _check_names(here, entity, field, connection)
    start, end = _moment("--since", since), _moment("--until", until)
    _check_period(run, start, end)
    url = here.database()
    own = str(uuid.uuid4())
    with Store(url, dry_run=dry_run, run_id=own) as store, here.crms(url) as crm:
        selection = Selection(_run(store.conn, run), start, end, entity, field, connection)
        work = Undo(store, here.system, crm)
        with console.err.status("looking at what was written, and what it is now"):
            planned = work.plan(selection, created=created)
        mask = _mask(here)
        zone = any(text and not _has_zone(text) for text in (since, until))
        shown = {"run": own, **undo_shown.as_json(store.conn, selection, planned, mask)} if as_json else {}
        if not as_json:
            undo_shown.show(store.conn, selection, planned, mask, no_zone=zone)
        number, whole = planned.number(Fate.UNDO), planned.records_to_undo()
        if dry_run or not (number or whole):
            if as_json:
                console.document({**shown, "applied": None})
            return 0 if dry_run else _status(planned)
        if not yes and not typer.confirm(undo_shown.question(planned), err=as_json):
            console.err.print("nothing was changed")
            return 0
        with console.err.status("putting back"):
            applied = work.apply(selection, who)
        after = work.planned(planned.journal_rows)
        if as_json:
            console.document({**shown, "applied": undo_shown.applied_as_json(applied, after)})
        else:
            undo_shown.applied(own, planned, applied, after)
    return _status(after, applied)


def _status(planned: Planned, applied: Applied | None = None) -> int:
    sent = applied is None or not (
        applied.failures or any(r.counts.get(n) for r in applied.reports.values() for n in undo_shown.UNSENT)
    )
    return 0 if sent and not planned.left and not planned.number(Fate.EDITED, Fate.LEFT) else 1


def _check_names(here: Workspace, entity: str, field: str, connection: str) -> None:
    if connection:
        here.connection(connection)
    entities = here.system.entities
    if entity and entity not in entities:
        raise SyncError(f"there is no entity {entity!r}; there are: {', '.join(entities)}")
    streams = [
        s for s in here.system.streams if entity in ("", s.entity) and connection in ("", s.connection)
    ]
    fields = sorted({spec.name for stream in streams for spec in stream.fields})
    if field and field not in fields:
        raise SyncError(f"there is no field {field!r} there; there are: {', '.join(fields)}")


def _moment(option: str, text: str) -> datetime | None:
    """A time; without a zone it is UTC."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise SyncError(
            f"{option}: {text!r} is no time; write it like 2026-01-31, 2026-01-31T08:00:00Z or 2026-01-31T09:00+01:00"
        ) from None
    return moment


def _has_zone(text: str) -> bool:
    return datetime.fromisoformat(text).tzinfo is not None


def _check_period(run: str, start: datetime | None, end: datetime | None) -> None:
    now = datetime.now(UTC)
    if not run and start is None:
        raise SyncError(
            "say what to undo: the id of a run, or --since and a time; `crm-sync undo --help` has examples"
        )
    if start is not None and start > now:
        raise SyncError(
            f"--since {start:%Y-%m-%d %H:%M:%S} UTC lies in the future; now it is {now:%Y-%m-%d %H:%M:%S} UTC"
        )
    if start is not None and end is not None and end <= start:
        raise SyncError("--until is not later than --since; both are UTC unless they name a zone")


def _run(conn: psycopg.Connection, text: str) -> str | None:
    """The run meant. Raises SyncError, naming the last ones, if there is none or more than one."""
    if not text:
        return None
    found = memory.run_ids(conn, text)
    if len(found) == 1:
        return found[0]
    if found:
        raise SyncError(f"{text!r} is the beginning of several runs: {', '.join(found)}")
    last = [f"{run_id} ({at:%Y-%m-%d %H:%M:%S} UTC)" for run_id, at in memory.last_runs(conn, 5)]
    raise SyncError(
        f"there is no run {text!r}; the last ones that wrote something: {', '.join(last) or 'none yet'}"
    )


def _mask(here: Workspace) -> undo_shown.Mask:
    """How values are shown: as they are, unless the setting hides them."""
    if not here.settings.mask_review:
        return lambda _entity, _field, value: value
    from crm_sync.assets.tables import Masking

    return Masking(here.system, here.settings)
