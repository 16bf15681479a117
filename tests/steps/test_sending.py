"""However sending ends, the calls are closed: no thread of a connector goes on calling behind our back.

A simulated HubSpot over TLS, which is written to in many calls side by side, and a real Postgres that fails at a chosen
moment.
"""

import threading
from collections.abc import Iterator

import psycopg
import pytest

from crm_sync.core.spec import ConnectionSpec, FieldType, System
from crm_sync.hub import tables, watermark
from crm_sync.hub.migrate import upgrade
from crm_sync.hub.store import Store
from crm_sync.simulators.serve import Simulator, running
from crm_sync.steps import answers, sending
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound
from tests.connectors.hubspot.conftest import field, hasty, stream

CONTACT = stream(
    "contact", "contacts", field("last_name", "lastname"), field("email", "email", FieldType.EMAIL)
)
PARCEL, CALL = 20, 2  # records
CALLS = PARCEL // CALL


class Place:
    """A hub with as many contacts as two parcels hold, and an account that has none of them and takes its time."""

    def __init__(self, simulator: Simulator, url: str) -> None:
        self.url = url
        self.simulator = simulator
        self.conn = psycopg.connect(url, autocommit=True)
        self.threads = set(threading.enumerate())
        self.crm = hasty(simulator)
        self.crm.plan = PARCEL
        self.crm.setup([CONTACT], dry_run=False)
        upgrade(url)
        spec = ConnectionSpec("hubspot", "hubspot", {}, (CONTACT,), "hubspot.yaml")
        tables.ensure(self.conn, System((spec,), ("contact",)))
        with Store(url) as store:
            watermark.advance(store, CONTACT, self.crm.now(), full=True)
        self.conn.execute(
            "insert into hub.contact (last_name, email) select 'Name ' || i, md5(random()::text) || '@x.example'"
            " from generate_series(1, %s) i",
            [2 * PARCEL],
        )
        simulator.control("faults", [{"match": {"path": "/batch/upsert"}, "effect": {"delay": 0.1}}])

    def fail(self, event: str, condition: str) -> None:
        """From now on Postgres refuses to note intents (insert), or to record answers (delete), when this holds."""
        self.conn.execute(
            "create function fail() returns trigger language plpgsql as $$ begin"  # type: ignore[arg-type]
            f" if {condition} then raise 'now it fails'; end if; return null; end $$;"
            f" create trigger failing before {event} on sync.intent for each statement execute function fail()"
        )

    def recover(self) -> None:
        self.conn.execute("drop trigger failing on sync.intent")

    def send(self) -> Report:
        with Store(self.url) as store:
            return outbound(store, self.crm, CONTACT, Options(batch_size=CALL))

    @property
    def calls(self) -> int:
        return self.crm.calls.get("batch_write", 0)

    def under_way(self) -> list[str]:
        """Threads of the connector."""
        return [t.name for t in set(threading.enumerate()) - self.threads if t.name.startswith("batches")]

    def theirs(self) -> list[str]:
        """The e-mail addresses of our people in the account, once for each record."""
        dumped = self.simulator.control("dump/contacts")["records"]
        ours = {row[0] for row in self.conn.execute("select email from hub.contact")}
        return sorted(e for r in dumped if (e := r["values"].get("email")) in ours)

    def ours(self) -> list[str]:
        return sorted(row[0] for row in self.conn.execute("select email from hub.contact"))

    def close(self) -> None:
        self.crm.close()
        self.conn.close()
        self.simulator.control("faults", [])


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running("hubspot", records=10) as found:
        found.control("settings", {"burst_private": 100_000})
        yield found


@pytest.fixture
def place(simulator: Simulator, fresh_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Parcels are large: the second begins before the answers of the first are recorded, and a few are recorded at a
    time."""
    for module in (sending, answers):
        monkeypatch.setattr(module, "READ_BACK", PARCEL // 4)
    found = Place(simulator, fresh_database_url)
    yield found
    found.close()


BEGUN = f"(select count(*) from sync.intent) > {PARCEL}"  # the second parcel, and not all of the first is recorded
RECORDED = f"(select count(*) from hubspot.contact_base) > {PARCEL}"  # the first, and something of the second


def test_two_parcels_that_nothing_happens_to(place: Place) -> None:
    assert place.send().counts["created"] == 2 * PARCEL
    assert place.calls == 2 * CALLS
    assert place.theirs() == place.ours()
    assert not place.under_way()


@pytest.mark.parametrize(
    ("event", "condition", "most"),
    [
        ("delete", "true", CALLS),
        ("insert", "exists (select from sync.intent)", CALLS),
        ("delete", BEGUN, 2 * CALLS),
        ("delete", RECORDED, 2 * CALLS),
    ],
    ids=["the first answers", "the next plan", "the answers before", "the last answers"],
)
def test_whatever_fails_the_calls_end(place: Place, event: str, condition: str, most: int) -> None:
    place.fail(event, condition)
    with pytest.raises(psycopg.errors.RaiseException, match="now it fails") as caught:
        place.send()
    assert not place.under_way(), "though the error, and with it all that was going on, is still there"
    assert caught.tb
    assert 1 <= place.calls <= most
    ends_well(place)


def test_a_small_parcel_does_not_begin_before_the_one_before_is_recorded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "READ_BACK", PARCEL)
    place.fail("delete", BEGUN)
    with pytest.raises(psycopg.errors.RaiseException, match="now it fails"):
        place.send()
    assert place.calls == CALLS
    ends_well(place)


def ends_well(place: Place) -> None:
    """The next run loses nothing and makes nobody twice."""
    place.recover()
    place.send()
    assert place.theirs() == place.ours()
    assert place.conn.execute("select count(*) from sync.intent").fetchone() == (0,)
