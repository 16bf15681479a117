"""The jobs that settle conflicts: rules from the launchpad, and `auto_resolve` with its schedule."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from crm_sync.assets import names
from crm_sync.assets.jobs import failures_of
from crm_sync.core.spec import AutoResolve, Policy
from crm_sync.mapping.load import load_text
from tests.dagster.project import Project, plain
from tests.dagster.test_checks import CRM, HUB, disputes, resolve
from tests.steps.world import World


def _phones(project: Project) -> list[object]:
    return [row["phone"] for row in project.world.hub("contact", "phone")]


def test_a_rule_is_made_in_the_launchpad(project: Project) -> None:
    disputes(project, 3)
    project.sync()
    rows = plain(project.check().metadata)["conflicts"]
    result = resolve(project, ids=str(rows[0]["id"]), decision="use_crm", always=True, note="asked her")  # type: ignore[arg-type]
    assert result.success, project.reasons(result)
    assert _phones(project) == [CRM] * 3
    assert project.check().passed
    assert project.world.one("select made_by from review.rule") == project.world.one(
        "select decided_by from review.conflict where id = %s", rows[0]["id"]
    )


def test_filters_and_moments_that_are_none_are_refused(project: Project) -> None:
    disputes(project)
    project.sync()
    for wrong in ({"older_than": "soon"}, {"entity": "contact", "as_of": "yesterday"}):
        result = resolve(project, decision="use_crm", **wrong)
        assert not result.success
        assert len(failures_of(result)) == 1
    with pytest.raises(dg.DagsterInvalidConfigError):
        resolve(project, newer="both", decision="use_crm")
    assert resolve(project, older_than="1d", decision="use_crm").success
    assert resolve(project, entity="contact", as_of="2026-01-01T00:00:00", decision="use_crm").success
    assert _phones(project) == [HUB]
    assert resolve(project, blank="crm", decision="use_crm").success
    assert plain(project.check().metadata)["open"] == 1


def test_there_is_no_automatic_resolution_unless_a_file_asks_for_it(project: Project) -> None:
    assert names.AUTO_RESOLVE not in {job.name for job in project.defs.resolve_all_job_defs()}
    assert (
        load_text("kind: memory\nentities: {a: {object: A, fields: {b: B}}}").connections[0].auto_resolve
        is None
    )


@pytest.fixture
def world(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url)
    yield world
    world.close()


def test_what_nobody_looked_at_is_settled_on_the_hour(world: World, tmp_path: Path) -> None:
    (connection,) = world.system.connections
    option = AutoResolve(timedelta(days=7), Policy.CRM_WINS)
    world.system = replace(world.system, connections=(replace(connection, auto_resolve=option),))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        project = Project(world, instance)
        disputes(project, 2)
        project.sync()
        assert _tick(project, datetime.now(UTC)) == "no conflict that can be settled has waited long enough"
        world.conn.execute("update review.conflict set values_at = now() - interval '8 days' where id = 1")
        # What cannot be settled starts no run, hour after hour.
        world.conn.execute("update review.conflict set entity = 'gone' where id = 1")
        assert _tick(project, datetime.now(UTC)) == "no conflict that can be settled has waited long enough"
        world.conn.execute("update review.conflict set entity = 'contact' where id = 1")
        assert isinstance(_tick(project, datetime.now(UTC)), dg.RunRequest)
        result = project.run(names.AUTO_RESOLVE, partition=None)
        assert result.success, project.reasons(result)
        assert sorted(map(str, _phones(project))) == [CRM, HUB]
        assert plain(project.check().metadata)["open"] == 1
        assert (
            world.one("select decided_by from review.conflict where id = 1")
            == "auto_resolve after 1w, crm_wins"
        )
        # A CRM that cannot be reached fails the run; the decision is noted and applied by the next sync.
        world.conn.execute("update review.conflict set values_at = 'epoch'")
        world.crms["acme"].faults.timeout = "before"
        project.run(names.AUTO_RESOLVE, partition=None)
        assert world.one("select count(*) from review.conflict where status = 'open'") == 0


def _tick(project: Project, now: datetime) -> dg.RunRequest | str:
    context = dg.build_schedule_context(
        instance=project.instance, scheduled_execution_time=now, resources={"hub": project.hub}
    )
    answer = project.defs.resolve_schedule_def(names.AUTO_RESOLVE)(context)
    return (answer.skip_message or "") if isinstance(answer, dg.SkipReason) else answer
