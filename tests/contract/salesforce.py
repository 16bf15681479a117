"""Salesforce's simulator as the tests see it: the streams, a person with a browser, connectors to it."""

import time
from pathlib import Path
from typing import Any

import httpx

from crm_sync.connectors.build import Options
from crm_sync.connectors.crm import TokenStore
from crm_sync.connectors.http import TransportSettings
from crm_sync.connectors.oauth import BearerAuth, MemoryTokenStore
from crm_sync.connectors.salesforce import login
from crm_sync.connectors.salesforce.crm import SalesforceCrm, Thresholds
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec, VendorField

T = FieldType
VERSION = "62.0"


def field(name, vendor, kind=T.STRING, **more):
    return FieldSpec(name, VendorField(vendor, kind), **more)


def stream(entity, object_name, *fields, **more):
    return StreamSpec(
        "salesforce", "salesforce", entity, object_name, fields, external_id="crm_sync_id__c", **more
    )


COMPANY = field("company", "AccountId", T.REFERENCE, entity="company")
STREAMS = {
    "company": stream("company", "Account", field("name", "Name"), field("phone", "Phone", T.PHONE)),
    "contact": stream(
        "contact",
        "Contact",
        field("first_name", "FirstName"),
        field("last_name", "LastName"),
        field("email", "Email", T.EMAIL),
        field("notes", "Description"),
        field("opted_out", "Opted_Out__c", T.BOOLEAN),
        field("born", "Birthdate", T.DATE),
        field("call_at", "Next_Call__c", T.DATETIME),
        field("interests", "Interests__c", T.MULTIPICKLIST, to_crm={"m": "Mobile", "a": "Analytics"}),
        COMPANY,
    ),
    "deal": stream(
        "deal",
        "Opportunity",
        field("name", "Name"),
        field("amount", "Amount", T.NUMBER),
        field("close_date", "CloseDate", T.DATE),
        field("stage", "StageName", T.PICKLIST, to_crm={"won": "Closed Won", "new": "Prospecting"}),
        COMPANY,
    ),
}


class Person:
    """Somebody who uses Salesforce past the connector: plain REST, and the merge button."""

    def __init__(self, simulator: Any) -> None:
        self._control = simulator.control
        self._http = httpx.Client(
            base_url=f"{simulator.base_url}/services/data/v{VERSION}/sobjects/",
            verify=login_context(simulator),
            headers={"Authorization": f"Bearer {simulator.info['access_token']}"},
        )

    def create(self, object_name, values):
        told = {name: value for name, value in values.items() if value is not None}
        return self._call("POST", object_name, told).json()["id"]

    def update(self, object_name, crm_id, values):
        self._call("PATCH", f"{object_name}/{crm_id}", dict(values))

    def delete(self, object_name, crm_id):
        self._call("DELETE", f"{object_name}/{crm_id}")

    def merge(self, object_name, winner, loser):
        self._control("merge", {"object": object_name, "master": winner, "losers": [loser]})
        return winner

    def close(self):
        self._http.close()

    def _call(self, method, path, body=None):
        response = self._http.request(method, path, json=body)
        assert response.is_success, response.text
        return response


def login_context(simulator: Any) -> Any:
    from crm_sync.connectors import tls

    return tls.context(Path(simulator.ca_file))


def connector(
    simulator: Any,
    thresholds: Thresholds | None = None,
    *,
    tokens: TokenStore | None = None,
    settings: TransportSettings | None = None,
    version: str = VERSION,
    **auth: Any,
) -> SalesforceCrm:
    """A connector to the simulator; by its ready-made access token unless `auth` says how to log in."""
    auth = auth or {"grant": "access_token", "access_token": simulator.info["access_token"]}
    options = Options("salesforce.yaml", {"host": simulator.base_url, "auth": auth})
    settings = settings or TransportSettings(ca_bundle=Path(simulator.ca_file))
    grant = login.grant("salesforce", options, settings)
    bearer = BearerAuth("salesforce", tokens or MemoryTokenStore(), grant, settings.clock)
    return SalesforceCrm("salesforce", bearer, settings, api_version=version, thresholds=thresholds)


def next_second() -> None:
    """Salesforce stamps whole seconds: what is done after this has a later stamp than what was done before."""
    time.sleep(1.001 - time.time() % 1)
