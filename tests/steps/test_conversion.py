"""Lead conversion: the lead rests, what hung on it hangs on the contact, and no CRM gets a second record of a person."""

from collections.abc import Iterator

import pytest

from crm_sync.connectors.crm import FieldInfo
from crm_sync.hub.store import Store
from crm_sync.steps.allowance import allot
from crm_sync.steps.verify import known_records, verify
from crm_sync.steps.why import find, why
from tests.steps.world import World

LEADS = """
kind: memory
entities:
  company:
    object: Account
    external_id: Hub_Id
    match: [[name]]
    fields: {name: Name}
  contact:
    object: Contact
    external_id: Hub_Id
    match: [[email]]
    fields:
      last_name: LastName
      email: {field: Email, type: email}
      company: {field: AccountId, type: reference, entity: company}
  lead:
    object: Lead
    external_id: Hub_Id
    match: [[email]]
    fields: {last_name: LastName, email: {field: Email, type: email}, status: Status}
  campaign_member:
    object: CampaignMember
    external_id: Hub_Id
    fields:
      note: Note
      lead: {field: LeadId, type: reference, entity: lead}
      contact: {field: ContactId, type: reference, entity: contact}
"""
# The other CRM has no leads: there a person is a lead or a contact by its stage.
STAGES = """
kind: memory
entities:
  contact:
    object: Person
    external_id: Hub_Id
    match: [[email]]
    filter: [{field: Stage, operator: eq, value: customer}]
    constants: {Stage: customer}
    fields: {last_name: LastName, email: {field: Email, type: email}}
  lead:
    object: Person
    external_id: Lead_Id
    match: [[email]]
    filter: [{field: Stage, operator: eq, value: lead}]
    constants: {Stage: lead}
    fields: {last_name: LastName, email: {field: Email, type: email}}
"""
BETA = ("contact", "lead")
LEE = {"LastName": "Lee", "Email": "lee@x.example"}


@pytest.fixture
def leads(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url, ("acme",), LEADS)
    yield world
    world.close()


@pytest.fixture
def staged(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url, ("acme", "beta"), {"acme": LEADS, "beta": STAGES})
    names = ("LastName", "Email", "Stage", "Hub_Id", "Lead_Id")  # those of both streams, and of their filters
    world.accounts["beta"].fields["Person"] = {
        name: FieldInfo(name, name, "string", True, True, False) for name in names
    }
    yield world
    world.close()


def _lead(world: World) -> str:
    crm_id = world.accounts["acme"].person_create("Lead", {**LEE, "Status": "open"})
    world.sync("acme")
    return crm_id


def _convert(world: World, lead: str, *, contact: str | None = None) -> str:
    """Into a new account and a contact; returns the contact's id."""
    acme = world.accounts["acme"]
    firm = acme.person_create("Account", {"Name": "Acme"})
    contact = contact or acme.person_create("Contact", {**LEE, "AccountId": firm})
    acme.person_edit("Lead", lead, {"Status": "converted"})
    acme.person_convert("Lead", lead, contact, firm)
    world.wait(minutes=1)
    return contact


def _quiet(world: World) -> None:
    names = list(world.crms)
    before = [world.writes(name) for name in names]
    for _ in range(2):
        for name in names:
            world.sync(name)
    assert [world.writes(name) for name in names] == before
    assert world.one("select count(*) from sync.mark") == 0


def test_the_lead_rests_and_says_what_it_has_become(leads: World) -> None:
    crm_id = _lead(leads)
    leads.conn.execute(
        "update hub.lead set last_name = 'Leigh'"
    )  # too late: the CRM takes no change of it any more
    contact = _convert(leads, crm_id)
    report = leads.sync("acme")["hub lead acme"]
    assert (report.counts["converted"], report.counts["carried_over"]) == (1, 1)
    assert [(row["last_name"], row["status"]) for row in leads.hub("lead")] == [("Leigh", "converted")]
    leads.conn.execute("update hub.lead set last_name = 'Lea'")
    _quiet(leads)
    assert leads.accounts["acme"].row("Lead", crm_id).values["LastName"] == "Lee"
    made = leads.conn.execute(
        "select hub_id, contact_id, company_id, contact from sync.conversion"
    ).fetchone()
    ids = [leads.one(f"select id from hub.{entity}") for entity in ("lead", "contact", "company")]
    assert made == (*ids, contact)
    with Store(leads.url) as store:
        (hit,) = find(store, leads.system, "contact", contact)
        (line,) = (one for one in why(store, leads.system, "contact", hit).lines if one.what == "link")
        (hit,) = find(store, leads.system, "lead", crm_id)
        assert why(store, leads.system, "lead", hit).links[0].what == "converted in acme; no longer synced"
    assert line.why == f"converted from lead {ids[0]} ({crm_id})"


def test_what_does_not_agree_is_explained(leads: World) -> None:
    """Edits of a lead that is converted go nowhere, a reference to a merged record means the other: no difference is
    left without an explanation."""
    crm_id = _lead(leads)
    _convert(leads, crm_id)
    leads.sync("acme")
    leads.conn.execute("update hub.lead set last_name = 'Lea'")
    leads.sync("acme")
    leads.sync("acme")
    with Store(leads.url) as store:
        for stream in leads.system.streams:
            share = allot([stream], {stream.name: known_records(store, stream)}, 1_000)[stream.name]
            assert verify(store, leads.crms["acme"], stream, share).unexplained == [], stream.name


def test_a_contact_that_is_known_already_is_the_lead_s(leads: World) -> None:
    contact = leads.accounts["acme"].person_create("Contact", {"LastName": "Lee", "Email": "old@x.example"})
    crm_id = _lead(leads)
    _convert(leads, crm_id, contact=contact)
    leads.sync("acme")
    (row,) = leads.hub("contact")
    assert leads.one("select contact_id from sync.conversion") == row["id"]
    _quiet(leads)


def test_a_hub_contact_that_matches_becomes_the_partner(leads: World) -> None:
    crm_id = _lead(leads)
    leads.conn.execute("insert into hub.contact (last_name, email) values ('Lee', 'LEE@x.example')")
    contact = _convert(leads, crm_id)
    leads.sync("acme")
    (row,) = leads.hub("contact")
    assert leads.one("select crm_id from acme.contact_base") == contact
    assert leads.one("select contact_id from sync.conversion") == row["id"]


def test_what_refers_to_the_lead_refers_to_the_contact_too(leads: World) -> None:
    crm_id = _lead(leads)
    lead = leads.one("select id from hub.lead")
    leads.conn.execute("insert into hub.campaign_member (note, lead) values ('fair', %s)", [lead])
    leads.sync("acme")
    contact = _convert(leads, crm_id)
    leads.sync("acme")
    (row,) = leads.hub("campaign_member")
    assert (row["lead"], row["contact"]) == (lead, leads.one("select id from hub.contact"))
    leads.sync("acme")
    (member,) = leads.accounts["acme"].rows("CampaignMember")
    assert (member.values["LeadId"], member.values["ContactId"]) == (crm_id, contact)
    _quiet(leads)


def test_a_table_that_refuses_the_contact_keeps_the_lead_alone(leads: World) -> None:
    """The hub step of contacts ended with the constraint's error, in this run and in every other."""
    contact = leads.accounts["acme"].person_create("Contact", {"LastName": "Lee", "Email": "old@x.example"})
    crm_id = _lead(leads)
    leads.conn.execute(
        "create table guest (party text, lead uuid references hub.lead, contact uuid references hub.contact,"
        " unique (party, contact))"
    )
    lead, known = leads.one("select id from hub.lead"), leads.one("select id from hub.contact")
    leads.conn.execute("insert into guest values ('spring', %s, null), ('fall', %s, null)", [lead, lead])
    leads.conn.execute("insert into guest values ('fall', null, %s)", [known])
    _convert(leads, crm_id, contact=contact)
    notes = [note for report in leads.sync("acme").values() for note in report.notes]
    assert notes == ["public.guest refuses contact in 1 row with a converted lead: only the lead stays there"]
    found = leads.conn.execute("select party, lead, contact from guest order by party, lead").fetchall()
    assert found == [("fall", lead, None), ("fall", None, known), ("spring", lead, known)]
    _quiet(leads)


def test_created_and_converted_between_two_syncs(leads: World) -> None:
    acme = leads.accounts["acme"]
    crm_id = acme.person_create("Lead", LEE)
    _convert(leads, crm_id)
    leads.sync("acme")
    assert len(leads.hub("lead")) == 1
    assert leads.one("select count(*) from sync.conversion where carried_at is not null") == 1
    _quiet(leads)


def test_a_push_that_comes_too_late_parks_nothing_for_good(leads: World) -> None:
    crm_id = _lead(leads)
    leads.conn.execute("update hub.lead set last_name = 'Leigh'")
    acme, crm = leads.accounts["acme"], leads.crms["acme"]
    contact = acme.person_create("Contact", LEE)
    crm.faults.before_write = lambda _: (
        acme.person_convert("Lead", crm_id, contact) if not acme.row("Lead", crm_id).became else None
    )
    assert leads.sync("acme", "lead")["outbound lead"].counts["parked"] == 1
    leads.wait(minutes=1)
    leads.sync("acme")
    assert leads.conn.execute("select side, record_id, code, reason from sync.parked").fetchall() == []
    _quiet(leads)


class TestAnotherCrmHasTheLead:
    def test_its_record_becomes_the_contact_s_partner(self, staged: World) -> None:
        crm_id = _lead(staged)
        staged.sync("beta", *BETA)
        (person,) = staged.accounts["beta"].rows("Person")
        _convert(staged, crm_id)
        staged.sync("acme")
        staged.sync("beta", *BETA)
        assert len(staged.accounts["beta"].rows("Person")) == 1  # it waits: no second one of the same person
        assert staged.one("select code from sync.parked where connection = 'beta'") == "CONVERSION_WAITS"
        staged.accounts["beta"].person_edit(
            "Person", person.id, {"Stage": "customer", "Email": "new@x.example"}
        )
        staged.wait(minutes=1)
        staged.sync("beta", *BETA)
        assert (
            staged.one("select crm_id from beta.contact_base") == person.id
        )  # though the address is another one
        assert staged.one("select linked_by from beta.contact_base") == "match: conversion"
        staged.sync("beta", *BETA)
        assert len(staged.accounts["beta"].rows("Person")) == 1
        assert staged.one("select count(*) from sync.parked") == 0
        assert {row["email"] for row in staged.hub("contact")} == {"new@x.example"}

    def test_a_contact_there_that_has_the_address_is_no_second_one(self, staged: World) -> None:
        crm_id = _lead(staged)
        person = staged.accounts["beta"].person_create("Person", {**LEE, "Stage": "customer"})
        staged.sync("beta", "contact")
        _convert(staged, crm_id)
        staged.sync("acme")
        staged.sync("beta", "contact")
        assert len(staged.hub("contact")) == 1
        assert staged.one("select crm_id from beta.contact_base") == person
