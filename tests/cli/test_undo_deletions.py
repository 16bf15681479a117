"""`crm-sync undo` of deletions and of created records at both vendors, over TLS."""

from collections.abc import Mapping

from crm_sync.simulators.serve import Simulator
from tests.cli.conftest import Place


def _in_salesforce(simulators: Mapping[str, Simulator]) -> set[str]:
    dumped = simulators["salesforce"].control("records?object=Contact")["records"]
    return {r["Id"] for r in dumped if not r.get("IsDeleted")}


def _in_hubspot(simulators: Mapping[str, Simulator]) -> set[str]:
    dumped = simulators["hubspot"].control("dump/contacts")["records"]
    return {r["id"] for r in dumped if r["archived"] is None}


def _run_of(place: Place, condition: str) -> str:
    ((run,),) = place.rows(f"select run_id from sync.change where {condition} order by id desc limit 1")
    return str(run)


def test_a_deletion_and_a_creation_are_undone(place: Place, simulators: Mapping[str, Simulator]) -> None:
    file = place.folder / "connections" / "hubspot.yaml"
    policy = "\n  contact:\n    deletes: {inbound: archive, outbound: propagate}\n"
    file.write_text(file.read_text("utf-8").replace("\n  contact:\n", policy), "utf-8")
    assert place.run("setup").status == 0
    assert place.run("sync").status == 0

    # Somebody deletes a contact in Salesforce: archived in the hub, deleted in HubSpot.
    ((hub_id, sf, hs),) = place.rows(
        "select h.id::text, s.crm_id, p.crm_id from hub.contact h join salesforce.contact_base s on s.hub_id = h.id"
        " join hubspot.contact_base p on p.hub_id = h.id order by h.id limit 1"
    )
    simulators["salesforce"].control("edit", {"object": "Contact", "operation": "delete", "id": sf})
    assert place.run("sync").status == 0
    assert hs not in _in_hubspot(simulators)
    undone = place.run("undo", _run_of(place, "kind = 'archive'"), "--entity", "contact", "--yes")
    assert undone.status == 0, undone.out + undone.err
    for said in (
        "take records of the hub out of the archive",
        "(stays deleted there)",
        "create records in a CRM once more",
        "back in the hub: 1",
        "hubspot/contact: created 1",
    ):
        assert said in undone.out
    ((new,),) = place.rows(f"select crm_id from hubspot.contact_base where hub_id = '{hub_id}'")
    assert new in _in_hubspot(simulators)
    assert place.run("sync").status == 0
    assert place.rows(f"select archived_at from hub.contact where id = '{hub_id}'") == [(None,)]
    assert sf not in _in_salesforce(simulators)

    # A contact that nobody wanted is made in both.
    before = _in_salesforce(simulators), _in_hubspot(simulators)
    place.rows("insert into hub.contact (last_name, email) values ('Nobody', 'nobody.at.all@x.example')")
    assert place.run("sync").status == 0
    assert (len(_in_salesforce(simulators)), len(_in_hubspot(simulators))) == tuple(
        len(s) + 1 for s in before
    )
    run = _run_of(place, "kind = 'create' and side = 'crm'")
    assert "stay; --created deletes them there" in place.run("undo", run, "--dry-run").out
    assert (
        place.run("sync").status == 0
    )  # what Salesforce makes of blanks enters the hub, and is nobody's edit
    undone = place.run("undo", run, "--created", "--yes")
    assert undone.status == 0, undone.out + undone.err
    assert "deleted from CRMs: 2" in undone.out
    assert (_in_salesforce(simulators), _in_hubspot(simulators)) == before
    assert place.run("sync").status == 0
    assert (_in_salesforce(simulators), _in_hubspot(simulators)) == before
    assert place.rows("select count(*) from hub.contact where last_name = 'Nobody'") == [(1,)]
