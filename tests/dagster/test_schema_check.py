"""The check `schema`: a lost field warns, an object that cannot be synced is an error, what is acknowledged passes."""

from dataclasses import replace

import dagster as dg

from crm_sync.assets import names
from crm_sync.connectors.crm import FieldInfo
from crm_sync.hub import schema
from tests.dagster.project import Project, plain


def evaluation(project: Project) -> dg.AssetCheckEvaluation:
    key = names.hub_check("contact", names.SCHEMA)
    [record] = project.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.event is not None
    found = record.event.dagster_event.event_specific_data  # type: ignore[union-attr]
    assert isinstance(found, dg.AssetCheckEvaluation)
    return found


def test_nothing_to_tell_passes(project: Project) -> None:
    project.sync()
    check = evaluation(project)
    assert check.passed
    assert plain(check.metadata) == {"open": 0, "waiting": 0, "shown": "0 of 0", "changes": []}


def test_a_lost_field_warns_in_the_run_that_finds_it(project: Project) -> None:
    project.sync()
    project.world.accounts["acme"].habits.hidden = frozenset({"FirstName"})
    assert project.sync().success
    check = evaluation(project)
    assert (check.passed, check.severity, check.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    [row] = plain(check.metadata)["changes"]
    assert (row["connection"], row["object"], row["field"]) == ("acme", "Contact", "FirstName")
    assert row["what changed"].startswith("cannot be seen any more")
    assert row["what follows"].startswith("first_name frozen")
    assert check.description is not None
    assert check.description.startswith("1 change that nobody has acknowledged.")
    assert f"crm-sync check acme --acknowledge {row['id']}\n" in check.description
    assert "acme.yaml:" in row["what to do"]
    project.world.accounts["acme"].habits.hidden = frozenset()
    project.sync()
    assert evaluation(project).passed


def test_a_field_without_which_nothing_can_be_created_is_an_error_until_it_is_acknowledged(
    project: Project,
) -> None:
    project.sync()
    fields = project.world.accounts["acme"].fields["Contact"]
    fields["Tax_Id"] = FieldInfo("Tax_Id", "Tax id", "string", True, True, True)
    fields["Phone"] = replace(fields["Phone"], max_length=10)
    fields["Extra"] = FieldInfo("Extra", "| Extra |\n", "string", True, True, False)
    project.sync()
    check = evaluation(project)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    shown = {row["field"]: row for row in plain(check.metadata)["changes"]}
    assert set(shown) == {"Tax_Id", "Phone", "Extra"}
    assert shown["Extra"]["what follows"] == "not mapped"
    assert shown["Phone"]["what changed"] == "holds 10 characters (was any)"
    ids = [row["id"] for row in shown.values()]
    assert schema.acknowledge(project.world.conn, ids, "ann") == set(ids)
    project.sync()
    assert evaluation(project).passed
