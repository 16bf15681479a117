"""A project for the tests of the Dagster layer: the real definitions over memory CRMs and a real Postgres."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from crm_sync.assets import names
from crm_sync.assets.partitions import today
from crm_sync.definitions import build
from crm_sync.resources.hub import Hub
from crm_sync.resources.options import run_config
from crm_sync.settings import Settings
from tests.steps.world import World


class Project:
    """`world`'s connections as Dagster definitions, with an instance of their own."""

    def __init__(self, world: World, instance: dg.DagsterInstance, **env: str) -> None:
        self.world = world
        self.instance = instance
        self.settings = Settings.from_env({"CRM_SYNC_DATABASE_URL": world.url, **env})
        self.defs = build(world.system, self.settings, connect=lambda spec: world.crms[spec.name])
        self.hub = Hub(lambda: world.url, world.system)

    def run(
        self,
        job: str,
        *,
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        partition: str | None = "today",
        **flags: object,
    ) -> dg.ExecuteInProcessResult:
        """Run a job in this process; `flags` are the options of a sync. A failed run is returned."""
        return self.defs.resolve_job_def(job).execute_in_process(
            run_config=config or (run_config(**flags) if flags else None),
            instance=self.instance,
            tags=dict(tags or {}),
            partition_key=today() if partition == "today" else partition,
            raise_on_error=False,
        )

    def sync(self, connection: str = "acme", **flags: object) -> dg.ExecuteInProcessResult:
        result = self.run(names.sync_job(connection), **flags)
        assert result.success, self.reasons(result)
        return result

    def reasons(self, result: dg.ExecuteInProcessResult) -> str:
        """Why a run failed, with the places."""
        found = []
        for event in result.all_node_events:
            if event.is_step_failure and event.step_failure_data.user_failure_data is not None:
                data = event.step_failure_data.user_failure_data
                found.append(f"{data.description} {plain(data.metadata)}")
        return "\n".join(found)

    def metadata(self, result: dg.ExecuteInProcessResult, *key: str) -> dict[str, Any]:
        """Metadata values of the materialization of an asset in a run, by name."""
        for event in result.get_asset_materialization_events():
            if event.asset_key == dg.AssetKey(list(key)):
                return plain(event.materialization.metadata)
        raise KeyError(key)

    def check(self, entity: str = "contact") -> dg.AssetCheckEvaluation:
        """The last evaluation of `conflicts` as the UI shows it."""
        key = names.check_key(entity)
        records = self.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert records
        entry = records[0].event
        assert entry is not None
        evaluation = entry.dagster_event.event_specific_data  # type: ignore[union-attr]
        assert isinstance(evaluation, dg.AssetCheckEvaluation)
        return evaluation


def plain(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, Any]:
    """Metadata as values; tables as lists of dicts."""
    found: dict[str, Any] = {}
    for name, value in metadata.items():
        if isinstance(value, dg.TableMetadataValue):
            found[name] = [dict(record.data) for record in value.records]
        else:
            found[name] = value.value
    return found
