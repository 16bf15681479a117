"""The words of `crm-sync match` and their help; the work is in `match.py`."""

from typing import Annotated

import typer

from crm_sync.commands.options import AsJson, Debug

EXAMPLES = (
    "Examples:\n\n"
    "    crm-sync match --preview                   # before a first sync: who would be linked with whom\n\n"
    "    crm-sync match --preview hubspot/contact --json\n\n"
    "    crm-sync match --doubles"
)


def match(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="CONNECTION[/ENTITY]", help="Which; without any: all.", show_default=False),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="What a sync would link and create. Writes nothing.")
    ] = False,
    doubles: Annotated[
        bool, typer.Option("--doubles", help="Records that one system has several times.")
    ] = False,
    no_read: Annotated[
        bool, typer.Option("--no-read", help="For --preview: do not ask the CRMs, take what was read before.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="For --doubles: at most so many groups per rule.")] = 20,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """Who is who: what matching would do before a first sync, and which records are doubles.

    --preview reads the CRMs and matches as a sync would, in a transaction that is rolled back; exit status 1 if a record
    needs a person. --doubles looks at what has been read; exit status 1 if there are any. CRM_SYNC_MASK_REVIEW=on hides
    personal data.
    """
    from crm_sync.commands import match as work
    from crm_sync.core.errors import SyncError

    if preview == doubles:
        raise SyncError("say what to show: either --preview or --doubles")
    if no_read and doubles:
        raise SyncError("--no-read goes with --preview; --doubles never asks a CRM")
    if preview:
        raise typer.Exit(work.preview(targets or [], read=not no_read, as_json=as_json))
    raise typer.Exit(work.doubled(targets or [], limit=limit, as_json=as_json))
