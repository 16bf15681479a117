"""The words of `crm-sync guard` and their help; the work is in `guard.py`."""

from typing import Annotated

import typer

from crm_sync.commands.options import AsJson, Debug, Yes

app = typer.Typer(
    help="See what the guard holds back, and let it through.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command(
    "list",
    epilog="Examples:\n\n    crm-sync guard list\n\n    crm-sync guard list --connection salesforce --all --json",
)
def guard_list(
    connection: Annotated[str, typer.Option(help="Only this connection.", show_default=False)] = "",
    entity: Annotated[str, typer.Option(help="Only this entity.", show_default=False)] = "",
    ended: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """Show the runs that were held back: what they would have done, and how much of it may pass.

    Exit status 1 if anything waits for a person.
    """
    from crm_sync.commands.guard import listed

    raise typer.Exit(listed(connection, entity, ended=ended, limit=limit, as_json=as_json))


@app.command(
    "confirm",
    epilog="Examples:\n\n    crm-sync guard confirm 12\n\n    crm-sync guard confirm 12 --by ann@example.com --yes",
)
def guard_confirm(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number from `guard list`.")],
    by: Annotated[
        str, typer.Option(help="Who confirms; without it, who is logged in.", show_default=False)
    ] = "",
    yes: Yes = False,
    _debug: Debug = False,
) -> None:
    """Let through what is held back under this number: those records, once, and nothing else.

    If it is a mistake instead, mend it where it was made: what is no longer to be written is no longer held back.
    """
    from crm_sync.commands.guard import confirm

    raise typer.Exit(confirm(number, by=by, yes=yes))
