"""The ground on which stories are played: a hub on a real Postgres and two CRM accounts in memory with awkward habits.

acme stamps whole seconds, rewrites phone numbers and updates a record whose external id it knows; beta stamps
milliseconds, writes cities in capitals and makes a second record when it is asked to create one twice. Both show
changes late. The database's clock and its random ids are ours (a schema before pg_catalog in the search path), so
that a seed always tells the same story. Here belong the systems and how they break; not what people do in them
(`story.py`) nor what must hold afterwards (`oracle.py`).
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg

from crm_sync.connectors.crm import BatchPage, FieldInfo, JobLog, Operation, Page, ReadRequest, Result
from crm_sync.connectors.memory import Knobs, MemoryCrm
from crm_sync.connectors.memory_account import Habits, MemoryAccount
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import tables
from crm_sync.hub.migrate import upgrade
from crm_sync.hub.store import Store
from crm_sync.mapping.load import load_texts

OVERLAP = timedelta(seconds=60)
LONGEST_LAG = 40  # seconds
NAMES = ("acme", "beta")
OBJECTS = {"company": "Account", "contact": "Contact"}
STAGES = {"lead": "New", "tour": "Appointment", "qualified": "Appointment", "won": "Won"}
VENDOR = {
    "company": {"name": "Name"},
    "contact": {
        "email": "Email",
        "first_name": "FirstName",
        "last_name": "LastName",
        "phone": "Phone",
        "stage": "Stage",
        "city": "City",
        "title": "Title",
        "company": "AccountId",
        "full_name": "FullName",
    },
}

MAPPING = """
kind: memory
entities:
  company:
    object: Account
    external_id: Hub_Id
    match: [[name]]
    fields:
      name: Name
  contact:
    object: Contact
    external_id: Hub_Id
    match: [[email]]
    fields:
      email: {field: Email, type: email}
      first_name: FirstName
      last_name: {field: LastName, policy: crm_wins}
      phone: {field: Phone, type: phone, policy: manual}
      stage: {field: Stage, type: picklist, values: {lead: New, tour: Appointment, qualified: Appointment, won: Won}}
      city: {field: City, policy: hub_wins}
      title: {field: Title, policy: prefer_crm_unless_blank}
      company: {field: AccountId, type: reference, entity: company}
      full_name: {computed: "{first_name} {last_name}", field: FullName}
"""

FAKES = """
drop schema if exists fake cascade;
create schema fake;
create table fake.clock (t timestamptz not null);
insert into fake.clock values (now());
create function fake.now() returns timestamptz stable language sql as 'select t from fake.clock';
create sequence fake.ids;
create function fake.gen_random_uuid() returns uuid volatile language sql
  as $$ select md5('id ' || nextval('fake.ids'))::uuid $$;
"""


class Killed(Exception):  # noqa: N818 - what happened to the process
    """The process died here: its connection to the database is gone, nothing after this point took place."""


class Fuse:
    """Kills the running process at the n-th place where it could die."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.store: Store | None = None

    def burn(self) -> None:
        if self.left is None or self.store is None:
            return
        self.left -= 1
        if self.left <= 0:
            self.left = None
            self.store.conn.close()
            raise Killed


class FragileStore(Store):
    """A store whose process may die before and after every commit."""

    def __init__(self, url: str, fuse: Fuse, *, dry_run: bool = False) -> None:
        super().__init__(url, dry_run=dry_run, run_id="story")
        self._fuse = fuse
        fuse.store = self

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        with super().transaction() as conn:
            yield conn
            self._fuse.burn()
        self._fuse.burn()


class FragileCrm(MemoryCrm):
    """A client whose process may die between two pages and between a call's effect and its answer; it remembers
    the pages it read last, to repeat them."""

    def __init__(self, account: MemoryAccount, fuse: Fuse, *, name: str, knobs: Knobs) -> None:
        super().__init__(account, name=name, knobs=knobs)
        self.overlap = OVERLAP
        self._fuse = fuse
        self.read: list[tuple[StreamSpec, Page]] = []
        self.before_read_back: Callable[[Sequence[str]], bool] | None = None

    def changed(self, request: ReadRequest, job: JobLog) -> Iterator[Page]:  # type: ignore[override]
        for page in super().changed(request, job):
            self._fuse.burn()
            self.read.append((request.stream, page))
            yield page

    def by_ids(self, stream: StreamSpec, crm_ids: Sequence[str]) -> Iterator[BatchPage]:
        if self.before_read_back is not None and self.before_read_back(crm_ids):
            self.before_read_back = None
        yield from super().by_ids(stream, crm_ids)

    def write(
        self,
        stream: StreamSpec,
        operations: Sequence[Operation],
        job: JobLog,
        *,
        batch_size: int | None = None,
    ) -> Iterator[list[Result]]:
        self._fuse.burn()
        for results in super().write(stream, operations, job, batch_size=batch_size):
            self._fuse.burn()
            yield results


def _phone_of_acme(text: str) -> str:
    digits = "".join(c for c in text if c.isdigit())
    return f"({digits[1:4]}) {digits[4:7]}-{digits[7:]}" if len(digits) == 11 else text


class Ground:
    """Both accounts, the hub, and one clock for all of them. `begin` makes everything new for the next story."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.system = load_texts({f"{name}.yaml": MAPPING for name in NAMES})
        upgrade(url)
        with psycopg.connect(url, autocommit=True) as conn:
            tables.ensure(conn, self.system)
            conn.execute(FAKES)
            for entity in OBJECTS:
                conn.execute(f"alter table hub.{entity} alter id set default fake.gen_random_uuid()")  # type: ignore[arg-type]
            name = conn.info.dbname
            for setting in ("search_path = fake, pg_catalog, public", "synchronous_commit = off"):
                conn.execute(f"alter database {name} set {setting}")  # type: ignore[arg-type]
        self.conn = psycopg.connect(url, autocommit=True)
        self.conn.execute("set lock_timeout = '5s'; set timezone = 'UTC'; set client_min_messages = warning")
        rows = self.conn.execute(
            "select format('%I.%I', table_schema, table_name) from information_schema.tables where table_type ="
            " 'BASE TABLE' and table_schema in ('hub', 'sync', 'review', 'acme', 'beta')"
            " and table_name not in ('stream', 'alembic_version')"
        ).fetchall()
        self._everything = ", ".join(row[0] for row in rows)
        self.begin()

    def begin(self) -> None:
        """Empty the hub, forget everything, set the clocks shortly before midnight; two new accounts."""
        self.conn.execute(f"truncate {self._everything} restart identity cascade")  # type: ignore[arg-type]
        self.conn.execute("alter sequence fake.ids restart; alter sequence sync.dirty_version restart")
        self.time = datetime(2026, 3, 28, 23, 55, tzinfo=UTC)
        self.wait(0)
        self.fuse = Fuse()
        self.chance = random.Random(1)
        self.certain = False  # whether every change lags, or only some
        self.lag = dict.fromkeys(NAMES, 0.0)
        self.stalled_until = dict.fromkeys(NAMES, self.time)
        fields = {
            OBJECTS[entity]: [
                FieldInfo(n, n, "reference" if n == "AccountId" else "string", True, True, False)
                for n in [*vendor.values(), "Hub_Id"]
            ]
            for entity, vendor in VENDOR.items()
        }
        self.accounts = {
            "acme": MemoryAccount(
                clock=lambda: self.time,
                fields=fields,
                habits=Habits(granularity=timedelta(seconds=1), normalisers={"Phone": _phone_of_acme}),
            ),
            "beta": MemoryAccount(
                clock=lambda: self.time + timedelta(seconds=2.5),
                fields=fields,
                habits=Habits(normalisers={"City": str.upper}, upserts=False),
            ),
        }
        self.crms = {
            name: FragileCrm(
                self.accounts[name],
                self.fuse,
                name=name,
                knobs=Knobs(page_size=3, write_size=2, returns_values=name == "beta"),
            )
            for name in NAMES
        }

    def close(self) -> None:
        self.conn.close()

    def wait(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.conn.execute("update fake.clock set t = %s", [self.time])

    def lagging(self, name: str) -> MemoryAccount:
        """The account, with the lag of its next change: some come late, others do not; a stalled index shows nothing
        new until the stall is over."""
        account = self.accounts[name]
        stalled = (self.stalled_until[name] - self.time).total_seconds()
        account.habits.lag = timedelta(
            seconds=max(self.chance.choice((self.certain, 1)) * self.lag[name], stalled, 0)
        )
        return account

    @contextmanager
    def store(self, *, dry_run: bool = False) -> Iterator[FragileStore]:
        """A process's session. When it is over, its locks are gone as well, also if it was killed."""
        store = FragileStore(self.url, self.fuse, dry_run=dry_run)
        pid = store.conn.info.backend_pid
        try:
            yield store
        finally:
            self.fuse.left = None
            store.close()
            while self.one("select count(*) from pg_stat_activity where pid = %s", pid):
                pass

    def one(self, query: str, *args: object) -> object:
        row = self.conn.execute(query, args).fetchone()  # type: ignore[arg-type]
        return None if row is None else row[0]

    def rows(self, query: str, *args: object) -> list[dict[str, object]]:
        with self.conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            return cursor.execute(query, args).fetchall()  # type: ignore[arg-type]

    def hub(self, entity: str) -> dict[str, dict[str, object]]:
        """Hub records by id, as text."""
        return {str(row["id"]): row for row in self.rows(f"select * from hub.{entity} order by id")}

    def mirror(self, name: str, entity: str) -> dict[str, dict[str, object]]:
        return {
            str(row["crm_id"]): row for row in self.rows(f"select * from {name}.{entity} order by crm_id")
        }

    def base(self, name: str, entity: str) -> dict[str, dict[str, object]]:
        """Bases by hub id."""
        return {
            str(row["hub_id"]): row
            for row in self.rows(f"select * from {name}.{entity}_base order by hub_id")
        }

    def writes(self) -> int:
        return sum(len(account.written) for account in self.accounts.values())

    def calls(self) -> Mapping[str, Mapping[str, int]]:
        return {name: crm.calls for name, crm in self.crms.items()}
