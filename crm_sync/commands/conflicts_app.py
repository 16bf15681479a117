"""The words of `crm-sync conflicts` and their help; the work is in `conflicts.py`."""

from typing import Annotated

import typer

from crm_sync.commands.options import AsJson, Debug, Yes

app = typer.Typer(
    help="See and settle the disputes that no policy may decide.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command(
    "list",
    epilog="Examples:\n\n"
    "    crm-sync conflicts list --entity contact\n\n"
    "    crm-sync conflicts list --connection salesforce --field phone --json",
)
def conflicts_list(
    entity: Annotated[str, typer.Option(help="Only this entity.", show_default=False)] = "",
    connection: Annotated[str, typer.Option(help="Only this connection.", show_default=False)] = "",
    field: Annotated[str, typer.Option(help="Only this field.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """Show the open conflicts with both values. CRM_SYNC_MASK_REVIEW=on hides personal data."""
    from crm_sync.commands.conflicts import listed

    listed(entity, connection, field, limit=limit, as_json=as_json)


@app.command(
    "resolve",
    epilog="Examples:\n\n"
    "    crm-sync conflicts resolve 12 13 --use hub\n\n"
    "    crm-sync conflicts resolve --connection salesforce --field phone --use crm --yes\n\n"
    "    crm-sync conflicts resolve --entity contact --policy most_recent_wins",
)
def conflicts_resolve(
    ids: Annotated[
        list[int] | None, typer.Argument(help="Numbers from `conflicts list`.", show_default=False)
    ] = None,
    entity: Annotated[str, typer.Option(help="All of this entity.", show_default=False)] = "",
    connection: Annotated[str, typer.Option(help="All of this connection.", show_default=False)] = "",
    field: Annotated[str, typer.Option(help="All about this field.", show_default=False)] = "",
    use: Annotated[
        str,
        typer.Option(
            metavar="hub|crm|skip",
            help="Whose value counts; skip leaves both until one changes.",
            show_default=False,
        ),
    ] = "",
    policy: Annotated[
        str,
        typer.Option(
            help="Instead of --use: most_recent_wins, hub_wins, crm_wins, prefer_crm_unless_blank.",
            show_default=False,
        ),
    ] = "",
    yes: Yes = False,
    _debug: Debug = False,
) -> None:
    """Decide conflicts; the values go to hub and CRM at once. Shows what would happen and asks first."""
    from crm_sync.commands.conflicts import resolve

    raise typer.Exit(resolve(ids or [], entity, connection, field, use=use, policy=policy, yes=yes))
