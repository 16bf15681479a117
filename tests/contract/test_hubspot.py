"""HubSpot's connector against its simulator, over TLS: the contract."""

from pathlib import Path
from typing import ClassVar

import pytest

from crm_sync.connectors.build import Options
from crm_sync.connectors.http import TransportSettings
from crm_sync.connectors.hubspot.crm import connect
from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec, VendorField
from crm_sync.simulators.serve import running
from tests.contract.suite import CrmContract

T = FieldType


def field(name, vendor, kind=T.STRING, **more):
    return FieldSpec(name, VendorField(vendor, kind), **more)


def stream(entity, object_name, *fields):
    company = FieldSpec(
        "company",
        VendorField("association:companies", T.REFERENCE, association="companies"),
        entity="company",
    )
    references = () if entity == "company" else (company,)
    return StreamSpec(
        "hubspot", "hubspot", entity, object_name, (*fields, *references), external_id="crm_sync_id"
    )


STREAMS = {
    "company": stream(
        "company", "companies", field("name", "name"), field("staff", "numberofemployees", T.NUMBER)
    ),
    "contact": stream(
        "contact",
        "contacts",
        field("first_name", "firstname"),
        field("last_name", "lastname"),
        field("email", "email", T.EMAIL),
        field("notes", "notes_text"),
        field("opted_out", "opted_out", T.BOOLEAN),
        field("born", "birth_date", T.DATE),
        field("call_at", "next_call_at", T.DATETIME),
        field("interests", "interests", T.MULTIPICKLIST, to_crm={"m": "mobile", "s": "security"}),
    ),
    "deal": stream(
        "deal",
        "deals",
        field("name", "dealname"),
        field("amount", "amount", T.NUMBER),
        field("close_date", "closedate", T.DATE),
        field("stage", "dealstage", T.PICKLIST, to_crm={"won": "Closed Won", "new": "Appointment Scheduled"}),
    ),
}


class Person:
    """Somebody who uses HubSpot in a browser."""

    def __init__(self, simulator):
        self._control = simulator.control

    def create(self, object_name, values):
        told = {name: value for name, value in values.items() if value is not None}
        return self._control("edit", {"object": object_name, "properties": told})["id"]

    def update(self, object_name, crm_id, values):
        told = {name: value or "" for name, value in values.items()}
        self._control("edit", {"object": object_name, "id": crm_id, "properties": told})

    def delete(self, object_name, crm_id):
        self._control("do/archive", {"object": object_name, "id": crm_id})

    def merge(self, object_name, winner, loser):
        return self._control("do/merge", {"object": object_name, "primary": winner, "other": loser})["id"]


def connector(simulator, version, token):
    options = Options(
        "hubspot.yaml",
        {
            "base_url": simulator.base_url,
            "api_version": version,
            "auth": {"grant": "access_token", "access_token": token},
        },
    )
    settings = TransportSettings(ca_bundle=Path(simulator.ca_file))
    return connect("hubspot", options, MemoryTokenStore(), settings)


@pytest.fixture(scope="class")
def simulator(request):
    with running("hubspot", records=60) as found:
        found.control("settings", {"burst_private": 100_000, **request.cls.settings})
        yield found


@pytest.fixture(scope="class")
def account(request, simulator):
    made = connector(simulator, request.cls.version, simulator.info["access_token"])
    made.setup(list(STREAMS.values()), dry_run=False)
    yield made
    made.close()


class OnSimulator(CrmContract):
    version = "2026-03"
    settings: ClassVar[dict[str, bool]] = {}

    @pytest.fixture
    def crm(self, account):
        return account

    @pytest.fixture
    def streams(self):
        return STREAMS

    @pytest.fixture
    def person(self, simulator):
        return Person(simulator)

    @pytest.fixture
    def refused(self, simulator):
        made = connector(simulator, self.version, "pat-na1-of-somebody-else")
        yield made
        made.close()


class TestDated(OnSimulator):
    """The default version; merges keep the primary record's id."""


class TestNumbered(OnSimulator):
    """v3 and v4; merges make a new record."""

    version = "v3"
    settings: ClassVar = {"merge_mints_new_id": True}


class TestNext(OnSimulator):
    """The version after, which may refuse whole batches instead of answering in part."""

    version = "2026-09"
    settings: ClassVar = {"partial_answers_on_2026_09": False}
