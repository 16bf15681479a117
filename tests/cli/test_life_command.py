"""Deletions and returns at both vendors, by the command line, over TLS: what docs/howto/deletes.md shows."""

from collections.abc import Mapping

import pytest

from crm_sync.simulators.serve import Simulator
from tests.cli.conftest import Place


@pytest.fixture
def there(place: Place) -> Place:
    """Deletions of contacts go both ways; everything is synced."""
    for name in ("salesforce", "hubspot"):
        file = place.folder / "connections" / f"{name}.yaml"
        text = file.read_text("utf-8")
        file.write_text(
            text.replace(
                "\n  contact:\n", "\n  contact:\n    deletes: {inbound: archive, outbound: propagate}\n"
            ),
            "utf-8",
        )
    assert place.run("setup").status == 0
    assert place.run("sync").status == 0
    return place


def _ids(place: Place, condition: str = "true") -> tuple[str, str, str]:
    """A contact that both have: hub, Salesforce, HubSpot."""
    ((hub_id, sf, hs),) = place.rows(
        "select h.id::text, s.crm_id, p.crm_id from hub.contact h join salesforce.contact_base s on s.hub_id = h.id"
        f" join hubspot.contact_base p on p.hub_id = h.id where {condition} order by h.id limit 1"
    )
    return str(hub_id), str(sf), str(hs)


def _archived(place: Place, hub_id: str) -> bool:
    ((archived,),) = place.rows(f"select archived_at is not null from hub.contact where id = '{hub_id}'")
    return bool(archived)


def _in_salesforce(simulators: Mapping[str, Simulator]) -> set[str]:
    dumped = simulators["salesforce"].control("records?object=Contact")["records"]
    return {r["Id"] for r in dumped if not r.get("IsDeleted")}


def _in_hubspot(simulators: Mapping[str, Simulator]) -> set[str]:
    dumped = simulators["hubspot"].control("dump/contacts")["records"]
    return {r["id"] for r in dumped if r["archived"] is None}


def test_the_life_of_a_contact(there: Place, simulators: Mapping[str, Simulator]) -> None:
    place = there
    hub_id, sf, hs = _ids(place)
    everybody = len(_in_hubspot(simulators))
    # Somebody deletes it in Salesforce: archived in the hub, deleted in HubSpot.
    simulators["salesforce"].control("edit", {"object": "Contact", "operation": "delete", "id": sf})
    assert "archive" in place.run("sync", "--dry-run").out
    assert place.run("sync").status == 0
    assert _archived(place, hub_id)
    assert hs not in _in_hubspot(simulators)
    # ... and takes it out of the recycle bin: present in the hub, created once more in HubSpot.
    simulators["salesforce"].control("edit", {"object": "Contact", "operation": "undelete", "id": sf})
    assert place.run("sync").status == 0
    assert not _archived(place, hub_id)
    assert sf in _in_salesforce(simulators)
    _, _, new = _ids(place, f"h.id = '{hub_id}'")
    assert new != hs
    assert new in _in_hubspot(simulators)
    assert len(_in_hubspot(simulators)) == everybody
    told = place.run("why", "contact", hub_id, "email").out
    assert "archive" in told
    assert "restore" in told
    # HubSpot deletes the new one: archived in the hub, deleted in Salesforce.
    simulators["hubspot"].control("do/archive", {"object": "contacts", "id": new})
    assert place.run("sync", "--full").status == 0
    assert _archived(place, hub_id)
    assert sf not in _in_salesforce(simulators)
    assert place.rows("select count(*) from sync.intent") == [(0,)]


def test_an_application_deletes_and_the_edit_of_a_person_asks(
    there: Place, simulators: Mapping[str, Simulator]
) -> None:
    place = there
    hub_id, sf, hs = _ids(place)
    place.rows(f"delete from hub.contact where id = '{hub_id}'")
    simulators["hubspot"].control(
        "edit", {"object": "contacts", "id": hs, "properties": {"jobtitle": "Director"}}
    )
    place.run("sync")
    assert sf not in _in_salesforce(simulators)
    assert hs in _in_hubspot(simulators)
    listed = place.run("conflicts", "list", "--field", "*")
    assert "deleted" in listed.out
    ((number,),) = place.rows("select id from review.conflict where status = 'open' and field = '*'")
    assert place.run("conflicts", "resolve", str(number), "--use", "crm", "--yes").status == 0
    place.run("sync")
    assert place.rows(f"select title from hub.contact where id = '{hub_id}'") == [("Director",)]
    _, again, _ = _ids(place, f"h.id = '{hub_id}'")
    assert again in _in_salesforce(simulators)
