"""``python -m crm_sync.simulators salesforce|hubspot``: arguments in, a serving process out."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from crm_sync.simulators import fault_plan
from crm_sync.simulators.serve import App, Options, serve

KINDS = ("salesforce", "hubspot")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse ``argv`` (default: the process's own), serve until stopped, return the exit status."""
    arguments = _parser().parse_args(argv)
    plan = fault_plan.Plan()
    if arguments.faults is not None:
        try:
            plan = fault_plan.load(arguments.faults)
        except (OSError, ValueError) as error:
            sys.stderr.write(f"Cannot use the fault plan {arguments.faults}: {error}\n")
            return 2
    with tempfile.TemporaryDirectory(prefix="crm-sync-simulator-") as temporary:
        state_dir = arguments.state_dir or Path(temporary)
        options = Options(arguments.records, arguments.seed, plan, state_dir)
        app: App = import_module(f"crm_sync.simulators.{arguments.kind}.app").create(options)
        return serve(
            app,
            port=arguments.port,
            use_tls=arguments.tls,
            plan=plan,
            state_dir=state_dir,
            exit_with_parent=arguments.exit_with_parent,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crm-sync simulate",
        description="Serve a local CRM over HTTPS that behaves like the vendor's. "
        "The first line on standard output is a JSON object saying where it is and how to log in.",
    )
    parser.add_argument("kind", choices=KINDS, help="which vendor")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    parser.add_argument(
        "--records", type=int, default=5000, help="contacts; companies are 16 %% and deals 30 %% of it"
    )
    parser.add_argument("--seed", type=int, default=1, help="same seed, same data")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="fault plan (YAML or JSON)")
    parser.add_argument("--no-tls", dest="tls", action="store_false", help="plain HTTP")
    parser.add_argument(
        "--state-dir", type=Path, help="where certificates and keys are written (default: temporary)"
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="end when the starting process does")
    return parser


if __name__ == "__main__":
    sys.exit(main())
