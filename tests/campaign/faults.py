"""The campaign of faults: everything that the simulators can do wrong, while people edit on all sides.

The plans are benchmarks/faults/*.yaml. Syncs are repeated as a schedule would repeat them, with shortened waits. At
the end the faults stop, syncs go on until they are quiet, and one reconcile of everything, as at night, tries again
what was parked. Then all sides are read back: they agree, nothing is lost, nothing is there twice, and every value
that somebody wrote is current, or was replaced for a reason that the journal knows, or waits in a conflict.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from uuid import UUID

import psycopg
from ruamel.yaml import YAML

from crm_sync.demo import readback
from crm_sync.demo.accounts import HubSpotPerson, SalesforcePerson
from crm_sync.demo.edits import Expected
from crm_sync.demo.verify import verify
from tests.campaign.edits import Cast, crm_ids, in_hubspot, in_salesforce
from tests.campaign.ground import KINDS, Server, World, world

PLANS = Path(__file__).parents[2] / "benchmarks" / "faults"
FIELDS = {
    "first_name": ("FirstName", "firstname"),
    "last_name": ("LastName", "lastname"),
    "title": ("Title", "jobtitle"),
}
TAKEN_AWAY = 5.5  # seconds after which the plans give back what an administrator took away
_WATCH = """
create table seen (connection text, value text);
create function watch() returns trigger language plpgsql as $$ begin
  insert into seen select tg_table_schema, v from unnest(array[new.first_name, new.last_name, new.title]) v where v is not null;
  return null; end $$;
create trigger watch after insert or update on salesforce.contact for each row execute function watch();
create trigger watch after insert or update on hubspot.contact for each row execute function watch();
"""
NEW = 4  # new contacts a round, on each side


@dataclass(frozen=True, slots=True)
class Written:
    """A value that somebody wrote: where, in which record of the hub, when (a running number)."""

    side: str
    hub_id: str
    field: str
    value: str
    at: int


@dataclass(slots=True)
class Outcome:
    """hits by fault; failures of syncs by class; what is wrong at the end, one sentence each. unseen: values that
    somebody wrote in a CRM and that were overwritten there before any answer had shown them to us (a search that lags,
    a page that lacks rows): no vendor's batch interface lets us compare and set."""

    hits: dict[str, int] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    syncs: int = 0
    written: int = 0
    compared: int = 0
    conflicts: int = 0
    unseen: int = 0
    reconciled: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def never(self) -> list[str]:
        return [name for name, hits in self.hits.items() if hits == 0]

    def table(self) -> str:
        lines = [f"{hits:6d}  {name}" for name, hits in self.hits.items()]
        failures = ", ".join(f"{count} {name}" for name, count in sorted(self.failures.items()))
        lines.append(
            f"{self.syncs} syncs (failed steps: {failures or 'none'}), {self.written} values written by people,"
            f" {self.compared} fields compared, {self.conflicts} open conflicts, {self.unseen} values overwritten unseen"
        )
        lines.append(
            f"the reconcile after the faults wrote {self.reconciled}; faults never hit: {len(self.never)};"
            f" wrong: {len(self.wrong)}"
        )
        return "\n".join(lines)


class Campaign:
    """records: contacts of each CRM; rounds: of edits and syncs at least; most: until every fault has struck."""

    def __init__(
        self,
        server: Server,
        *,
        seed: int,
        records: int,
        bulk: int,
        rounds: int,
        most: int,
        tell: Callable[[str], None],
    ) -> None:
        self.rng = random.Random(seed)
        self.rounds = rounds
        self.most = most
        self.tell = tell
        self.world: World = world(server, records, seed, bulk=bulk)
        self.cast = Cast(self.world)
        self.outcome = Outcome()
        self.ledger: list[Written] = []
        self.people: list[str] = []  # e-mail addresses of new contacts

    def run(self) -> Outcome:
        try:
            self._play()
            return self.outcome
        finally:
            self.world.close()

    def _play(self) -> None:
        with self.world.conn() as conn:
            conn.execute(_WATCH)
        for kind in KINDS:
            self.world.simulators[kind].control(
                "faults", YAML(typ="safe", pure=True).load(PLANS / f"{kind}.yaml")
            )
        self._sync()
        for number in range(1, self.most + 1):
            with self.world.conn() as conn:
                self._edit(conn, number)
            self._sync(full=number % 3 == 0)
            self.world.wait(60)
            self._count_hits()
            self.tell(
                f"round {number}: {self.outcome.syncs} syncs, faults never hit yet: {self.outcome.never}"
            )
            if number >= self.rounds and not self.outcome.never:
                break
        for kind in KINDS:
            self.world.simulators[kind].control("faults", [])
        time.sleep(TAKEN_AWAY)  # on the real clock
        self.world.wait(60)
        self.world.until_quiet()
        reconcile = self.world.child(rounds=1, full=True, name="reconcile").result()
        assert reconcile.get("error") is None, reconcile
        self.outcome.reconciled = sum(reconcile["writes"])
        self.world.until_quiet()
        with self.world.conn() as conn:
            self._agree(conn)
            self._nothing_lost(conn)
            self._nobody_twice(conn)

    def _sync(self, *, full: bool = False) -> None:
        said = self.world.child(rounds=2, tolerant=True, full=full, name="sync").result()
        assert said.get("error") is None, said
        self.outcome.syncs += 2
        self.outcome.failures.update(said["failures"])

    def _count_hits(self) -> None:
        for kind in KINDS:
            told = self.world.simulators[kind].control("faults")
            rules = told["faults"] if isinstance(told, dict) else told
            self.outcome.hits |= {f"{kind}: {rule['name']}": rule["hits"] for rule in rules}

    # People --------------------------------------------------------------------------------------------------------

    def _edit(self, conn: psycopg.Connection, number: int) -> None:
        contacts = self.cast.hub_ids(conn, "contact")
        names = list(contacts)
        if number % 4 == 1:  # much at once, for the bulk interfaces
            conn.execute("update hub.contact set notes = %s", [f"round {number}"])
            conn.execute("update hub.deal set description = %s", [f"round {number}"])
        for name in self.rng.sample(names, min(30, len(names))):
            self._write(conn, "hub", name, contacts[name], number)
        for name in self.rng.sample(names, min(40, len(names))):
            self._write(conn, name.partition(" ")[0], name, contacts[name], number)
        for n in range(NEW):
            email = [f"{side}{number}.{n}@campaign.example" for side in ("hub", *KINDS)]
            self.people += email
            conn.execute(
                "insert into hub.contact (last_name, email) values (%s, %s)", [f"New{number}n{n}", email[0]]
            )
            in_salesforce(
                self.world,
                [{"object": "Contact", "fields": {"LastName": f"New{number}s{n}", "Email": email[1]}}],
            )
            in_hubspot(
                self.world,
                [{"object": "contacts", "properties": {"lastname": f"New{number}h{n}", "email": email[2]}}],
            )

    def _write(self, conn: psycopg.Connection, side: str, name: str, hub_id: str, number: int) -> None:
        of = self.rng.choice(list(FIELDS))
        value = f"{side[:2].title()}{number}v{len(self.ledger)}"
        if side == "hub":
            conn.execute(
                psycopg.sql.SQL("update hub.contact set {} = %s where id = %s").format(
                    psycopg.sql.Identifier(of)
                ),
                [value, hub_id],
            )
        elif side == "salesforce":
            edit = {"object": "Contact", "id": name.partition(" ")[2], "fields": {FIELDS[of][0]: value}}
            in_salesforce(self.world, [edit])
        else:
            properties = {FIELDS[of][1]: value}
            try:
                in_hubspot(
                    self.world,
                    [{"object": "contacts", "id": name.partition(" ")[2], "properties": properties}],
                )
            except HTTPError as error:  # the property is archived just now: nobody can write it
                if error.code != HTTPStatus.BAD_REQUEST:
                    raise
                return
        self.ledger.append(Written(side, hub_id, of, value, len(self.ledger)))

    # The end -------------------------------------------------------------------------------------------------------

    def _agree(self, conn: psycopg.Connection) -> None:
        """Every record has its partners, and every field means the same on all sides, conflicts apart."""
        found = conn.execute(
            "select connection, entity, hub_id, field from review.conflict where status = 'open'"
        ).fetchall()
        parked = conn.execute("select connection, entity, hub_id, field from sync.parked").fetchall()
        self.outcome.wrong += [f"still parked: {row}" for row in parked]
        proof = verify(conn, self.world.system, self._books(conn), Expected(disputes=set(found)))
        self.outcome.conflicts = len(found)
        self.outcome.compared = sum(proof.compared.values())
        self.outcome.wrong += proof.complaints

    def _books(self, conn: psycopg.Connection) -> readback.Books:
        crm: dict[str, readback.Side] = {}
        simulator = self.world.simulators["salesforce"]
        session = simulator.control("tokens", {})["access_token"]  # the faults have ended the first one
        salesforce = SalesforcePerson(replace(simulator, info={**simulator.info, "access_token": session}))
        with closing(HubSpotPerson(self.world.simulators["hubspot"])) as hubspot:
            stages = hubspot.stages()
            for stream in self.world.system.streams:
                crm[stream.name] = (
                    readback.salesforce_records(salesforce, stream)
                    if stream.kind == "salesforce"
                    else readback.hubspot_records(hubspot, stream, stages)
                )
        return readback.Books(
            {entity: readback.hub_records(conn, entity) for entity in self.world.system.entities},
            crm,
            {stream.name: readback.links(conn, stream) for stream in self.world.system.streams},
        )

    def _nothing_lost(self, conn: psycopg.Connection) -> None:
        """Every value that somebody wrote is there, or was replaced by a later one of theirs, or the journal says
        why it is not, or it waits in a conflict."""
        self.outcome.written = len(self.ledger)
        later: dict[tuple[str, str, str], int] = {}
        for one in self.ledger:
            later[one.side, one.hub_id, one.field] = one.at
        for one in self.ledger:
            if later[one.side, one.hub_id, one.field] > one.at or self._accounted_for(conn, one):
                continue
            if one.side != "hub" and not self._was_seen(conn, one):
                self.outcome.unseen += 1
                continue
            self.outcome.wrong.append(f"lost: {one}, {self._story(conn, one)}")

    def _accounted_for(self, conn: psycopg.Connection, one: Written) -> bool:
        query = psycopg.sql.SQL(
            "select exists (select from hub.contact where id = %(id)s and {field} = %(value)s)"
            " or exists (select from sync.change where hub_id = %(id)s and field = %(field)s and old_value = %(value)s"
            " and reason <> '')"
            " or exists (select from review.conflict where hub_id = %(id)s and field = %(field)s"
            " and %(value)s in (hub_value, crm_value))"
        ).format(field=psycopg.sql.Identifier(one.field))
        row = conn.execute(query, {"id": UUID(one.hub_id), "field": one.field, "value": one.value}).fetchone()
        return row is not None and bool(row[0])

    def _was_seen(self, conn: psycopg.Connection, one: Written) -> bool:
        """Whether the mirror ever held it."""
        row = conn.execute(
            "select exists (select from seen where connection = %s and value = %s)", [one.side, one.value]
        ).fetchone()
        return row is not None and bool(row[0])

    def _story(self, conn: psycopg.Connection, one: Written) -> str:
        rows = conn.execute(
            "select connection, side, kind, old_value, new_value, reason from sync.change where hub_id = %s"
            " and field = %s order by id",
            [one.hub_id, one.field],
        ).fetchall()
        writes = [w for w in self.ledger if (w.hub_id, w.field) == (one.hub_id, one.field)]
        return f"written {[(w.side, w.value) for w in writes]}, journal {rows}"

    def _nobody_twice(self, conn: psycopg.Connection) -> None:
        """Everybody new is on every side exactly once, and no external id is there twice."""
        new = set(self.people)
        for table, column in (
            ("hub.contact", "email"),
            ("salesforce.contact", "email"),
            ("hubspot.contact", "email"),
        ):
            deleted = " where not deleted" if not table.startswith("hub.") else ""
            rows = conn.execute(f"select {column} from {table}{deleted}").fetchall()
            counts = Counter(row[0] for row in rows if row[0] in new)
            self.outcome.wrong += [
                f"{table}: {mail} is there {counts[mail]} times" for mail in sorted(new) if counts[mail] != 1
            ]
        for stream in self.world.system.streams:
            linked = conn.execute(f"select count(*) from {stream.connection}.{stream.entity}_base").fetchone()
            here = len(crm_ids(self.world, stream.connection, stream.entity))
            if linked is None or linked[0] != here:
                self.outcome.wrong.append(f"{stream.name}: {here} records, but {linked} links")
