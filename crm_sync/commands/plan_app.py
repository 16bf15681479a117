"""The words of `crm-sync plan` and `crm-sync apply`, and their help; the work is in `plan.py`."""

from pathlib import Path
from typing import Annotated

import typer

from crm_sync.commands.options import AsJson, Debug, Yes

app = typer.Typer(
    help="See what would be written in both directions, approve it, write exactly that.",
    rich_markup_mode="markdown",
)

APPLY_EXAMPLES = (
    "Examples:\n\n    crm-sync apply 17\n\n    crm-sync apply plan.jsonl --by ann@example.com --yes"
)

Number = Annotated[int, typer.Argument(metavar="PLAN", help="Number from `plan list`.")]
By = Annotated[
    str, typer.Option(help="Who does this, for the journal. Default: your account here.", show_default=False)
]
Limit = Annotated[int, typer.Option(min=0, help="Show at most so many writes; a file and a plan hold all.")]


@app.callback(
    invoke_without_command=True,
    epilog="Examples:\n\n    crm-sync plan\n\n    crm-sync plan --connection salesforce/contact --out plan.jsonl\n\n"
    "    crm-sync plan list",
)
def plan(
    context: typer.Context,
    connection: Annotated[
        list[str] | None,
        typer.Option(metavar="CONNECTION[/ENTITY]", help="Only these; may be repeated.", show_default=False),
    ] = None,
    entity: Annotated[str, typer.Option(help="Only this entity.", show_default=False)] = "",
    read: Annotated[bool, typer.Option("--read", help="Read what changed in the CRMs first.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write all of it into this file, too (JSON lines).", show_default=False
        ),
    ] = None,
    limit: Limit = 100,
    by: By = "",
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """List every field write that a sync would make now, in both directions, and what it costs in calls.

    Nothing is written. What the list holds is kept under a number; `crm-sync apply` with that number makes exactly these
    writes, and refuses the records that have moved since.
    """
    if context.invoked_subcommand is not None:
        return
    from crm_sync.commands.plan import make

    raise typer.Exit(make(connection or [], entity, read=read, out=out, limit=limit, by=by, as_json=as_json))


@app.command("show", epilog="Example:\n\n    crm-sync plan show 17 --limit 1000")
def plan_show(number: Number, limit: Limit = 100, as_json: AsJson = False, _debug: Debug = False) -> None:
    """Show a plan that was made, and what became of it."""
    from crm_sync.commands.plan import show

    raise typer.Exit(show(number, limit=limit, as_json=as_json))


@app.command("list", epilog="Examples:\n\n    crm-sync plan list\n\n    crm-sync plan list --all --json")
def plan_list(
    ended: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 100,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """List the plans that wait. Exit status 1 if one waits for approval."""
    from crm_sync.commands.plan import listed

    raise typer.Exit(listed(ended=ended, limit=limit, as_json=as_json))


@app.command(
    "approve",
    epilog="Examples:\n\n    crm-sync plan approve 17\n\n    crm-sync plan approve 17 --by ann --yes",
)
def plan_approve(number: Number, by: By = "", yes: Yes = False, _debug: Debug = False) -> None:
    """Approve a plan: its writes are made by the next sync that waits for it, or by `crm-sync apply`."""
    from crm_sync.commands.plan import decide

    raise typer.Exit(decide(number, "approved", by=by, yes=yes))


@app.command("reject", epilog="Example:\n\n    crm-sync plan reject 17")
def plan_reject(number: Number, by: By = "", _debug: Debug = False) -> None:
    """Reject a plan, an approved one too: nothing more of it is written."""
    from crm_sync.commands.plan import decide

    raise typer.Exit(decide(number, "rejected", by=by, yes=True))


def apply(
    which: Annotated[
        str,
        typer.Argument(metavar="PLAN", help="A plan's number, or the file that `plan --out` has written."),
    ],
    by: By = "",
    yes: Yes = False,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """Make exactly the writes of a plan.

    Each record is decided again; if anything about it is not as it was planned it is refused as a whole, and listed with
    what has moved. Applied twice, or again after a crash, nothing is written twice. Exit status 1 if something of the
    plan was not written.
    """
    from crm_sync.commands.plan import apply as work

    raise typer.Exit(work(which, by=by, yes=yes, as_json=as_json))
