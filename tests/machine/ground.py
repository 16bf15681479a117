"""The ground on which stories are played: a hub on a real Postgres and two CRM accounts in memory with awkward habits.

acme stamps whole seconds, rewrites phone numbers and updates a record whose external id it knows; beta stamps
milliseconds, writes cities in capitals and makes a second record when it is asked to create one twice. Both show
changes late. The database's clock and its random ids are ours (a schema before pg_catalog in the search path), so
that a seed always tells the same story. Here belong the systems and how they break; not what people do in them
(`story.py`) nor what must hold afterwards (`oracle.py`).
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import psycopg
from psycopg._preparing import PrepareManager

import crm_sync.hub.store as store_module
import crm_sync.steps.reached as reached
from crm_sync.connectors.crm import FieldInfo, Operation
from crm_sync.connectors.memory import Knobs
from crm_sync.connectors.memory_account import Habits, MemoryAccount, Row
from crm_sync.core.spec import StreamSpec, System
from crm_sync.hub import tables
from crm_sync.hub.migrate import upgrade
from crm_sync.mapping.load import load_texts
from tests.machine.fragile import FragileCrm, FragileStore, Fuse

LONGEST_LAG = 40  # seconds
NAMES = ("acme", "beta")
OBJECTS = {"company": "Account", "contact": "Contact", "lead": "Lead"}  # leads are only in acme
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
    "lead": {"email": "Email", "last_name": "LastName"},
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
    {deletes}
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

LEADS = """
  lead:
    object: Lead
    external_id: Hub_Id
    match: [[email]]
    fields:
      email: {field: Email, type: email}
      last_name: LastName
"""

DELETES = {
    "acme": "deletes: {inbound: archive, outbound: review}",
    "beta": "deletes: {inbound: propagate, outbound: propagate}",
}

FAKES = """
drop schema if exists fake cascade;
create schema fake;
create table fake.clock (t timestamptz not null);
insert into fake.clock values (now());
create function fake.now() returns timestamptz stable language sql as 'select t from fake.clock';
create function fake.clock_timestamp() returns timestamptz volatile language sql as 'select t from fake.clock';
create sequence fake.ids;
create function fake.gen_random_uuid() returns uuid volatile language sql
  as $$ select md5('id ' || nextval('fake.ids'))::uuid $$;
"""


def _phone_of_acme(text: str) -> str:
    digits = "".join(c for c in text if c.isdigit())
    return f"({digits[1:4]}) {digits[4:7]}-{digits[7:]}" if len(digits) == 11 else text


CLOCKS = """
select format('%I.%I', table_schema, table_name), quote_ident(column_name), column_default
from information_schema.columns join information_schema.tables using (table_schema, table_name)
where table_type = 'BASE TABLE' and column_default in ('now()', 'clock_timestamp()')
and table_schema in ('hub', 'sync', 'review', 'acme', 'beta')
"""
"""Columns that are filled from the database's clock."""

FRESH = "reset all; discard temp; discard sequences; select pg_advisory_unlock_all()"
"""Makes a session as it was at its beginning."""


class Prepared(PrepareManager):
    """The prepared statements of a session that is used again: all that the engine has, from their second use on, and
    for good. psycopg would forget them with every temporary table that is dropped; Postgres itself looks after that.
    """

    prepare_threshold = 1
    prepared_max = 5000

    def clear(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Delayed:
    """Operations on their way to a CRM, whose sender has given up waiting for the answer."""

    at: datetime
    name: str
    stream: StreamSpec
    operations: Sequence[Operation]


class Ground:
    """Both accounts, the hub, and one clock for all of them. `begin` makes everything new for the next story."""

    fakes = FAKES
    vendor: Mapping[str, Mapping[str, str]] = VENDOR
    required: frozenset[str] = frozenset()
    """Fields without which a CRM takes no record."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.system = self._system()
        upgrade(url)
        with psycopg.connect(url, autocommit=True) as conn:
            tables.ensure(conn, self.system)
            conn.execute(self.fakes)
            for entity in self.system.entities:
                conn.execute(f"alter table hub.{entity} alter id set default fake.gen_random_uuid()")  # type: ignore[arg-type]
            for table, column, function in conn.execute(CLOCKS).fetchall():
                conn.execute(f"alter table {table} alter {column} set default fake.{function}")
            name = conn.info.dbname
            # A plan is made once, and is the same however often a worker has asked before.
            for setting in (
                "search_path = fake, pg_catalog, public", "synchronous_commit = off", "plan_cache_mode = force_generic_plan"
            ):  # fmt: skip
                conn.execute(f"alter database {name} set {setting}")  # type: ignore[arg-type]
        self.conn = psycopg.connect(url, autocommit=True)
        self.conn.execute("set lock_timeout = '5s'; set timezone = 'UTC'; set client_min_messages = warning")
        rows = self.conn.execute(
            "select format('%I.%I', table_schema, table_name) from information_schema.tables where table_type ="
            " 'BASE TABLE' and table_schema in ('hub', 'sync', 'review', 'acme', 'beta')"
            " and table_name not in ('stream', 'alembic_version')"
        ).fetchall()
        self._everything = ", ".join(row[0] for row in rows)
        for row in rows:  # what statistics say of a few rows would only make one run differ from another
            self.conn.execute(f"alter table {row[0]} set (autovacuum_enabled = off)")
        self._kept: psycopg.Connection | None = None
        self.begin()

    def _system(self) -> System:
        texts = {name: MAPPING.replace("{deletes}", DELETES[name]) for name in NAMES}
        return load_texts({"acme.yaml": texts["acme"] + LEADS, "beta.yaml": texts["beta"]})

    def begin(self) -> None:
        """Empty the hub, forget everything, set the clocks shortly before midnight; two new accounts."""
        self.conn.execute(f"truncate {self._everything} restart identity cascade")  # type: ignore[arg-type]
        self.conn.execute("alter sequence fake.ids restart; alter sequence sync.dirty_version restart")
        self.time = datetime(2026, 3, 28, 23, 55, tzinfo=UTC)
        self.hits: Counter[str] = Counter()
        self.kills = 0
        self.delayed: list[Delayed] = []
        self.wait(0)
        self.fuse = Fuse(self.hit)
        self.ahead = dict.fromkeys(NAMES, 0.0) | {"beta": 2.5}
        self.chance = random.Random(1)
        self.certain = False  # whether every change lags, or only some
        self.lag = dict.fromkeys(NAMES, 0.0)
        self.stalled_until = dict.fromkeys(NAMES, self.time)
        self._accounts()

    def _accounts(self) -> None:
        """Two new accounts, and a client of each."""
        fields = {
            OBJECTS[entity]: [
                FieldInfo(n, n, "reference" if n == "AccountId" else "string", True, True, False)
                for n in [*vendor.values(), "Hub_Id"]
            ]
            for entity, vendor in VENDOR.items()
        }
        self.accounts = {
            "acme": MemoryAccount(
                clock=lambda: self._clock("acme"),
                fields=fields,
                habits=Habits(granularity=timedelta(seconds=1), normalisers={"Phone": _phone_of_acme}),
            ),
            "beta": MemoryAccount(
                clock=lambda: self._clock("beta"),
                fields=fields,
                habits=Habits(normalisers={"City": str.upper}, upserts=False),
            ),
        }
        self.crms = {
            name: FragileCrm(
                self.accounts[name],
                self.fuse,
                self.hit,
                name=name,
                knobs=Knobs(page_size=3, write_size=2, returns_values=name == "beta"),
            )
            for name in NAMES
        }

    def close(self) -> None:
        for conn in (self._kept, self.conn):
            if conn is not None:
                conn.close()

    def hit(self, kind: str) -> None:
        """A fault has struck."""
        self.hits[kind] += 1

    def _clock(self, name: str) -> datetime:
        return self.time + timedelta(seconds=self.ahead[name])

    def wait(self, seconds: float) -> None:
        """Time passes; what was on its way arrives when its time has come."""
        until = self.time + timedelta(seconds=seconds)
        while self.delayed and min(d.at for d in self.delayed) <= until:
            first = min(self.delayed, key=lambda d: d.at)
            self.delayed.remove(first)
            self._set(max(first.at, self.time))
            self._catching_up(first.name)
            for operation in first.operations:
                self.before_landing(first.name, operation)
                self.accounts[first.name].apply(first.stream, operation)
        self._set(until)

    def _catching_up(self, name: str) -> None:
        """What lands now is shown as soon as anything is: the lag of the last change was told when that was made, perhaps
        long ago, and what was left of a stall then has passed."""
        habits = self.accounts[name].habits
        stalled = self.stalled_until[name] - self.time
        usual = min(habits.lag, timedelta(seconds=self.lag[name]))
        habits.lag = max(usual, stalled, timedelta())

    def before_landing(self, name: str, operation: Operation) -> None:
        """Somebody may want to look before a write that is late takes effect."""

    def _set(self, time: datetime) -> None:
        self.time = time
        self.conn.execute("update fake.clock set t = %s", [self.time])

    def postpone(self, name: str, seconds: float) -> Callable[[StreamSpec, Sequence[Operation]], bool]:
        """For the client of this name: lets a write take effect so much later. Not a create where the CRM would then
        make a second record: no engine can tell that from a person's."""

        def later(stream: StreamSpec, operations: Sequence[Operation]) -> bool:
            if not self.accounts[name].habits.upserts and any(o.kind == "create" for o in operations):
                return False
            self.delayed.append(
                Delayed(self.time + timedelta(seconds=seconds), name, stream, list(operations))
            )
            return True

        return later

    def lagging(self, name: str) -> MemoryAccount:
        """The account, with the lag of its next change: some come late, others do not; a stalled index shows nothing
        new until the stall is over."""
        account = self.accounts[name]
        stalled = (self.stalled_until[name] - self.time).total_seconds()
        seconds = max(self.chance.choice((self.certain, 1)) * self.lag[name], stalled, 0)
        account.habits.lag = timedelta(seconds=seconds)
        return account

    def deleted(self, name: str) -> list[Row]:
        """The contacts in a CRM's recycle bin."""
        found = self.accounts[name]._versions.get("Contact", {}).values()
        return [row for versions in found if (row := versions[-1]).deleted and row.merged_into is None]

    def ever(self, name: str, object_name: str, crm_id: str, vendor: str) -> set[str | None]:
        """All that a field of a record has said, or of those that were merged into it."""
        records = self.accounts[name]._versions.get(object_name, {})
        return {
            row.values.get(vendor)
            for versions in records.values()
            if versions[-1].id == crm_id or versions[-1].merged_into == crm_id
            for row in versions
        }

    def calm(self) -> None:
        """No fault strikes any more."""
        for crm in self.crms.values():
            crm.heal()
        self.wait(700)
        for name in NAMES:
            self.lag[name] = 0
            self.accounts[name].habits.hidden = frozenset()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Within the block nothing changes."""
        yield

    def came_late(self, name: str) -> None:
        """A change was made just now: note whether it shows up late."""
        if self.accounts[name].habits.lag:
            self.hit("row late" if self.stalled_until[name] <= self.time else "index stalled")

    @contextmanager
    def clocks(self) -> Iterator[None]:
        """The process' own clock is ours too, and a session is used again by the next run, as if it were a new one:
        opening one costs as much as a short sync."""
        clocks, connect = reached.time, store_module.connect

        def kept(url: str, *, autocommit: bool = False) -> psycopg.Connection:
            conn, self._kept = self._kept, None
            if conn is None:
                conn = connect(url, autocommit=autocommit)
                conn._prepared = Prepared()
            return conn

        reached.time = SimpleNamespace(  # type: ignore[assignment]
            monotonic=lambda: self.time.timestamp(), time=lambda: self.wall().timestamp()
        )
        store_module.connect = kept
        try:
            yield
        finally:
            reached.time, store_module.connect = clocks, connect

    def wall(self) -> datetime:
        """The clock on the wall. A forked process, whose monotonic clock stands still while it sleeps, asks for it."""
        return self.time

    @contextmanager
    def store(self, *, dry_run: bool = False) -> Iterator[FragileStore]:
        """A process's session. When it is over, its locks are gone as well, also if it was killed."""
        store = FragileStore(self.url, self.fuse, dry_run=dry_run)
        try:
            yield store
        finally:
            self.fuse.left = self.fuse.store = None
            self._end(store)

    def _end(self, store: FragileStore) -> None:
        conn, idle = store.conn, psycopg.pq.TransactionStatus.IDLE
        if not conn.closed and conn.info.transaction_status == idle and not store.dry_run and not self._kept:
            conn.execute(FRESH)
            self._kept = conn
            return
        pid = conn.info.backend_pid if not conn.closed else None
        store.close()
        self.gone(pid)

    def forget_sessions(self) -> object:
        """For a forked process: the parent's sessions, to be held and never touched."""
        kept, self._kept = self._kept, None
        return self.conn, kept

    def gone(self, pid: int | None) -> None:
        """Wait until that session, or every one but ours, is gone, and its locks with it."""
        ours = [self.conn.info.backend_pid] + ([self._kept.info.backend_pid] if self._kept else [])
        while self.one(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and backend_type = 'client backend' and pid <> all(%s) and pid = coalesce(%s, pid)",
            ours, pid,
        ):  # fmt: skip
            time.sleep(0.001)

    def one(self, query: str, *args: object) -> object:
        row = self.conn.execute(query, args).fetchone()  # type: ignore[arg-type]
        return None if row is None else row[0]

    def rows(self, query: str, *args: object) -> list[dict[str, object]]:
        with self.conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            return cursor.execute(query, args).fetchall()  # type: ignore[arg-type]

    @property
    def streams(self) -> list[tuple[str, str]]:
        """Connection and entity of each stream."""
        return [(stream.connection, stream.entity) for stream in self.system.streams]

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
