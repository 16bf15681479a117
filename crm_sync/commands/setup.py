"""`crm-sync setup`: the database fits the connection files, and the accounts have what a sync needs."""

from crm_sync.commands import console
from crm_sync.commands.workspace import workspace


def setup(*, dry_run: bool) -> None:
    """Prepare the database and every account; dry_run only says what the accounts lack (the database has to exist
    for that: tokens are kept in it)."""
    here = workspace()
    url = here.database()
    tables = ", ".join(f"hub.{entity}" for entity in here.system.entities)
    console.out.print(f"database: migrated; {tables} and {len(here.system.streams)} streams are ready")
    for connection in here.system.connections:
        with here.crm(connection, url) as crm, console.err.status(f"looking at {connection.name}"):
            done = crm.setup(connection.streams, dry_run=dry_run)
        for line in done or ["nothing to do"]:
            verb = "would create " if dry_run and done else ""
            console.out.print(f"{connection.name}: {verb}{line}", markup=False)
