"""How fast contacts come in from Salesforce, against the least that any program has to do.

    make bench                         10,000 and 100,000 contacts
    make bench SIZES="1000000"

The floor is a hand-written script's work in the same run: one Bulk query whose bytes go into COPY, into an unlogged
table of text. Ours is a full inbound (Bulk query, COPY, merge into the mirror, marks, watermark), then the merge into
the hub, an idle run, and a run after 100 edits. The table is printed and written to benchmarks/RESULTS.md.
"""

import os
import platform
import resource
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
from psycopg import sql

from crm_sync.connectors.build import connect
from crm_sync.connectors.crm import Crm
from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.core.spec import StreamSpec, System
from crm_sync.hub import embedded, tables
from crm_sync.hub.answers import PostgresAnswerMemory
from crm_sync.hub.migrate import upgrade
from crm_sync.hub.store import Store
from crm_sync.mapping.load import load
from crm_sync.simulators.serve import Simulator, running
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options

HERE = Path(__file__).parent
VERSION = "62.0"
EDITS = 100


def main() -> None:
    sizes = [int(size) for size in os.environ.get("SIZES", "10000 100000").replace("_", "").split()]
    lines = [
        (
            f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {os.cpu_count()} cores, Python {platform.python_version()},"
            f" {platform.system()} {platform.machine()}; the simulator shares the cores. Seconds; one run each."
        ),
        "",
        (
            "| contacts | floor: Bulk to COPY | inbound | ÷ floor | merged into the hub | (in + merge) ÷ floor |"
            f" idle run | {EDITS} edits | calls: full, idle, edits | our peak memory |"
        ),
        "|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for size in sizes:
        lines.append(_measure(size))
        print("\n".join(lines[-1:]), flush=True)
    text = "\n".join(lines)
    (HERE / "RESULTS.md").write_text(f"# Results of `make bench`\n\n{text}\n", encoding="utf-8")
    print(f"\n{text}")


def _measure(size: int) -> str:
    with running("salesforce", records=size) as simulator, _database() as url:
        system, crm = _connect(simulator, url)
        upgrade(url)
        with psycopg.connect(url, autocommit=True) as conn:
            tables.ensure(conn, system)
        stream = system.stream("salesforce", "contact")
        floor = _timed(lambda: _floor(simulator, url, stream))
        with Store(url) as store:
            calls: list[int] = []

            def read() -> None:
                calls.append(sum(inbound(store, crm, stream, Options()).calls.values()))

            def whole_run() -> None:
                read()
                hub(store, stream, Options())

            staged = _timed(read)
            merged = _timed(lambda: hub(store, stream, Options()))
            idle = _timed(whole_run)
            _edit(simulator, url)
            edited = _timed(whole_run)
        crm.close()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 if sys.platform == "linux" else 1024**2
    )
    return (
        f"| {size:,} | {floor:.2f} | {staged:.2f} | {staged / floor:.1f} | {merged:.2f} | {(staged + merged) / floor:.1f} |"
        f" {idle:.2f} | {edited:.2f} | {', '.join(map(str, calls))} | {memory:,.0f} MB |"
    )


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@contextmanager
def _database() -> Iterator[str]:
    """A database of its own on CRM_SYNC_DATABASE_URL's server, or on an embedded one in a temporary home."""
    given = os.environ.get("CRM_SYNC_DATABASE_URL")
    if given:
        name = f"crm_sync_bench_{os.getpid()}"
        with psycopg.connect(given, autocommit=True) as conn:
            conn.execute(f"create database {name}")
            try:
                yield embedded.with_database(given, name)
            finally:
                conn.execute(f"drop database {name} with (force)")
        return
    with tempfile.TemporaryDirectory() as folder:
        home = embedded.make_home(Path(folder) / "home")
        Path(folder).chmod(0o711)
        try:
            yield embedded.ensure_running(home)
        finally:
            embedded.remove(home)


def _connect(simulator: Simulator, url: str) -> tuple[System, Crm]:
    """The example mapping's contacts, without their companies, on the simulator."""
    system = load(HERE.parent / "examples")
    found = system.connection("salesforce")
    contact = next(stream for stream in found.streams if stream.entity == "contact")
    contact = replace(contact, fields=tuple(spec for spec in contact.fields if spec.entity is None))
    options = {
        **found.options,
        "host": simulator.base_url,
        "ca_bundle": simulator.ca_file,
        "auth": {
            "grant": "access_token",
            "access_token": simulator.info["access_token"],
            "instance_url": simulator.base_url,
        },
    }
    spec = replace(found, options=options, streams=(contact,))
    crm = connect(spec, env={}, tokens=MemoryTokenStore(), memory=PostgresAnswerMemory(url))
    return System((spec,), ("contact",)), crm


def _floor(simulator: Simulator, url: str, stream: StreamSpec) -> None:
    """A Bulk query, its bytes into COPY."""
    names = ["Id", "SystemModstamp", "IsDeleted", *stream.vendor_fields]
    query = f"SELECT {', '.join(names)} FROM {stream.object}"
    headers = {"Authorization": f"Bearer {simulator.info['access_token']}"}
    jobs = f"/services/data/v{VERSION}/jobs/query"
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    typed = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in names)
    copy_into = sql.SQL("copy floor ({}) from stdin (format csv, header true)").format(columns)
    with (
        httpx.Client(
            base_url=simulator.base_url, headers=headers, verify=_tls(simulator), timeout=600
        ) as http,
        psycopg.connect(url) as conn,
    ):
        conn.execute(sql.SQL("create unlogged table floor ({})").format(typed))
        job = http.post(jobs, json={"operation": "queryAll", "query": query}).json()["id"]
        while http.get(f"{jobs}/{job}").json()["state"] != "JobComplete":
            time.sleep(0.1)
        locator: str | None = ""
        while locator is not None:
            parameters = {"locator": locator} if locator else {}
            with (
                http.stream("GET", f"{jobs}/{job}/results", params=parameters) as answer,
                conn.cursor().copy(copy_into) as copy,
            ):
                for chunk in answer.iter_bytes():
                    copy.write(chunk)
            following = answer.headers.get("Sforce-Locator", "null")
            locator = None if following == "null" else following


def _tls(simulator: Simulator) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=simulator.ca_file)


def _edit(simulator: Simulator, url: str) -> None:
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "select crm_id from salesforce.contact order by crm_id limit %s", [EDITS]
        ).fetchall()
    edits = [{"object": "Contact", "id": crm_id, "fields": {"Title": "Edited"}} for (crm_id,) in rows]
    simulator.control("edit", {"edits": edits})


if __name__ == "__main__":
    main()
