"""A simulator for each test module, and connectors to it."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from crm_sync.connectors.build import Options
from crm_sync.connectors.http import Transport, TransportSettings
from crm_sync.connectors.hubspot.crm import HubSpotCrm, connect
from crm_sync.connectors.hubspot.errors import classify
from crm_sync.connectors.hubspot.paths import Paths
from crm_sync.connectors.limiter import LocalLimiter
from crm_sync.connectors.oauth import BearerAuth, MemoryTokenStore, StaticToken
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec, VendorField
from crm_sync.simulators.serve import Simulator, running


@pytest.fixture(scope="module")
def simulator():
    with running("hubspot", records=150) as found:
        found.control("settings", {"burst_private": 100_000, "search_per_second": 100_000})
        yield found


@pytest.fixture
def calm(simulator):
    """The simulator, with the settings that it had before put back afterwards, and no faults."""
    before = simulator.control("settings")
    yield simulator
    simulator.control("settings", before)
    simulator.control("faults", [])


@pytest.fixture
def joined(simulator) -> Callable[..., HubSpotCrm]:
    """Makes connectors: joined(search_lag=0, sleep=..., auth={...}, ...)."""
    made: list[HubSpotCrm] = []

    def make(*, sleep: Callable[[float], None] | None = None, tokens=None, **options) -> HubSpotCrm:
        told = {
            "base_url": simulator.base_url,
            "auth": {"grant": "access_token", "access_token": simulator.info["access_token"]},
        }
        settings = TransportSettings(
            ca_bundle=Path(simulator.ca_file or ""), **({"sleep": sleep} if sleep else {})
        )
        crm = connect(
            "hubspot", Options("hubspot.yaml", told | options), tokens or MemoryTokenStore(), settings
        )
        made.append(crm)
        return crm

    yield make
    for crm in made:
        crm.close()


@pytest.fixture(scope="module")
def crm(simulator):
    """A connector that does not hold itself back, with everything set up."""
    made = hasty(simulator)
    made.setup([CONTACT, COMPANY, DEAL], dry_run=False)
    yield made
    made.close()


class UnderWay:
    """How many calls are under way. most: so many were at once."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def counting(self, call: Callable) -> Callable:
        def counted(*args, **more):
            with self._lock:
                self._now += 1
                self.most = max(self.most, self._now)
            try:
                return call(*args, **more)
            finally:
                with self._lock:
                    self._now -= 1

        return counted


@pytest.fixture
def under_way(monkeypatch) -> Callable[[HubSpotCrm], UnderWay]:
    """Counts a connector's calls until the end of the test: what goes on side by side is judged by their number, not
    by the clock."""

    def watch(crm: HubSpotCrm) -> UnderWay:
        found = UnderWay()
        monkeypatch.setattr(crm._transport, "request", found.counting(crm._transport.request))
        return found

    return watch


def hasty(simulator: Simulator) -> HubSpotCrm:
    settings = TransportSettings(ca_bundle=Path(simulator.ca_file or ""))
    token = StaticToken("hubspot", {"access_token": simulator.info["access_token"]})
    transport = Transport(
        "hubspot",
        simulator.base_url,
        settings,
        auth=BearerAuth("hubspot", MemoryTokenStore(), token, settings.clock),
        classify=classify,
        limiter=LocalLimiter(),
    )
    return HubSpotCrm(
        "hubspot",
        transport,
        Paths(),
        search_lag=timedelta(),
        webhook_secret="",
        portal_id=None,
    )


def field(name: str, vendor: str, kind: FieldType = FieldType.STRING) -> FieldSpec:
    return FieldSpec(name, VendorField(vendor, kind))


def reference(name: str, target: str) -> FieldSpec:
    return FieldSpec(
        name, VendorField(f"association:{target}", FieldType.REFERENCE, association=target), entity=name
    )


def stream(entity: str, object_name: str, *fields: FieldSpec, **more) -> StreamSpec:
    rest = {"external_id": "crm_sync_id", **more}
    return StreamSpec("hubspot", "hubspot", entity, object_name, fields, **rest)


COMPANY = stream("company", "companies", field("name", "name"))
CONTACT = stream(
    "contact",
    "contacts",
    field("first_name", "firstname"),
    field("last_name", "lastname"),
    field("email", "email", FieldType.EMAIL),
    reference("company", "companies"),
)
DEAL = stream(
    "deal",
    "deals",
    field("name", "dealname"),
    field("stage", "dealstage", FieldType.PICKLIST),
    field("pipeline", "pipeline", FieldType.PICKLIST),
    reference("company", "companies"),
    reference("contact", "contacts"),
)
