"""A busy afternoon: people change records on all three sides, some of them the same ones.

Each edit uses its own record, so that what must come of it is known beforehand: `Expected` says which disputes
have to wait for a person, and which values cannot be synced because they really are invalid.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from crm_sync.demo.accounts import HubSpotPerson, SalesforcePerson

TICK = 1.2  # seconds between one side's edits and the next: Salesforce's stamps are whole seconds


@dataclass(frozen=True, slots=True)
class Linked:
    """A record known to all sides."""

    hub: UUID
    salesforce: str
    hubspot: str


@dataclass(slots=True)
class Expected:
    """What has to come of the edits. disputes: (connection, entity, hub id, field). parked: (connection, entity,
    hub id, field; "" if the record is refused as a whole). settled: disputes that a policy ends: entity, hub id, field, the
    value that must win."""

    disputes: set[tuple[str, str, UUID, str]] = field(default_factory=set)
    parked: set[tuple[str, str, UUID, str]] = field(default_factory=set)
    settled: list[tuple[str, UUID, str, str]] = field(default_factory=list)
    edits: dict[str, int] = field(default_factory=lambda: {"hub": 0, "salesforce": 0, "hubspot": 0})


class Afternoon:
    """The people of the demo and the records they will work on."""

    def __init__(
        self, conn: psycopg.Connection, salesforce: SalesforcePerson, hubspot: HubSpotPerson
    ) -> None:
        self.conn = conn
        self.salesforce = salesforce
        self.hubspot = hubspot
        self.expected = Expected()
        self.contacts = self._linked(
            "contact", "phone is not null and title is not null and mobile is not null and notes is not null"
        )
        self.deals = self._linked("deal", "amount is not null")
        self.companies = self._linked("company", "description is not null")

    def run(self) -> Expected:
        """Everybody works; the order of the sides decides what "most recent" means."""
        early, late = self._take(self.contacts, 3), self._take(self.contacts, 3)
        for who in early:
            self._hub("contact", who, first_name="Hubert")  # the CRM is later and wins
        for who in late:
            self._in_salesforce("Contact", who, FirstName="Salvatore")  # the hub is later and wins
        time.sleep(TICK)
        self._disputes()
        self._between_two_crms()
        self._one_sided()
        self._new_records()
        self._invalid()
        for who in early:
            self._in_salesforce("Contact", who, FirstName="Salome")
            self.expected.settled.append(("contact", who.hub, "first_name", "Salome"))
        time.sleep(TICK)
        for who in late:
            self._hub("contact", who, first_name="Hubertus")
            self.expected.settled.append(("contact", who.hub, "first_name", "Hubertus"))
        return self.expected

    # Disputes -------------------------------------------------------------------------------------------------

    def _disputes(self) -> None:
        """Changed in the hub and in a CRM, on fields whose policy is `manual`."""
        for n, who in enumerate(self._take(self.contacts, 3)):
            self._hub("contact", who, phone=f"+4930231250{n:02d}")
            self._in_salesforce("Contact", who, Phone=f"+1 415 555 01{n:02d}")
            self._expect("salesforce", "contact", who, "phone")
        for n, who in enumerate(self._take(self.contacts, 2)):
            self._hub("contact", who, phone=f"+442079460{n:03d}")
            self._in_hubspot("contacts", who, phone=f"+1 617 555 01{n:02d}")
            self._expect("hubspot", "contact", who, "phone")
        for who in self._take(self.contacts, 2):
            self._hub("contact", who, title="Head of Data")
            self._in_salesforce("Contact", who, Title="Head of Analytics")
            self._expect("salesforce", "contact", who, "title")
        for who in self._take(self.contacts, 2):
            self._hub("contact", who, title="Chief of Staff")
            self._in_hubspot("contacts", who, jobtitle="Chief of Stuff")
            self._expect("hubspot", "contact", who, "title")
        first, second = self._take(self.deals, 2)
        self._hub("deal", first, amount=120_000)
        self._in_salesforce("Opportunity", first, Amount=99_000)
        self._expect("salesforce", "deal", first, "amount")
        self._hub("deal", second, amount="44000.50")
        self._in_hubspot("deals", second, amount="45000")
        self._expect("hubspot", "deal", second, "amount")

    def _between_two_crms(self) -> None:
        """Changed in both CRMs: the first one's value reaches the hub, and then meets the second one's there."""
        (who,) = self._take(self.contacts, 1)
        self._in_salesforce("Contact", who, Title="Architect")
        self._in_hubspot("contacts", who, jobtitle="Designer")
        # Which CRM is asked first is not what this is about: either may be the one in dispute.
        self._expect("salesforce|hubspot", "contact", who, "title")

    # Edits that simply go everywhere -----------------------------------------------------------------------------

    def _one_sided(self) -> None:
        for n, who in enumerate(self._take(self.contacts, 3)):
            self._hub("contact", who, phone=f"+4930231259{n:02d}", last_name="Hub, née Straße")
        for who in self._take(self.contacts, 2):
            self._in_salesforce(
                "Contact", who, MobilePhone="(212) 555-0142", Interests__c="Support;Analytics"
            )
        for n, who in enumerate(self._take(self.contacts, 2)):
            self._in_hubspot(
                "contacts", who, mobilephone=f"+1 206-555-01{n:02d}", notes_text='Said: "yes"\nتم 👍'
            )
        hub, salesforce, hubspot = self._take(self.contacts, 3)  # cleared
        self._hub("contact", hub, mobile=None)
        self._in_salesforce("Contact", salesforce, Description=None)
        self._in_hubspot("contacts", hubspot, notes_text="")
        hub, salesforce, hubspot = self._take(self.contacts, 3)  # moved to another company
        there = self._take(self.companies, 1)[0]
        self._hub("contact", hub, company=there.hub)
        self._in_salesforce("Contact", salesforce, AccountId=there.salesforce)
        self.hubspot.associate("contacts", hubspot.hubspot, "companies", there.hubspot)
        self.expected.edits["hubspot"] += 1
        for who in self._take(self.companies, 2):
            self._hub("company", who, description="Bought by the “Fox” group.")
        first, second, third = self._take(self.deals, 3)
        self._hub("deal", first, stage="negotiation")
        self._in_salesforce("Opportunity", second, StageName="Closed Won", CloseDate="2028-02-29")
        self._in_hubspot("deals", third, dealstage="contractsent")

    def _new_records(self) -> None:
        company = self._insert(
            "company", name="Café Ümlaut & Co. KG", website="https://umlaut.example", employees=12
        )
        self._insert(
            "contact", first_name="Zoë", last_name="Neu", email="zoe.neu@umlaut.example", company=company
        )
        self._insert(
            "deal",
            name="First order",
            amount=1500,
            currency="EUR",
            close_date="2026-12-31",
            stage="proposal",
            company=company,
        )
        account = self.salesforce.create("Account", Name="Fjord Þing ehf.", Website="https://fjord.example")
        self.salesforce.create(
            "Contact", FirstName="Þóra", LastName="Ný", Email="thora@fjord.example", AccountId=account
        )
        self.salesforce.create(
            "Opportunity", Name="Boats", StageName="Prospecting", CloseDate="2027-03-28", AccountId=account
        )
        firm = self.hubspot.create(
            "companies", name="山田製作所", domain="yamada.example", website="yamada.example"
        )
        person = self.hubspot.create(
            "contacts", firstname="太郎", lastname="山田", email="taro@yamada.example"
        )
        self.hubspot.associate("contacts", person, "companies", firm)
        self.expected.edits["salesforce"] += 3
        self.expected.edits["hubspot"] += 3

    def _invalid(self) -> None:
        """What cannot be synced: these records wait with a reason, and hold up nobody else."""
        typo, novel = self._take(self.contacts, 2)
        self._in_salesforce("Contact", typo, Phone="ask at reception")
        self.expected.parked.add(("salesforce", "contact", typo.hub, "phone"))
        self._hub("contact", novel, notes="A novel. " * 4500)
        self.expected.parked.add(("salesforce", "contact", novel.hub, "notes"))  # HubSpot takes it

    # The sides -------------------------------------------------------------------------------------------------

    def _hub(self, entity: str, who: Linked, **values: object) -> None:
        """As an application does it: a plain UPDATE."""
        assignments = psycopg.sql.SQL(", ").join(
            psycopg.sql.SQL("{} = {}").format(psycopg.sql.Identifier(name), psycopg.sql.Placeholder(name))
            for name in values
        )
        query = psycopg.sql.SQL("update {} set {} where id = %(id)s").format(
            psycopg.sql.Identifier("hub", entity), assignments
        )
        self.conn.execute(query, {**values, "id": who.hub})
        self.expected.edits["hub"] += 1

    def _insert(self, entity: str, **values: object) -> UUID:
        query = psycopg.sql.SQL("insert into {} ({}) values ({}) returning id").format(
            psycopg.sql.Identifier("hub", entity),
            psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, values)),
            psycopg.sql.SQL(", ").join(map(psycopg.sql.Placeholder, values)),
        )
        row = self.conn.execute(query, values).fetchone()
        assert row is not None
        self.expected.edits["hub"] += 1
        return UUID(str(row[0]))

    def _in_salesforce(self, object_name: str, who: Linked, **values: object) -> None:
        self.salesforce.update(object_name, who.salesforce, **values)
        self.expected.edits["salesforce"] += 1

    def _in_hubspot(self, object_name: str, who: Linked, **values: str) -> None:
        self.hubspot.update(object_name, who.hubspot, **values)
        self.expected.edits["hubspot"] += 1

    def _expect(self, connection: str, entity: str, who: Linked, name: str) -> None:
        self.expected.disputes.add((connection, entity, who.hub, name))

    def _linked(self, entity: str, condition: str) -> Iterator[Linked]:
        """Records of the hub that both CRMs have, in a fixed order."""
        query = (
            f"select h.id as hub, s.crm_id as salesforce, t.crm_id as hubspot from hub.{entity} h"
            f" join salesforce.{entity}_base s on s.hub_id = h.id join hubspot.{entity}_base t on t.hub_id = h.id"
            f" where {condition} order by h.name, h.id"
        ).replace("h.name", "h.email" if entity == "contact" else "h.name")
        with self.conn.cursor(row_factory=class_row(Linked)) as cursor:
            return iter(cursor.execute(query).fetchall())

    def _take(self, records: Iterator[Linked], count: int) -> Sequence[Linked]:
        """The next records that nobody has touched yet."""
        return [next(records) for _ in range(count)]
