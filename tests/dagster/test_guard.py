"""The check `guard`: what is held back is an error that everybody sees, and holds nobody else up."""

from collections.abc import Callable

import dagster as dg

from crm_sync.assets import names
from crm_sync.assets.jobs import failures_of
from crm_sync.hub import holds
from tests.dagster.project import Project, plain

MANY = 30


def _check(project: Project) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(names.hub_key("contact"), names.GUARD)
    (record,) = project.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.event is not None
    evaluation = record.event.dagster_event.event_specific_data  # type: ignore[union-attr]
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    return evaluation


def _people(project: Project) -> list[str]:
    """Contacts that every CRM has."""
    account = project.world.accounts["acme"]
    ids = [
        account.person_create(
            "Contact", {"LastName": f"L{i}", "Email": f"p{i}@x.example", "Phone": f"+1415555{i:04}"}
        )
        for i in range(MANY)
    ]
    for name in [*project.world.accounts, "acme"]:
        project.sync(name)
        project.world.wait(minutes=5)
    assert _check(project).passed
    return ids


def test_a_held_stream_fails_with_an_error_and_the_others_go_on(make: Callable[..., Project]) -> None:
    project = make("acme", "beta")
    world = project.world
    for crm_id in _people(project):
        world.accounts["acme"].person_edit("Contact", crm_id, {"Phone": None})
    world.wait(minutes=1)
    result = project.run(names.sync_job("acme"))
    assert not result.success
    (why,) = failures_of(result)
    assert why.startswith(
        "acme/contact outbound: acme/contact: held back, nothing was written: 30 records would lose phone"
    )
    check = _check(project)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    shown = plain(check.metadata)
    (row,) = shown["holds"]
    assert (shown["held"], row["what"], row["to"]) == (1, "acme/contact", "hub")
    assert row["confirm"] == f"crm-sync guard confirm {row['id']}"
    assert check.description == (
        "1 run is held back. A run with `dry_run` shows each value that would be written. If it is meant:"
        f"\n\n```\n{row['confirm']}\n```"
    )
    assert "since (UTC)" in row
    assert project.metadata(result, "hub", "contact")["held_back"] == 1

    world.accounts["beta"].person_create("Contact", {"LastName": "New", "Email": "new@x.example"})
    world.conn.execute("update hub.contact set first_name = 'Ann' where email = 'p1@x.example'")
    project.sync("beta")  # succeeds: the other CRM's stream goes on in both directions
    assert world.one("select count(*) from hub.contact where email = 'new@x.example'") == 1
    assert "Ann" in {row.values.get("FirstName") for row in world.accounts["beta"].rows("Contact")}
    assert "Ann" not in {row.values.get("FirstName") for row in world.accounts["acme"].rows("Contact")}
    assert world.one("select count(phone) from hub.contact") == MANY

    holds.confirm(world.conn, row["id"], "ann")
    project.sync("acme")
    assert _check(project).passed
    assert world.one("select count(phone) from hub.contact") == 0
    assert "Ann" in {row.values.get("FirstName") for row in world.accounts["acme"].rows("Contact")}


def test_what_the_outbound_step_holds_back_shows_at_once(project: Project) -> None:
    _people(project)
    project.world.conn.execute("update hub.contact set phone = null")
    result = project.run(names.sync_job("acme"))
    assert not result.success
    (row,) = plain(_check(project).metadata)["holds"]
    assert row["to"] == "crm"
    assert str(row["confirm"]) in str(_check(project).description)
    assert all(row.values["Phone"] for row in project.world.accounts["acme"].rows("Contact"))
