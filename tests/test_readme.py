"""The commands that the README and the quickstart show are run, in their order, on simulated accounts."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from crm_sync.demo.world import write_connections
from crm_sync.simulators.serve import Simulator, running

PROJECT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/quickstart.md")
ELSEWHERE = {
    "make demo": "tests/e2e/test_demo.py",
    "make venv": "every build",
    "source .venv/bin/activate": "every developer",
    "crm-sync dev": "tests/cli/test_processes.py",
}
"""Commands that are too slow, too permanent or too obvious to be run once more, and where they are run."""


def commands(page: str) -> list[str]:
    """Lines that begin with a prompt, in the page's console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```$", (PROJECT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [
        line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")
    ]


@pytest.fixture(scope="module")
def simulators() -> Iterator[Mapping[str, Simulator]]:
    with running("salesforce", records=20) as salesforce, running("hubspot", records=20) as hubspot:
        yield {"salesforce": salesforce, "hubspot": hubspot}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_works(
    page: str, tmp_path: Path, fresh_database_url: str, simulators: Mapping[str, Simulator]
) -> None:
    secrets = write_connections(
        tmp_path / "examples", simulators
    )  # a checkout whose examples point at simulators
    tools = tmp_path / "bin"
    tools.mkdir()
    cli = tools / "crm-sync"
    cli.write_text(f"#!{sys.executable}\nimport sys\nfrom crm_sync.cli import main\nsys.exit(main())\n")
    cli.chmod(0o755)
    env = {
        **os.environ,
        **secrets,
        "CRM_SYNC_DATABASE_URL": fresh_database_url,
        "PATH": f"{tools}:{os.environ['PATH']}",
    }
    shown = commands(page)
    assert len(shown) > 5
    for command in shown:
        if command in ELSEWHERE or command.startswith("export "):
            continue
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "CONTRIBUTING.md", "docs/how-it-works.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (PROJECT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert ((PROJECT / page).parent / target).exists(), (
                f"{page} points at {target}, which is not there"
            )


def test_exports_name_the_variables_of_the_examples() -> None:
    exported = {
        word.partition("=")[0]
        for command in commands("docs/quickstart.md")
        if command.startswith("export ")
        for word in shlex.split(command)[1:]
    }
    files = "".join((PROJECT / "examples" / name).read_text() for name in ("salesforce.yaml", "hubspot.yaml"))
    assert set(re.findall(r"\{env: (\w+)\}", files)) <= exported


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_verbs_of_make_exist() -> None:
    for page in PAGES:
        for command in commands(page):
            if command.startswith("make "):
                subprocess.run(
                    [*shlex.split(command), "--dry-run"], cwd=PROJECT, check=True, capture_output=True
                )
