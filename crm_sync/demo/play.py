"""The demo from beginning to end: build a world, sync it, let people work, sync again, prove that all agree."""

import logging
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import dagster as dg
import psycopg

from crm_sync.assets import links
from crm_sync.commands import console, instance, runs
from crm_sync.connectors import build
from crm_sync.core.errors import SyncError
from crm_sync.definitions import build as build_definitions
from crm_sync.demo import leash, readback, report
from crm_sync.demo.accounts import HubSpotPerson, SalesforcePerson
from crm_sync.demo.edits import Afternoon
from crm_sync.demo.verify import Proof, verify
from crm_sync.demo.world import World, world
from crm_sync.hub.keys import token_keys
from crm_sync.hub.tokens import PostgresTokenStore

ROUNDS = 5  # after so many syncs in a row everything must have arrived everywhere
UI_SECONDS = 90.0

log = logging.getLogger(__name__)


def play(home: Path, *, records: int, port: int, leave: bool, keep: bool) -> int:
    """Run the demo. leave: end after the report instead of serving the UI. Returns the exit status: 0 if all sides
    agree. Raises SyncError for what keeps it from running."""
    with _orderly_end(), ExitStack() as stack:
        story = report.Story()
        with story.phase("start three CRMs and a database", spin=True):
            here = stack.enter_context(world(home, records=records, port=port, keep=keep))
            _setup(here)
            dagster_home = instance.prepare(here.settings, here.url)
        proof = _story(here, story)
        if not leave:
            _serve(here, dagster_home, port)
        return 1 if proof.complaints else 0


@contextmanager
def _orderly_end() -> Iterator[None]:
    """SIGINT and SIGTERM unwind the stack, so that everything is taken down, whatever this process inherited (a job
    in the background of a script ignores SIGINT) and whatever Dagster made of it."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _leave}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _setup(here: World) -> None:
    """What `crm-sync setup` does in the accounts."""
    for spec in here.system.connections:
        tokens = PostgresTokenStore(here.url, token_keys(here.settings))
        with closing(build.connect(spec, env=os.environ, tokens=tokens)) as crm:
            crm.setup(spec.streams, dry_run=False)


def _story(here: World, story: report.Story) -> Proof:
    definitions = build_definitions(here.system, here.settings)
    with (
        instance.opened(here.settings, here.url) as dagster,
        psycopg.connect(here.url, autocommit=True) as conn,
    ):
        salesforce = SalesforcePerson(here.simulators["salesforce"])
        sandbox = SalesforcePerson(here.simulators["salesforce_sandbox"])
        with closing(HubSpotPerson(here.simulators["hubspot"])) as hubspot:
            with story.phase("first sync"):
                first = _until_quiet(here, definitions, dagster)
            story.tell_syncs("First sync", first, here.system)
            with story.phase("people edit on three sides", spin=True):
                expected = Afternoon(conn, salesforce, hubspot).run()
            story.tell_edits(expected)
            with story.phase("second sync"):
                second = _until_quiet(here, definitions, dagster)
            story.tell_syncs("Second sync", second, here.system)
            with story.phase("third sync"):
                third = _sync(here, definitions, dagster)
            with story.phase("read everything back"):
                books = _read_back(
                    here, conn, {"salesforce": salesforce, "salesforce_sandbox": sandbox}, hubspot
                )
                proof = verify(conn, here.system, books, expected)
            proof.complaints += [*_not_quiet(third), *_not_bulk(first)]
            story.tell_third(third, here.system)
            story.tell_proof(proof)
            story.tell_times()
    return proof


def _sync(here: World, definitions: dg.Definitions, dagster: dg.DagsterInstance) -> runs.Run:
    """One sync of all connections; SyncError if a step failed."""
    with console.progress() as progress:
        run = runs.sync(definitions, here.system, dagster, None, progress=progress)
    if run.failures:
        raise SyncError("\n".join(["the sync failed:", *run.failures]))
    return run


def _until_quiet(here: World, definitions: dg.Definitions, dagster: dg.DagsterInstance) -> list[runs.Run]:
    """Sync until a run writes nothing: an edit of one CRM reaches the others through the hub, so one is not enough."""
    done: list[runs.Run] = []
    while len(done) < ROUNDS:
        done.append(_sync(here, definitions, dagster))
        if not _wrote(done[-1]):
            return done
    raise SyncError(
        f"after {ROUNDS} syncs there is still something to write; this is a bug: {_wrote(done[-1])}"
    )


def _wrote(run: runs.Run) -> list[str]:
    """What a run wrote to the hub and to the CRMs."""
    return [
        f"{step.connection or 'hub'}/{step.entity}: {number} {name}"
        for step in run.steps
        if step.direction != "inbound"
        for name in ("created", "updated", "linked", "retry")
        if (number := step.counts.get(name, 0))
    ]


def _not_quiet(run: runs.Run) -> Iterator[str]:
    yield from (f"the third sync wrote {what}" for what in _wrote(run))
    for step in run.steps:
        if step.direction == "outbound" and step.calls:
            yield f"the third sync called {step.connection} for {step.entity}: {console.calls(step.calls)}"


def _not_bulk(first: Sequence[runs.Run]) -> Iterator[str]:
    """Above its thresholds Salesforce must have been asked by Bulk API 2.0."""
    read = {
        step.counts.get("read", 0): step.calls for step in first[0].steps if step.connection == "salesforce"
    }
    for count, calls in read.items():
        if count > 2000 and "bulk_query" not in calls:
            yield f"salesforce: {count} records were read without the Bulk API"
    sent = [
        step
        for step in first[0].steps
        if step.direction == "outbound" and step.connection.startswith("salesforce")
    ]
    for step in sent:
        if step.counts.get("created", 0) > 2000 and "bulk_ingest" not in step.calls:
            yield f"{step.connection}: {step.counts['created']} records were created without the Bulk API"


def _read_back(
    here: World,
    conn: psycopg.Connection,
    salesforce: dict[str, SalesforcePerson],
    hubspot: HubSpotPerson,
) -> readback.Books:
    """All sides, through their public interfaces."""
    crm: dict[str, readback.Side] = {}
    with console.progress() as progress:
        task = progress.add_task("reading back", total=len(here.system.streams))
        stages = hubspot.stages()
        for stream in here.system.streams:
            progress.update(task, description=f"reading back {stream.name}")
            if stream.kind == "hubspot":
                crm[stream.name] = readback.hubspot_records(hubspot, stream, stages)
            else:
                crm[stream.name] = readback.salesforce_records(salesforce[stream.connection], stream)
            progress.advance(task)
    return readback.Books(
        hub={entity: readback.hub_records(conn, entity) for entity in here.system.entities},
        crm=crm,
        links={stream.name: readback.links(conn, stream) for stream in here.system.streams},
    )


# The Dagster UI ------------------------------------------------------------------------------------------------


def _serve(here: World, dagster_home: Path, port: int) -> None:
    """Leave the Dagster UI running until Ctrl-C."""
    with _orderly_end(), _user_interface(here, dagster_home, port) as (process, log_file):
        address = f"http://127.0.0.1:{port}"
        with console.err.status("starting the Dagster UI"):
            _wait(address, process, log_file)
        console.out.print(
            f"\n[bold]Review the open conflicts:[/] {address}{links.check('contact')}", markup=True
        )
        console.out.print(f"Everything else:            {address}/asset-groups")
        console.out.print("\nCtrl-C ends the demo and everything it started.")
        try:
            process.wait()
        except KeyboardInterrupt:
            console.err.print("stopping …")
            return
        raise SyncError(f"the Dagster UI ended by itself; its log: {log_file}")


@contextmanager
def _user_interface(
    here: World, dagster_home: Path, port: int
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log_file = here.home / "dagster.log"
    env = {**os.environ, **instance.environment(here.settings, here.url)}
    command = instance.user_interface(dagster_home, "127.0.0.1", port)
    with log_file.open("wb") as log_stream:
        process = leash.start(command, env, log_stream.fileno())
        try:
            yield process, log_file
        finally:
            leash.stop(process)


def _wait(address: str, process: subprocess.Popen[bytes], log_file: Path) -> None:
    """Until the UI answers. Raises SyncError if it ends or says nothing for a minute and a half."""
    until = time.monotonic() + UI_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SyncError(
                f"the Dagster UI did not start (is the port taken? choose another --port); its log: {log_file}"
            )
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5):  # noqa: S310 - our own server
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise SyncError(f"the Dagster UI did not answer at {address}; its log: {log_file}")
