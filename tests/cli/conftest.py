"""Simulated accounts for the module, and per test a database and a folder of connection files that point at them."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from crm_sync.cli import main
from crm_sync.demo.world import write_connections
from crm_sync.simulators.serve import Simulator, running


@dataclass(frozen=True)
class Said:
    """What a command did."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """A user's folder, with settings in the environment."""

    folder: Path
    url: str
    run: Callable[..., Said]

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            cursor = conn.execute(query)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def simulators() -> Iterator[Mapping[str, Simulator]]:
    with running("salesforce", records=30) as salesforce, running("hubspot", records=30) as hubspot:
        yield {"salesforce": salesforce, "hubspot": hubspot}


@pytest.fixture
def empty(
    tmp_path: Path,
    fresh_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Place:
    """A folder without connection files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRM_SYNC_DATABASE_URL", fresh_database_url)
    monkeypatch.setenv("CRM_SYNC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("crm_sync.commands.console.out.width", 220)

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        status = main(arguments)
        out, err = capsys.readouterr()
        return Said(status, out, err)

    return Place(tmp_path, fresh_database_url, run)


@pytest.fixture
def place(empty: Place, simulators: Mapping[str, Simulator], monkeypatch: pytest.MonkeyPatch) -> Place:
    """A folder with a Salesforce and a HubSpot connection."""
    for name, value in write_connections(empty.folder / "connections", simulators).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CRM_SYNC_DAGSTER_URL", raising=False)
    return empty


@pytest.fixture(autouse=True)
def _environment_stays() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
