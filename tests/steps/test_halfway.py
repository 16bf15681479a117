"""A new record whose association is written in a call of its own, and that call is lost: the record is there, and says
nothing where we sent something. Nobody edited it, so nothing comes into the hub, and the association is sent again."""

from collections.abc import Iterator

import psycopg
import pytest

from crm_sync.core.errors import CrmError
from crm_sync.core.spec import ConnectionSpec, FieldSpec, FieldType, StreamSpec, System, VendorField
from crm_sync.hub import tables, watermark
from crm_sync.hub.migrate import upgrade
from crm_sync.hub.store import Store
from crm_sync.simulators.serve import Simulator, running
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from tests.connectors.hubspot.conftest import field, hasty, stream

COMPANY = stream("company", "companies", field("name", "name"))
CONTACT = stream(
    "contact",
    "contacts",
    field("last_name", "lastname"),
    FieldSpec(
        "company",
        VendorField("association:companies", FieldType.REFERENCE, association="companies"),
        entity="company",
    ),
)
PEOPLE = 3


class Place:
    """A hub with a company and its people, none of whom the account has."""

    def __init__(self, simulator: Simulator, url: str) -> None:
        self.url = url
        self.simulator = simulator
        self.conn = psycopg.connect(url, autocommit=True)
        self.crm = hasty(simulator)
        self.crm.setup([COMPANY, CONTACT], dry_run=False)
        upgrade(url)
        spec = ConnectionSpec("hubspot", "hubspot", {}, (COMPANY, CONTACT), "hubspot.yaml")
        tables.ensure(self.conn, System((spec,), ("company", "contact")))
        with Store(url) as store:
            for one in (COMPANY, CONTACT):
                watermark.advance(store, one, self.crm.now(), full=True)
        self.conn.execute("insert into hub.company (name) values ('Half Way Inn')")
        self.conn.execute(
            "insert into hub.contact (last_name, company) select left(gen_random_uuid()::text, 13), c.id"
            " from hub.company c cross join generate_series(1, %s) i",
            [PEOPLE],
        )
        self.names = {row[0] for row in self.conn.execute("select last_name from hub.contact")}
        self.send(COMPANY)

    def send(self, which: StreamSpec = CONTACT) -> None:
        with Store(self.url) as store:
            outbound(store, self.crm, which, Options())

    def receive(self) -> None:
        with Store(self.url) as store:
            inbound(store, self.crm, CONTACT, Options())
            hub(store, CONTACT, Options())

    def lose_the_association(self) -> None:
        """The contacts are made, and the call that associates them gets no answer and does nothing, however often it is made."""
        match = {"method": "POST", "path": "/associations/.*(create|default)"}
        self.simulator.control("faults", [{"match": match, "limit": 20, "effect": {"drop": "before"}}])
        with pytest.raises(CrmError):
            self.send()
        self.simulator.control("faults", [])
        assert self.at_work() == (PEOPLE, 0)

    def at_work(self) -> tuple[int, int]:
        """How many of our people the account has, and how many of them with a company."""
        told = self.simulator.control("dump/contacts")["records"]
        ours = [r for r in told if r["values"].get("lastname") in self.names]
        return len(ours), sum(bool(r["associations"]) for r in ours)

    def blank(self) -> int:
        """How many have lost their company in the hub, now or in between."""
        [(now, ever)] = self.conn.execute(
            "select (select count(*) from hub.contact where company is null and last_name = any(%s)),"
            " (select count(*) from sync.change where side = 'hub' and field = 'company' and new_value is null)",
            [list(self.names)],
        ).fetchall()
        return now + ever

    def close(self) -> None:
        self.crm.close()
        self.conn.close()


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running("hubspot", records=5) as found:
        found.control("settings", {"burst_private": 100_000, "search_per_second": 100_000})
        yield found


@pytest.fixture
def place(simulator: Simulator, fresh_database_url: str) -> Iterator[Place]:
    found = Place(simulator, fresh_database_url)
    yield found
    found.close()


def test_a_lost_association_is_sent_again(place: Place) -> None:
    place.lose_the_association()
    place.send()
    assert place.blank() == 0
    place.send()
    assert place.at_work() == (PEOPLE, PEOPLE)
    place.receive()
    assert place.blank() == 0
    assert place.conn.execute("select count(*) from sync.dirty").fetchone() == (0,)


def test_what_is_read_before_it_is_sent_again_blanks_nothing(place: Place) -> None:
    place.lose_the_association()
    place.simulator.control("clock", {"advance": 60})
    place.receive()
    assert place.blank() == 0
    for _ in range(2):
        place.send()
        place.receive()
    assert place.blank() == 0
    assert place.at_work()[1] == PEOPLE
