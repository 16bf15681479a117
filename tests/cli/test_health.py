"""A connection that does not work: what the commands say, and how it is found to work again."""

import json

import psycopg

from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.hub import breaker
from tests.cli.conftest import Place


def test_a_refused_login_stops_its_connection_until_a_check_succeeds(place: Place) -> None:
    assert place.run("setup").status == 0
    states = {row["stream"]: row["connection"] for row in json.loads(place.run("status", "--json").out)}
    assert set(states.values()) == {"healthy"}
    with psycopg.connect(place.url, autocommit=True) as conn:
        breaker.failed(conn, "hubspot", CrmError(ErrorClass.AUTH, "hubspot: withdrawn"), probing=False)

    told = place.run("status")
    assert "hubspot is failed since" in told.out
    assert (
        "hubspot: withdrawn. Connect the account again; `crm-sync check` says whether it works." in told.out
    )
    assert "salesforce is" not in told.out
    rows = json.loads(place.run("status", "--json").out)
    assert {row["connection"] for row in rows if row["stream"].startswith("hubspot/")} == {"failed"}

    before = place.rows("select sum(used) from sync.budget where connection = 'hubspot'")
    refused = place.run("sync", "hubspot")
    assert refused.status == 1
    assert "hubspot is not called before" in refused.err
    assert place.rows("select sum(used) from sync.budget where connection = 'hubspot'") == before
    assert place.run("sync", "salesforce").status == 0

    assert place.run("check", "hubspot").status == 0
    assert "hubspot is failed" not in place.run("status").out
    assert place.run("sync", "hubspot").status == 0


def test_a_sync_that_the_limits_end_has_not_failed_and_the_next_goes_on(place: Place) -> None:
    assert place.run("setup").status == 0
    day = "update sync.budget set heard_at = clock_timestamp(), left_over = {} where name = 'daily' and connection = 'hubspot'"
    place.rows(day.format("allowed / 10"))
    told = place.run("sync", "hubspot")
    assert told.status == 0
    assert "stopped: hubspot/" in told.err
    assert "calls of a day are left; scheduled runs stop at 28%. Syncing goes on when" in told.err.replace(
        "\n", " "
    )
    assert "failed" not in told.err
    assert {row[0] for row in place.rows("select status from sync.history where crm_source = 'hubspot'")} == {
        "partial"
    }
    every = place.run("sync")  # what depends on all connections is skipped: not without a word
    assert every.status == 1
    assert "hubspot" in every.err
    full = place.run("sync", "hubspot", "--full")
    assert full.status == 1
    assert "nothing is lost" in full.err
    place.rows(day.format("allowed"))
    assert place.run("sync", "hubspot").status == 0
    assert place.rows("select count(*) from hub.contact") != [(0,)]
