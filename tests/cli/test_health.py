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
    assert "hubspot: withdrawn Connect the account again; `crm-sync check` says whether it works." in told.out
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
