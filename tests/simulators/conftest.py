"""A running Salesforce simulator, and clients that trust it."""

import ssl

import httpx
import pytest
import requests

from crm_sync.simulators.serve import running


@pytest.fixture(scope="session")
def salesforce_process():
    """One simulated org for the whole session, with few records."""
    with running("salesforce", records=500) as simulator:
        yield simulator


@pytest.fixture
def salesforce(salesforce_process):
    """The org with its ordinary settings and no faults, which are put back after the test."""
    settings = salesforce_process.control("settings")
    yield salesforce_process
    salesforce_process.control("settings", settings)
    salesforce_process.control("faults", [])


@pytest.fixture
def http(salesforce):
    """httpx that trusts the simulator's certificate authority, not logged in."""
    context = ssl.create_default_context(cafile=salesforce.ca_file)
    with httpx.Client(verify=context, base_url=salesforce.base_url, timeout=30) as client:
        yield client


@pytest.fixture
def api(salesforce, http):
    """httpx below the newest version's address, logged in."""
    http.headers["Authorization"] = f"Bearer {salesforce.control('tokens', {})['access_token']}"
    http.base_url = f"{salesforce.base_url}/services/data/v68.0"
    return http


@pytest.fixture
def trusting(salesforce):
    """A requests session for clients that want one."""
    with requests.Session() as session:
        session.verify = salesforce.ca_file
        session.trust_env = False  # or REQUESTS_CA_BUNDLE, where it is set, would win over verify
        yield session
