"""The words of `crm-sync conflicts` and their help; the work is in `conflicts.py` and `conflicts_rules.py`."""

from typing import Annotated

import typer

from crm_sync.commands.options import AsJson, Debug, Yes

app = typer.Typer(
    help="See and settle the disputes that no policy may decide.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Entity = Annotated[str, typer.Option(help="Only of this entity.", show_default=False)]
Connection = Annotated[str, typer.Option(help="Only of this connection.", show_default=False)]
Field = Annotated[str, typer.Option(help="Only about this field.", show_default=False)]
OlderThan = Annotated[
    str,
    typer.Option(
        metavar="AGE", help="Only with values they have had so long: 30m, 12h, 7d, 2w.", show_default=False
    ),
]
Newer = Annotated[
    str, typer.Option(metavar="hub|crm", help="Only where this side was changed later.", show_default=False)
]
Blank = Annotated[
    str, typer.Option(metavar="hub|crm", help="Only where this side is blank.", show_default=False)
]


@app.command(
    "list",
    epilog="Examples:\n\n"
    "    crm-sync conflicts list --entity contact\n\n"
    "    crm-sync conflicts list --connection salesforce --field phone --older-than 7d --json\n\n"
    "    crm-sync conflicts list --status applied   # what was decided, and by whom",
)
def conflicts_list(
    entity: Entity = "",
    connection: Connection = "",
    field: Field = "",
    older_than: OlderThan = "",
    newer: Newer = "",
    blank: Blank = "",
    status: Annotated[str, typer.Option(help="open, decided, applied, skipped or superseded.")] = "open",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """Show conflicts with both values. CRM_SYNC_MASK_REVIEW=on hides personal data."""
    from crm_sync.commands.conflicts import listed, selection

    chosen = selection([], entity, connection, field, older_than, newer, blank)
    listed(chosen, status=status, limit=limit, as_json=as_json)


@app.command(
    "resolve",
    epilog="Examples:\n\n"
    "    crm-sync conflicts resolve 12 13 --use hub\n\n"
    "    crm-sync conflicts resolve --connection salesforce --field phone --newer crm --use crm --yes\n\n"
    "    crm-sync conflicts resolve --entity contact --older-than 7d --policy most_recent_wins\n\n"
    "    crm-sync conflicts resolve 12 --use hub --as-of 2026-11-21T09:30:00Z --yes   # a script's: not if it changed\n\n"
    "    crm-sync conflicts resolve 12 --use hub --always   # and all that are like it, from now on",
)
def conflicts_resolve(
    ids: Annotated[
        list[int] | None, typer.Argument(help="Numbers from `conflicts list`.", show_default=False)
    ] = None,
    entity: Entity = "",
    connection: Connection = "",
    field: Field = "",
    older_than: OlderThan = "",
    newer: Newer = "",
    blank: Blank = "",
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
    always: Annotated[
        bool,
        typer.Option(
            "--always", help="Make a rule of it: for this field of this connection, until it is ended."
        ),
    ] = False,
    only_when: Annotated[
        str,
        typer.Option(
            metavar="hub-blank|crm-blank", help="For --always: the rule holds only then.", show_default=False
        ),
    ] = "",
    as_of: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Only with the values they had then: `values_at` of `list --json`.",
            show_default=False,
        ),
    ] = "",
    yes: Yes = False,
    _debug: Debug = False,
) -> None:
    """Decide conflicts; the values go to hub and CRM at once. Shows what would happen and asks first."""
    from crm_sync.commands.conflicts import resolve, selection

    chosen = selection(ids or [], entity, connection, field, older_than, newer, blank, as_of)
    raise typer.Exit(resolve(chosen, use=use, policy=policy, always=always, only_when=only_when, yes=yes))


@app.command(
    "reopen",
    epilog="Example:\n\n    crm-sync conflicts reopen 12   # before a sync has applied what was decided",
)
def conflicts_reopen(
    ids: Annotated[list[int], typer.Argument(help="Numbers of decided or skipped conflicts.")],
    _debug: Debug = False,
) -> None:
    """Withdraw a decision that is not applied yet, or a skip."""
    from crm_sync.commands.conflicts_rules import reopen

    reopen(ids)


@app.command(
    "rules",
    epilog="Examples:\n\n    crm-sync conflicts rules\n\n    crm-sync conflicts rules --end 3",
)
def conflicts_rules(
    end: Annotated[int, typer.Option(metavar="RULE", help="End this rule.", show_default=False)] = 0,
    ended: Annotated[bool, typer.Option("--ended", help="Show those that were ended too.")] = False,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """Show the rules that were made of decisions with `resolve --always`, or end one."""
    from crm_sync.commands import conflicts_rules as work

    if end:
        work.end(end)
    else:
        work.listed(ended=ended, as_json=as_json)
