"""What people do on all sides while everything goes wrong, and a ledger of it.

Each value is written once and never again, so that it can be told where it went.
"""

import random
from dataclasses import dataclass
from http import HTTPStatus
from urllib.error import HTTPError

import psycopg
from psycopg import sql

from tests.campaign.edits import Cast, in_hubspot, in_salesforce
from tests.campaign.ground import KINDS, World

FIELDS = {
    "first_name": ("FirstName", "firstname"),
    "last_name": ("LastName", "lastname"),
    "title": ("Title", "jobtitle"),
}
BOSS = ("CEO ", "Chief Executive Officer ")  # a trigger of Salesforce and a workflow of HubSpot write it out
NEW = 4  # new contacts a round, on each side


@dataclass(frozen=True, slots=True)
class Written:
    """A value that somebody wrote: where, in which record of the hub, when (a running number)."""

    side: str
    hub_id: str
    field: str
    value: str
    at: int

    @property
    def forms(self) -> list[str]:
        """The value, and what the CRM may have made of it."""
        return list(dict.fromkeys((self.value, self.value.replace(*BOSS))))


class People:
    """Everybody who writes. ledger: the values that they wrote; new: the addresses of the contacts that they made."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.cast = Cast(world)  # before the first sync
        self.ledger: list[Written] = []
        self.new: list[str] = []

    def work(self, conn: psycopg.Connection, number: int) -> None:
        """One round of it. Large works in turns: an application changes every record of the hub, which goes out by
        the bulk interfaces; an import in each CRM changes most of its records, which come in by many pages."""
        contacts = self.cast.hub_ids(conn, "contact")
        if number % 2:
            conn.execute("update hub.contact set notes = %s", [f"round {number}"])
            conn.execute("update hub.deal set description = %s", [f"round {number}"])
        else:
            for connection in KINDS:
                self._import(contacts, connection, number)
        names = list(contacts)
        for name in self.rng.sample(names, min(30, len(names))):
            self._write(conn, "hub", name, contacts[name], number)
        for name in self.rng.sample(names, min(40, len(names))):
            self._write(conn, name.partition(" ")[0], name, contacts[name], number)
        self._companies(conn, list(contacts.values()))
        self._arrive(conn, number)

    def _write(self, conn: psycopg.Connection, side: str, name: str, hub_id: str, number: int) -> None:
        of = self.rng.choice(list(FIELDS))
        value = f"{side[:2].title()}{number}v{len(self.ledger)}"
        if of == "title" and self.rng.random() < 0.5:
            value = BOSS[0] + value
        if side == "hub":
            conn.execute(
                sql.SQL("update hub.contact set {} = %s where id = %s").format(sql.Identifier(of)),
                [value, hub_id],
            )
            self._note(side, hub_id, of, value)
        else:
            self._in_crm(side, [(name, hub_id, value)], of)

    def _import(self, contacts: dict[str, str], connection: str, number: int) -> None:
        """Most contacts of a CRM get another first name, at one stroke."""
        theirs = [name for name in contacts if name.startswith(connection)]
        some = self.rng.sample(theirs, len(theirs) * 7 // 10)
        self._in_crm(
            connection,
            [(name, contacts[name], f"{connection[0].upper()}i{number}v{n}") for n, name in enumerate(some)],
            "first_name",
        )

    def _in_crm(self, connection: str, values: list[tuple[str, str, str]], of: str) -> None:
        """Write values: (name, hub id, value)."""
        there = FIELDS[of][KINDS.index(connection)]
        edits = [(name.partition(" ")[2], {there: value}) for name, _, value in values]
        try:
            if connection == "salesforce":
                in_salesforce(
                    self.world, [{"object": "Contact", "id": crm_id, "fields": v} for crm_id, v in edits]
                )
            else:
                in_hubspot(
                    self.world, [{"object": "contacts", "id": crm_id, "properties": v} for crm_id, v in edits]
                )
        except (
            HTTPError
        ) as error:  # the property is archived, or the record is gone: nobody can write it just now
            if error.code not in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
                raise
            if len(values) > 1:  # each for itself
                for one in values:
                    self._in_crm(connection, [one], of)
            return
        for _, hub_id, value in values:
            self._note(connection, hub_id, of, value)

    def _note(self, side: str, hub_id: str, of: str, value: str) -> None:
        self.ledger.append(Written(side, hub_id, of, value, len(self.ledger)))

    def _companies(self, conn: psycopg.Connection, contacts: list[str]) -> None:
        """Companies get another industry, half of them one that an administrator removes at times; people move."""
        companies = list(self.cast.hub_ids(conn, "company").values())
        conn.cursor().executemany(
            "update hub.company set industry = %s where id = %s",
            [
                (self.rng.choice(["energy", "media", "retail"]), hub_id)
                for hub_id in self.rng.sample(companies, min(8, len(companies)))
            ],
        )
        conn.cursor().executemany(
            "update hub.contact set company = %s where id = %s",
            [(self.rng.choice(companies), hub_id) for hub_id in self.rng.sample(contacts, 5)],
        )

    def _arrive(self, conn: psycopg.Connection, number: int) -> None:
        """New contacts on each side; and one who is entered in the hub and in HubSpot at once."""
        for n in range(NEW):
            email = [f"{side}{number}.{n}@campaign.example" for side in ("hub", *KINDS)]
            self.new += email
            self._enter(conn, f"New{number}n{n}", email[0])
            in_salesforce(
                self.world,
                [{"object": "Contact", "fields": {"LastName": f"New{number}s{n}", "Email": email[1]}}],
            )
            self._enter_in_hubspot(f"New{number}h{n}", email[2])
        twin = f"twin{number}@campaign.example"
        self.new.append(twin)
        self._enter(conn, f"Twin{number}", twin)
        self._enter_in_hubspot(f"Twin{number}", twin)

    def _enter(self, conn: psycopg.Connection, name: str, email: str) -> None:
        conn.execute("insert into hub.contact (last_name, email) values (%s, %s)", [name, email])

    def _enter_in_hubspot(self, name: str, email: str) -> None:
        in_hubspot(self.world, [{"object": "contacts", "properties": {"lastname": name, "email": email}}])
