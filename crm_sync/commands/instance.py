"""The Dagster instance of this project: its home, its schema in the hub's database, and what `dagster dev` loads.

Runs that the command line makes are recorded in the same instance, so that the UI shows them beside the others. On
a machine where no UI was ever prepared they are recorded nowhere.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg
from dagster._core.instance.ref import InstanceRef

from crm_sync.core.errors import SyncError
from crm_sync.hub import embedded
from crm_sync.settings import Settings

# A run in this process would otherwise send everything that is printed through files and helper processes.
_IN_PROCESS = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def is_prepared(url: str) -> bool:
    """Whether Dagster's storage is in the database at `url`."""
    with psycopg.connect(url) as conn:
        row = conn.execute("select to_regclass('dagster.runs') is not null").fetchone()
    return bool(row and row[0])


def prepare(settings: Settings, url: str) -> Path:
    """Dagster's home below CRM_SYNC_HOME, with its configuration and workspace, and its schema with all tables.

    Returns the folder. Raises SyncError if this installation has no dagster.yaml.
    """
    home = _home(settings)
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(_template().read_text(encoding="utf-8"), encoding="utf-8")
    (home / "workspace.yaml").write_text(json.dumps(_workspace(), indent=2), encoding="utf-8")  # JSON is YAML
    embedded.prepare_dagster_schema(url)
    with opened(settings, url):
        pass  # Dagster makes its tables; several processes that start at once would get in each other's way
    return home


def user_interface(home: Path, host: str, port: int) -> list[str]:
    """The command that shows the UI and runs what is scheduled; `home` is what `prepare` returned."""
    workspace = str(home / "workspace.yaml")
    return [sys.executable, "-m", "dagster", "dev", "-w", workspace, "-h", host, "-p", str(port)]


@contextmanager
def opened(settings: Settings, url: str) -> Iterator[dg.DagsterInstance]:
    """The prepared instance, for runs in this process."""
    os.environ.update(embedded.dagster_env(url))
    instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(_home(settings)), overrides=_IN_PROCESS))
    with instance:
        # Dagster connects anew for every statement, which is half the time of a run, unless it is told that it
        # lives longer than one.
        instance.optimize_for_webserver(statement_timeout=600_000, pool_recycle=3600, max_overflow=20)
        yield instance


@contextmanager
def recording(settings: Settings, url: str) -> Iterator[dg.DagsterInstance]:
    """The prepared instance if there is one, else one that forgets."""
    if is_prepared(url) and (_home(settings) / "dagster.yaml").exists():
        with opened(settings, url) as instance:
            yield instance
    else:
        with dg.DagsterInstance.ephemeral() as instance:
            yield instance


def environment(settings: Settings, url: str) -> dict[str, str]:
    """What the processes of `dagster dev` need in their environment, whatever their working directory."""
    found = {
        "DAGSTER_HOME": str(_home(settings)),
        "CRM_SYNC_HOME": str(settings.home.resolve()),
        "CRM_SYNC_CONNECTIONS": str(settings.connections.resolve()),
        **embedded.dagster_env(url),
    }
    if settings.ca_bundle is not None:
        found["CRM_SYNC_CA_BUNDLE"] = str(settings.ca_bundle.resolve())
    return found


def _home(settings: Settings) -> Path:
    return settings.home.resolve() / "dagster"


def _template() -> Path:
    """The project's dagster.yaml: the working directory's, which a user may have changed, else this checkout's."""
    project = Path(__file__).parents[2]
    for folder in (Path.cwd(), project):
        if (folder / "dagster.yaml").exists():
            return folder / "dagster.yaml"
    raise SyncError("there is no dagster.yaml; run this command in the project's folder")


def _workspace() -> dict[str, object]:
    module = {
        "module_name": "crm_sync.definitions",
        "location_name": "crm_sync",
        "working_directory": str(Path.cwd()),
    }
    return {"load_from": [{"python_module": module}]}
