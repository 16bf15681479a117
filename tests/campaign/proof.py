"""The proof at the end of a campaign of faults: all sides agree, nothing is lost, nothing is there twice.

Every value that somebody wrote is current, or was replaced by a later one of theirs, or was replaced for a reason that
the journal knows, or waits in a conflict. A value that a person wrote in a CRM and that was overwritten there before any
answer had shown it to us is *unseen*: it is not wrong, but told with its story.
"""

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from uuid import UUID

import psycopg
from psycopg import sql

from crm_sync.demo import readback
from crm_sync.demo.accounts import HubSpotPerson, SalesforcePerson
from crm_sync.demo.edits import Expected
from crm_sync.demo.verify import verify
from tests.campaign.edits import crm_ids
from tests.campaign.ground import World
from tests.campaign.people import Written
from tests.campaign.twins import restored_twins

WATCH = """
create table seen (connection text, value text);
create function watch() returns trigger language plpgsql as $$ begin
  insert into seen select tg_table_schema, v from unnest(array[new.first_name, new.last_name, new.title]) v where v is not null;
  return null; end $$;
create trigger watch after insert or update on salesforce.contact for each row execute function watch();
create trigger watch after insert or update on hubspot.contact for each row execute function watch();
"""
"""What the mirror ever held, from the first sync on."""


@dataclass(slots=True)
class Findings:
    """wrong: one sentence each. unseen: the story of each value that was overwritten unseen. twins: hub records that
    HubSpot refuses since Salesforce has their person twice, by a restored record."""

    compared: int = 0
    twins: int = 0
    conflicts: int = 0
    unseen: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Proof:
    """Reads all sides back."""

    def __init__(self, world: World, conn: psycopg.Connection, ledger: list[Written], new: list[str]) -> None:
        self.world = world
        self.conn = conn
        self.ledger = ledger
        self.new = new
        self.found = Findings()

    def read(self) -> Findings:
        self.conn.execute("create index on seen (value)")
        self._agree()
        self._nothing_lost()
        self._nobody_twice()
        return self.found

    def _agree(self) -> None:
        """Every record has its partners, and every field means the same on all sides, conflicts apart."""
        disputes = self.conn.execute(
            "select connection, entity, hub_id, field from review.conflict where status = 'open'"
        ).fetchall()
        parked = self.conn.execute(
            "select connection, entity, hub_id, crm_id, field, reason from sync.parked"
        ).fetchall()
        twins = {("hubspot", "contact", hub_id, "") for hub_id in restored_twins(self.world, self.conn)}
        excused = {key for key in twins if key in {(row[0], row[1], row[2], row[4]) for row in parked}}
        self.found.wrong += [
            f"still parked: {row}" for row in parked if (row[0], row[1], row[2], row[4]) not in excused
        ]
        self.found.twins = len(excused)
        expected = Expected(disputes=set(disputes), parked=excused)
        proof = verify(self.conn, self.world.system, self._books(), expected)
        self.found.conflicts = len(disputes)
        self.found.compared = sum(proof.compared.values())
        self.found.wrong += proof.complaints

    def _books(self) -> readback.Books:
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
            {entity: readback.hub_records(self.conn, entity) for entity in self.world.system.entities},
            crm,
            {stream.name: readback.links(self.conn, stream) for stream in self.world.system.streams},
        )

    def _nothing_lost(self) -> None:
        later: dict[tuple[str, str, str], int] = {}
        for one in self.ledger:
            later[one.side, one.hub_id, one.field] = one.at
        for one in self.ledger:
            if later[one.side, one.hub_id, one.field] > one.at or self._accounted_for(one):
                continue
            if one.side != "hub" and not self._was_seen(one):
                self.found.unseen.append(f"{one}, {self._story(one)}")
            else:
                self.found.wrong.append(f"lost: {one}, {self._story(one)}")

    def _accounted_for(self, one: Written) -> bool:
        query = sql.SQL(
            "select exists (select from hub.contact where id = %(id)s and {field} = any(%(values)s))"
            " or exists (select from sync.change where entity = 'contact' and hub_id = %(id)s and field = %(field)s"
            " and old_value = any(%(values)s) and reason <> '')"
            " or exists (select from review.conflict where hub_id = %(id)s and field = %(field)s"
            " and (hub_value = any(%(values)s) or crm_value = any(%(values)s)))"
        ).format(field=sql.Identifier(one.field))
        row = self.conn.execute(
            query, {"id": UUID(one.hub_id), "field": one.field, "values": one.forms}
        ).fetchone()
        return row is not None and bool(row[0])

    def _was_seen(self, one: Written) -> bool:
        """Whether the mirror ever held it."""
        row = self.conn.execute(
            "select exists (select from seen where connection = %s and value = any(%s))",
            [one.side, one.forms],
        ).fetchone()
        return row is not None and bool(row[0])

    def _story(self, one: Written) -> str:
        rows = self.conn.execute(
            "select at::time(0)::text, connection, side, kind, old_value, new_value, reason from sync.change"
            " where entity = 'contact' and hub_id = %s and field = %s order by id",
            [one.hub_id, one.field],
        ).fetchall()
        writes = [w for w in self.ledger if (w.hub_id, w.field) == (one.hub_id, one.field)]
        return f"written {[(w.side, w.value) for w in writes]}, journal {rows}"

    def _nobody_twice(self) -> None:
        """Everybody new is on every side exactly once, and no external id is there twice."""
        new = set(self.new)
        for table, column in (
            ("hub.contact", "email"),
            ("salesforce.contact", "email"),
            ("hubspot.contact", "email"),
        ):
            deleted = " where not deleted" if not table.startswith("hub.") else ""
            rows = self.conn.execute(f"select {column} from {table}{deleted}").fetchall()
            counts = Counter(row[0] for row in rows if row[0] in new)
            self.found.wrong += [
                f"{table}: {mail} is there {counts[mail]} times" for mail in sorted(new) if counts[mail] != 1
            ]
        for stream in self.world.system.streams:
            linked = self.conn.execute(
                f"select count(*) from {stream.connection}.{stream.entity}_base"
            ).fetchone()
            here = len(crm_ids(self.world, stream.connection, stream.entity))
            if linked is None or linked[0] != here:
                self.found.wrong.append(f"{stream.name}: {here} records, but {linked} links")
