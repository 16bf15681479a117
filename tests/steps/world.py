"""A small world for the tests of the steps: a hub and memory CRMs, synced by the real steps on a real Postgres."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import psycopg

from crm_sync.connectors.crm import FieldInfo
from crm_sync.connectors.memory import MemoryCrm
from crm_sync.connectors.memory_account import MemoryAccount
from crm_sync.core.spec import System
from crm_sync.hub import tables
from crm_sync.hub.migrate import upgrade
from crm_sync.hub.store import Store
from crm_sync.mapping.load import load_texts
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound

CONNECTION = """
kind: memory
entities:
  company:
    object: Account
    external_id: Hub_Id
    match: [[website], [name]]
    fields:
      name: Name
      website: {field: Website, type: url}
      revenue: {field: Revenue, type: number, scale: 2}
  contact:
    object: Contact
    match: [[email]]
    external_id: Hub_Id
    fields:
      first_name: FirstName
      last_name: LastName
      email: {field: Email, type: email}
      phone: {field: Phone, type: phone, policy: manual}
      stage: {field: Stage, type: picklist, values: {lead: New, tour: Appointment, qualified: Appointment, won: Won}}
      interests: {field: Interests, type: multipicklist}
      born: {field: Born, type: date}
      next_call: {field: NextCall, type: datetime}
      opted_out: {field: OptedOut, type: boolean}
      company: {field: AccountId, type: reference, entity: company}
      full_name: {computed: "{first_name} {last_name}", field: FullName}
"""


class World:
    """The hub at `url` and one memory CRM per name; `sync` runs all steps of one connection. text: the connection file
    of all, or of each by its name."""

    def __init__(
        self, url: str, names: tuple[str, ...] = ("acme",), text: str | Mapping[str, str] = CONNECTION
    ) -> None:
        self.url = url
        self.time = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
        self.system: System = load_texts(
            {f"{name}.yaml": text if isinstance(text, str) else text[name] for name in names}
        )
        self.accounts = {
            name: MemoryAccount(clock=lambda: self.time, fields=self._fields()) for name in names
        }
        self.crms = {name: MemoryCrm(self.accounts[name], name=name) for name in names}
        upgrade(url)
        self.conn = psycopg.connect(url, autocommit=True)
        tables.ensure(self.conn, self.system)

    def _fields(self) -> dict[str, list[FieldInfo]]:
        """Every mapped field exists; the last name is required, the first name short."""
        found: dict[str, list[FieldInfo]] = {}
        for stream in self.system.streams:
            names = [*stream.vendor_fields, stream.external_id or ""]
            found[stream.object] = [FieldInfo(n, n, "string", True, True, n == "LastName", 20 if n == "FirstName" else None)
                                    for n in names]  # fmt: skip
        return found

    def wait(self, **delta: float) -> None:
        self.time += timedelta(**delta)

    def sync(self, name: str = "acme", *entities: str, **flags: object) -> dict[str, Report]:
        """One run of a connection; reports by `inbound contact`, `hub contact`, ..."""
        options = Options(**flags)  # type: ignore[arg-type]
        reports: dict[str, Report] = {}
        with Store(self.url, dry_run=options.dry_run, run_id=f"run-{self.time:%H%M%S}") as store:
            for entity in entities or self.system.entities:
                stream = self.system.stream(name, entity)
                reports[f"inbound {entity}"] = inbound(store, self.crms[name], stream, options)
                for each in self.system.of_entity(entity):
                    reports[f"hub {entity} {each.connection}"] = hub(store, each, options)
                    reports[f"conflicts {entity} {each.connection}"] = conflicts(store, each)
                reports[f"outbound {entity}"] = outbound(store, self.crms[name], stream, options)
        return reports

    def hub(self, entity: str, column: str = "*") -> list[dict[str, object]]:
        with self.conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            return cursor.execute(f"select {column} from hub.{entity} order by created_at, id").fetchall()  # type: ignore[arg-type]

    def one(self, query: str, *args: object) -> object:
        row = self.conn.execute(query, args).fetchone()  # type: ignore[arg-type]
        return None if row is None else row[0]

    def writes(self, name: str = "acme") -> int:
        return sum(n for family, n in self.crms[name].calls.items() if "write" in family)

    def close(self) -> None:
        self.conn.close()
