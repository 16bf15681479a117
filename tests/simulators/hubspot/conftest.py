"""One simulator process per module, and two ways to talk to it: HubSpot's own SDK and plain HTTP."""

import ssl

import httpx
import pytest
from hubspot import HubSpot

from crm_sync.simulators.serve import running


@pytest.fixture(scope="module")
def sim():
    with running("hubspot", records=300, seed=3) as simulator:
        simulator.control("settings", {"burst_private": 1_000_000, "search_per_second": 1_000_000})
        yield simulator


def _connect(sim):
    context = ssl.create_default_context(cafile=sim.ca_file)
    headers = {"Authorization": f"Bearer {sim.info['access_token']}"}
    return httpx.Client(base_url=sim.base_url, verify=context, headers=headers, timeout=30)


@pytest.fixture(scope="session")
def connect():
    """Makes an httpx client of a simulator, with the private app's token; paths are relative to it."""
    return _connect


@pytest.fixture(scope="module")
def api(sim):
    with _connect(sim) as client:
        yield client


@pytest.fixture(scope="module")
def sdk(sim):
    """hubspot-api-client, unmodified."""
    return HubSpot(access_token=sim.info["access_token"], host=sim.base_url, ssl_ca_cert=sim.ca_file)


@pytest.fixture
def settings(sim):
    """Change settings for one test."""
    before = sim.control("settings")
    yield lambda **changes: sim.control("settings", changes)
    sim.control("settings", before)
