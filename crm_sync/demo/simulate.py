"""`crm-sync simulate`: the simulators' own command line, reached through the demo because nothing else may know them."""

from collections.abc import Sequence


def simulate(arguments: Sequence[str]) -> int:
    """Serve a simulator until stopped; its first line on standard output is a JSON object. Returns the exit status."""
    from crm_sync.simulators.__main__ import main

    return main(arguments)
