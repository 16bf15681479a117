"""The stage of the end-to-end story: two simulated CRMs, a database, the example connection files, `dagster dev`."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from crm_sync.connectors.crm import Crm, Operation
from crm_sync.core.spec import System
from crm_sync.hub import embedded
from crm_sync.hub.prepare import prepare
from crm_sync.mapping.load import load
from crm_sync.resources.connections import from_settings
from crm_sync.settings import Settings
from crm_sync.simulators.serve import Simulator, running

PROJECT = Path(__file__).parents[2]
REPOSITORY = {"repositoryLocationName": "crm_sync", "repositoryName": "__repository__"}
PATIENCE = 240.0  # seconds; only a machine with much else to do needs them


@dataclass
class Stage:
    """Everything that is up, and the environment in which it was started."""

    env: dict[str, str]
    port: int
    system: System
    folder: Path
    conn: psycopg.Connection

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def crm(self, connection: str) -> Crm:
        """A connector of our own, to do what a person would do in the CRM."""
        return from_settings(Settings.from_env(self.env), self.env)(self.system.connection(connection))

    def edit(self, connection: str, entity: str, crm_id: str, values: dict[str, str | None]) -> None:
        """Change a record in the CRM, by vendor field."""
        crm, stream = self.crm(connection), self.system.stream(connection, entity)
        operation = Operation("person", "update", crm_id, values)
        for results in crm.write(stream, [operation], _Forget()):
            assert [r.error for r in results if not r.ok] == []
        crm.close()

    def graphql(self, query: str, **variables: Any) -> Any:
        """The answer of Dagster's API."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            found = json.load(answer)
        assert "errors" not in found, found
        return found["data"]

    def runs(self) -> list[dict[str, Any]]:
        """All runs, newest first: id, job, status, tags."""
        query = "{ runsOrError(limit: 100) { ... on Runs { results { runId jobName status tags { key value } } } } }"
        rows = self.graphql(query)["runsOrError"]["results"]
        return [{**row, "tags": {tag["key"]: tag["value"] for tag in row["tags"]}} for row in rows]

    def idle(self) -> bool:
        """Whether no run is queued or running, and no sensor is about to ask for one."""
        waiting = self.conn.execute("select count(*) from sync.dirty where side = 'hub'").fetchone()
        ended = {"SUCCESS", "FAILURE", "CANCELED"}
        return waiting == (0,) and all(run["status"] in ended for run in self.runs())

    def stop_schedules(self) -> None:
        """From now on only sensors and people start runs."""
        query = """query ($selector: RepositorySelector!) { schedulesOrError(repositorySelector: $selector) {
          ... on Schedules { results { scheduleState { id } } } } }"""
        found = self.graphql(query, selector=REPOSITORY)["schedulesOrError"]["results"]
        for schedule in found:
            stop = "mutation ($id: String!) { stopRunningSchedule(id: $id) { __typename } }"
            self.graphql(stop, id=schedule["scheduleState"]["id"])

    def finished(
        self, where: Callable[[dict[str, Any]], bool], *, timeout: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait for a run that matches to end; it must have succeeded."""
        found = wait_for(
            lambda: next(
                (r for r in self.runs() if where(r) and r["status"] in {"SUCCESS", "FAILURE"}), None
            ),
            timeout,
        )
        assert found["status"] == "SUCCESS", found
        return found


class _Forget:
    def save(self, state: Any) -> None:
        pass

    def clear(self) -> None:
        pass


def wait_for(look: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    """What `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(f"nothing was found within {timeout:.0f} seconds")


@contextmanager
def stage(database: str, folder: Path, *, records: int = 60, alert_url: str = "") -> Iterator[Stage]:
    """Everything up: simulators, external id fields, `dagster dev` whose schedules fire every minute."""
    with ExitStack() as stack:
        simulators = {
            kind: stack.enter_context(running(kind, records=records)) for kind in ("salesforce", "hubspot")
        }
        env = _environment(database, folder, simulators) | {"CRM_SYNC_ALERT_URL": alert_url}
        conn = stack.enter_context(psycopg.connect(database, autocommit=True))
        system = load(folder / "connections")
        prepare(database, system)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        found = Stage(env, port, system, folder, conn)
        for connection in system.connections:
            crm = found.crm(connection.name)
            crm.setup(connection.streams, dry_run=False)
            crm.close()
        stack.enter_context(_dagster_dev(found))
        yield found


def _environment(database: str, folder: Path, simulators: dict[str, Simulator]) -> dict[str, str]:
    home, connections = folder / "dagster", folder / "connections"
    home.mkdir()
    connections.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    embedded.prepare_dagster_schema(database)
    secrets: dict[str, str] = {}
    for kind, simulator in simulators.items():
        info = simulator.info
        text = (PROJECT / "examples" / f"{kind}.yaml").read_text()
        address = f"{'host' if kind == 'salesforce' else 'base_url'}: {simulator.base_url}"
        text = text.replace(
            f"name: {kind}  ", f"name: {kind}\n{address}\nca_bundle: {simulator.ca_file}\n#", 1
        )
        text = text.replace(
            f"name: {kind}\napi", f"name: {kind}\n{address}\nca_bundle: {simulator.ca_file}\napi", 1
        )
        text = text.replace('"*/5 * * * *"', '"* * * * *"')
        assert address in text
        (connections / f"{kind}.yaml").write_text(text)
        for name in ("client_id", "client_secret", "refresh_token", "access_token"):
            secrets[f"{kind}_{name}".upper()] = str(info[name])
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("CRM_SYNC_")},
        **secrets,
        **embedded.dagster_env(database),
        "CRM_SYNC_DATABASE_URL": database,
        "CRM_SYNC_CONNECTIONS": str(connections),
        "CRM_SYNC_HOME": str(folder / "home"),
        "DAGSTER_HOME": str(home),
        "PYTHONWARNINGS": "ignore",
    }


@contextmanager
def _dagster_dev(found: Stage) -> Iterator[None]:
    """`dagster dev` in a process group of its own, which is ended as by Ctrl-C."""
    log = (found.folder / "dagster.log").open("w")
    # A process that a shell has started in the background ignores SIGINT, and so do its children: undo that.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "dagster", "dev", "-p", str(found.port)]
    process = subprocess.Popen(
        [*command, "-w", str(PROJECT / "workspace.yaml")],
        cwd=PROJECT, env=found.env, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(lambda: process.poll() is not None or _answers(found))
        assert process.poll() is None, (found.folder / "dagster.log").read_text()[-4000:]
        yield
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):  # what is left of the group: code servers wait for a heartbeat
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _answers(found: Stage) -> bool:
    try:
        found.graphql("{ version }")
    except (OSError, AssertionError):
        return False
    return True
