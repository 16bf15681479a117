"""Options that several commands have."""

from typing import Annotated

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Log in detail, and show tracebacks.")]
"""Read from the command line by `cli.main`, because it concerns errors too."""
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Machine-readable: one JSON document on standard output.")
]
