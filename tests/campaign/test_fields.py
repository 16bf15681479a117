"""A field that changes under us: nothing is blanked, other fields and records go on, and in the end all is in sync."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.campaign.edits import in_hubspot, in_salesforce
from tests.campaign.ground import KINDS, Server, World, server, world

ACTS: dict[str, dict[str, Any]] = {
    "another type": {
        "salesforce": {
            "retype": {"object": "Contact", "field": "Title", "type": "picklist", "values": ["Engineer"]}
        },
        "hubspot": {"retype": {"object": "contacts", "property": "jobtitle", "values": ["Engineer"]}},
    },
    "another name, or none": {
        "salesforce": {"rename": {"object": "Contact", "field": "Title", "to": "Job__c"}},
        "hubspot": {"hide": {"object": "contacts", "property": "jobtitle"}},
    },
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture
def linked(postgres: Server) -> Iterator[World]:
    made = world(postgres, 40, 4, bulk=10_000)
    made.until_quiet()
    yield made
    made.close()


@pytest.mark.parametrize("acts", ACTS.values(), ids=ACTS)
def test_a_field_that_changes_under_us_costs_nothing(linked: World, acts: dict[str, Any]) -> None:
    with linked.conn() as conn:
        rows = conn.execute(
            "select h.id, h.title, s.crm_id, c.crm_id from hub.contact h"
            " join salesforce.contact_base s on s.hub_id = h.id join hubspot.contact_base c on c.hub_id = h.id"
            " where h.title is not null order by h.email"
        ).fetchall()
        places = {hub_id: crm_ids for hub_id, _, *crm_ids in rows}
        titles = {hub_id: title for hub_id, title, *_ in rows}
        a, b, c, d = list(places)[:4]

        conn.execute("update hub.contact set title = 'Boss', first_name = 'Ada' where id = %s", [a])
        conn.execute("update hub.contact set first_name = 'Bob' where id = %s", [b])
        in_salesforce(linked, [{"object": "Contact", "id": places[c][0], "fields": {"LastName": "Cooper"}}])
        in_hubspot(linked, [{"object": "contacts", "id": places[d][1], "properties": {"lastname": "Dyer"}}])
        linked.wait(60)
        for kind in KINDS:
            act = {**acts[kind], "seconds": "until another plan"}
            rule = {
                "match": {"path": "/objects/|/services/data/.+/query"},
                "limit": 1,
                "effect": {"act": act},
            }
            linked.simulators[kind].control("faults", [rule])
        said = linked.child(rounds=2, tolerant=True).result()
        assert said["error"] is None, said

        now = dict(conn.execute("select id, title from hub.contact where title is not null").fetchall())
        assert now == titles | {a: "Boss"}
        names = dict(
            conn.execute("select id, concat_ws(' ', first_name, last_name) from hub.contact").fetchall()
        )
        assert names[c].endswith(" Cooper")
        assert names[d].endswith(" Dyer")
        assert _in_crms(linked, places[b], "FirstName", "firstname") == ["Bob"] * 2

        for kind in KINDS:
            told = linked.simulators[kind].control("faults")
            [struck] = told["faults"] if kind == "hubspot" else told
            assert struck["hits"] == 1
            linked.simulators[kind].control("faults", [])
        linked.wait(60)
        linked.until_quiet()
        assert linked.child(rounds=1, full=True).result()["error"] is None
        linked.until_quiet()
        for one, title in (titles | {a: "Boss"}).items():
            assert set(_in_crms(linked, places[one], "Title", "jobtitle")) == {title}
        assert _in_crms(linked, places[a], "FirstName", "firstname") == ["Ada"] * 2
        assert conn.execute("select count(*) from sync.parked").fetchone() == (0,)
        assert conn.execute("select count(*) from sync.frozen").fetchone() == (0,)


def _in_crms(world: World, crm_ids: list[str], in_salesforce: str, in_hubspot: str) -> list[str | None]:
    """A field of a contact, as both CRMs have it."""
    rows = world.simulators["salesforce"].control("records?object=Contact")["records"]
    [theirs] = world.simulators["hubspot"].control(f"dump/contacts?id={crm_ids[1]}")["records"]
    return [
        next(row[in_salesforce] for row in rows if row["Id"] == crm_ids[0]),
        theirs["values"].get(in_hubspot),
    ]
