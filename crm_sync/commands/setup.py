"""`crm-sync setup`: the database fits the connection files, and the accounts have what a sync needs."""

from crm_sync.commands import console
from crm_sync.commands.workspace import workspace
from crm_sync.hub.answers import PostgresAnswerMemory


def setup(*, dry_run: bool) -> None:
    """Prepare the database and every account; dry_run only says what the accounts lack (the database has to exist
    for that: tokens are kept in it)."""
    here = workspace()
    url = here.database()
    tables = ", ".join(f"hub.{entity}" for entity in here.system.entities)
    console.out.print(f"database: migrated; {tables} and {len(here.system.streams)} streams are ready")
    heard = PostgresAnswerMemory(url)
    for connection in here.system.connections:
        with here.crm(connection, url) as crm, console.err.status(f"looking at {connection.name}"):
            try:
                done = crm.setup(connection.streams, dry_run=dry_run)
            finally:
                # Also if nothing was to do, or only a part could be done: syncs would go on believing what they were
                # told before this command, or an admin, created the fields.
                if not dry_run:
                    heard.forget_all(connection.name)
        for line in done or ["nothing to do"]:
            verb = "would create " if dry_run and done else ""
            console.out.print(f"{connection.name}: {verb}{line}", markup=False)
