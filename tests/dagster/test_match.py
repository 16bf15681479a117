"""The assets `match/<entity>`: a table before a first sync, part of no sync."""

from collections.abc import Callable

import dagster as dg

from crm_sync.assets import names
from crm_sync.hub.store import Store
from tests.dagster.project import Project, plain
from tests.steps.test_match import EVIL, peopled


def materialize(project: Project, entity: str = "contact", **config: object) -> dg.ExecuteInProcessResult:
    job = project.defs.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        asset_selection=[names.match_key(entity)],
        run_config={"ops": {f"match__{entity}": {"config": config}}} if config else None,
        instance=project.instance,
        raise_on_error=False,
    )


def test_the_table_is_shown_and_nothing_is_written(make: Callable[..., Project]) -> None:
    project = make("acme", "beta")
    peopled(project.world)
    result = materialize(project)
    assert result.success, project.reasons(result)
    (event,) = result.get_asset_materialization_events()
    shown = plain(event.materialization.metadata)
    assert list(shown["streams"][0]) == ["what", "acme/contact", "beta/contact"]
    beta = {row["what"]: row["beta/contact"] for row in shown["streams"]}
    assert (beta["records"], beta["will link"], beta["by"], beta["new in the hub"]) == (8, 2, "email 2", 4)
    assert (shown["will link"], shown["need a person"], shown["doubles within a CRM"]) == (3, 4, 1)
    invalid = next(row for row in shown["examples"] if row["would"] == "cannot enter")
    assert "yesterday" not in str(invalid)
    assert project.world.one("select count(*) from hub.contact") == 1
    assert project.world.one("select count(*) from acme.contact") == 0
    assert project.world.writes("acme") == 0


def test_values_are_masked_as_the_settings_say(make: Callable[..., Project]) -> None:
    project = make("acme", "beta", CRM_SYNC_MASK_REVIEW="on")
    peopled(project.world)
    result = materialize(project)
    (event,) = result.get_asset_materialization_events()
    shown = plain(event.materialization.metadata)
    assert "x.example" not in str(shown)
    assert EVIL not in str(shown)
    assert "email=p… (12 characters)" in str(shown["examples"])


def test_no_sync_takes_part_in_it_and_a_sync_is_not_disturbed(project: Project) -> None:
    for job in (names.SYNC_ALL, names.sync_job("acme"), names.reconcile_job("acme")):
        keys = project.defs.resolve_job_def(job).asset_layer.executable_asset_keys
        assert names.match_key("contact") not in keys
        assert names.hub_key("contact") in keys
    with Store(project.world.url) as store, store.exclusive("hub contact"):
        result = materialize(project, read=False)
    assert not result.success
    project.sync()
