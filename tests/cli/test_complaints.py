"""What goes wrong is said in one message, without a traceback, and with exit status 2."""

import re
import subprocess
import sys

import pytest

from tests.cli.conftest import Place


def test_no_connection_files(empty: Place) -> None:
    said = empty.run("status")
    assert said.status == 2
    assert (
        said.err.strip()
        == "connections: there is no such folder; make it and copy a file from examples/ into it"
    )


def test_debug_shows_where(empty: Place) -> None:
    said = empty.run("status", "--debug")
    assert said.status == 2
    assert "Traceback" in said.err
    assert "ConfigError" in said.err


def test_a_mistake_in_a_file_names_file_and_line(place: Place) -> None:
    file = place.folder / "connections" / "hubspot.yaml"
    file.write_text(file.read_text().replace("policy: manual", "policy: by_hand", 1))
    said = place.run("sync")
    assert said.status == 2
    assert "hubspot.yaml:" in said.err
    assert "by_hand" in said.err
    assert "most_recent_wins" in said.err


def test_a_missing_secret_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUBSPOT_ACCESS_TOKEN")
    said = place.run("check", "hubspot")
    assert said.status == 2
    assert re.search(r"hubspot.yaml:\d+: auth.access_token: .*HUBSPOT_ACCESS_TOKEN is not set", said.err)


def test_a_field_that_the_account_does_not_have_is_named(place: Place) -> None:
    file = place.folder / "connections" / "salesforce.yaml"
    file.write_text(
        file.read_text().replace("birth_date: {field: Birthdate", "birth_date: {field: Geburtstag")
    )
    said = place.run("check", "salesforce")
    assert said.status == 1
    assert "contact: Contact has no field Geburtstag, or this user may not see it" in said.out


def test_a_picklist_value_that_the_account_does_not_have_is_named(place: Place) -> None:
    file = place.folder / "connections" / "salesforce.yaml"
    file.write_text(file.read_text().replace("closed_won: Closed Won", "closed_won: Gewonnen"))
    said = place.run("check", "salesforce")
    assert said.status == 1
    assert "deal: stage: StageName does not have the values Gewonnen" in said.out


def test_a_wrong_token_fails_the_check(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", "pat-na1-of-somebody-else")
    said = place.run("check", "hubspot")
    assert said.status == 1
    assert "hubspot has problems" in said.out
    assert "somebody-else" not in said.out + said.err


def test_a_sync_that_fails_says_why(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", "pat-na1-of-somebody-else")
    said = place.run("sync", "hubspot/company")
    assert said.status == 1
    assert "failed: hubspot/company inbound" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("words", [("nobody",), ("hubspot/invoice",), ("salesforce", "--start-date", "soon")])
def test_names_and_dates_that_do_not_exist(place: Place, words: tuple[str, ...]) -> None:
    said = place.run("sync", *words)
    assert said.status in {1, 2}
    assert "Traceback" not in said.err
    assert said.err.strip()


def test_a_database_that_is_not_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_SYNC_DATABASE_URL", "postgresql://nobody:secret-word@127.0.0.1:1/none")
    said = place.run("status")
    assert said.status == 2
    assert "cannot be reached" in said.err
    assert "secret-word" not in said.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "say how"),
        (("--use", "both"), "--use takes hub, crm or skip"),
        (("--policy", "coin_toss"), "--policy takes one of"),
        (("--use", "hub"), "say which conflicts"),
        (("--use", "hub", "--older-than", "soon"), "must be a number and a unit"),
        (("--use", "hub", "--newer", "both"), "newer: hub or crm"),
        (
            ("--use", "hub", "--entity", "contact", "--always", "--only-when", "x"),
            "takes hub-blank or crm-blank",
        ),
        (("--use", "hub", "--entity", "nobody"), "there is no entity"),
    ],
)
def test_resolving_wants_to_know_how_and_which(place: Place, words: tuple[str, ...], complaint: str) -> None:
    said = place.run("conflicts", "resolve", *words)
    assert said.status == 2
    assert complaint in said.err


def test_help_teaches_without_heavy_imports() -> None:
    """Help answers at once: nothing heavy is imported for it."""
    code = (
        "import sys; from crm_sync.cli import main; main(['--help']);"
        " heavy = {'dagster', 'pandas', 'pyarrow', 'sqlalchemy', 'simple_salesforce', 'starlette'} & set(sys.modules);"
        " sys.exit(f'imported for help: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("demo", "simulate", "setup", "sync", "status", "check", "schema", "dev", "conflicts"):
        assert command in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "setup",
        "sync",
        "status",
        "check",
        "schema",
        "dev",
        "stop",
        "conflicts list",
        "conflicts resolve",
        "conflicts reopen",
        "conflicts rules",
    ],
)
def test_every_command_shows_an_example(empty: Place, command: str) -> None:
    said = empty.run(*command.split(), "--help")
    assert said.status == 0
    assert "Example" in said.out
    assert f"crm-sync {command}" in said.out
