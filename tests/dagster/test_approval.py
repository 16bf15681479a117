"""Writes that wait for approval in the UI: the check, the job, and the plan of a dry run."""

from collections.abc import Callable

import dagster as dg

from crm_sync.assets import names
from crm_sync.assets.jobs import failures_of
from crm_sync.steps.proposal import propose
from tests.dagster.project import Project, plain
from tests.steps.world import CONNECTION

REQUIRED = CONNECTION.replace("kind: memory\n", "kind: memory\napproval: required\n", 1)


def check(project: Project) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(names.hub_key("contact"), names.APPROVAL)
    (record,) = project.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.event is not None
    found = record.event.dagster_event.event_specific_data  # type: ignore[union-attr]
    assert isinstance(found, dg.AssetCheckEvaluation)
    return found


def approve(project: Project, number: int) -> dg.ExecuteInProcessResult:
    config = {"ops": {"approve_and_apply": {"config": {"plan": number, "by": "ann"}}}}
    return project.run(names.APPLY_PLAN, config=config, partition=None)


def test_nothing_is_written_until_somebody_approves(make: Callable[..., Project]) -> None:
    project = make(text=REQUIRED)
    world = project.world
    world.accounts["acme"].person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    world.conn.execute("insert into hub.contact (last_name, email) values ('Roe', 'roe@x.example')")
    result = project.sync()
    assert world.one("select count(*) from sync.change") == 0
    found = check(project)
    shown = plain(found.metadata)
    (plan,) = shown["plans"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert shown["said"] == f"{plan['writes']} writes wait for approval: plan {plan['plan']}"
    assert {row["target"] for row in shown["writes"]} == {"hub", "crm"}
    assert found.description is not None
    assert found.description.startswith(f"{shown['said']}. `crm-sync plan approve`, or the job `apply_plan`")
    assert found.description.endswith(f"```\ncrm-sync plan show {plan['plan']}\n```")
    outbound = project.metadata(result, "acme", "outbound", "contact")
    assert outbound["waits_for_approval"] == plan["writes"]
    assert shown["said"] in outbound["notes"]
    project.sync()
    assert plain(check(project).metadata)["plans"][0]["plan"] == plan["plan"], "it is the same plan still"

    done = approve(project, plan["plan"])
    assert done.success, project.reasons(done)
    assert (check(project).passed, check(project).description) == (True, "Nothing waits for approval.")
    assert world.one("select count(*) from hub.contact") == 2
    assert len(world.accounts["acme"].rows("Contact")) == 2
    reasons = world.conn.execute("select distinct reason from sync.change").fetchall()
    assert all(str(reason).endswith(f"(plan {plan['plan']}, approved by ann)") for (reason,) in reasons)


def test_what_moved_since_comes_into_the_next_plan(make: Callable[..., Project]) -> None:
    project = make(text=REQUIRED)
    world = project.world
    world.conn.execute(
        "insert into hub.contact (last_name, email) values ('Roe', 'roe@x.example'), ('Lee', 'lee@x.example')"
    )
    project.sync()
    (old,) = plain(check(project).metadata)["plans"]
    world.conn.execute("update sync.plan set status = 'approved', decided_by = 'ann', decided_at = now()")
    world.conn.execute("update hub.contact set last_name = 'Rowe' where email = 'roe@x.example'")
    result = project.sync()
    outbound = project.metadata(result, "acme", "outbound", "contact")
    assert (outbound["plan_written"] > 0, outbound["plan_refused"] > 0) == (True, True)
    assert [row.values["LastName"] for row in world.accounts["acme"].rows("Contact")] == ["Lee"]
    found = plain(check(project).metadata)
    (new,) = found["plans"]
    assert new["plan"] != old["plan"]
    assert {row["new"] for row in found["writes"]} >= {"Rowe", "roe@x.example"}


def test_approval_for_the_crm_lets_the_hub_have_its_values(make: Callable[..., Project]) -> None:
    project = make(text=REQUIRED.replace("approval: required", "approval: {crm: required}"))
    world = project.world
    world.accounts["acme"].person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    project.sync()
    assert world.one("select count(*) from hub.contact") == 1
    world.conn.execute("update hub.contact set first_name = 'Ann'")
    project.sync()
    assert world.accounts["acme"].rows("Contact")[0].values.get("FirstName") is None
    assert {row["target"] for row in plain(check(project).metadata)["writes"]} == {"crm"}


def test_the_launchpad_shows_what_to_fill_in_and_an_unfilled_form_says_so(project: Project) -> None:
    result = project.run(names.APPLY_PLAN, partition=None)
    (why,) = failures_of(result)
    assert why == (
        "apply_plan: say which plan: its number is in the check `approval`, and in `crm-sync plan list`"
    )


def test_a_dry_run_shows_bases_and_calls(project: Project) -> None:
    world = project.world
    world.accounts["acme"].person_create("Contact", {"LastName": "Lee", "Email": "lee@x.example"})
    project.sync()
    world.conn.execute("update hub.contact set last_name = 'Li'")
    shown = project.metadata(project.sync(dry_run=True), "acme", "outbound", "contact")
    row = next(row for row in shown["plan"] if row["field"] == "last_name")
    assert (row["old"], row["new"], row["hub then"], row["CRM then"], row["verdict"], row["policy"]) == (
        "Lee", "Li", "Lee", "Lee", "push", "most_recent_wins",
    )  # fmt: skip
    assert shown["would_call/write"] == 1
    key = dg.AssetCheckKey(names.hub_key("contact"), names.APPROVAL)
    assert not project.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)


def test_a_full_read_tidies_up_behind_old_plans(project: Project) -> None:
    world = project.world
    project.sync()  # nothing is created, or planned, before the CRM was read
    world.conn.execute("insert into hub.contact (last_name, email) values ('Roe', 'roe@x.example')")
    propose(
        world.url, world.system.streams, world.crms.__getitem__, origin="person", made_by="ann"
    )  # which nobody does again
    world.conn.execute(
        "update sync.plan set status = 'rejected', decided_at = now(), ended_at = now() - interval '31 days'"
    )
    project.sync()
    assert world.one("select count(*) from sync.plan_row") != 0
    project.sync(full=True)
    assert world.one("select count(*) from sync.plan_row") == 0
