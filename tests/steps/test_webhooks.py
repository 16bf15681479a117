"""Webhooks of HubSpot that come again, in any order, by the thousand, or never: the records are read, once, as they are.

What is delivered and believed is tested in tests/connectors/hubspot; here the events are in the inbox already.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from crm_sync.connectors.build import Options as Given
from crm_sync.connectors.http import TransportSettings
from crm_sync.connectors.hubspot.crm import HubSpotCrm, connect
from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.hub import tables
from crm_sync.hub.migrate import upgrade
from crm_sync.hub.store import Store
from crm_sync.mapping.load import load_texts
from crm_sync.simulators.serve import Simulator, running
from crm_sync.steps.hinted import hinted
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options, Report

RECORDS = 2_000
CONNECTION = """
kind: hubspot
auth: {grant: access_token, access_token: {env: UNUSED}}
entities:
  contact:
    object: contacts
    match: [[email]]
    fields: {first_name: firstname, last_name: lastname, email: {field: email, type: email}}
"""


class Portal:
    """A hub that has everything of a simulated portal."""

    def __init__(self, simulator: Simulator, url: str) -> None:
        self.simulator = simulator
        self.url = url
        system = load_texts({"hubspot.yaml": CONNECTION})
        self.stream = system.stream("hubspot", "contact")
        upgrade(url)
        self.conn = psycopg.connect(url, autocommit=True)
        tables.ensure(self.conn, system)
        login = {"grant": "access_token", "access_token": simulator.info["access_token"]}
        self.crm: HubSpotCrm = connect(
            "hubspot",
            Given("hubspot.yaml", {"base_url": simulator.base_url, "auth": login}),
            MemoryTokenStore(),
            TransportSettings(ca_bundle=Path(str(simulator.ca_file))),
        )
        self.number = 0
        self.listed()
        simulator.control("clock", {"advance": 3600})

    def listed(self) -> Report:
        """What the schedule's run does."""
        with Store(self.url) as store:
            report = inbound(store, self.crm, self.stream, Options())
            report.include(hub(store, self.stream, Options()))
        return report

    def told(self) -> Report:
        """What the run of the webhooks' sensor does before the listing."""
        with Store(self.url) as store:
            report = hinted(store, self.crm, self.stream)
            report.include(hub(store, self.stream, Options()))
        return report

    def event(self, crm_id: str, change: str = "update", event_id: str | None = None) -> None:
        self.number += 1
        self.conn.execute(
            "insert into sync.inbox (connection, event_id, entity, crm_id, change)"
            " values ('hubspot', %s, 'contact', %s, %s) on conflict do nothing",
            [event_id or f"e{self.number}", crm_id, change],
        )

    def burst(self, number: int, crm_ids: Sequence[str]) -> None:
        """So many events, in no order, as many for each record."""
        about = [crm_ids[i % len(crm_ids)] for i in range(number)]
        random.Random(1).shuffle(about)
        self.conn.execute(
            "insert into sync.inbox (connection, event_id, entity, crm_id, change)"
            " select 'hubspot', 'burst ' || n, 'contact', crm_id, 'update'"
            " from unnest(%s::text[]) with ordinality as t (crm_id, n)",
            [about],
        )

    def edit(self, crm_id: str, name: str) -> None:
        self.simulator.control(
            "edit", {"object": "contacts", "id": crm_id, "properties": {"firstname": name}}
        )

    def crm_ids(self) -> list[str]:
        rows = self.conn.execute("select crm_id from hubspot.contact_base order by crm_id").fetchall()
        return [row[0] for row in rows]

    def name(self, crm_id: str) -> object:
        return self.one(
            "select h.first_name from hub.contact h join hubspot.contact_base b on b.hub_id = h.id where b.crm_id = %s",
            crm_id,
        )

    def one(self, query: str, *args: object) -> object:
        row = self.conn.execute(query, args).fetchone()  # type: ignore[call-overload]
        return row and row[0]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running("hubspot", records=RECORDS) as found:
        found.control("settings", {"burst_private": 100_000, "search_per_second": 100_000})
        yield found


@pytest.fixture
def portal(simulator: Simulator, fresh_database_url: str) -> Iterator[Portal]:
    found = Portal(simulator, fresh_database_url)
    yield found
    found.crm.close()
    found.conn.close()


def test_an_event_that_comes_three_times_has_one_effect(portal: Portal) -> None:
    one, other, *_ = portal.crm_ids()
    portal.edit(one, "Thrice")
    portal.edit(other, "Told in three words")
    for _ in range(3):
        portal.event(one, event_id="the same")
        portal.event(other)
    portal.told()
    assert portal.name(one) == "Thrice"
    assert portal.name(other) == "Told in three words"
    assert portal.one("select count(*) from sync.change where kind = 'update'") == 2

    portal.event(one, event_id="the same")  # once more, after it was looked at: the CRM is not even asked
    assert portal.told().calls == {}
    portal.event(other)
    assert portal.told().counts["updated"] == 0
    assert portal.one("select count(*) from sync.change where kind = 'update'") == 2


def test_the_order_of_events_does_not_matter(portal: Portal) -> None:
    one, gone, *_ = portal.crm_ids()
    portal.edit(one, "First")
    portal.edit(one, "Last")
    portal.event(one)  # of the second edit
    portal.told()
    portal.event(one)  # of the first, late
    new = portal.simulator.control(
        "edit", {"object": "contacts", "properties": {"email": f"{portal.number}-new@example.com"}}
    )["id"]
    portal.event(new)  # a change of what nobody said was created
    portal.simulator.control("do/archive", {"object": "contacts", "id": gone})
    portal.event(gone, "delete")
    portal.event(gone, "create")
    portal.told()
    portal.event(new, "create")
    portal.told()
    assert portal.name(one) == "Last"
    assert portal.one("select count(*) from hubspot.contact_base where crm_id = %s", new) == 1
    portal.simulator.control("clock", {"advance": 3600})
    portal.listed()
    assert portal.one("select deleted from hubspot.contact where crm_id = %s", gone) is True
    assert portal.one("select count(*) from sync.parked") == 0
    portal.simulator.control("do/restore", {"object": "contacts", "id": gone})


@pytest.mark.parametrize("events", [10_000, 25_000])
def test_a_burst_costs_calls_by_the_number_of_records(portal: Portal, events: int) -> None:
    crm_ids = portal.crm_ids()[:RECORDS]
    edited = crm_ids[::400]
    for crm_id in edited:
        portal.edit(crm_id, f"Burst {events}")
    portal.burst(events, crm_ids)
    before = portal.simulator.control("stats")["total"]
    report = portal.told()
    assert (
        portal.simulator.control("stats")["total"] - before <= -(-len(crm_ids) // 100) + 3
    )  # and what describes it
    assert report.counts["events"] == events
    assert portal.one("select count(*) from sync.inbox where done_at is null") == 0
    assert {portal.name(crm_id) for crm_id in edited} == {f"Burst {events}"}
    assert portal.one("select count(*) from sync.change where kind = 'update'") == len(edited)


def test_an_event_that_was_committed_late_is_not_passed_over(portal: Portal) -> None:
    """Numbers are given in one order and committed in another."""
    early, late, *_ = portal.crm_ids()
    asked = portal.crm.by_ids

    with psycopg.connect(portal.url) as receiver:
        receiver.execute(
            "insert into sync.inbox (connection, event_id, entity, crm_id, change)"
            " values ('hubspot', 'slow', 'contact', %s, 'update')",
            [early],
        )
        portal.event(late)

        def commits(*given: object) -> object:
            receiver.commit()
            return asked(*given)  # type: ignore[arg-type]

        portal.crm.by_ids = commits  # type: ignore[assignment, method-assign]
        portal.told()
    portal.crm.by_ids = asked  # type: ignore[method-assign]
    assert portal.one("select event_id from sync.inbox where done_at is null") == "slow"
    assert portal.told().counts["events"] == 1


def test_the_schedule_finds_what_no_event_told(portal: Portal) -> None:
    crm_ids = portal.crm_ids()
    edited, gone = crm_ids[10:20], crm_ids[30]
    for crm_id in edited:
        portal.edit(crm_id, "Untold")
    portal.simulator.control("do/archive", {"object": "contacts", "id": gone})
    new = portal.simulator.control(
        "edit", {"object": "contacts", "properties": {"email": "untold@example.com"}}
    )["id"]
    portal.simulator.control("clock", {"advance": 3600})
    portal.listed()
    assert {portal.name(crm_id) for crm_id in edited} == {"Untold"}
    assert portal.one("select count(*) from hubspot.contact_base where crm_id = %s", new) == 1
    assert portal.one("select deleted from hubspot.contact where crm_id = %s", gone) is True
    portal.simulator.control("do/restore", {"object": "contacts", "id": gone})
