"""The CRM in memory keeps the contract; so an engine that is tested on it is tested on a CRM."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from crm_sync.connectors.crm import CRM_ID, MODIFIED_AT, FieldInfo, Hint, Window
from crm_sync.connectors.memory import SIGNATURE, Faults, Knobs, MemoryCrm
from crm_sync.connectors.memory_account import Habits, MemoryAccount, holds
from crm_sync.core.errors import CrmError, ErrorClass, RecordError
from crm_sync.core.spec import Condition, FieldSpec, FieldType, Operator, StreamSpec, VendorField
from tests.contract.kit import Log, create, read, records, update, write
from tests.contract.suite import CrmContract


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 23, 59, 58, 123456, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)


def stream(entity: str, object_name: str, order: int, *fields: FieldSpec, **more) -> StreamSpec:
    return StreamSpec(
        "memory", "memory", entity, object_name, fields, external_id="HubId", order=order, **more
    )


def field(name: str, vendor: str, kind: FieldType = FieldType.STRING, **more) -> FieldSpec:
    return FieldSpec(name, VendorField(vendor, kind), **more)


STAGES = {"open": "Open", "won": "Closed Won"}
STREAMS = {
    "company": stream(
        "company", "Companies", 0, field("name", "Name"), field("staff", "Staff", FieldType.NUMBER)
    ),
    "contact": stream(
        "contact",
        "People",
        1,
        field("first_name", "FirstName"),
        field("last_name", "LastName"),
        field("email", "Email", FieldType.EMAIL),
        field("notes", "Notes"),
        field("opted_out", "OptedOut", FieldType.BOOLEAN),
        field("seen_at", "SeenAt", FieldType.DATETIME),
        field("interests", "Interests", FieldType.MULTIPICKLIST, to_crm={"art": "Art", "music": "Music"}),
        field("company", "CompanyId", FieldType.REFERENCE, entity="company"),
    ),
    "deal": stream(
        "deal",
        "Deals",
        2,
        field("name", "Name"),
        field("amount", "Amount", FieldType.NUMBER),
        field("close_date", "CloseDate", FieldType.DATE),
        field("stage", "Stage", FieldType.PICKLIST, to_crm=STAGES),
        field("company", "CompanyId", FieldType.REFERENCE, entity="company"),
        constants={"Origin": "hub"},
    ),
}


def info(name: str, **more) -> FieldInfo:
    rest = {"vendor_type": "string", "createable": True, "updateable": True, "required": False}
    return FieldInfo(name, name, **{**rest, **more})


FIELDS = {
    "Companies": [
        info("Name", required=True),
        info("Staff"),
        info("Score", createable=False, updateable=False),
    ],
    "People": [
        info("FirstName", max_length=40),
        info("LastName", max_length=80, required=True),
        info("Email", unique=True),
        info("Notes"),
        info("OptedOut"),
        info("SeenAt"),
        info("Interests", options=("Art", "Music", "Sport")),
        info("CompanyId", vendor_type="reference"),
        info("Score", createable=False, updateable=False),
    ],
    "Deals": [
        info("Name"),
        info("Amount"),
        info("CloseDate"),
        info("Stage", options=("Open", "Closed Won")),
        info("CompanyId", vendor_type="reference"),
        info("Origin", updateable=False),
    ],
}


class MemoryPerson:
    def __init__(self, account: MemoryAccount) -> None:
        self.create = account.person_create
        self.update = account.person_edit
        self.delete = account.person_delete
        self._merge = account.person_merge

    def merge(self, object_name: str, winner: str, loser: str) -> str:
        self._merge(object_name, winner, loser)
        return winner


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def crm(clock):
    fields = {name: [*infos, info("HubId", unique=True)] for name, infos in FIELDS.items()}
    return MemoryCrm(MemoryAccount(clock=clock, fields=fields), webhook_secret="s")


@pytest.fixture
def contact():
    return STREAMS["contact"]


class OnMemory(CrmContract):
    @pytest.fixture
    def streams(self):
        return STREAMS

    @pytest.fixture
    def person(self, crm):
        return MemoryPerson(crm.account)

    @pytest.fixture
    def refused(self, crm):
        return MemoryCrm(crm.account, knobs=Knobs(unauthorised=True))

    @pytest.fixture
    def settle(self, clock):
        return lambda: clock.advance(seconds=2)


class TestEager(OnMemory):
    """Everything at once, as HubSpot answers: values come back, deletions are listed apart, no jobs."""

    @pytest.fixture
    def crm(self, crm):
        crm.knobs = Knobs(page_size=7, write_size=10, deletions_in_changed=False)
        return crm


class TestHesitant(OnMemory):
    """Stamps of whole seconds, listings that lag, answers without values, jobs, as Salesforce has them."""

    job_size = 5

    @pytest.fixture
    def crm(self, crm):
        crm.account.habits = Habits(granularity=timedelta(seconds=1), lag=timedelta(seconds=2))
        crm.knobs = Knobs(job_size=5, returns_values=False)
        return crm


class TestWhatTheEngineMustSurvive:
    """The knobs do what they say; nothing of this is asked of other connectors."""

    def test_an_unanswered_write_may_or_may_not_have_taken_effect(self, crm, contact):
        for when, there in (("before", 0), ("after", 1)):
            crm.faults.timeout = when
            operation = create(contact, {"last_name": when})
            with pytest.raises(CrmError) as caught:
                write(crm, contact, [operation])
            assert caught.value.error_class is ErrorClass.UNKNOWN_OUTCOME
            assert len(records(crm.by_hub_ids(contact, [operation.key]))) == there
            assert write(crm, contact, [operation])[operation.key].created is (there == 0)

    def test_only_the_chosen_operation_is_rejected(self, crm, contact):
        one, two = (create(contact, {"last_name": name}) for name in "ab")
        error = RecordError(ErrorClass.CONCURRENCY, "LOCKED", "somebody else is writing", ())
        crm.faults = Faults(reject={one.key: error})
        results = write(crm, contact, [one, two])
        assert (results[one.key].error, results[two.key].ok) == (error, True)
        assert [operation.key for _, operation in crm.account.written] == [two.key]

    def test_a_reading_call_fails_once(self, crm, contact):
        crm.faults.read_error = CrmError(ErrorClass.TRANSIENT, "no")
        with pytest.raises(CrmError, match="no"):
            read(crm, contact)
        assert read(crm, contact) == []

    def test_a_person_may_edit_between_our_look_and_our_write(self, crm, contact):
        crm_id = crm.account.person_create("People", {"LastName": "Old", "FirstName": "Old"})
        (result,) = write(crm, contact, [create(contact, {"last_name": "x"})]).values()
        crm.faults.before_write = lambda _: crm.account.person_edit("People", crm_id, {"FirstName": "New"})
        write(crm, contact, [update(contact, result, {"last_name": "y"})])
        assert crm.account.row("People", crm_id).values["FirstName"] == "New"

    def test_a_late_row_carries_its_early_stamp(self, crm, contact, clock):
        crm.account.habits.lag = timedelta(seconds=5)
        crm.account.person_create("People", {"LastName": "Late"})
        stamped = clock.time
        assert read(crm, contact) == []
        clock.advance(seconds=5)
        (row,) = read(crm, contact)
        assert row[MODIFIED_AT] == stamped.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def test_a_lagging_list_shows_the_state_before(self, crm, contact, clock):
        crm_id = crm.account.person_create("People", {"LastName": "Old"})
        crm.account.habits.lag = timedelta(seconds=5)
        crm.account.person_edit("People", crm_id, {"LastName": "New"})
        assert [row["LastName"] for row in read(crm, contact)] == ["Old"]
        assert [row["LastName"] for row in records(crm.by_ids(contact, [crm_id]))] == ["New"]

    def test_values_are_rewritten_whoever_wrote_them(self, crm, contact):
        crm.account.habits.normalisers = {"LastName": lambda text: text.strip().title()}
        (result,) = write(crm, contact, [create(contact, {"last_name": " van gogh "})]).values()
        assert result.returned["LastName"] == "Van Gogh"
        assert crm.account.row("People", result.crm_id).values["LastName"] == "Van Gogh"

    def test_a_hidden_field_is_absent_everywhere(self, crm, contact):
        crm.account.person_create("People", {"LastName": "A", "Email": "a@example.com"})
        crm.account.habits.hidden = frozenset({"Email"})
        assert "Email" not in read(crm, contact)[0]
        assert "Email" not in crm.describe("People").fields
        (result,) = write(
            crm, contact, [create(contact, {"last_name": "b", "email": "b@example.com"})]
        ).values()
        assert result.error.error_class is ErrorClass.PERMISSION

    def test_a_unique_value_is_refused_to_a_second_record(self, crm, contact):
        crm.account.person_create("People", {"LastName": "A", "Email": "a@example.com"})
        (result,) = write(
            crm, contact, [create(contact, {"last_name": "b", "email": "a@example.com"})]
        ).values()
        assert (result.error.code, result.error.fields) == ("DUPLICATE", ("Email",))

    def test_a_required_field_can_be_neither_left_out_nor_cleared(self, crm, contact):
        (left_out,) = write(crm, contact, [create(contact, {"first_name": "A"})]).values()
        assert left_out.error.fields == ("LastName",)
        (there,) = write(crm, contact, [create(contact, {"last_name": "A"})]).values()
        (cleared,) = write(crm, contact, [update(contact, there, {"last_name": None})]).values()
        assert cleared.error.code == "REQUIRED"

    def test_without_upserts_a_create_sent_twice_is_refused_as_a_duplicate(self, crm, contact):
        crm.account.habits.upserts = False
        operation = create(contact, {"last_name": "A"})
        assert write(crm, contact, [operation])[operation.key].ok
        assert write(crm, contact, [operation])[operation.key].error.code == "DUPLICATE"

    def test_constants_are_set_on_create_only(self, crm):
        (result,) = write(crm, STREAMS["deal"], [create(STREAMS["deal"], {"name": "A"})]).values()
        assert crm.account.row("Deals", result.crm_id).values["Origin"] == "hub"

    def test_records_of_another_record_type_belong_to_another_stream(self, crm, contact):
        partner = replace(contact, record_type="Partner")
        (result,) = write(crm, partner, [create(contact, {"last_name": "A"})]).values()
        write(crm, contact, [create(contact, {"last_name": "B"})])
        assert [row[CRM_ID] for row in read(crm, partner)] == [result.crm_id]
        assert len(read(crm, contact)) == 2

    def test_a_merge_moves_references_and_fills_blanks(self, crm):
        account = crm.account
        winner, loser = (
            account.person_create("Companies", v) for v in ({"Name": "A"}, {"Name": "B", "Staff": "3"})
        )
        crm_id = account.person_create("People", {"LastName": "A", "CompanyId": loser})
        account.person_merge("Companies", winner, loser)
        assert account.row("People", crm_id).values["CompanyId"] == winner
        assert account.row("Companies", winner).values == {"Name": "A", "Staff": "3"}

    def test_what_was_deleted_can_come_back(self, crm, contact):
        crm_id = crm.account.person_create("People", {"LastName": "A"})
        crm.account.person_delete("People", crm_id)
        crm.account.person_restore("People", crm_id)
        assert [row["deleted"] for row in read(crm, contact)] == ["false"]

    def test_an_account_without_descriptions_takes_every_field(self, clock, contact):
        crm = MemoryCrm(MemoryAccount(clock=clock))
        (result,) = write(crm, contact, [create(contact, {"last_name": "A"})]).values()
        assert set(crm.describe("People").fields) == {"LastName", "HubId"}
        assert crm.setup([contact], dry_run=True) == []
        assert result.crm_id == "People-00000001"

    def test_a_second_client_sees_the_same_records(self, crm, contact):
        crm.account.person_create("People", {"LastName": "A"})
        assert len(read(MemoryCrm(crm.account), contact)) == 1

    def test_setup_adds_the_external_id_once(self, clock):
        crm = MemoryCrm(MemoryAccount(clock=clock, fields={"People": [info("LastName")]}))
        assert crm.setup([STREAMS["contact"]], dry_run=True) == ["People: unique field HubId"]
        assert crm.setup([STREAMS["contact"]], dry_run=False) == ["People: unique field HubId"]
        assert crm.setup([STREAMS["contact"]], dry_run=False) == []

    def test_genuine_webhooks_are_read(self, crm):
        event = {
            "event_id": "1",
            "object": "People",
            "id": "7",
            "change": "update",
            "at": "2026-11-21T10:00:00Z",
        }
        body = json.dumps([event]).encode()
        hints = crm.parse_webhook("POST", "https://x.example", {SIGNATURE.title(): crm.sign(body)}, body)
        assert hints == [Hint("1", "People", "7", "update", datetime(2026, 11, 21, 10, tzinfo=UTC))]
        with pytest.raises(CrmError) as caught:
            crm.parse_webhook("POST", "https://x.example", {SIGNATURE: crm.sign(b"{")}, b"{")
        assert caught.value.error_class is ErrorClass.VALIDATION

    def test_no_deletion_is_listed_twice(self, crm, contact):
        crm_id = crm.account.person_create("People", {"LastName": "A"})
        crm.account.person_delete("People", crm_id)
        for in_changed in (True, False):
            crm.knobs.deletions_in_changed = in_changed
            assert len(read(crm, contact)) + len(records(crm.deleted(contact, Window()))) == 1

    def test_a_job_that_nobody_knows_has_an_unknown_outcome(self, crm, contact):
        log = Log()
        log.save({"job": "job-9"})
        with pytest.raises(CrmError) as caught:
            list(crm.resume_write(contact, [create(contact, {})], log.state, log))
        assert caught.value.error_class is ErrorClass.UNKNOWN_OUTCOME
        assert log.state is None


@pytest.mark.parametrize(
    ("operator", "wanted", "kept"),
    [
        (Operator.EQ, ["10"], {"10"}),
        (Operator.NEQ, ["10"], {"9", "x", None}),
        (Operator.IN, ["9", "x"], {"9", "x"}),
        (Operator.NOT_IN, ["9", "x"], {"10", None}),
        (Operator.LT, ["10"], {"9"}),
        (Operator.LTE, ["10"], {"9", "10"}),
        (Operator.GT, ["9"], {"10", "x"}),
        (Operator.GTE, ["9.0"], {"9", "10", "x"}),
        (Operator.IS_BLANK, [], {None}),
        (Operator.IS_NOT_BLANK, [], {"9", "10", "x"}),
    ],
)
def test_conditions(operator, wanted, kept):
    condition = Condition("F", operator, tuple(wanted))
    assert {value for value in ("9", "10", "x", None) if holds(condition, value)} == kept
