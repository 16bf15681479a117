"""Runs in this process that do not come to their end: Ctrl-C, SIGTERM, kill -9.

Dagster takes an interrupt for one more error of a step, and tries that step again. A person who presses Ctrl-C means
the program. So the run works in a thread, where Dagster leaves signals alone, and ends with the process; the sync
itself survives that at any point. What is left to do is Dagster's book-keeping: the run is not running any more, and
the pools that it held are free.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import dagster as dg

from crm_sync.commands import console

PROCESS_TAG = "crm/process"  # host and number of the process in which a run works

T = TypeVar("T")


def tags() -> dict[str, str]:
    """What a run of this process is marked with."""
    return {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}"}


def wait_for(work: Callable[[], T]) -> T:
    """The result of `work`, which goes on in a thread that signals do not reach and that nobody waits for at exit."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            failed.append(error)

    thread = threading.Thread(target=run, name="run", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


@contextmanager
def cancelled(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """If the block is left by an interrupt, the run counts as canceled and its pools are freed."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        console.err.print("stopping …")
        logging.disable()  # what the thread still tries must fail, and is no news
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_canceled(run)
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        raise


def sweep(instance: dg.DagsterInstance) -> None:
    """Give up runs whose process on this machine is gone (kill -9): nobody else would free what they hold, and the
    next run would wait for it."""
    unfinished = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=unfinished)):
        host, _, number = run.tags.get(PROCESS_TAG, "").rpartition(":")
        if host == socket.gethostname() and number.isdigit() and not _lives(int(number)):
            instance.report_run_failed(run, "The process of this run was killed.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
