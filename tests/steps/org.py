"""A hub and a simulated Salesforce, synced by the real steps over TLS."""

import time
from pathlib import Path
from typing import Any

import psycopg

from crm_sync.connectors.http import TransportSettings
from crm_sync.connectors.salesforce.crm import SalesforceCrm, Thresholds
from crm_sync.core.spec import ConnectionSpec, StreamSpec, System
from crm_sync.hub import tables, watermark
from crm_sync.hub.migrate import upgrade
from crm_sync.hub.store import Store
from crm_sync.simulators.serve import Simulator
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound
from tests.contract import salesforce

STREAM = salesforce.stream("contact", "Contact", *salesforce.STREAMS["contact"].columns[:6])


class Place:
    """A hub with contacts, and an organisation that has few of its own."""

    def __init__(self, org: Simulator, url: str, above: int, stream: StreamSpec = STREAM) -> None:
        self.org = org
        self.stream = stream
        self.url = url
        self.conn = psycopg.connect(url, autocommit=True)
        settings = TransportSettings(
            ca_bundle=Path(str(org.ca_file)), sleep=lambda seconds: time.sleep(min(seconds, 0.05))
        )
        login = {name: org.info[name] for name in ("client_id", "client_secret", "refresh_token")}
        self.crm: SalesforceCrm = salesforce.connector(
            org, Thresholds(bulk_query_above=500, bulk_write_above=above), settings=settings,
            grant="refresh_token", **login,
        )  # fmt: skip
        connection = ConnectionSpec("salesforce", "salesforce", {}, (stream,), "salesforce.yaml")
        upgrade(url)
        tables.ensure(self.conn, System((connection,), ("contact",)))
        org.control("clock", {"advance": 3600})  # what other tests wrote is long ago
        with Store(url) as store:
            watermark.advance(store, stream, self.crm.now(), full=True)

    def people(self, number: int, *, refused: int = 0) -> None:
        """New contacts in the hub; every so-and-so-many is called Refused."""
        self.conn.execute(
            "insert into hub.contact (first_name, last_name, email, notes) select case when %(refused)s > 0"
            " and i %% greatest(%(refused)s, 1) = 0 then 'Refused' else 'Ann' end, 'Name ' || i,"
            " 'p' || i || '-' || left(md5(random()::text), 8) || '@x.example', 'a, \"b\"' || chr(10) || 'c'"
            " from generate_series(1, %(number)s) i",
            {"number": number, "refused": refused},
        )

    def send(self) -> Report:
        with Store(self.url, run_id="run") as store:
            return outbound(store, self.crm, self.stream, Options())

    def sync(self) -> dict[str, Report]:
        with Store(self.url, run_id="run") as store:
            return {
                "inbound": inbound(store, self.crm, self.stream, Options()),
                "hub": hub(store, self.stream, Options()),
                "conflicts": conflicts(store, self.stream),
                "outbound": outbound(store, self.crm, self.stream, Options()),
            }

    def one(self, query: str) -> Any:
        row = self.conn.execute(query).fetchone()  # type: ignore[arg-type]
        return row[0] if row else None

    def theirs(self) -> dict[str, tuple[str | None, ...]]:
        """What the organisation holds of ours, by hub id. Fails if a record is there twice."""
        dumped = self.org.control("records?object=Contact")["records"]
        found = [r for r in dumped if r.get("crm_sync_id__c") and not r.get("IsDeleted")]
        ours = {str(row[0]) for row in self.conn.execute("select id from hub.contact").fetchall()}
        mine = [r for r in found if r["crm_sync_id__c"] in ours]
        by_key = {r["crm_sync_id__c"]: (r["FirstName"], r["LastName"], r["Email"]) for r in mine}
        assert len(by_key) == len(mine), "a record is there twice"
        return by_key

    def ours(self) -> dict[str, tuple[str | None, ...]]:
        rows = self.conn.execute("select id::text, first_name, last_name, email from hub.contact").fetchall()
        return {row[0]: row[1:] for row in rows}
