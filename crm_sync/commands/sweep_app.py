"""The words of `crm-sync sweep` and their help; the work is in `sweep.py`."""

from typing import Annotated

import typer

from crm_sync.commands.options import Debug

EXAMPLES = "Examples:\n\n    crm-sync sweep salesforce\n\n    crm-sync sweep hubspot/contact --dry-run"


def sweep(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="CONNECTION[/ENTITY]", help="Which; without any: all.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look, and note nothing.")] = False,
    _debug: Debug = False,
) -> None:
    """Find records that were deleted for ever: list all ids, and look up those that are missing.

    A full sync does this anyway. Nothing is written to the hub; the next sync decides what follows, behind the guard.
    """
    from crm_sync.commands.sweep import sweep as run

    raise typer.Exit(run(targets or [], dry_run=dry_run))
