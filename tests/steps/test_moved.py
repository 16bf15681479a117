"""Between our last look at a CRM and our write somebody edits the same field there: nothing is overwritten unseen.

Two simulated CRMs over TLS, the example mapping (every type of field), the real steps. Salesforce is written by
Collections or by bulk jobs, HubSpot in batches.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from crm_sync.connectors import build
from crm_sync.connectors.crm import Crm
from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.core.spec import FieldSpec, FieldType, System
from crm_sync.demo.accounts import HubSpotPerson, SalesforcePerson
from crm_sync.demo.world import write_connections
from crm_sync.hub import review
from crm_sync.hub.prepare import prepare
from crm_sync.hub.store import Store
from crm_sync.mapping.load import load
from crm_sync.simulators.serve import Simulator, running
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound
from tests.steps.world import World

KINDS = ("salesforce", "hubspot")
RECORDS = 12


class Stage:
    """A hub and two CRMs that it is in sync with."""

    def __init__(self, url: str, folder: Path, simulators: Mapping[str, Simulator], more: str) -> None:
        self.url = url
        env = write_connections(folder, simulators)
        for name in KINDS:
            file = folder / f"{name}.yaml"
            options = more if name == "salesforce" or "check" in more else ""
            file.write_text(file.read_text().replace("\nauth:\n", f"\n{options}\n\nauth:\n", 1))
        self.system: System = load(folder)
        prepare(url, self.system)
        self.conn = psycopg.connect(url, autocommit=True)
        self.crms: dict[str, Crm] = {
            spec.name: build.connect(spec, env=env, tokens=MemoryTokenStore())
            for spec in self.system.connections
        }
        for spec in self.system.connections:
            self.crms[spec.name].setup(spec.streams, dry_run=False)

    def take_in(self) -> None:
        """Inbound and the hub step, of everything; then the disputes."""
        with Store(self.url, run_id="in") as store:
            for stream in self.system.streams:
                inbound(store, self.crms[stream.connection], stream, Options())
            for stream in self.system.streams:
                hub(store, stream, Options())
                conflicts(store, stream)

    def decide(self) -> None:
        """The hub step, without another look at the CRMs."""
        with Store(self.url, run_id="hub") as store:
            for stream in self.system.streams:
                hub(store, stream, Options())
                conflicts(store, stream)

    def send(self) -> dict[str, Report]:
        """Outbound of everything."""
        with Store(self.url, run_id="out") as store:
            return {
                s.name: outbound(store, self.crms[s.connection], s, Options()) for s in self.system.streams
            }

    def sync(self) -> dict[str, Report]:
        self.take_in()
        return self.send()

    def one(self, query: str, *args: object) -> Any:
        row = self.conn.execute(query, args).fetchone()  # type: ignore[arg-type]
        return row[0] if row else None

    def close(self) -> None:
        self.conn.close()
        for crm in self.crms.values():
            crm.close()


@pytest.fixture(scope="module")
def simulators() -> Iterator[dict[str, Simulator]]:
    with ExitStack() as stack:
        yield {kind: stack.enter_context(running(kind, records=RECORDS)) for kind in KINDS}


@pytest.fixture
def stage(request: Any, fresh_database_url: str, simulators: dict[str, Simulator], tmp_path: Path) -> Any:
    more = getattr(request, "param", "")
    with closing(Stage(fresh_database_url, tmp_path / "connections", simulators, more)) as made:
        for _ in range(3):
            made.sync()
        assert made.one("select count(*) from hub.contact") >= RECORDS
        yield made


BULK = "bulk_query_above: 0\nbulk_write_above: 0"
ways = pytest.mark.parametrize("stage", ["", BULK], indirect=True, ids=["by REST", "in bulk"])


@ways
def test_what_nobody_edits_in_a_crm_has_not_moved_whatever_its_type(stage: Stage) -> None:
    """Also right after a write, when the mirror holds what was sent and nothing was read since."""
    for turn in (0, 1, 2):
        for entity in stage.system.entities:
            for name, spec in stage.system.hub_fields(entity).items():
                value = new_value(spec, turn)
                if value is not None:
                    stage.conn.execute(f"update hub.{entity} set {name} = {value}")  # type: ignore[arg-type]
        reports = stage.send()
        for name, report in reports.items():
            assert (report.counts["moved"], report.counts["retry"]) == (0, 0), (name, turn, report.counts)
        assert all(reports[f"{kind}/contact"].counts["updated"] >= RECORDS for kind in KINDS)
    for _ in range(2):
        last = stage.sync()
    assert sum(r.counts["moved"] + r.counts["updated"] for r in last.values()) == 0


def new_value(spec: FieldSpec, turn: int) -> str | None:
    """SQL for a value that differs from turn to turn; None where a record needs one of its own."""
    choices = sorted(spec.to_crm or ())
    match spec.type:
        case FieldType.STRING if spec.name in {"title", "description", "notes", "first_name"}:
            return [r"E'a, \"b\"\r\nc'", "'Zoë  x'", "'plain'"][turn]
        case FieldType.PHONE:
            return f"'+1415555010{turn}'"
        case FieldType.URL:
            return f"'https://www{turn}.example/a?b=' || id"
        case FieldType.NUMBER:
            return ["10000000", "0", "123456"][turn]
        case FieldType.DATE:
            return f"date '2024-02-2{turn}'"
        case FieldType.DATETIME:
            return f"timestamptz '2026-03-29 01:30:0{turn}.120Z'"
        case FieldType.BOOLEAN:
            return ["true", "false", "true"][turn]
        case FieldType.PICKLIST if choices:
            return f"'{choices[turn % len(choices)]}'"
        case FieldType.MULTIPICKLIST if choices:
            return f"array['{choices[turn]}', '{choices[turn - 1]}']"
        case FieldType.REFERENCE:
            return f"(select id from hub.{spec.entity} order by id offset {turn} limit 1)"
        case _:
            return None


def edit(stage: Stage, simulators: Mapping[str, Simulator], kind: str, crm_id: str, value: str) -> None:
    """A person gives a contact another title, in the CRM."""
    if kind == "salesforce":
        SalesforcePerson(simulators[kind]).update("Contact", crm_id, Title=value)
        return
    with closing(HubSpotPerson(simulators[kind])) as person:
        person.update("contacts", crm_id, jobtitle=value)


def title(stage: Stage, kind: str, crm_id: str) -> str | None:
    """What the CRM says now."""
    stream = stage.system.stream(kind, "contact")
    (page,) = stage.crms[kind].by_ids(stream, [crm_id])
    return page.batch.column(stream.field("title").vendor.name).to_pylist()[0]


@ways
@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_between_our_look_and_our_write_ends_as_a_dispute(
    stage: Stage, simulators: dict[str, Simulator], kind: str
) -> None:
    rows = stage.conn.execute(
        f"select hub_id, crm_id from {kind}.contact_base order by hub_id limit 2"
    ).fetchall()  # type: ignore[arg-type]
    (hub_id, crm_id), (_, other) = rows
    ours, theirs = (f"{side} {uuid4().hex[:8]}" for side in ("Hub", kind))
    stage.conn.execute("update hub.contact set title = %s", [ours])
    edit(stage, simulators, kind, crm_id, theirs)
    report = stage.send()[f"{kind}/contact"]
    assert report.counts["moved"] == 1
    assert report.counts["updated"] >= RECORDS - 1
    assert title(stage, kind, crm_id) == theirs, "not overwritten"
    assert title(stage, kind, other) == ours
    assert stage.one("select count(*) from sync.intent") == 0
    stage.decide()  # without another reading: what was seen before the write is known by now
    found = stage.one(
        "select hub_value || ' / ' || crm_value from review.conflict where connection = %s and hub_id = %s"
        " and field = 'title' and status = 'open'",
        kind, hub_id,
    )  # fmt: skip
    assert found == f"{ours} / {theirs}"
    review.decide(stage.conn, review.find(stage.conn), "use_crm", "mina")
    for _ in range(3):
        last = stage.sync()
    assert stage.one("select title from hub.contact where id = %s", hub_id) == theirs
    assert sum(r.counts["moved"] + r.counts["updated"] for r in last.values()) == 0


@pytest.mark.parametrize("stage", ["check_before_write: false"], indirect=True)
def test_who_wants_fewer_calls_takes_the_risk(stage: Stage, simulators: dict[str, Simulator]) -> None:
    ours = f"Hub {uuid4().hex[:8]}"
    for kind in KINDS:
        crm_id = stage.one(f"select crm_id from {kind}.contact_base order by hub_id limit 1")
        edit(stage, simulators, kind, crm_id, "Somebody's")
    stage.conn.execute("update hub.contact set title = %s", [ours])
    before = stage.crms["hubspot"].calls.get("batch_read", 0)
    reports = stage.send()
    assert [reports[f"{kind}/contact"].counts["moved"] for kind in KINDS] == [0, 0]
    assert stage.crms["hubspot"].calls.get("batch_read", 0) == before
    for kind in KINDS:
        crm_id = stage.one(f"select crm_id from {kind}.contact_base order by hub_id limit 1")
        assert title(stage, kind, crm_id) == ours


# With the CRM in memory ------------------------------------------------------------------------------------------------


def test_a_take_follows_where_only_the_crm_changed(world: World) -> None:
    acme = world.accounts["acme"]
    crm_id = acme.person_create("Contact", {"LastName": "Lee", "FirstName": "Ann", "Email": "a@x.example"})
    world.sync()
    world.wait(minutes=1)
    world.conn.execute("update hub.contact set first_name = 'Anne', last_name = 'Li'")
    world.wait(days=3650)  # later than our change, by anybody's clock
    acme.person_edit("Contact", crm_id, {"LastName": "Lee-Smith"})
    stream = world.system.stream("acme", "contact")
    with Store(world.url, run_id="out") as store:
        report = outbound(store, world.crms["acme"], stream, Options())
        assert (report.counts["moved"], report.counts["updated"], report.counts["retry"]) == (1, 0, 0)
        assert acme.row("Contact", crm_id).values["FirstName"] == "Ann", "nothing of the record was sent"
        hub(store, stream, Options())
        outbound(store, world.crms["acme"], stream, Options())
    # The CRM's change is the later one; the other field goes out.
    assert acme.row("Contact", crm_id).values["LastName"] == "Lee-Smith"
    assert acme.row("Contact", crm_id).values["FirstName"] == "Anne"
    assert world.hub("contact", "last_name")[0]["last_name"] == "Lee-Smith"


def test_a_stamp_in_the_mirror_that_is_too_late_starves_nobody(world: World) -> None:
    acme = world.accounts["acme"]
    crm_id = acme.person_create("Contact", {"LastName": "Lee", "Email": "a@x.example"})
    world.sync()
    world.conn.execute("update acme.contact set modified_at = modified_at + interval '10 years'")
    world.conn.execute("update hub.contact set last_name = 'Li'")
    acme.person_edit("Contact", crm_id, {"LastName": "Lee-Smith"})
    for _ in range(3):
        world.wait(minutes=1)
        last = world.sync()
    assert last["outbound contact"].counts["moved"] == 0
    assert acme.row("Contact", crm_id).values["LastName"] == "Lee-Smith"
    assert world.one("select last_name from hub.contact") == "Lee-Smith"


def test_a_decision_overwrites_only_what_the_person_saw(world: World) -> None:
    acme = world.accounts["acme"]
    crm_id = acme.person_create("Contact", {"LastName": "Lee", "Phone": "+14155550001"})
    world.sync()
    world.wait(minutes=1)
    world.conn.execute("update hub.contact set phone = '+14155550002'")
    acme.person_edit("Contact", crm_id, {"Phone": "+14155550003"})
    world.sync()
    review.decide(world.conn, review.find(world.conn), "use_hub", "mina")
    acme.person_edit("Contact", crm_id, {"Phone": "+14155550004"})
    stream = world.system.stream("acme", "contact")
    with Store(world.url, run_id="out") as store:
        report = outbound(store, world.crms["acme"], stream, Options())
    assert (report.counts["moved"], report.counts["updated"]) == (1, 0)
    world.sync()
    assert acme.row("Contact", crm_id).values["Phone"] == "+14155550004"
    assert world.one("select crm_value from review.conflict where status = 'open'") == "+14155550004"
