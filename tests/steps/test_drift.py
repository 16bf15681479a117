"""Schema drift on both simulators over TLS: what changes about an object freezes only what it must, blanks nothing, is
told, and ends when it is back, mapped anew, or acknowledged."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from crm_sync.connectors import tls
from crm_sync.connectors.answers import AnswerMemory, NoMemory
from crm_sync.connectors.build import Options as BuildOptions
from crm_sync.connectors.crm import Crm, FieldInfo
from crm_sync.connectors.http import TransportSettings
from crm_sync.connectors.hubspot import crm as hubspot
from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import ConnectionSpec, FieldType, StreamSpec, System
from crm_sync.hub import schema, tables
from crm_sync.hub.answers import PostgresAnswerMemory
from crm_sync.hub.drifted import Drifted, drifted
from crm_sync.hub.migrate import upgrade
from crm_sync.hub.store import Store
from crm_sync.simulators.serve import Simulator, running
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound
from tests.contract import salesforce
from tests.contract.salesforce import field
from tests.steps.world import World

T = FieldType
SALESFORCE = salesforce.stream(
    "contact", "Contact", field("last_name", "LastName"), field("email", "Email", T.EMAIL),
    field("job", "Title"), field("notes", "Description"), field("interests", "Interests__c", T.MULTIPICKLIST),
)  # fmt: skip
HUBSPOT = StreamSpec(
    "hubspot", "hubspot", "contact", "contacts",
    (
        field("last_name", "lastname"), field("email", "email", T.EMAIL), field("job", "job_level"),
        field("tier", "tier", T.PICKLIST, to_crm={"gold": "Gold", "tin": "Tin"}, to_hub={"Gold": "gold", "Tin": "tin"}),
    ),
    external_id="crm_sync_id",
)  # fmt: skip


@pytest.fixture(scope="module")
def portal() -> Iterator[Simulator]:
    with running("hubspot", records=5) as simulator:
        yield simulator


class Side:
    """One simulated account and a hub, each sync by a process of its own."""

    def __init__(self, url: str, simulator: Simulator, stream: StreamSpec) -> None:
        self.url, self.simulator, self.stream = url, simulator, stream
        self.memory: AnswerMemory = NoMemory()
        upgrade(url)
        self.conn = psycopg.connect(url, autocommit=True)
        self.map(stream)
        self.crm(setup=True)
        simulator.control("clock", {"advance": 3600})

    def map(self, stream: StreamSpec) -> None:
        self.stream = stream
        self.spec = ConnectionSpec(stream.connection, stream.kind, {}, (stream,), "x.yaml", lines={"entities.contact.fields": 7})  # fmt: skip
        tables.ensure(self.conn, System((self.spec,), ("contact",)))

    def crm(self, *, setup: bool = False) -> Crm:
        settings = TransportSettings(ca_bundle=Path(str(self.simulator.ca_file)), memory=self.memory)
        if self.stream.kind == "hubspot":
            auth = {"grant": "access_token", "access_token": self.simulator.info["access_token"]}
            told = {"base_url": self.simulator.base_url, "api_version": "2026-03", "auth": auth}
            made: Crm = hubspot.connect("hubspot", BuildOptions("x.yaml", told), MemoryTokenStore(), settings)
        else:
            made = salesforce.connector(self.simulator, settings=settings)
        if setup:
            made.setup([self.stream], dry_run=False)
            made.close()
        return made

    def sync(self, crm: Crm | None = None) -> dict[str, Report]:
        self.simulator.control("clock", {"advance": 60})
        crm, options = crm or self.crm(), Options()
        try:
            with Store(self.url, run_id="run") as store:
                return {
                    "inbound": inbound(store, crm, self.stream, options),
                    "hub": hub(store, self.stream, options),
                    "outbound": outbound(store, crm, self.stream, options),
                }
        finally:
            crm.close()

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """As an administrator, by HubSpot's own API."""
        answer = httpx.request(
            method, self.simulator.base_url + path, json=body,
            headers={"Authorization": f"Bearer {self.simulator.info['access_token']}"},
            verify=tls.context(Path(str(self.simulator.ca_file))),
        )  # fmt: skip
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def edit(self, crm_id: str | None, **values: str) -> str:
        """A person changes a record, or makes one."""
        body: dict[str, Any] = {"object": self.stream.object}
        if self.stream.kind == "hubspot":
            body |= {"properties": values} | ({"id": crm_id} if crm_id else {})
            return str(self.simulator.control("edit", body)["id"])
        body |= {"fields": values, "operation": "update" if crm_id else "create"} | (
            {"id": crm_id} if crm_id else {}
        )
        return str(self.simulator.control("edit", body)["ids"][0])

    def theirs(self, crm_id: str, name: str) -> str | None:
        if self.stream.kind == "hubspot":
            [record] = self.simulator.control(f"dump/contacts?id={crm_id}")["records"]
            return record["values"].get(name) or None
        records = self.simulator.control("records?object=Contact")["records"]
        return next(r[name] for r in records if r["Id"] == crm_id)  # type: ignore[no-any-return]

    def ours(self, crm_id: str) -> dict[str, Any]:
        with self.conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            row = cursor.execute(
                f"select h.* from hub.contact h join {self.stream.connection}.contact_base b on b.hub_id = h.id"
                " where b.crm_id = %s", [crm_id],
            ).fetchone()  # fmt: skip
        assert row is not None
        return row

    def write(self, crm_id: str, **values: str) -> None:
        """An application changes a hub record."""
        sets = ", ".join(f"{name} = %({name})s" for name in values)
        query = f"update hub.contact set {sets} where id = %(id)s"
        self.conn.execute(query, {**values, "id": self.ours(crm_id)["id"]})

    def told(self) -> dict[tuple[str, str], Drifted]:
        rows = drifted(self.conn, {self.spec.name: self.spec}, [self.stream])
        return {(row.field, row.what.partition(":")[0]): row for row in rows}

    def frozen(self) -> set[str]:
        return {row[0] for row in self.conn.execute("select field from sync.frozen").fetchall()}

    def parked(self) -> int:
        row = self.conn.execute("select count(*) from sync.parked").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def org_side(org: Simulator, fresh_database_url: str) -> Iterator[Side]:
    side = Side(fresh_database_url, org, SALESFORCE)
    yield side
    side.conn.close()


@pytest.fixture
def portal_side(portal: Simulator, fresh_database_url: str) -> Iterator[Side]:
    properties = "/crm/v3/properties/contacts"
    side = Side(fresh_database_url, portal, HUBSPOT)
    names = {p["name"] for p in side.api("GET", properties)["results"]}
    for name in names & {"job_level", "tier"}:
        side.api("DELETE", f"{properties}/{name}")
    group = {"groupName": "contactinformation"}
    side.api(
        "POST",
        properties,
        {"name": "job_level", "label": "Level", "type": "string", "fieldType": "text", **group},
    )
    options = [{"label": v, "value": v, "displayOrder": i} for i, v in enumerate(["Gold", "Tin"])]
    side.api("POST", properties,
             {"name": "tier", "label": "Tier", "type": "enumeration", "fieldType": "select", "options": options, **group})  # fmt: skip
    yield side
    side.conn.close()


def hide(side: Side, *names: str) -> None:
    user = side.simulator.info["username"]
    side.simulator.control("settings", {"hidden_fields": {user: {"Contact": list(names)}}})


def act(side: Side, **what: Any) -> None:
    """Let something happen to the organisation, with the next request."""
    side.simulator.control("faults", [{"limit": 1, "effect": {"act": what}}])
    crm = side.crm()
    crm.check()
    crm.close()
    side.simulator.control("faults", [])


def test_a_hidden_field_freezes_alone_and_thaws(org_side: Side) -> None:
    side = org_side
    one = side.edit(None, LastName="Ant", Title="Boss", Description="a")
    side.sync()
    hide(side, "Title", "Birthdate")
    side.sync()  # nothing was modified: it is found all the same
    assert side.frozen() == {"job"}
    row = side.told()["Title", "cannot be seen any more"]
    assert (row.object, row.waits, row.fatal, row.entity) == ("Contact", True, False, "contact")
    assert row.follows == "job frozen: nothing is taken, sent or blanked for it; all else goes on"
    assert "(x.yaml:7)" in row.do
    side.edit(one, Title="Chief", Description="b")
    side.write(one, job="Head", last_name="Bee")
    side.sync()
    assert (side.ours(one)["job"], side.ours(one)["notes"]) == ("Head", "b")
    assert (side.theirs(one, "Title"), side.theirs(one, "LastName")) == ("Chief", "Bee")
    assert list(side.told()) == [
        ("Title", "cannot be seen any more")
    ]  # once, and of the unmapped one nothing
    assert side.parked() == 0
    hide(side)
    side.sync()
    side.sync()
    assert side.frozen() == set()
    assert side.ours(one)["job"] == side.theirs(one, "Title")
    assert side.ours(one)["job"] in {"Head", "Chief"}
    assert not [row for row in side.told().values() if row.waits]
    assert side.told()["Birthdate", "new field, date"].follows == "not mapped"


def test_another_type_freezes_until_it_is_acknowledged(org_side: Side) -> None:
    side = org_side
    one = side.edit(None, LastName="Cat", Title="Boss")
    side.sync()
    act(side, retype={"object": "Contact", "field": "Title", "type": "picklist", "values": ["CEO", "CFO"]})
    side.sync()
    assert side.frozen() == {"job"}
    row = side.told()["Title", "type is picklist (was string)"]
    assert (row.waits, row.fatal) == (True, False)
    side.edit(one, Title="CEO", LastName="Dog")
    side.conn.execute("insert into hub.contact (last_name, job) values ('New', 'Clerk')")
    two = side.edit(None, LastName="Elk", Title="CFO")
    side.sync()
    assert (side.ours(one)["job"], side.ours(one)["last_name"]) == ("Boss", "Dog")
    assert side.ours(two)["job"] is None
    assert side.parked() == 0  # the new one was created, without what is frozen
    assert row.id is not None
    assert schema.acknowledge(side.conn, [row.id], "ann") == {row.id}
    side.sync()
    side.sync()
    assert side.frozen() == set()
    assert (side.ours(one)["job"], side.ours(two)["job"]) == ("CEO", "CFO")
    assert side.told() == {}
    assert schema.acknowledge(side.conn, [row.id], "ann") == set()  # it is over


def test_a_mapping_that_names_the_new_type_ends_it(portal_side: Side) -> None:
    side, path = portal_side, "/crm/v3/properties/contacts/job_level"
    one = side.edit(None, lastname="Fox", job_level="7")
    side.sync()
    side.api("PATCH", path, {"type": "number", "fieldType": "number"})
    side.sync()
    assert side.frozen() == {"job"}
    specs = tuple(field("job", "job_level", T.PICKLIST) if s.name == "job" else s for s in HUBSPOT.fields)
    side.stream = replace(HUBSPOT, fields=specs)
    side.sync()
    assert side.frozen() == {"job"}  # named, but another type than it is
    side.stream = HUBSPOT
    numbers = tuple(field("job", "job_level", T.NUMBER) if s.name == "job" else s for s in HUBSPOT.fields)
    side.stream = replace(HUBSPOT, fields=numbers)
    side.sync()
    assert side.frozen() == set()
    assert side.ours(one)["job"] == "7"
    assert not side.told()["job_level", "type is number.number (was string.text)"].waits


def test_another_type_that_is_taken_back_has_cost_nothing(portal_side: Side) -> None:
    side, path = portal_side, "/crm/v3/properties/contacts/job_level"
    one = side.edit(None, lastname="Gnu", job_level="Boss")
    side.sync()
    side.api("PATCH", path, {"type": "number", "fieldType": "number"})
    side.edit(one, lastname="Hen")
    side.write(one, job="Head")
    side.sync()
    side.sync()
    assert side.frozen() == {"job"}
    assert (side.ours(one)["job"], side.ours(one)["last_name"]) == ("Head", "Hen")
    assert side.theirs(one, "job_level") == "Boss"
    side.api("PATCH", path, {"type": "string", "fieldType": "text"})
    side.sync()
    side.sync()
    assert side.frozen() == set()
    assert side.ours(one)["job"] == side.theirs(one, "job_level") == "Head"
    assert side.told() == {}


def test_an_archived_property_freezes_alone_and_thaws(portal_side: Side) -> None:
    side, path = portal_side, "/crm/v3/properties/contacts"
    one = side.edit(None, lastname="Ibex", job_level="Boss", tier="Gold")
    side.sync()
    side.api("DELETE", f"{path}/job_level")
    side.edit(one, lastname="Jay")
    side.write(one, job="Head", tier="tin")
    side.sync()
    assert side.frozen() == {"job"}
    assert (side.ours(one)["job"], side.ours(one)["last_name"]) == ("Head", "Jay")
    assert side.theirs(one, "tier") == "Tin"
    assert ("job_level", "cannot be seen any more") in side.told()
    body = {
        "name": "job_level",
        "label": "Level",
        "type": "string",
        "fieldType": "text",
        "groupName": "contactinformation",
    }
    side.api("POST", path, body)
    side.sync()
    side.sync()
    assert side.frozen() == set()
    assert side.theirs(one, "job_level") == side.ours(one)["job"] == "Head"
    assert side.told() == {}


def test_picklist_values_that_go_and_come(portal_side: Side) -> None:
    side, path = portal_side, "/crm/v3/properties/contacts/tier"
    one = side.edit(None, lastname="Kiwi", tier="Tin")
    two = side.edit(None, lastname="Lark", tier="Gold")
    side.sync()

    def allow(*values: str) -> None:
        options = [{"label": v, "value": v, "displayOrder": i} for i, v in enumerate(values)]
        side.api("PATCH", path, {"options": options})

    allow("Gold", "Steel")
    side.write(two, tier="tin", last_name="Lynx")
    side.sync()
    told = side.told()
    gone = told["tier", "picklist values removed"]
    assert re.fullmatch(r"picklist values removed: Tin; \d records? still holds? one", gone.what)
    assert "tin: Tin (x.yaml:7)" in gone.do
    assert not told["tier", "picklist values added"].waits
    assert side.frozen() == set()
    assert side.ours(one)["tier"] == "tin"
    assert side.parked() == 1  # what is refused is told of that record alone
    allow("Gold", "Steel", "Tin")
    side.write(two, tier="tin", last_name="Mole")
    side.sync()
    assert [row.what for row in side.told().values()] == ["picklist values added: Steel"]
    assert (side.theirs(two, "tier"), side.parked()) == ("Tin", 0)


@pytest.mark.parametrize("kind", ["org_side", "portal_side"])
def test_it_takes_no_call(kind: str, request: pytest.FixtureRequest) -> None:
    side: Side = request.getfixturevalue(kind)
    side.sync()
    side.sync()
    side.memory = PostgresAnswerMemory(side.url)
    side.sync()  # describes
    calls = [sum(side.sync()["inbound"].calls.values()) for _ in range(3)]
    assert max(calls) <= 2


def test_an_object_that_is_away_is_told_as_fatal_and_its_end_too(world: World) -> None:
    world.sync()
    fields = world.accounts["acme"].fields
    kept = fields.pop("Contact")
    for _ in range(2):
        with pytest.raises(CrmError):
            world.sync()
    [row] = told(world)
    assert (row.object, row.fatal, row.what) == (
        "Contact",
        True,
        "the whole object is away, or this user may not see it",
    )
    fields["Contact"] = kept
    world.sync()
    assert told(world) == []


def test_a_dry_run_notes_nothing(world: World) -> None:
    world.sync()
    world.accounts["acme"].habits.hidden = frozenset({"FirstName"})
    world.sync(dry_run=True)
    assert (told(world), world.one("select count(*) from sync.frozen")) == ([], 0)
    world.sync()
    assert [row.field for row in told(world)] == ["FirstName"]


def test_what_was_noted_before_a_failure_stays_and_is_noted_once(world: World) -> None:
    world.sync()
    world.accounts["acme"].habits.hidden = frozenset({"FirstName"})
    world.crms["acme"].faults.read_error = CrmError(ErrorClass.TRANSIENT, "away")
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    world.sync()
    world.sync()
    assert world.one("select count(*) from sync.schema_change") == 1
    assert world.one("select count(*) from sync.frozen") == 1


def test_names_and_values_that_no_table_can_hold_do_no_harm(world: World) -> None:
    world.sync()
    fields = world.accounts["acme"].fields["Contact"]
    odd = ("\0", "\ud800", "a;b", "'; drop table sync.schema; --", "x" * 10_000)
    fields["Odd\0"] = FieldInfo("Odd\0", "\udfff", "string", True, True, False, options=odd)
    fields["Stage"] = replace(fields["Stage"], options=odd)
    world.sync()
    fields["Stage"] = replace(fields["Stage"], options=odd[2:3])
    world.sync()
    assert {row.field for row in told(world)} == {"Odd\ufffd", "Stage"}
    assert world.one("select count(*) from sync.frozen") == 0


def told(world: World) -> list[Drifted]:
    connections: dict[str, ConnectionSpec] = {spec.name: spec for spec in world.system.connections}
    return drifted(world.conn, connections, world.system.streams)
