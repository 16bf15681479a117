"""`crm-sync sweep`: find what was deleted for ever, without reading everything."""

from collections.abc import Sequence

from crm_sync.commands import console
from crm_sync.commands.workspace import workspace
from crm_sync.hub.store import Store
from crm_sync.steps.listing import sweep_ids
from crm_sync.steps.options import Options


def sweep(words: Sequence[str], *, dry_run: bool) -> int:
    """List the ids of what the words select and look for what is missing; the next sync decides what follows."""
    here = workspace()
    targets = here.targets(words)
    url = here.database()
    numbers = ("listed", "gone", "outside", "there again", "calls")
    table = console.table("stream", *numbers, numbers=numbers)
    options = Options(dry_run=dry_run)
    with here.crms(url) as crms, Store(url, dry_run=dry_run) as store:
        for stream in here.streams():
            if stream.entity in targets.get(stream.connection, ()):
                with console.err.status(f"listing {stream.name}"):
                    report = sweep_ids(store, crms(stream.connection), stream, options)
                found = (
                    *(report.counts[n] for n in ("read", "deleted", "left", "updated")),
                    sum(report.calls.values()),
                )
                table.add_row(stream.name, *map(console.number, found))
                for note in report.notes:
                    console.err.print(note, markup=False, soft_wrap=True)
    console.out.print(table)
    return 0
