"""`crm-sync`: what a person does from a shell. Here are the words and their help; the work is in `commands/`.

Nothing heavy is imported before a command runs, so that help and completion are quick. What goes wrong in a way
that a user can mend ends with one sentence on standard error and exit status 2; `--debug` adds the traceback.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from crm_sync.commands import (
    conflicts_app,
    console,
    guard_app,
    match_app,
    merges_app,
    parked_app,
    plan_app,
    sweep_app,
    undo_app,
    verify_app,
)
from crm_sync.commands.options import AsJson, Debug

app = typer.Typer(
    name="crm-sync",
    help="Keep a team's Postgres and its CRMs in two-way sync.\n\n"
    "New here? `crm-sync demo` shows everything on simulated accounts.\n\n"
    "To connect your own: copy a file from examples/ into connections/, then `crm-sync setup`, `crm-sync check`, "
    "`crm-sync sync --dry-run`, `crm-sync sync`, `crm-sync dev`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # they would print local variables: secrets and people's data
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(conflicts_app.app, name="conflicts")
app.command("undo", epilog=undo_app.EXAMPLES)(undo_app.undo)
app.add_typer(guard_app.app, name="guard")
app.add_typer(plan_app.app, name="plan")
app.command("apply", epilog=plan_app.APPLY_EXAMPLES)(plan_app.apply)
app.add_typer(parked_app.app, name="parked")
app.command("match", epilog=match_app.EXAMPLES)(match_app.match)
app.command("merges", epilog=merges_app.EXAMPLES)(merges_app.merges)
app.command("sweep", epilog=sweep_app.EXAMPLES)(sweep_app.sweep)
app.command("verify", epilog=verify_app.EXAMPLES)(verify_app.verify)


@app.command(
    epilog="Examples:\n\n"
    "    crm-sync demo                      # then open the printed link; Ctrl-C ends everything\n\n"
    "    crm-sync demo --exit --records 500 # only the report; exit status 0 if all sides agree"
)
def demo(
    leave: Annotated[
        bool, typer.Option("--exit", help="Stop after the report; exit status 1 if the sides differ.")
    ] = False,
    records: Annotated[
        int, typer.Option(min=100, help="Contacts in each CRM; companies are 16 % of it, deals 30 %.")
    ] = 5000,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Dagster UI.")] = 3000,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the demo's folder in place when it ends.")
    ] = False,
    home: Annotated[Path, typer.Option(help="The demo's own folder. It is emptied first.")] = Path(
        ".crm_sync/demo"
    ),
    _debug: Debug = False,
) -> None:
    """Play a whole story on simulated accounts: first sync, edits on three sides, conflicts, proof that all agree.

    Needs nothing installed: it brings its own Postgres, a Salesforce, a Salesforce sandbox and a HubSpot. With
    CRM_SYNC_DATABASE_URL it uses that (empty) database instead.
    """
    from crm_sync.demo.play import play

    raise typer.Exit(play(home, records=records, port=port, leave=leave, keep=keep))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    epilog="Examples:\n\n"
    "    crm-sync simulate salesforce --port 8443\n\n"
    "    crm-sync simulate hubspot --port 8444 --records 200 --seed 7 --no-tls",
)
def simulate(context: typer.Context) -> None:
    """Serve a local CRM that behaves like the vendor's: `salesforce` or `hubspot`.

    The first line on standard output is a JSON object: where it is and how to log in. `--help` lists the options.
    """
    from crm_sync.demo.simulate import simulate as run

    raise typer.Exit(run(context.args))


@app.command(epilog="Examples:\n\n    crm-sync setup --dry-run   # what would be done\n\n    crm-sync setup")
def setup(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")
    ] = False,
    _debug: Debug = False,
) -> None:
    """Make everything ready: migrate the database, shape the tables, create the external id fields in the CRMs.

    Safe to run again at any time; do so after every change of a connection file.
    """
    from crm_sync.commands.setup import setup as run

    run(dry_run=dry_run)


@app.command(
    epilog="Examples:\n\n"
    "    crm-sync sync                         # every connection\n\n"
    "    crm-sync sync hubspot --dry-run       # what would be written, field by field\n\n"
    "    crm-sync sync salesforce/contact --start-date 2026-11-01\n\n"
    "    crm-sync sync salesforce --full       # read everything, compare everything"
)
def sync(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="CONNECTION[/ENTITY]", help="Which; without any: all.", show_default=False),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Ignore the watermark: read and compare everything.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="The CRM's value overwrites every difference. Think first.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan everything, write nothing, show the plan.")
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Records per call to a CRM. Default: the vendor's maximum.")
    ] = None,
    max_records: Annotated[
        int | None, typer.Option(min=1, help="At most so many records per step. Default: all.")
    ] = None,
    start_date: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help="Only what was modified since, UTC: 2026-01-31 or 2026-01-31T08:00:00Z."
        ),
    ] = None,
    skip_validation: Annotated[
        bool, typer.Option("--skip-validation", help="Let values through that break their type's rules.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Sync now: what changed in the CRMs into the hub, what changed in the hub into the CRMs.

    Companies first, then contacts, then deals. The runs show in the Dagster UI if `crm-sync dev` was ever started.
    Nothing is created in a CRM before all of it was read once: after a first sync with --max-records or --start-date,
    what only the hub seems to have waits for the next. Exit status 1 if a step failed; what it did until then stays done,
    and the next sync goes on from there.
    """
    from crm_sync.commands.sync import sync as run

    flags = {
        "full": full,
        "force": force,
        "dry_run": dry_run,
        "batch_size": batch_size,
        "max_records": max_records,
        "start_date": start_date,
        "skip_validation": skip_validation,
        "debug": debug,
    }
    raise typer.Exit(run(targets or [], {name: value for name, value in flags.items() if value}))


@app.command(epilog="Examples:\n\n    crm-sync status\n\n    crm-sync status --json")
def status(as_json: AsJson = False, _debug: Debug = False) -> None:
    """How far every stream is: last run, watermark, records linked, and what waits.

    Changed: records that the next sync looks at. Waiting: for a record they refer to. Parked: refused, and not
    tried again by itself. Conflicts: a person decides. Below: what the guard holds back, and who can mend what is parked.
    """
    from crm_sync.commands.status import status as run

    run(as_json=as_json)


@app.command(
    epilog="Examples:\n\n    crm-sync why contact lee@example.com\n\n    crm-sync why contact 003Qy00000ABCDE phone"
)
def why(
    entity: str,
    record: Annotated[
        str, typer.Argument(metavar="ID", help="A hub id, a CRM's id, or a match key's value.")
    ],
    field: Annotated[str | None, typer.Argument(help="Only this one.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows of the journal, the newest.")] = 500,
    as_json: AsJson = False,
    _debug: Debug = False,
) -> None:
    """Why a record is as it is: what each side says, and every value it had, when, from whom and by which rule.

    Exit status 1 if several records are meant; they are listed. CRM_SYNC_MASK_REVIEW=on hides personal data.
    """
    from crm_sync.commands.why import why as run

    raise typer.Exit(run(entity, record, field, limit=limit, as_json=as_json))


@app.command(
    epilog="Examples:\n\n    crm-sync check\n\n    crm-sync check hubspot\n\n    crm-sync check --acknowledge 12"
)
def check(
    connection: Annotated[
        str | None, typer.Argument(help="Which; without it: all.", show_default=False)
    ] = None,
    acknowledge: Annotated[
        list[int] | None,
        typer.Option(
            metavar="ID", help="Accept a change of the CRM's fields; may be repeated.", show_default=False
        ),
    ] = None,
    _debug: Debug = False,
) -> None:
    """Whether the connections work: credentials, limits, every mapped field, and what changed in the CRM since.

    Exit status 1 if something is wrong: a refused login, a missing or read-only field, a picklist value the CRM does
    not have, a change that waits for somebody.
    """
    from crm_sync.commands.check import check as run

    raise typer.Exit(run(connection, acknowledge or []))


@app.command(epilog="Examples:\n\n    crm-sync schema > connection.schema.json")
def schema() -> None:
    """Print the JSON Schema of connection files, for editors that complete and check YAML."""
    import json

    from crm_sync.mapping.schema import schema as make

    console.out.print(json.dumps(make(), indent=2), soft_wrap=True, markup=False)


@app.command(epilog="Examples:\n\n    crm-sync dev\n\n    crm-sync dev --port 3001")
def dev(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the UI.")] = 3000,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Anybody who reaches it can run syncs.")
    ] = "127.0.0.1",
    _debug: Debug = False,
) -> None:
    """Start the Dagster UI with schedules and sensors. Ctrl-C ends it.

    All of them are on from the start: every connection is synced as its file says (every five minutes unless it says
    otherwise), and when the hub changes. Each has a switch under Automation; what was switched off stays off.

    The database, embedded or yours, is prepared first. An embedded database stays up for other commands; `crm-sync
    stop` ends it.
    """
    from crm_sync.commands.dev import dev as run

    run(host, port)


@app.command(epilog="Example:\n\n    crm-sync stop")
def stop(_debug: Debug = False) -> None:
    """Stop the embedded database, which otherwise outlives the commands that need it."""
    from crm_sync.commands.dev import stop as run

    run()


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point: run a command, return the exit status."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in argv
    console.configure_logging(debug=debug)
    try:
        app(argv, prog_name="crm-sync")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its exit
        return 1
    except Exception as error:  # noqa: BLE001 - the last one to hear of it
        if debug:
            console.err.print_exception(show_locals=False)
        else:
            console.complain(error)
        return 2
    return 0
