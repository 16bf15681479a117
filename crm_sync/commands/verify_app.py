"""The words of `crm-sync verify` and their help; the work is in `verify.py`."""

from typing import Annotated

import typer

from crm_sync.commands.options import AsJson, Debug, Yes

EXAMPLES = (
    "Examples:\n\n"
    "    crm-sync verify                          # every stream, everything\n\n"
    "    crm-sync verify hubspot --budget 500     # as much as 500 calls allow\n\n"
    "    crm-sync verify salesforce/contact --repair"
)


def verify(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="CONNECTION[/ENTITY]", help="Which; without any: all.", show_default=False),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(min=1, metavar="CALLS", help="At most about so many calls. Default: all it takes."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Have the sync look at what is unexplained; asks first.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="Show at most so many differences.")] = 50,
    yes: Yes = False,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """Read the CRMs anew and compare them with the hub: every difference, with its explanation.

    Writes nothing. Exit status 1 if a difference is unexplained: no queue, conflict, parked reason or filter accounts
    for it. CRM_SYNC_MASK_REVIEW=on hides personal data.
    """
    from crm_sync.commands.verify import verify as run

    raise typer.Exit(run(targets or [], budget=budget, as_json=as_json, repair=repair, yes=yes, limit=limit))
