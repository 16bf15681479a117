"""A run that was thought dead: stopped in the middle of sending, robbed of its session, replaced, and woken up."""

import os
import signal
from collections.abc import Iterator

import psycopg
import pytest

from tests.campaign import state
from tests.campaign.ground import Child, Server, World, server, world


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture
def linked(postgres: Server) -> Iterator[World]:
    """Two CRMs in sync, with changes waiting in the hub for Salesforce and HubSpot, more than one batch of each."""
    made = world(postgres, 150, 3, bulk=10_000)
    made.until_quiet()
    with made.conn() as conn:
        conn.execute("update hub.contact set notes = 'as it was when the first run began'")
    yield made
    made.close()


def _wait_until_stopped(child: Child) -> None:
    pid, status = os.waitpid(child.process.pid, os.WUNTRACED)
    assert pid == child.process.pid
    assert os.WIFSTOPPED(status), f"it ended before it came there: {child.told_where()} {child.log()}"


def _end_sessions(conn: psycopg.Connection) -> None:
    ended = conn.execute(
        "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    ).fetchone()
    assert ended is not None
    assert ended[0] > 0


@pytest.mark.parametrize(
    "place",
    [
        "after POST /crm/objects/2026-03/contacts/batch/update",  # a batch is written, its answer not recorded
        "after update sync.lease",  # in the middle of a transaction
    ],
)
def test_a_run_that_wakes_up_after_its_successor_changes_nothing(linked: World, place: str) -> None:
    first = linked.child(rounds=1, name="first", stop_at=place)
    _wait_until_stopped(first)
    with linked.conn() as conn:
        _end_sessions(conn)
        conn.execute("update hub.contact set notes = 'as it is now'")
    linked.until_quiet()
    before = state.read(linked)
    os.kill(first.process.pid, signal.SIGCONT)
    said = first.result()
    assert said["kind"] == "LostLeaseError", (said, first.log())
    assert not state.differences(state.read(linked), before)
    linked.until_quiet()
    assert not state.differences(state.read(linked), before)
