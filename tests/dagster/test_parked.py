"""The check `parked` and the job `requeue_parked`: what does not go on shows with what to do, and is tried again."""

import dagster as dg

from crm_sync.assets import names
from crm_sync.assets.jobs import failures_of
from crm_sync.core.errors import ErrorClass, RecordError
from tests.dagster.project import Project, plain


def _check(project: Project) -> dg.AssetCheckEvaluation:
    stream = project.world.system.stream("acme", "contact")
    key = dg.AssetCheckKey(names.outbound_key(stream), names.PARKED)
    (record,) = project.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.event is not None
    evaluation = record.event.dagster_event.event_specific_data  # type: ignore[union-attr]
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    return evaluation


def _requeue(project: Project, **config: object) -> dg.ExecuteInProcessResult:
    return project.run(names.REQUEUE, config={"ops": {"requeue": {"config": config}}}, partition=None)


def test_what_is_parked_shows_with_what_to_do_and_is_tried_again(project: Project) -> None:
    world = project.world
    world.conn.execute(
        "insert into hub.contact (last_name, email) values ('A', 'a@x.example'), ('B', 'b@x.example')"
    )
    bad = str(world.one("select id from hub.contact where last_name = 'A'"))
    world.crms["acme"].faults.reject[bad] = RecordError(
        ErrorClass.PERMISSION, "NOT_ALLOWED", "the user may not", ("LastName",)
    )
    project.sync()
    check = _check(project)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    shown = plain(check.metadata)
    assert (shown["parked"], shown["waits"], shown["shown"]) == (1, 0, "1 of 1")
    (group,) = shown["codes"]
    assert (group["records"], group["code"], group["who"]) == (1, "NOT_ALLOWED", "CRM admin")
    assert group["what to do"].startswith("Give the CRM's user access")
    (row,) = shown["records"]
    assert (row["record"], row["field"], row["state"], row["why"]) == (
        bad,
        "last_name",
        "parked",
        "the user may not",
    )

    assert check.description is not None
    command = "crm-sync parked requeue --connection acme --entity contact --code NOT_ALLOWED"
    assert check.description.startswith("1 record is parked.")
    assert check.description.endswith(f"```\n{command}\n```")

    world.crms["acme"].faults.reject.clear()
    world.wait(minutes=5)
    project.sync()
    assert not _check(project).passed, "nothing that the sync sees has changed"
    assert not _requeue(project).success
    assert "say which" in failures_of(_requeue(project))[0]
    assert not _requeue(project, ids="one").success
    done = _requeue(project, ids=str(row["id"]), code="NOT_ALLOWED")
    assert done.success
    world.wait(minutes=5)
    project.sync()
    assert (_check(project).passed, _check(project).description) == (True, "Nothing is parked.")
    assert len(world.accounts["acme"].rows("Contact")) == 2


def test_a_code_that_a_crm_made_up_is_in_no_command(project: Project) -> None:
    """The words above the tables are Markdown, and people copy them into a shell; the table shows a code as it is."""
    world = project.world
    world.conn.execute("insert into hub.contact (last_name, email) values ('A', 'a@x.example')")
    bad, code = str(world.one("select id from hub.contact")), "X\n```\n<img src=x>; rm"
    world.crms["acme"].faults.reject[bad] = RecordError(ErrorClass.PERMISSION, code, "no", ("LastName",))
    project.sync()
    check = _check(project)
    assert str(check.description).startswith("1 record is parked.")
    assert "img" not in str(check.description)
    assert "requeue" not in str(check.description)
    assert plain(check.metadata)["codes"][0]["code"] == "X⏎```⏎<img src=x>; rm"
