"""The demo's world: a folder, a database, three simulated CRMs, and connection files that point at them.

Everything is torn down in the reverse order of its making, however the demo ends.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from crm_sync.connectors.catalogue import of_system
from crm_sync.core.errors import SyncError
from crm_sync.core.spec import System
from crm_sync.hub import embedded
from crm_sync.hub.prepare import prepare
from crm_sync.mapping.load import load
from crm_sync.settings import Settings
from crm_sync.simulators.serve import Simulator, running

CONNECTIONS = ("salesforce", "hubspot", "salesforce_sandbox")
SCHEMAS = ("hub", "sync", "review", "dagster", *CONNECTIONS)
MARK = "made by the demo of crm_sync, which deletes it when it starts again"
SANDBOX_RECORDS = 60  # a sandbox is nearly empty; the sync fills it


@dataclass(frozen=True, slots=True)
class World:
    """What the demo plays with."""

    home: Path
    url: str
    settings: Settings
    system: System
    simulators: Mapping[str, Simulator]


@contextmanager
def world(home: Path, *, records: int, port: int, keep: bool) -> Iterator[World]:
    """Build it; at the end stop every process and, unless `keep`, delete the folder.

    Raises SyncError if the database at CRM_SYNC_DATABASE_URL is somebody's, or another demo uses the folder.
    """
    own = Settings.from_env(os.environ).database_url
    with ExitStack() as stack:
        home = stack.enter_context(_folder(home, keep=keep))
        url = own or stack.enter_context(_embedded(home))
        claim(url)
        simulators = {}
        for seed, name in enumerate(CONNECTIONS, 1):
            kind = name.partition("_")[0]
            # The two production accounts know the same people (one seed); the sandbox knows others.
            sandbox = name.endswith("sandbox")
            simulators[name] = stack.enter_context(
                running(kind, records=SANDBOX_RECORDS if sandbox else records, seed=seed if sandbox else 1)
            )
        env = write_connections(home / "connections", simulators)
        env |= {
            "CRM_SYNC_DATABASE_URL": url,
            "CRM_SYNC_HOME": str(home),
            "CRM_SYNC_CONNECTIONS": str(home / "connections"),
            "CRM_SYNC_UI_URL": f"http://127.0.0.1:{port}",
        }
        stack.enter_context(_environment(env))
        settings = Settings.from_env(os.environ)
        system = load(settings.connections)
        prepare(url, system, of_system(system))
        yield World(home, url, settings, system, simulators)


def claim(url: str) -> None:
    """Make the database at `url` the demo's: empty it if an earlier demo made it.

    Raises SyncError if it holds schemas that no demo made; then nothing is touched.
    """
    with psycopg.connect(url) as conn:
        found: dict[str, str | None] = dict(
            conn.execute(
                "select nspname, obj_description(oid, 'pg_namespace') from pg_namespace where nspname = any(%s)",
                [list(SCHEMAS)],
            ).fetchall()
        )
        if found and found.get("hub") != MARK:
            raise SyncError(
                f"the database in CRM_SYNC_DATABASE_URL already has {', '.join(sorted(found))}, and no demo made them;"
                " the demo leaves it alone. Give it an empty database, or none at all (it brings its own)."
            )
        for name in found:
            conn.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(name)))
        conn.execute("create schema hub")
        conn.execute(sql.SQL("comment on schema hub is {}").format(sql.Literal(MARK)))


def write_connections(folder: Path, simulators: Mapping[str, Simulator]) -> dict[str, str]:
    """Copy the example files with the simulators' addresses; the environment with their secrets is returned."""
    folder.mkdir(parents=True)
    env: dict[str, str] = {}
    for name, simulator in simulators.items():
        text = _example(name).read_text(encoding="utf-8")
        key = "base_url" if simulator.info["kind"] == "hubspot" else "host"
        where = f"{key}: {simulator.base_url}   # the simulator\nca_bundle: {simulator.ca_file}\n"
        (folder / f"{name}.yaml").write_text(
            text.replace("\nauth:\n", f"\n{where}\nauth:\n", 1), encoding="utf-8"
        )
        for secret in ("client_id", "client_secret", "refresh_token", "access_token"):
            env[f"{name}_{secret}".upper()] = str(simulator.info[secret])
    return env


def _example(name: str) -> Path:
    path = Path(__file__).parents[2] / "examples" / f"{name}.yaml"
    if not path.exists():
        raise SyncError(f"the demo needs examples/{path.name} of the project; run it from a checkout")
    return path


@contextmanager
def _folder(home: Path, *, keep: bool) -> Iterator[Path]:
    """An empty folder of this demo's own; what an earlier one left in it is deleted."""
    home.parent.mkdir(parents=True, exist_ok=True)
    home = embedded.make_home(home)
    if any(home.iterdir()) and not (home / "demo.lock").exists():
        raise SyncError(
            f"{home} is not a demo's folder; the demo deletes what it finds there. Name another --home."
        )
    with (home / "demo.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SyncError(f"a demo is running in {home}; stop it, or name another --home") from None
        _empty(home)
        try:
            yield home
        finally:
            if not keep:
                _empty(home)
                shutil.rmtree(home, ignore_errors=True)  # the lock too; whoever comes next makes it anew


def _empty(home: Path) -> None:
    embedded.remove(home)
    for name in ("connections", "dagster"):
        shutil.rmtree(home / name, ignore_errors=True)
    for name in ("dagster.log", "secret.key"):
        (home / name).unlink(missing_ok=True)


@contextmanager
def _embedded(home: Path) -> Iterator[str]:
    url = embedded.ensure_running(home)
    try:
        with psycopg.connect(url, autocommit=True) as conn:
            # A power cut may take these data; nobody waits for the disk.
            conn.execute("alter system set synchronous_commit = off")
            conn.execute("select pg_reload_conf()")
        yield url
    finally:
        embedded.stop(home)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the length of the demo, for this process and those it starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
