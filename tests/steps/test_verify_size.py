"""Verify over HTTPS: 10^5 records of a simulated Salesforce with flat memory and few calls; HubSpot within its budget."""

import resource
from collections.abc import Iterator

import pytest

from crm_sync.core.parity import What
from crm_sync.hub.store import Store
from crm_sync.simulators.serve import Simulator, running
from crm_sync.steps.allowance import allot
from crm_sync.steps.verify import Parity, known_records, verify
from tests.steps.org import Place


def look(place: Place, budget: int | None = None) -> Parity:
    with Store(place.url) as store:
        records = {place.stream.name: known_records(store, place.stream)}
        return verify(
            store, place.crm, place.stream, allot([place.stream], records, budget)[place.stream.name]
        )


@pytest.fixture
def place(org: Simulator, fresh_database_url: str) -> Iterator[Place]:
    found = Place(org, fresh_database_url, above=500)
    yield found
    found.crm.close()
    found.conn.close()


def test_a_small_org_by_bulk(place: Place) -> None:
    place.people(600)
    for _ in range(2):
        place.sync()
    place.org.control("clock", {"advance": 3600})
    found = look(place)
    # The org's own ten contacts lie before the watermark that the test began with: no sync has ever read them.
    assert {(one.what, one.detail) for one in found.unexplained} == {
        (What.NOT_IN_HUB, "the mirror does not have it")
    }
    assert (found.open, found.crm_records, found.linked) == (10, 610, 600)
    assert found.calls["bulk_query"] > 0
    assert sum(found.calls.values()) <= 40  # how often a job is asked for depends on how long it takes


@pytest.mark.slow
def test_a_hundred_thousand_contacts(fresh_database_url: str) -> None:
    number = 100_000
    with running("salesforce", records=number) as org:
        place = Place(org, fresh_database_url, above=500)
        place.conn.execute("delete from sync.watermark")
        for _ in range(2):
            place.sync()
        look(place)  # warm
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = look(place)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert (found.crm_records, found.open, found.ranges) == (number, 0, 256)
        assert (
            sum(found.calls.values()) <= 2 * found.needed
        )  # the sooner the job is done, the fewer times it is asked for
        assert grown < 20, "MB"
        place.conn.execute("set session_replication_role = replica")
        place.conn.execute("update hub.contact set last_name = 'Wrong' where id in (select hub_id"
                           " from salesforce.contact_base order by crm_id limit 100)")  # fmt: skip
        found = look(place)
        assert (found.open, found.ranges_differing) == (100, 1)
        place.crm.close()
        place.conn.close()
