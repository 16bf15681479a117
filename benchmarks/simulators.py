"""How fast the simulated accounts themselves are, so that no figure of ours is one of theirs.

A client that throws everything away reads from an account in a process of its own: a Bulk query's result from
Salesforce, the pages of a list from HubSpot.
"""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from benchmarks.figures import Speed
from benchmarks.ground import account
from benchmarks.place import HUBSPOT_VERSION, SALESFORCE_VERSION
from crm_sync.simulators.serve import Simulator

CONTACTS = 1_000_000
PAGES = 1_000
CALL = 100
SALESFORCE_FIELDS = (
    "Id, FirstName, LastName, Email, Phone, Title, AccountId, MailingCity, CreatedDate, SystemModstamp"
)
HUBSPOT_FIELDS = "firstname,lastname,email,phone,jobtitle,city,lastmodifieddate"


def speeds(advance: Callable[[str], None], contacts: int = CONTACTS, pages: int = PAGES) -> list[Speed]:
    """Until it is ready, a Bulk query, a list; of so many contacts of Salesforce and pages of HubSpot's."""
    found = []
    begun = time.monotonic()
    with account("salesforce", contacts) as simulator:
        found.append(
            Speed(
                f"Salesforce, {contacts:,} contacts: seconds until it is ready",
                time.monotonic() - begun,
                most=20,
            )
        )
        advance("ready")
        found.append(Speed("Salesforce, Bulk query of them: MB/s", _bulk(simulator), least=60))
        advance("bulk")
    with account("hubspot", pages * CALL) as simulator:
        found.append(Speed("HubSpot, list: pages of 100 a second", _list(simulator), least=300))
        advance("list")
    return found


def _bulk(simulator: Simulator) -> float:
    """MB a second of the result, as it is after decoding; without the time of the job itself."""
    with _client(simulator, f"/services/data/v{SALESFORCE_VERSION}/jobs/query") as http:
        query = f"SELECT {SALESFORCE_FIELDS} FROM Contact"
        job = http.post("", json={"operation": "query", "query": query}).raise_for_status().json()["id"]
        while http.get(f"/{job}").raise_for_status().json()["state"] != "JobComplete":
            time.sleep(0.05)
        size, locator, begun = 0, "", time.monotonic()
        while locator != "null":
            parameters = {"locator": locator} if locator else {}
            with http.stream("GET", f"/{job}/results", params=parameters) as answer:
                answer.raise_for_status()
                size += sum(len(chunk) for chunk in answer.iter_bytes(1 << 18))
                locator = answer.headers.get("Sforce-Locator", "null")
        return size / 1e6 / (time.monotonic() - begun)


def _list(simulator: Simulator) -> float:
    """Pages a second, one after the other."""
    with _client(simulator, f"/crm/objects/{HUBSPOT_VERSION}/contacts") as http:
        parameters = {"limit": str(CALL), "properties": HUBSPOT_FIELDS}
        pages, begun = 0, time.monotonic()
        while True:
            answer = http.get("", params=parameters).raise_for_status().json()
            pages += 1
            if "paging" not in answer:
                return pages / (time.monotonic() - begun)
            parameters["after"] = answer["paging"]["next"]["after"]


@contextmanager
def _client(simulator: Simulator, path: str) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"{simulator.base_url}{path}",
        headers={"Authorization": f"Bearer {simulator.info['access_token']}"},
        verify=ssl.create_default_context(cafile=simulator.ca_file),
        timeout=600,
    ) as client:
        yield client
