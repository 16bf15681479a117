"""A process that syncs, to be killed: `python -m tests.campaign.child '{"url": ..., "connections": ..., ...}'`.

Keys: url, connections (folder), home; rounds: syncs in a row; quiet: go on until a sync writes nothing, and say
what the one after that did; full: read and compare everything, as the nightly reconcile does; tolerant: go on after a
CRM's failure, as the next run of a schedule would; timeout: seconds for each answer; trail, die_at, stop_at: see trail.py; haste: what every wait is multiplied by. The last line of
its output is JSON: writes by round, how often it was busy, failures by class, error.
"""

import faulthandler
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

MOST_ROUNDS = 12
BUSY_TRIES = 4000
LONGEST = 0.2  # seconds; a day on which no calls are left passes as quickly
WRITES = ("linked", "created", "updated", "converged", "settled")


def main(told: dict[str, Any]) -> int:
    real_sleep, haste = time.sleep, float(told.get("haste", 1.0))
    time.sleep = lambda seconds: real_sleep(
        min(float(seconds) * haste, LONGEST)
    )  # before anybody takes it as a default
    from tests.campaign.trail import Trail, follow

    faulthandler.register(signal.SIGUSR1)  # "where are you?", asked before a child that hangs is killed
    trail = Trail(Path(told["trail"]), told.get("die_at"), told.get("stop_at"))
    follow(trail)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    said: dict[str, Any] = {"writes": [], "busy": 0, "failures": {}, "error": None, "kind": None}
    try:
        _work(told, said, real_sleep)
    except Exception as error:
        log.exception("the sync failed")
        said |= {"error": str(error), "kind": type(error).__name__}
    print(json.dumps(said | {"places": trail.count}), flush=True)
    return 3 if said["error"] else 0


def _work(told: dict[str, Any], said: dict[str, Any], sleep: Callable[[float], None]) -> None:
    from crm_sync.mapping.load import load

    system = load(Path(told["connections"]))
    with _crms(system, told) as crms:
        while True:
            said["writes"].append(sync(system, crms, told, said, sleep))
            rounds = len(said["writes"])
            if told.get("quiet") and rounds < MOST_ROUNDS:
                if rounds > 1 and said["writes"][-1] == said["writes"][-2] == 0:
                    return
            elif rounds >= told.get("rounds", 1):
                return


@contextmanager
def _crms(system: Any, told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from crm_sync.connectors import build
    from crm_sync.hub.answers import PostgresAnswerMemory
    from crm_sync.hub.keys import token_keys
    from crm_sync.hub.tokens import PostgresTokenStore
    from crm_sync.settings import Settings

    keys = token_keys(Settings.from_env({"CRM_SYNC_HOME": told["home"]}))
    crms = {
        spec.name: build.connect(
            spec,
            env=os.environ,
            tokens=PostgresTokenStore(told["url"], keys),
            memory=PostgresAnswerMemory(told["url"]),
            timeout=float(told.get("timeout", 20)),
        )
        for spec in system.connections
    }
    try:
        yield crms
    finally:
        for crm in crms.values():
            crm.close()


def sync(
    system: Any, crms: Any, told: dict[str, Any], said: dict[str, Any], sleep: Callable[[float], None]
) -> int:
    """All steps of all streams, in the order of a Dagster run. Returns how many records were written anywhere.

    A stream that another run holds is waited for, as Dagster does.
    """
    from crm_sync.core.errors import BusyError, CrmError
    from crm_sync.hub import dirty
    from crm_sync.hub.store import Store
    from crm_sync.steps.conflicts import conflicts
    from crm_sync.steps.hub import hub
    from crm_sync.steps.inbound import inbound
    from crm_sync.steps.options import Options, Report
    from crm_sync.steps.outbound import outbound

    options = Options(full=bool(told.get("full")))

    def step(work: Callable[[], Report]) -> int:
        for _ in range(BUSY_TRIES):
            try:
                counts = work().counts
            except BusyError:
                said["busy"] += 1
                sleep(0.05)
            except CrmError as error:
                if not told.get("tolerant"):
                    raise
                log.info("a step failed: %s", error)
                said["failures"][error.error_class] = said["failures"].get(error.error_class, 0) + 1
                return 1
            else:
                return sum(counts.get(name, 0) for name in WRITES)
        raise BusyError("another run never ended")

    writes = 0
    with Store(told["url"], run_id=told.get("run_id")) as store:
        for entity in system.entities:
            streams = system.of_entity(entity)
            read = []
            for stream in streams:
                failed = sum(said["failures"].values())
                step(partial(inbound, store, crms[stream.connection], stream, options))
                if sum(said["failures"].values()) == failed:
                    read.append(stream)
                if options.full:
                    with store.transaction() as conn:
                        dirty.mark_all(conn, stream)
            for stream in streams:
                writes += step(partial(hub, store, stream, options))
            for stream in streams:
                step(partial(conflicts, store, stream))
            for stream in read:  # in Dagster too nothing is sent where reading failed
                writes += step(partial(outbound, store, crms[stream.connection], stream, options))
    return writes


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
