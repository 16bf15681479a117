"""The words of `crm-sync undo` and their help; the work is in `undo.py`."""

from typing import Annotated

import typer

from crm_sync.commands.options import AsJson, Debug, Yes

EXAMPLES = (
    "Examples:\n\n"
    "    crm-sync undo 4f1c2d3e --dry-run                      # what a run wrote, and what would go back\n\n"
    "    crm-sync undo 4f1c2d3e\n\n"
    "    crm-sync undo --since 2026-11-21T08:00 --entity contact --field phone\n\n"
    "    crm-sync undo 4f1c2d3e --created                      # delete what the run created in a CRM, too"
)


def undo(
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="Id of a run, or its beginning.", show_default=False)
    ] = "",
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="What was written since; UTC unless it names a zone.", show_default=False
        ),
    ] = "",
    until: Annotated[
        str, typer.Option(metavar="TIME", help="Only what was written before.", show_default=False)
    ] = "",
    entity: Annotated[str, typer.Option(help="Only this entity.", show_default=False)] = "",
    field: Annotated[str, typer.Option(help="Only this field.", show_default=False)] = "",
    connection: Annotated[
        str, typer.Option(help="Only what was taken from or sent to this connection.", show_default=False)
    ] = "",
    by: Annotated[
        str, typer.Option(help="Who undoes, for the journal. Default: your account here.", show_default=False)
    ] = "",
    created: Annotated[
        bool,
        typer.Option(
            "--created", help="Also delete what was created in a CRM there, if nobody has touched it since."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; change nothing.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """Put back what the sync wrote in a run or a period, in the hub and in the CRMs.

    Looks at the records first: what anybody edited since, on any side, stays. Shows the plan and asks. An undo is a run
    of its own and can be undone. Links are pulled apart, records that a CRM brought into the hub are deleted there if
    nobody edited them and nothing refers to them, and what a CRM's deletions archived or deleted in the hub comes back.
    Records created in a CRM are told, and deleted there with --created. Exit status 1 if something of the selection
    stays as it is.
    """
    from crm_sync.commands.undo import undo as work

    raise typer.Exit(
        work(
            run,
            since,
            until,
            entity=entity,
            field=field,
            connection=connection,
            by=by,
            created=created,
            dry_run=dry_run,
            yes=yes,
            as_json=as_json,
        )
    )
