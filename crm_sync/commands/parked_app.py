"""The words of `crm-sync parked` and their help; the work is in `parked.py`."""

from typing import Annotated

import typer

from crm_sync.commands.options import AsJson, Debug

app = typer.Typer(
    help="See which records do not go on, why and what to do, and have them tried again.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_Connection = Annotated[str, typer.Option(help="Only this connection.", show_default=False)]
_Entity = Annotated[str, typer.Option(help="Only this entity.", show_default=False)]
_Code = Annotated[str, typer.Option(help="Only this code, as the list shows it.", show_default=False)]
_Owner = Annotated[
    str,
    typer.Option(
        help="Only what this one can mend: `data owner`, `CRM admin`, `integration engineer`.",
        show_default=False,
    ),
]


@app.command(
    "list",
    epilog="Examples:\n\n    crm-sync parked list\n\n"
    "    crm-sync parked list --owner 'CRM admin'\n\n"
    "    crm-sync parked list --connection salesforce --code DUPLICATE_VALUE --json",
)
def parked_list(
    connection: _Connection = "",
    entity: _Entity = "",
    code: _Code = "",
    owner: _Owner = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """Show what is parked or waits for another try: how many by code with what to do and who does it, then each.

    Values are never shown. Exit status 1 if anything needs somebody.
    """
    from crm_sync.commands.parked import listed

    raise typer.Exit(listed(connection, entity, code, owner, limit=limit, as_json=as_json))


@app.command(
    "requeue",
    epilog="Examples:\n\n    crm-sync parked requeue 12 13\n\n"
    "    crm-sync parked requeue --connection salesforce --code DUPLICATES_DETECTED\n\n"
    "    crm-sync parked requeue --all",
)
def parked_requeue(
    numbers: Annotated[
        list[int] | None,
        typer.Argument(metavar="ID...", help="Numbers from `parked list`.", show_default=False),
    ] = None,
    connection: _Connection = "",
    entity: _Entity = "",
    code: _Code = "",
    owner: _Owner = "",
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    _debug: Debug = False,
) -> None:
    """Have parked records tried again by the next sync, because something has changed that it does not see.

    A record that itself changes is tried without this. What is refused again is parked again.
    """
    from crm_sync.commands.parked import requeue

    requeue(numbers or [], connection, entity, code, owner, everything=everything)
