"""What people and applications do in a world between two syncs; the same, by record, in every world with its seed.

Records are chosen by the ids that they had in the CRMs from the beginning: hub ids, and the ids of what the sync
created, are different in every world.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import psycopg

from tests.campaign.ground import World

OBJECTS = {
    "salesforce": {"company": "Account", "contact": "Contact", "deal": "Opportunity"},
    "hubspot": {"company": "companies", "contact": "contacts", "deal": "deals"},
}


def crm_ids(world: World, connection: str, entity: str) -> set[str]:
    """All records that the simulator has now."""
    name = OBJECTS[connection][entity]
    simulator = world.simulators[connection]
    if connection == "salesforce":
        return {row["Id"] for row in simulator.control(f"records?object={name}")["records"]}
    return {
        row["id"] for row in simulator.control(f"dump/{quote(name)}")["records"] if row["archived"] is None
    }


class Cast:
    """The records of a world that were there from the beginning, each under a name that is the same in every world
    with that seed. Made before the first sync; `hub_ids` asks for the links as they are."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seeded = {
            (connection, entity): crm_ids(world, connection, entity)
            for connection, entities in OBJECTS.items()
            for entity in entities
        }

    def hub_ids(self, conn: psycopg.Connection, entity: str) -> dict[str, str]:
        """Hub ids by name, in the order of the names. A record that is in both CRMs has its name of Salesforce only:
        nobody shall edit it there and in HubSpot, whose clocks would then say who wins."""
        names: dict[str, str] = {}
        for connection in ("hubspot", "salesforce"):
            rows = conn.execute(f"select crm_id, hub_id::text from {connection}.{entity}_base").fetchall()
            names |= {
                hub: f"{connection} {crm}" for crm, hub in rows if crm in self.seeded[connection, entity]
            }
        return {name: hub for hub, name in sorted(names.items(), key=lambda item: item[1])}

    def crm_id(self, conn: psycopg.Connection, connection: str, entity: str, hub_id: str) -> str:
        row = conn.execute(
            f"select crm_id from {connection}.{entity}_base where hub_id = %s",
            [hub_id],
        ).fetchone()
        assert row is not None
        return str(row[0])


def in_salesforce(world: World, edits: list[dict[str, Any]]) -> None:
    if edits:
        world.simulators["salesforce"].control("edit", {"edits": edits})


def in_hubspot(world: World, edits: list[dict[str, Any]]) -> None:
    for edit in edits:
        world.simulators["hubspot"].control("edit", edit)


def bulk(cast: Cast, conn: psycopg.Connection, number: int, _rng: random.Random) -> None:
    """An application changes every contact and every company: Bulk ingest on one side, many batches on the other."""
    conn.execute("update hub.contact set notes = %s", [f"noted in round {number}"])
    conn.execute("update hub.company set description = %s", [f"described in round {number}"])


def batches(cast: Cast, conn: psycopg.Connection, number: int, rng: random.Random) -> None:
    """Some records change on every side, some are new, and some phone numbers are in dispute."""
    contacts = cast.hub_ids(conn, "contact")
    names = list(contacts)
    ours = rng.sample(names, min(60, len(names) // 4))
    conn.cursor().executemany(
        "update hub.contact set first_name = %s where id = %s",
        [(f"Hub{number}n{n}", contacts[name]) for n, name in enumerate(ours)],
    )
    rest = [name for name in names if name not in set(ours)]
    theirs = rng.sample(rest, min(60, len(rest) // 3))
    for n, name in enumerate(theirs):
        hub_id = contacts[name]
        connection = name.partition(" ")[0]
        crm_id = cast.crm_id(conn, connection, "contact", hub_id)
        disputed = n % 6 == 0
        if connection == "salesforce":
            fields = {"Phone": f"+1415555{1000 + n}"} if disputed else {"LastName": f"Sf{number}n{n}"}
            in_salesforce(cast.world, [{"object": "Contact", "id": crm_id, "fields": fields}])
        else:
            properties = {"phone": f"+1415555{1000 + n}"} if disputed else {"lastname": f"Hs{number}n{n}"}
            in_hubspot(cast.world, [{"object": "contacts", "id": crm_id, "properties": properties}])
        if disputed:
            conn.execute(
                "update hub.contact set phone = %s where id = %s",
                [f"+1415555{2000 + number % 100 + n}", hub_id],
            )
    conn.cursor().executemany(
        "insert into hub.contact (first_name, last_name, email) values ('New', %s, %s)",
        [(f"Round{number}", f"new{number}.{n}@campaign.example") for n in range(12)],
    )
    in_salesforce(
        cast.world,
        [
            {
                "object": "Contact",
                "fields": {"LastName": f"R{number}n{n}", "Email": f"sf{number}.{n}@campaign.example"},
            }
            for n in range(6)
        ],
    )
    in_hubspot(
        cast.world,
        [
            {
                "object": "contacts",
                "properties": {"lastname": f"R{number}n{n}", "email": f"hs{number}.{n}@campaign.example"},
            }
            for n in range(6)
        ],
    )
    deals = cast.hub_ids(conn, "deal")
    conn.cursor().executemany(
        "update hub.deal set amount = %s where id = %s",
        [
            (1000 + number * 10 + n, deals[name])
            for n, name in enumerate(rng.sample(list(deals), min(20, len(deals) // 2)))
        ],
    )


def reading(cast: Cast, conn: psycopg.Connection, number: int, rng: random.Random) -> None:
    """Half of the contacts change in Salesforce, as by an import, and a few in HubSpot."""
    contacts = cast.hub_ids(conn, "contact")
    seeded = [name for name in contacts if name.startswith("salesforce")]
    changed = rng.sample(seeded, len(seeded) // 2)
    in_salesforce(
        cast.world,
        [
            {"object": "Contact", "id": name.partition(" ")[2], "fields": {"LastName": f"Read{number}n{n}"}}
            for n, name in enumerate(changed)
        ],
    )
    touched = {contacts[name] for name in changed}
    others = [name for name in contacts if name.startswith("hubspot") and contacts[name] not in touched]
    in_hubspot(
        cast.world,
        [
            {
                "object": "contacts",
                "id": name.partition(" ")[2],
                "properties": {"lastname": f"Seen{number}n{n}"},
            }
            for n, name in enumerate(rng.sample(others, min(40, len(others) // 2)))
        ],
    )


Edit = Callable[[Cast, psycopg.Connection, int, random.Random], None]
SCENES: Mapping[str, Edit] = {"bulk": bulk, "batches": batches, "reading": reading}
