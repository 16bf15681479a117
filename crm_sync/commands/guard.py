"""`crm-sync guard`: what was held back, and the word that lets it through."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from crm_sync.commands import console
from crm_sync.commands.workspace import workspace
from crm_sync.core.errors import SyncError
from crm_sync.hub import holds
from crm_sync.hub.holds import Hold
from crm_sync.hub.store import Store
from crm_sync.steps.person import person

EVERY = ("open", "confirmed", "done", "withdrawn")


def listed(connection: str, entity: str, *, ended: bool, limit: int, as_json: bool) -> int:
    """Show the holds that match, oldest first. Returns 1 if any is open, else 0."""
    here = workspace()
    if connection:
        here.connection(connection)
    if entity and entity not in here.system.entities:
        raise SyncError(f"there is no entity {entity!r}; there are: {', '.join(here.system.entities)}")
    statuses = EVERY if ended else EVERY[:2]
    with Store(here.database()) as store:
        found = holds.find(store.conn, connection=connection, entity=entity, statuses=statuses, limit=limit)
    if as_json:
        rows = [asdict(hold) for hold in found]
        console.document(rows)
    elif found:
        console.out.print(_table(found))
    else:
        console.out.print("nothing is held back")
    return int(any(hold.status == "open" for hold in found))


def confirm(number: int, *, by: str, yes: bool) -> int:
    """Show a hold, ask, let it through. Raises SyncError if it is not open."""
    here = workspace()
    with Store(here.database()) as store:
        found = [hold for hold in holds.find(store.conn, statuses=EVERY, limit=2**31) if hold.id == number]
        if not found or found[0].status != "open":
            raise SyncError(_not_open(number, found, store))
        _show(found[0])
        if not yes and not typer.confirm("Is that meant? Then exactly this goes through once"):
            console.out.print("nothing was changed; it stays held back")
            return 0
        with store.transaction() as conn:
            if holds.confirm(conn, number, person(by)) is None:
                raise SyncError(_not_open(number, found, store))
    console.out.print(f"confirmed: the next sync of {found[0].stream} lets it through")
    return 0


def _not_open(number: int, found: Sequence[Hold], store: Store) -> str:
    if not found:
        return f"there is no hold {number}; see `crm-sync guard list`"
    now = [hold.id for hold in holds.find(store.conn, statuses=("open",)) if hold.stream == found[0].stream]
    others = f"; what is held there now is {', '.join(map(str, now))}" if now else ""
    return f"hold {number} is not open (any more): {found[0].status}{others}; see `crm-sync guard list`"


def _show(hold: Hold) -> None:
    rows: Mapping[str, Any] = {
        "what": hold.stream,
        "would be written to": {"hub": "the hub", "crm": "the CRM", "both": "both sides"}[hold.side],
        "why": hold.sentence,
        "some of the records": ", ".join(hold.sample[:5]) + (", …" if len(hold.sample) > 5 else ""),
    }
    for name, text in rows.items():
        if text:
            console.out.print(f"{name}: {text}", markup=False, soft_wrap=True)


def _table(found: Sequence[Hold]) -> Table:
    table = console.table("id", "what", "to", "status", "since (UTC)", "why", numbers=("id",))
    for hold in found:
        status = f"{hold.status} by {hold.decided_by}" if hold.decided_by else hold.status
        table.add_row(
            str(hold.id),
            hold.stream,
            hold.side,
            status,
            f"{hold.opened_at:%Y-%m-%d %H:%M}",
            Text(hold.sentence),
        )
    return table
