"""Hard deletes, filters and associations through the simulators of both vendors, over TLS."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crm_sync.connectors.build import Options as Given
from crm_sync.connectors.crm import Crm
from crm_sync.connectors.http import TransportSettings
from crm_sync.connectors.hubspot.crm import connect
from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.core.spec import System
from crm_sync.hub import tables
from crm_sync.hub.migrate import upgrade
from crm_sync.hub.store import Store
from crm_sync.mapping.load import load_texts
from crm_sync.simulators.serve import Simulator, running
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from tests.contract import salesforce

SALESFORCE = """
kind: salesforce
auth: {grant: client_credentials, client_id: x, client_secret: {env: UNUSED}}
host: https://x.example
entities:
  contact:
    object: Contact
    match: [[email]]
    filter: [{field: Department, operator: in, values: [Sales, Support]}]
    fields: {last_name: LastName, email: {field: Email, type: email}, department: Department}
"""
HUBSPOT = """
kind: hubspot
auth: {grant: access_token, access_token: {env: UNUSED}}
entities:
  company:
    object: companies
    fields: {name: name}
  contact:
    object: contacts
    match: [[email]]
    filter: [{field: jobtitle, operator: in, values: [Sales, Support]}]
    fields:
      last_name: lastname
      email: {field: email, type: email}
      department: jobtitle
      company: {association: companies, type: reference, entity: company}
"""


class Place:
    """A hub, a simulator, and the connector between them."""

    def __init__(self, kind: str, simulator: Simulator, url: str) -> None:
        self.kind, self.simulator, self.url = kind, simulator, url
        self.system: System = load_texts({f"{kind}.yaml": SALESFORCE if kind == "salesforce" else HUBSPOT})
        upgrade(url)
        self.conn = psycopg.connect(url, autocommit=True)
        tables.ensure(self.conn, self.system)
        self.crm: Crm = _org(simulator) if kind == "salesforce" else _portal(simulator)
        self.crm.setup(list(self.system.streams), dry_run=False)

    def sync(self, *, hours: float = 1, **flags: object) -> dict[str, int]:
        """A sync, a while later; counts of inbound."""
        self.simulator.control("clock", {"advance": hours * 3600})
        counts: dict[str, int] = {}
        options = Options(**flags)  # type: ignore[arg-type]
        with Store(self.url, run_id="run") as store:
            for stream in self.system.streams:
                report = inbound(store, self.crm, stream, options)
                hub(store, stream, options)
                outbound(store, self.crm, stream, options)
                counts |= {f"{stream.entity} {name}": number for name, number in report.counts.items()}
        return counts

    def create(self, **values: str) -> str:
        if self.kind == "salesforce":
            names = {"last_name": "LastName", "email": "Email", "department": "Department"}
            told = {names[name]: value for name, value in values.items()}
            found = self.simulator.control("edit", {"object": "Contact", "fields": told})
            return str(found["ids"][0])
        return str(
            self.simulator.control("edit", {"object": "contacts", "properties": _hubspot(values)})["id"]
        )

    def edit(self, crm_id: str, **values: str) -> None:
        if self.kind == "salesforce":
            names = {"last_name": "LastName", "department": "Department"}
            told = {names[name]: value for name, value in values.items()}
            self.simulator.control("edit", {"object": "Contact", "id": crm_id, "fields": told})
        else:
            self.simulator.control(
                "edit", {"object": "contacts", "id": crm_id, "properties": _hubspot(values)}
            )

    def vanish(self, crm_id: str) -> None:
        """Gone for ever, without a trace in the recycle bin."""
        if self.kind == "salesforce":
            told = {"object": "Contact", "id": crm_id, "operation": "hard_delete"}
            self.simulator.control("edit", told)
            self.simulator.control("clock", {"advance": 16 * 86_400})  # the log of deletions forgets it, too
        else:
            self.simulator.control("do/erase", {"object": "contacts", "id": crm_id})

    def one(self, query: str, *values: object) -> Any:
        row = self.conn.execute(query, values).fetchone()  # type: ignore[arg-type]
        return row[0] if row else None

    def state(self, crm_id: str) -> tuple[bool, bool]:
        """Deleted, outside."""
        table = f"select {{}} from {self.kind}.contact where crm_id = %s"
        return self.one(table.format("deleted"), crm_id), self.one(table.format("outside"), crm_id)


def _org(simulator: Simulator) -> Crm:
    login = {name: simulator.info[name] for name in ("client_id", "client_secret", "refresh_token")}
    return salesforce.connector(simulator, grant="refresh_token", **login)


def _portal(simulator: Simulator) -> Crm:
    login = {"grant": "access_token", "access_token": simulator.info["access_token"]}
    given = {"base_url": simulator.base_url, "auth": login, "associations_every": 6}
    settings = TransportSettings(ca_bundle=Path(str(simulator.ca_file)))
    return connect("hubspot", Given("hubspot.yaml", given), MemoryTokenStore(), settings)


def _hubspot(values: dict[str, str]) -> dict[str, str]:
    names = {"last_name": "lastname", "email": "email", "department": "jobtitle"}
    return {names[name]: value for name, value in values.items()}


@pytest.fixture(scope="module", params=["salesforce", "hubspot"])
def simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    with running(request.param, records=30) as found:
        yield found


@pytest.fixture
def place(simulator: Simulator, fresh_database_url: str) -> Iterator[Place]:
    made = Place("hubspot" if "portal_id" in simulator.info else "salesforce", simulator, fresh_database_url)
    made.sync()
    yield made
    made.crm.close()
    made.conn.close()


def test_a_record_that_vanished_is_found_by_a_full_read_only(place: Place) -> None:
    crm_id = place.create(last_name="Ann", email="vanished@x.example", department="Sales")
    place.sync()
    place.sync()
    place.vanish(crm_id)
    place.sync()
    assert place.state(crm_id) == (False, False)
    assert place.sync(full=True)["contact deleted"] == 1
    assert place.state(crm_id) == (True, False)


def test_records_leave_the_filter_and_enter_it_again(place: Place) -> None:
    crm_id = place.create(last_name="Bo", email="left@x.example", department="Sales")
    place.sync()
    hub_id = place.one("select id from hub.contact where email = 'left@x.example'")
    place.edit(crm_id, department="Legal", last_name="Bob")
    assert place.sync()["contact left"] == 1
    assert place.state(crm_id) == (False, True)
    assert place.one("select last_name from hub.contact where id = %s", hub_id) == "Bo"
    assert place.sync(full=True)["contact left"] == 0
    place.edit(crm_id, department="Support")
    place.sync()
    assert place.state(crm_id) == (False, False)
    assert (
        place.one("select last_name || ' ' || department from hub.contact where id = %s", hub_id)
        == "Bob Support"
    )


def test_an_idle_cycle_makes_at_most_two_calls_for_a_filtered_stream(place: Place) -> None:
    (stream,) = (s for s in place.system.streams if s.entity == "contact")
    place.sync()
    place.sync(hours=0.05)
    before = dict(place.crm.calls)
    with Store(place.url) as store:
        inbound(store, place.crm, stream, Options())
    made = {name: number - before.get(name, 0) for name, number in place.crm.calls.items()}
    assert sum(made.values()) <= 2, made


def test_an_association_that_changes_without_a_trace_is_seen_within_its_time(place: Place) -> None:
    if place.kind != "hubspot":
        pytest.skip("a lookup of Salesforce moves the record's modification time")
    control = place.simulator.control
    control("settings", {"links_touch_records": False})
    companies = [
        str(control("edit", {"object": "companies", "properties": {"name": name}})["id"])
        for name in ("A", "B")
    ]
    crm_id = place.create(last_name="Cy", email="moved@x.example", department="Sales")
    place.sync()
    place.sync(full=True)
    query = "select c.name from hub.contact h left join hub.company c on c.id = h.company where email = 'moved@x.example'"
    assert place.one(query) is None
    stamp = "select modified_at from hubspot.contact where crm_id = %s"
    modified = place.one(stamp, crm_id)
    for company in companies:
        _associate(place, crm_id, company)
        place.sync(hours=2)
        place.sync(hours=2)
        place.sync(hours=2.5)
        assert place.one(query) == {companies[0]: "A", companies[1]: "B"}[company]
    assert place.one(stamp, crm_id) == modified
    before = dict(place.crm.calls)
    place.sync(hours=0.05)
    assert place.crm.calls["associations"] == before["associations"], "nobody's turn"


def _associate(place: Place, contact: str, company: str) -> None:
    """As a person does: the primary company of a contact."""
    path = f"crm/v4/objects/contacts/{contact}/associations/companies/{company}"
    place.crm._transport.request(  # type: ignore[attr-defined]
        "PUT", f"/{path}", family="person", idempotent=True,
        json=[{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}],
    )  # fmt: skip
