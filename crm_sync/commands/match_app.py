"""The words of `crm-sync match` and their help; the work is in `match.py`."""

from typing import Annotated

import typer

from crm_sync.commands.options import AsJson, Debug

EXAMPLES = (
    "Examples:\n\n"
    "    crm-sync match --preview                   # before a first sync: who would be linked with whom\n\n"
    "    crm-sync match --preview hubspot/contact --json\n\n"
    "    crm-sync match --doubles\n\n"
    "    crm-sync match --review                    # alike, but not alike enough: a person decides\n\n"
    "    crm-sync match decide 12 --link 3f6c…      # it is this hub record; or: decide 12 13 --new\n\n"
    "    crm-sync match reopen 12                   # before a sync has followed what was decided"
)


def match(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONNECTION[/ENTITY] | decide ID | reopen ID",
            help="Which; without any: all.",
            show_default=False,
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="What a sync would link and create. Writes nothing.")
    ] = False,
    doubles: Annotated[
        bool, typer.Option("--doubles", help="Records that one system has several times.")
    ] = False,
    review: Annotated[
        bool, typer.Option("--review", help="Records that may be the same, for a person to decide.")
    ] = False,
    link: Annotated[
        str, typer.Option(metavar="HUB_ID", help="For decide: the record is this one.", show_default=False)
    ] = "",
    new: Annotated[bool, typer.Option("--new", help="For decide: the records are new ones.")] = False,
    no_read: Annotated[
        bool, typer.Option("--no-read", help="For --preview: do not ask the CRMs, take what was read before.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="At most so many: groups of each rule, or conflicts.")
    ] = 20,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """Who is who: what matching would do before a first sync, and which records are doubles, or may be the same.

    --preview reads the CRMs and matches as a sync would, in a transaction that is rolled back; exit status 1 if a record
    needs a person. --doubles looks at what has been read, --review at what waits for a decision; exit status 1 if there
    is any. CRM_SYNC_MASK_REVIEW=on hides personal data.
    """
    from crm_sync.commands import match as work
    from crm_sync.commands import match_review
    from crm_sync.core.errors import SyncError

    words = targets or []
    deciding, reopening = words[:1] == ["decide"], words[:1] == ["reopen"]
    if preview + doubles + review + deciding + reopening != 1:
        raise SyncError("say what to show: one of --preview, --doubles and --review; or decide or reopen")
    if no_read and not preview:
        raise SyncError("--no-read goes with --preview; the others never ask a CRM")
    if (link or new) and not deciding:
        raise SyncError("--link and --new go with decide: crm-sync match decide 12 --new")
    if deciding:
        raise typer.Exit(match_review.decide(words[1:], hub_id=link, new=new))
    if reopening:
        raise typer.Exit(match_review.reopen(words[1:]))
    if review:
        raise typer.Exit(match_review.review(words, limit=limit, as_json=as_json))
    if preview:
        raise typer.Exit(work.preview(words, read=not no_read, as_json=as_json))
    raise typer.Exit(work.doubled(words, limit=limit, as_json=as_json))
