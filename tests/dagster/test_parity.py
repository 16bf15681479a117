"""The check `parity`: in no sync, ERROR for what nothing explains, capped and masked."""

from typing import Any

import dagster as dg
import pytest

from crm_sync.assets import jobs, names
from crm_sync.commands import runs
from crm_sync.definitions import build
from crm_sync.resources.alerts import Alerts
from crm_sync.sensors.requests import Wanted, run_request
from crm_sync.settings import Settings
from tests.dagster.project import Project, plain
from tests.steps.world import CONNECTION, World


def settled(project: Project, people: int = 4) -> list[str]:
    """People that both sides have, long ago as far as the watermark goes; their CRM ids."""
    world, account = project.world, project.world.accounts["acme"]
    ids = [
        account.person_create("Contact", {"LastName": f"Person {n}", "Email": f"p{n}@x.example"})
        for n in range(people)
    ]
    for _ in range(2):
        project.sync()
        world.wait(hours=1)
        account.person_edit("Contact", ids[-1], {"LastName": "Last"})
    return ids


def evaluations(project: Project) -> list[dg.AssetCheckEvaluation]:
    found = project.instance.event_log_storage.get_asset_check_execution_history(
        names.parity_key("contact"), limit=10
    )
    return [record.event.dagster_event.event_specific_data for record in found if record.event is not None]  # type: ignore


def test_it_is_in_no_sync(project: Project) -> None:
    for job in (names.sync_job("acme"), names.reconcile_job("acme"), names.SYNC_ALL, names.RECHECK):
        selected = project.defs.resolve_job_def(job).asset_layer.executable_asset_keys
        checks = project.defs.resolve_job_def(job).asset_layer.asset_graph.asset_check_keys
        assert names.parity_key("contact") not in checks, job
        assert names.check_key("contact") in checks, job
        assert selected or job == names.RECHECK
    project.sync()
    assert evaluations(project) == []


def test_it_is_in_no_sync_of_one_entity(project: Project) -> None:
    """Found by the demonstration: whoever selects assets gets every check of them, unless checks are named too."""
    settled(project)
    for entities in (frozenset({"contact"}), frozenset({"company", "contact"})):
        run = runs.sync(project.defs, project.world.system, project.instance, "acme", entities=entities)
        assert not run.failures
        assert {step.entity for step in run.steps} == entities
    assert evaluations(project) == []
    assert project.check().passed


@pytest.mark.parametrize("more", ["", "approval: required\n"])
def test_what_selects_entities_runs_the_checks_of_the_whole_sync(fresh_database_url: str, more: str) -> None:
    world = World(fresh_database_url, ("acme",), more + CONNECTION)
    defs = build(world.system, Settings.from_env({"CRM_SYNC_DATABASE_URL": world.url}))
    whole = defs.resolve_job_def(names.sync_job("acme")).asset_layer.asset_graph.asset_check_keys
    assert set(jobs.connection_checks(world.system, "acme")) == set(whole)
    request = run_request(world.system, Wanted("acme", frozenset({"contact"}), 1), sensor="hub_changes")
    wanted = {key for key in whole if key.asset_key.path[-1] == "contact"}
    assert set(request.asset_check_keys or ()) == wanted
    assert (names.hub_check("contact", names.APPROVAL) in wanted) == bool(more)
    world.close()


def test_all_is_well(project: Project) -> None:
    settled(project)
    assert project.run(names.VERIFY, partition=None).success
    (check,) = evaluations(project)
    shown = plain(check.metadata)
    assert check.passed
    assert (shown["unexplained"], shown["streams"][0]["linked"]) == (0, 4)
    assert check.description == "All sides agree."


def test_what_nothing_explains_is_an_error_capped_and_masked(make: Any) -> None:
    project: Project = make(CRM_SYNC_REVIEW_ROWS="2", CRM_SYNC_MASK_REVIEW="on")
    settled(project)
    with project.world.conn.transaction():
        project.world.conn.execute("set local session_replication_role = replica")
        project.world.conn.execute("update hub.contact set first_name = 'Secret'")
    assert project.run(names.VERIFY, partition=None).success, "the check fails, not its run"
    (check,) = evaluations(project)
    shown = plain(check.metadata)
    assert (check.passed, check.severity, check.blocking) == (False, dg.AssetCheckSeverity.ERROR, False)
    assert shown["unexplained"] >= 3
    assert len(shown["differences"]) == 2
    assert shown["differences"][0]["explanation"].startswith("UNEXPLAINED")
    table = check.metadata["differences"]
    assert isinstance(table, dg.TableMetadataValue)
    columns = [column.name for column in table.schema.columns]
    assert columns[:5] == ["stream", "field", "hub value", "CRM value", "explanation"], (
        "seen without scrolling"
    )
    assert check.description is not None
    assert f"{shown['unexplained']} of them unexplained" in check.description
    assert check.description.endswith("```\ncrm-sync verify acme/contact --repair\n```")
    assert "Secret" not in str(shown)
    assert "Person" not in str(shown)


def test_somebody_is_told_of_what_nothing_explains(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run succeeds, and the next sync hides what the check found."""
    told: list[str] = []
    monkeypatch.setattr(Alerts, "send", lambda _, text: told.append(text))
    project: Project = make(CRM_SYNC_UI_URL="https://sync.example")
    settled(project)
    assert project.run(names.VERIFY, partition=None).success
    assert told == []
    with project.world.conn.transaction():
        project.world.conn.execute("set local session_replication_role = replica")
        project.world.conn.execute("update hub.contact set first_name = 'Secret'")
    run = project.run(names.VERIFY, partition=None)
    (text,) = told
    assert text.startswith(f"crm_sync: the sides differ in contact. https://sync.example/runs/{run.run_id}\n")
    wrong = plain(evaluations(project)[0].metadata)["unexplained"]
    assert wrong >= 3
    assert text.endswith(f"- acme/contact: {wrong} not explained")
    assert "Secret" not in text


def test_a_long_value_leaves_the_table_low(project: Project) -> None:
    settled(project)
    with project.world.conn.transaction():
        project.world.conn.execute("set local session_replication_role = replica")
        project.world.conn.execute(
            "update hub.contact set last_name = repeat('long ', 200) || E'\n' || 'end'"
        )
    project.run(names.VERIFY, partition=None)
    (check,) = evaluations(project)
    rows = [row for row in plain(check.metadata)["differences"] if row["field"] == "last_name"]
    assert rows
    assert all(row["hub value"].startswith("long long") for row in rows)
    assert all(
        len(cell) <= 80 and "\n" not in cell for row in rows for cell in (row["hub value"], row["CRM value"])
    )
