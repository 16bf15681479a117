"""The same ground far away: Salesforce and HubSpot simulated over HTTPS, spoken to by the real connectors, with faults.

acme is the Salesforce, beta the HubSpot; to people and the oracle they look like the accounts in memory, whose names of
objects and fields are translated here. Time goes on by itself, and faults strike by the plans of benchmarks/faults: a
story is the same every time, what becomes of it on the way is not.
"""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from crm_sync.connectors import build
from crm_sync.connectors.memory_account import Habits, Row
from crm_sync.hub.keys import token_keys
from crm_sync.hub.tokens import PostgresTokenStore
from crm_sync.mapping.load import load_texts
from crm_sync.settings import Settings
from crm_sync.simulators.serve import Simulator, start
from tests.machine.ground import Ground

KINDS = {"acme": "salesforce", "beta": "hubspot"}
PLANS = Path(__file__).parents[2] / "benchmarks" / "faults"
PATIENCE = 1.0  # seconds that a client waits for an answer
BEYOND = 1.5  # what takes longer than that in the plans, takes so long here
ADMINISTRATORS = ("remove", "hide", "retype", "rename", "retire")
"""Acts of the plans that take something away on the real clock; people of the stories do such things themselves."""

THEIRS: Mapping[str, Mapping[str, str]] = {
    "acme": {"Contact": "Contact", "Account": "Account", "Name": "Name", "Email": "Email", "FirstName": "FirstName",
             "LastName": "LastName", "Phone": "Phone", "City": "MailingCity", "Title": "Title"},
    "beta": {"Contact": "contacts", "Account": "companies", "Name": "name", "Email": "email", "FirstName": "firstname",
             "LastName": "lastname", "Phone": "phone", "City": "city", "Title": "jobtitle"},
}  # fmt: skip
"""Their names for the objects and fields of the accounts in memory."""

_HEAD = {
    "acme": """
kind: salesforce
host: {url}
ca_bundle: {ca}
api_version: "62.0"
default_region: US
bulk_query_above: 12
bulk_write_above: 12
page_size: 200
guard: {{blanks: off}}
auth:
  grant: refresh_token
  client_id: {{env: ACME_CLIENT_ID}}
  client_secret: {{env: ACME_CLIENT_SECRET}}
  refresh_token: {{env: ACME_REFRESH_TOKEN}}
""",
    "beta": """
kind: hubspot
base_url: {url}
ca_bundle: {ca}
api_version: "2026-03"
default_region: US
guard: {{blanks: off}}
auth:
  grant: refresh_token
  client_id: {{env: BETA_CLIENT_ID}}
  client_secret: {{env: BETA_CLIENT_SECRET}}
  refresh_token: {{env: BETA_REFRESH_TOKEN}}
""",
}
_ENTITIES = """
entities:
  company:
    object: {Account}
    match: [[name]]
    fields:
      name: {{field: {Name}, required: true}}
  contact:
    object: {Contact}
    match: [[email]]
    fields:
      email: {{field: {Email}, type: email}}
      first_name: {FirstName}
      last_name: {{field: {LastName}, policy: crm_wins, required: true}}
      phone: {{field: {Phone}, type: phone, policy: manual}}
      city: {{field: {City}, policy: hub_wins}}
      title: {{field: {Title}, policy: prefer_crm_unless_blank}}
"""

FAKES = """
drop schema if exists fake cascade;
create schema fake;
create table fake.clock (t interval not null);
insert into fake.clock values ('0');
create function fake.now() returns timestamptz stable language sql as 'select pg_catalog.now() + t from fake.clock';
create function fake.clock_timestamp() returns timestamptz volatile language sql
  as 'select pg_catalog.clock_timestamp() + t from fake.clock';
create sequence fake.ids;
create function fake.gen_random_uuid() returns uuid volatile language sql as 'select pg_catalog.gen_random_uuid()';
create table if not exists public.seen (connection text, value text);
create or replace function public.watch() returns trigger language plpgsql as $$ begin
  insert into public.seen select tg_table_schema, v
    from unnest(array[new.first_name, new.last_name, new.phone, new.city, new.title]) v where v is not null;
  return null; end $$;
create or replace trigger watch after insert or update on acme.contact for each row execute function public.watch();
create or replace trigger watch after insert or update on beta.contact for each row execute function public.watch();
"""
"""The clock goes on, ahead of the real one; and a memory of everything that the mirrors ever held."""


class FarAccount:
    """A simulated CRM, as people and the oracle see it. Their own names go in and out."""

    def __init__(self, name: str, simulator: Simulator) -> None:
        self.habits = Habits()
        self._name = name
        self._simulator = simulator
        self._theirs = THEIRS[name]
        self._held: dict[str, dict[str, Row]] | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Everything is looked at once: nothing changes within the block."""
        self._held = {}
        try:
            yield
        finally:
            self._held = None

    def rows(self, object_name: str) -> list[Row]:
        return [row for row in self._all(object_name).values() if not row.deleted]

    def row(self, object_name: str, crm_id: str) -> Row:
        return self._all(object_name)[crm_id]

    def deleted(self, object_name: str) -> list[Row]:
        return [row for row in self._all(object_name).values() if row.deleted and row.merged_into is None]

    def person_create(self, object_name: str, values: Mapping[str, str | None]) -> str:
        return str(self._edit(object_name, None, values))

    def person_edit(self, object_name: str, crm_id: str, values: Mapping[str, str | None]) -> None:
        self._edit(object_name, crm_id, values)

    def person_delete(self, object_name: str, crm_id: str) -> None:
        self._do(object_name, crm_id, "delete", "archive")

    def person_restore(self, object_name: str, crm_id: str) -> None:
        self._do(object_name, crm_id, "undelete", "restore")

    def _do(self, object_name: str, crm_id: str, operation: str, act: str) -> None:
        told = {"object": self._theirs[object_name], "id": crm_id}
        if self._name == "acme":
            self._simulator.control("edit", {**told, "operation": operation})
        else:
            self._simulator.control(f"do/{act}", told)

    def _edit(self, object_name: str, crm_id: str | None, values: Mapping[str, str | None]) -> str:
        told: dict[str, Any] = {"object": self._theirs[object_name]}
        if crm_id is not None:
            told["id"] = crm_id
        theirs = {self._theirs[name]: value for name, value in values.items()}
        if self._name == "acme":
            told["fields"] = theirs
            return str(self._simulator.control("edit", {"edits": [told]})["ids"][0])
        told["properties"] = {name: value or "" for name, value in theirs.items()}
        return str(self._simulator.control("edit", told)["id"])

    def _all(self, object_name: str) -> dict[str, Row]:
        """Every record, deleted ones too, in order of creation."""
        if self._held is not None and object_name in self._held:
            return self._held[object_name]
        theirs = self._theirs.get(object_name)
        if theirs is None:  # these stories know no leads
            return {}
        if self._name == "acme":
            told = self._simulator.control(f"records?object={theirs}&deleted=true")
            found = [self._of_salesforce(record) for record in told["records"]]
        else:
            told = self._simulator.control(f"dump/{theirs}")
            found = [self._of_hubspot(record) for record in told["records"]]
        rows = {row.id: row for row in sorted(found, key=lambda row: (len(row.id), row.id))}
        if self._held is not None:
            self._held[object_name] = rows
        return rows

    def _of_salesforce(self, record: Mapping[str, Any]) -> Row:
        at = datetime.fromisoformat(str(record["SystemModstamp"]).replace("+0000", "+00:00"))
        values = self._ours(record)
        merged = record.get("MasterRecordId")
        return Row(record["Id"], values, at, at, deleted=bool(record["IsDeleted"]), merged_into=merged)

    def _of_hubspot(self, record: Mapping[str, Any]) -> Row:
        at = datetime.fromisoformat(str(record["modified"]))
        values = self._ours(record["values"])
        return Row(record["id"], values, at, at, deleted=record["archived"] is not None)

    def _ours(self, values: Mapping[str, Any]) -> dict[str, str | None]:
        return {
            ours: None if values.get(theirs) in (None, "") else str(values[theirs])
            for ours, theirs in self._theirs.items()
        }


class FarGround(Ground):
    """Two simulators for each story, and a database whose clock goes on."""

    fakes = FAKES
    vendor: Mapping[str, Mapping[str, str]] = {
        "company": {"name": "Name"},
        "contact": {"email": "Email", "first_name": "FirstName", "last_name": "LastName", "phone": "Phone", "city": "City",
                    "title": "Title"},
    }  # fmt: skip
    required = frozenset({"last_name"})

    def __init__(self, url: str) -> None:
        self.ahead_of_us = timedelta()
        self.folder = Path(tempfile.mkdtemp(prefix="crm_sync-machine-"))
        self.simulators: dict[str, Simulator] = {}
        self._simulate()
        super().__init__(url)

    def _system(self) -> Any:
        return load_texts(
            {
                f"{name}.yaml": _HEAD[name].format(url=s.base_url, ca=s.ca_file)
                + _ENTITIES.format(**THEIRS[name])
                for name, s in self.simulators.items()
            }
        )

    @property
    def time(self) -> datetime:  # type: ignore[override]
        return datetime.now(UTC) + self.ahead_of_us

    @time.setter
    def time(self, _: datetime) -> None:
        """It goes on by itself."""

    def _simulate(self) -> None:
        """New simulators, their faults on."""
        self._stop()
        env = {}
        for name, kind in KINDS.items():
            plan = _plan(kind)
            begin = self.folder / f"{name}.json"
            begin.write_text(json.dumps({"settings": {"clock_skew": plan["settings"]["clock_skew"]}}))
            self.simulators[name] = start(kind, "--records", "0", "--seed", "1", "--faults", str(begin))
            for secret in ("client_id", "client_secret", "refresh_token"):
                env[f"{name}_{secret}".upper()] = str(self.simulators[name].info[secret])
        self.simulators["beta"].control(
            "settings", {"burst_private": 10**6, "burst_oauth": 10**6, "search_per_second": 10**6}
        )
        self.env = env

    def _accounts(self) -> None:
        self.ahead_of_us = timedelta()
        self.conn.execute("update fake.clock set t = '0'; truncate public.seen")
        if self.begun:
            self._simulate()
        self.begun = True
        self.system = self._system()
        self.accounts = {name: FarAccount(name, s) for name, s in self.simulators.items()}  # type: ignore[assignment]
        self._connect()
        for spec in self.system.connections:
            self.crms[spec.name].setup(spec.streams, dry_run=False)
        for name, kind in KINDS.items():
            self.simulators[name].control("faults", _plan(kind))

    begun = False

    def _connect(self) -> None:
        keys = token_keys(Settings.from_env({"CRM_SYNC_HOME": str(self.folder)}))
        tokens = PostgresTokenStore(
            self.url, keys
        )  # as in a real run: whoever refreshes a login tells the others
        self.crms = {
            spec.name: build.connect(spec, env=self.env, tokens=tokens, timeout=PATIENCE)
            for spec in self.system.connections
        }  # type: ignore[assignment]

    def forget_sessions(self) -> object:
        """A forked process has connections of its own to the CRMs as well."""
        mine = super().forget_sessions(), self.crms
        self._connect()
        return mine

    def lagging(self, name: str) -> Any:
        return self.accounts[name]

    def deleted(self, name: str) -> list[Row]:
        return self.accounts[name].deleted("Contact")  # type: ignore[attr-defined, no-any-return]

    def wait(self, seconds: float) -> None:
        if seconds <= 0:
            return
        self.ahead_of_us += timedelta(seconds=seconds)
        for simulator in self.simulators.values():
            simulator.control("clock", {"advance": seconds})
        self.conn.execute("update fake.clock set t = %s", [self.ahead_of_us])

    @contextmanager
    def clocks(self) -> Iterator[None]:
        yield

    def calm(self) -> None:
        """The faults end; what they hit is counted."""
        for name, simulator in self.simulators.items():
            told = simulator.control("faults")
            for rule in told["faults"] if isinstance(told, dict) else told:
                self.hits[f"{KINDS[name]}: {rule['name']}"] += rule["hits"]
            simulator.control("faults", [])
        self.hits = Counter({kind: times for kind, times in self.hits.items() if times})
        self.wait(200)

    def calls(self) -> Mapping[str, Mapping[str, int]]:
        return {name: dict(crm.calls) for name, crm in self.crms.items()}

    def writes(self) -> int:
        """What reached the CRMs, ours and people's."""
        return int(self.simulators["acme"].control("stats")["writes"])

    @contextmanager
    def looking(self) -> Iterator[None]:
        with self.accounts["acme"].held(), self.accounts["beta"].held():  # type: ignore[attr-defined]
            yield

    def close(self) -> None:
        super().close()
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _stop(self) -> None:
        for simulator in self.simulators.values():
            simulator.stop()


def _plan(kind: str) -> dict[str, Any]:
    """A CRM's plan, its times shortened to our patience; a clock that is behind ours stays so."""
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(PLANS / f"{kind}.yaml")
    faults = []
    for fault in found["faults"]:
        effect = fault.get("effect", {})
        act = effect.get("act", {})
        if any(name in act for name in ADMINISTRATORS):
            continue
        for name in ("stall", "delay", "mute", "late"):
            if name in effect and effect[name] > PATIENCE:
                effect[name] = BEYOND
        faults.append(fault)
    return {**found, "faults": faults}
