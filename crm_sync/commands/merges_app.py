"""The words of `crm-sync merges` and their help; the work is in `merges.py`."""

from typing import Annotated

import typer

from crm_sync.commands.options import AsJson, Debug

EXAMPLES = (
    "Examples:\n\n"
    "    crm-sync merges                            # hub records of which a CRM made one\n\n"
    "    crm-sync merges salesforce/contact --json\n\n"
    "    crm-sync merges decide 3 --merge           # the two hub records become one\n\n"
    "    crm-sync merges decide 4 5 --apart         # they are two: the other gets a record of its own in the CRM"
)


def merges(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONNECTION[/ENTITY] | decide ID...", help="Which; without any: all.", show_default=False
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="For decide: one hub record is made of the two.")
    ] = False,
    apart: Annotated[bool, typer.Option("--apart", help="For decide: both stay.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """Records that a CRM merged, while the hub has them as two: a person decides what becomes of the two.

    The one that lost its record in the CRM is not created there anew until then. With --merge the record that stays keeps
    its values and gets the other's where it has none; what referred to the other one refers to it. Exit status 1 if any
    are open. CRM_SYNC_MASK_REVIEW=on hides personal data.
    """
    from crm_sync.commands import merges as work
    from crm_sync.core.errors import SyncError

    words = targets or []
    if words[:1] == ["decide"]:
        if merge == apart:
            raise SyncError("say what becomes of the two hub records: either --merge or --apart")
        raise typer.Exit(work.decide(words[1:], "merge" if merge else "apart"))
    if merge or apart:
        raise SyncError("--merge and --apart go with decide: crm-sync merges decide 3 --merge")
    raise typer.Exit(work.listed(words, limit=limit, as_json=as_json))
