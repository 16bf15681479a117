"""Where a benchmark takes place: a database server, a simulated account, and databases with the tables of contacts."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg

from benchmarks.place import HUBSPOT_VERSION, Place
from crm_sync.core.spec import ConnectionSpec, System
from crm_sync.hub import embedded, tables
from crm_sync.hub.migrate import upgrade
from crm_sync.mapping.load import load
from crm_sync.simulators.serve import Simulator, running

EXAMPLES = Path(__file__).parents[1] / "examples"

# Far more than anybody asks for: the limits have a benchmark of their own, with the vendor's figures.
_WITHOUT_LIMITS = {
    "salesforce": {"daily_api_requests": 10**9, "session_seconds": 1e9},
    "hubspot": {"burst_private": 10**6, "search_per_second": 10**6, "daily": 10**9},
}


@contextmanager
def server() -> Iterator[str]:
    """The address of a server on which databases may be created: CRM_SYNC_DATABASE_URL's, or an embedded one in a
    temporary home, removed afterwards."""
    given = os.environ.get("CRM_SYNC_DATABASE_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="crm_sync-bench-") as folder:
        Path(folder).chmod(0o711)  # the server's own account has to pass through
        home = embedded.make_home(Path(folder) / "home")
        try:
            yield embedded.ensure_running(home)
        finally:
            embedded.remove(home)


@contextmanager
def account(vendor: str, records: int, *, limits: bool = False, latency: float = 0.0) -> Iterator[Simulator]:
    """A simulated account with so many contacts, in a process of its own. limits: with the vendor's rate limits.
    latency: seconds before every answer."""
    with running(vendor, records=records) as simulator:
        if not limits:
            simulator.control("settings", _WITHOUT_LIMITS[vendor])
        if latency:
            simulator.control("faults", [{"name": "latency", "effect": {"delay": latency}}])
        try:
            yield simulator
        finally:
            if latency:
                simulator.control("faults", [])  # else it reports them when it ends


@contextmanager
def place(
    server_url: str, vendor: str, simulator: Simulator, name: str, *, limits: bool = False
) -> Iterator[Place]:
    """A fresh database called `name` with the tables of the contacts of one vendor; dropped at the end. limits: as
    of the account."""
    system = _contacts(vendor, simulator)
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"create database {name} template template0")
        try:
            url = embedded.with_database(server_url, name)
            upgrade(url)
            with psycopg.connect(url, autocommit=True) as conn:
                tables.ensure(conn, system)
            token = simulator.info["access_token"]
            found = Place(
                vendor,
                url,
                system,
                simulator.base_url,
                simulator.ca_file or "",
                token,
                limits,
            )
            crm = found.crm()
            crm.setup(system.connections[0].streams, dry_run=False)
            crm.close()
            yield found
        finally:
            admin.execute(f"drop database {name} with (force)")


def _contacts(vendor: str, simulator: Simulator) -> System:
    """The example mapping's contacts, without their companies, on the simulator."""
    found = load(EXAMPLES).connection(vendor)
    contact = next(stream for stream in found.streams if stream.entity == "contact")
    contact = replace(contact, fields=tuple(spec for spec in contact.fields if spec.entity is None))
    options = {**found.options, "ca_bundle": simulator.ca_file, **_address(vendor, simulator)}
    spec: ConnectionSpec = replace(found, options=options, streams=(contact,))
    return System((spec,), ("contact",))


def _address(vendor: str, simulator: Simulator) -> dict[str, object]:
    auth = {"grant": "access_token", "access_token": simulator.info["access_token"]}
    if vendor == "hubspot":
        return {"base_url": simulator.base_url, "api_version": HUBSPOT_VERSION, "auth": auth}
    return {"host": simulator.base_url, "auth": {**auth, "instance_url": simulator.base_url}}
