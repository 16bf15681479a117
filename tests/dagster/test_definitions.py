"""The definitions as a whole: they load, say what they are, and say what is wrong with a connection file."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import dagster as dg
import pytest

from crm_sync.definitions import build, defs
from crm_sync.mapping.load import load
from crm_sync.settings import Settings
from tests.dagster.project import Project

PROJECT = Path(__file__).parents[2]
EXAMPLES = PROJECT / "examples"


@pytest.fixture(scope="module")
def examples() -> dg.Definitions:
    return build(load(EXAMPLES), Settings.from_env({}))


def test_everything_is_loadable(examples: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(examples)


def test_references_come_first_in_the_lineage(examples: dg.Definitions) -> None:
    graph = examples.resolve_asset_graph()

    def parents(*key: str) -> set[str]:
        return {parent.to_user_string() for parent in graph.get(dg.AssetKey(list(key))).parent_keys}

    assert {"salesforce/inbound/contact", "hubspot/inbound/contact", "hub/company"} <= parents(
        "hub", "contact"
    )
    assert parents("salesforce", "outbound", "contact") == {"hub/contact", "salesforce/outbound/company"}
    assert parents("hubspot", "outbound", "deal") == {
        "hub/deal",
        "hubspot/outbound/company",
        "hubspot/outbound/contact",
    }
    assert parents("salesforce", "inbound", "contact") == set()


def test_the_catalogue_shows_both_names_of_a_field(examples: dg.Definitions) -> None:
    spec = next(s for s in examples.resolve_all_asset_specs() if s.key == dg.AssetKey(["hub", "contact"]))
    columns = {column.name: column for column in spec.metadata["dagster/column_schema"].columns}
    assert columns["email"].type == "text"
    assert columns["email"].description is not None
    assert "hubspot: email" in columns["email"].description
    assert "salesforce: Email" in columns["email"].description
    assert columns["birth_date"].type == "date"
    assert (spec.group_name, spec.kinds, list(spec.owners)) == ("hub", {"postgres"}, ["team:crm_sync"])


def test_every_asset_has_a_pool_one_definition_of_days_and_single_run_backfills(
    examples: dg.Definitions,
) -> None:
    graph = examples.resolve_asset_graph()
    keys = [key for key in graph.materializable_asset_keys if key.path[0] != "match"]  # run by hand
    assert len({graph.get(key).partitions_def for key in keys}) == 1
    assert {graph.get(key).backfill_policy for key in keys} == {dg.BackfillPolicy.single_run()}
    for key in keys:
        expected = f"hub_{key.path[1]}" if key.path[0] == "hub" else key.path[0]
        assert graph.get(key).pools == {expected}


def test_nothing_secret_is_in_the_definitions(project: Project) -> None:
    secretive = build(
        project.world.system, Settings.from_env({"CRM_SYNC_DATABASE_URL": "postgresql://u:hunter2@h/d"})
    )
    snapshot = secretive.resolve_job_def("sync_acme").get_job_snapshot()
    assert "hunter2" not in str(snapshot)


def test_importing_does_nothing(tmp_path: Path) -> None:
    code = "import crm_sync.definitions as d; print(type(d.defs).__name__)"
    env = {
        **os.environ,
        "CRM_SYNC_CONNECTIONS": str(tmp_path / "missing"),
        "CRM_SYNC_HOME": str(tmp_path / "home"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "LazyDefinitions"
    assert list(tmp_path.iterdir()) == []


def test_a_broken_connection_file_is_named_with_its_line(tmp_path: Path) -> None:
    folder = tmp_path / "connections"
    folder.mkdir()
    text = (
        (EXAMPLES / "hubspot.yaml").read_text().replace("policy: most_recent_wins", "policy: most_recent", 1)
    )
    line = next(n for n, each in enumerate(text.splitlines(), 1) if "policy: most_recent" in each)
    (folder / "hubspot.yaml").write_text(text)
    env = {**os.environ, "CRM_SYNC_CONNECTIONS": str(folder), "DAGSTER_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "crm_sync.definitions"]
    done = subprocess.run(command, env=env, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"hubspot.yaml:{line}: entities.company.policy" in done.stdout + done.stderr
    assert "most_recent_wins" in done.stdout + done.stderr


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_SYNC_CONNECTIONS", str(EXAMPLES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert defs().resolve_job_def("sync_hubspot").name == "sync_hubspot"
