"""What a campaign is fought on: a Postgres of its own, and worlds of a hub database, two simulated CRMs and children.

The simulators live on through the kills, as CRMs do. Two worlds with the same seed begin alike, so that one can be
tormented and the other left in peace.
"""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from crm_sync.connectors import build
from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.core.spec import System
from crm_sync.demo.world import write_connections
from crm_sync.hub import embedded
from crm_sync.hub.prepare import prepare
from crm_sync.mapping.load import load
from crm_sync.simulators.serve import Simulator, start
from tests.campaign import trail

KINDS = ("salesforce", "hubspot")
PROJECT = Path(__file__).parents[2]
HASTE = 0.05  # what the children's waits are multiplied by
CHILD_SECONDS = 240.0


_AUTH = re.compile(r"  grant: access_token.*?\n\n", re.DOTALL)
_REFRESHED = "".join(
    f"  {line}\n"
    for line in (
        "grant: refresh_token",
        "client_id: {env: HUBSPOT_CLIENT_ID}",
        "client_secret: {env: HUBSPOT_CLIENT_SECRET}",
        "refresh_token: {env: HUBSPOT_REFRESH_TOKEN}\n",
    )
)


class Server:
    """An embedded Postgres that may be killed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ensure()
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute("alter system set fsync = off")  # the machine lives on; only processes die
            conn.execute("select pg_reload_conf()")

    def ensure(self) -> None:
        self.url = embedded.ensure_running(self.home)

    def database(self) -> str:
        """The address of a new, empty database."""
        name = f"campaign_{secrets.token_hex(4)}"
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(f"create database {name} template template0")
        return embedded.with_database(self.url, name)

    def drop(self, url: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as conn:
            name = str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])
            conn.execute(f"drop database {name} with (force)")

    def kill(self) -> None:
        """SIGKILL for the postmaster and all its processes at once; then the server is started again."""
        with psycopg.connect(self.url) as conn:
            row = conn.execute("select current_setting('data_directory')").fetchone()
            assert row is not None
        postmaster = int((Path(row[0]) / "postmaster.pid").read_text().partition("\n")[0])
        family = [postmaster, *_children(postmaster)]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.ensure()


def _children(parent: int) -> list[int]:
    """Process ids of the direct children, by /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(after_name[1]) == parent:
                found.append(int(entry.name))
    return found


class Child:
    """A process that syncs a world."""

    def __init__(self, told: Mapping[str, Any], env: Mapping[str, str], log: Path) -> None:
        self.trail = Path(str(told["trail"]))
        self.trail.unlink(missing_ok=True)
        self._log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.campaign.child", json.dumps(told)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=PROJECT,
                env={**os.environ, **env},
            )

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()

    def result(self) -> dict[str, Any]:
        """What it said at its end; empty if it was killed before."""
        try:
            out, _ = self.process.communicate(timeout=CHILD_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGUSR1)  # writes its stack into its log
            time.sleep(1)
            self.process.kill()
            self.process.communicate()
            raise AssertionError(f"a sync did not end in {CHILD_SECONDS:.0f} s: {self.log()}") from None
        lines = out.strip().splitlines()
        found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return found

    def where(self) -> tuple[int, str]:
        return trail.read(self.trail)

    def told_where(self) -> str:
        return "{} {}".format(*self.where())

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]


class World:
    """A hub and its two CRMs."""

    def __init__(
        self, server: Server, folder: Path, simulators: Mapping[str, Simulator], bulk: int, bulk_write: int
    ) -> None:
        self.server = server
        self.folder = folder
        self.simulators = simulators
        self.connections = folder / "connections"
        self.env = write_connections(self.connections, simulators)
        file = self.connections / "salesforce.yaml"
        sizes = f"\nbulk_query_above: {bulk}\nbulk_write_above: {bulk_write}\npage_size: 200\n\nauth:\n"
        file.write_text(file.read_text().replace("\nauth:\n", sizes, 1))
        file = self.connections / "hubspot.yaml"
        file.write_text(_AUTH.sub(_REFRESHED, file.read_text(), count=1))
        self.system: System = load(self.connections)
        self.url = server.database()
        prepare(self.url, self.system)
        for spec in self.system.connections:
            with closing(build.connect(spec, env=self.env, tokens=MemoryTokenStore())) as crm:
                crm.setup(spec.streams, dry_run=False)

    @contextmanager
    def conn(self) -> Iterator[psycopg.Connection]:
        with closing(psycopg.connect(self.url, autocommit=True)) as conn:
            conn.execute("set timezone = 'UTC'")
            yield conn

    def child(self, **told: Any) -> Child:
        """A process with these orders (see child.py), started."""
        name = told.pop("name", "run")
        orders = {
            "url": self.url,
            "connections": str(self.connections),
            "home": str(self.folder),
            "trail": str(self.folder / f"{name}.trail"),
            "haste": HASTE,
            "run_id": f"{name}-{secrets.token_hex(3)}",
            **told,
        }
        return Child(orders, self.env, self.folder / "children.log")

    def until_quiet(self) -> dict[str, Any]:
        """Sync until a sync writes nothing twice in a row; then nothing may have reached the CRMs in the last one."""
        said = self.child(quiet=True, name="quiet").result()
        assert said, f"the sync died: {(self.folder / 'children.log').read_text(errors='replace')[-3000:]}"
        assert said["error"] is None, said
        assert said["writes"][-2:] == [0, 0], f"never quiet: {said['writes']}"
        return said

    def wait(self, seconds: float) -> None:
        """Time passes for the CRMs."""
        for simulator in self.simulators.values():
            simulator.control("clock", {"advance": seconds})

    def close(self) -> None:
        for simulator in self.simulators.values():
            simulator.stop()
        self.server.drop(self.url)
        shutil.rmtree(self.folder, ignore_errors=True)


def world(
    server: Server,
    records: int,
    seed: int,
    *,
    bulk: int,
    bulk_write: int | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> World:
    """A new world with `records` contacts in each CRM; Salesforce is read, and written if nothing else is said, in bulk
    above `bulk` records. settings: of the simulators from their beginning, by kind."""
    folder = Path(tempfile.mkdtemp(prefix="crm_sync-campaign-"))
    with ExitStack() as stack:
        simulators = {}
        for kind in KINDS:
            begin = folder / f"{kind}.json"
            begin.write_text(json.dumps({"settings": (settings or {}).get(kind, {})}))
            simulators[kind] = start(
                kind, "--records", str(records), "--seed", str(seed), "--faults", str(begin)
            )
            stack.callback(simulators[kind].stop)
        # The children are in a hurry, and limits have tests of their own.
        simulators["hubspot"].control(
            "settings", {"burst_private": 10**6, "burst_oauth": 10**6, "search_per_second": 10**6}
        )
        made = World(server, folder, simulators, bulk, bulk if bulk_write is None else bulk_write)
        stack.pop_all()
    return made


@contextmanager
def server() -> Iterator[Server]:
    """A Postgres in a temporary home, stopped and removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="crm_sync-campaign-pg-"))
    home.chmod(0o711)
    try:
        yield Server(home)
    finally:
        embedded.remove(home)
        shutil.rmtree(home, ignore_errors=True)
