"""Salesforce's connector where it differs from others: two ways to read and to write, jobs, sessions, faults.

What every connector must do is in tests/contract; here a simulator over TLS is switched into the moods of the vendor.
"""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from crm_sync.connectors.crm import (
    CRM_ID,
    DELETED,
    HUB_ID,
    MODIFIED_AT,
    BatchPage,
    CsvPage,
    Operation,
    ReadRequest,
    Result,
    Window,
)
from crm_sync.connectors.http import TransportSettings
from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.connectors.salesforce.crm import SalesforceCrm, Thresholds
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import Condition, FieldType
from crm_sync.simulators.serve import Simulator, running
from tests.contract import salesforce
from tests.contract.kit import Crash, Log, Record, by_id, create, meaning, read, records, taken, update, write

CONTACT, COMPANY, DEAL = (salesforce.STREAMS[name] for name in ("contact", "company", "deal"))
BY_BULK = Thresholds(bulk_query_above=0, bulk_write_above=0, bulk_page_rows=70)


@pytest.fixture(scope="class")
def class_simulator() -> Iterator[Simulator]:
    with running("salesforce", records=300) as found:
        yield found


@pytest.fixture
def simulator(class_simulator: Simulator) -> Iterator[Simulator]:
    before = class_simulator.control("settings")
    yield class_simulator
    class_simulator.control("faults", [])
    class_simulator.control("settings", before)


@pytest.fixture
def connect(simulator: Simulator):
    """Makes connectors; closes them. `eager`: waits are not slept through, unless for a job."""
    made: list[SalesforceCrm] = []

    def connector(thresholds: Thresholds | None = None, **more) -> SalesforceCrm:
        settings = TransportSettings(
            ca_bundle=Path(str(simulator.ca_file)),
            timeout=20.0,
            sleep=lambda seconds: time.sleep(min(seconds, 0.05)),
        )
        made.append(salesforce.connector(simulator, thresholds, settings=settings, **more))
        return made[-1]

    yield connector
    for crm in made:
        crm.close()


def strike(simulator: Simulator, method: str, path: str, limit: int = 1, **effect) -> None:
    fault = {"match": {"method": method, "path": path}, "limit": limit, "effect": effect}
    simulator.control("faults", [fault])


def sample(count: int) -> list[Operation]:
    return [
        Operation(str(uuid4()), "create", None, {"LastName": f"Name {i:05d}", "FirstName": 'É, "x"\nnew'})
        for i in range(count)
    ]


class TestReading:
    def test_rest_and_bulk_read_the_same_rows(self, connect):
        rest, bulk = connect(Thresholds(bulk_query_above=10**6)), connect(BY_BULK)
        for stream in (CONTACT, COMPANY, DEAL):
            one, other = by_id(read(rest, stream)), by_id(read(bulk, stream))
            assert one.keys() == other.keys()
            assert len(one) > 40
            for crm_id, record in one.items():
                for name, field in stream.vendor_fields.items():
                    spec = next(spec for spec in stream.columns if spec.vendor.name == name)
                    if field.type in {FieldType.NUMBER, FieldType.MULTIPICKLIST}:
                        assert meaning(spec, record[name]) == meaning(spec, other[crm_id][name])
                    else:
                        assert record[name] == other[crm_id][name]
                for role in (CRM_ID, MODIFIED_AT, DELETED, HUB_ID):
                    assert record[role] == other[crm_id][role]
        assert "bulk_query" not in rest.calls
        assert bulk.calls["bulk_query"] >= 3 * 4  # create, poll, two pages at least

    def test_the_way_is_chosen_by_a_count(self, connect):
        few, many = connect(Thresholds(bulk_query_above=301)), connect(Thresholds(bulk_query_above=40))
        assert all(isinstance(page, BatchPage) for page in few.changed(ReadRequest(COMPANY), Log()))
        pages = list(many.changed(ReadRequest(COMPANY), Log()))
        assert all(isinstance(page, CsvPage) for page in pages)
        assert few.calls["query"] == 2
        assert many.calls["query"] == 1
        assert len(read(many, COMPANY, limit=5)) == 5

    def test_a_count_that_takes_too_long_is_not_waited_for_again(self, simulator):
        """A large org counts for up to two minutes: a bulk query is for that, five tries of a count are not."""
        slow = {"match": {"method": "GET", "path": "/queryAll"}, "effect": {"delay": 2.0}}
        simulator.control("faults", [slow])
        hasty = TransportSettings(ca_bundle=Path(str(simulator.ca_file)), timeout=0.7)
        crm = salesforce.connector(simulator, settings=hasty)
        assert len(read(crm, CONTACT)) > 40
        assert (crm.calls["query"], "bulk_query" in crm.calls) == (1, True)
        crm.close()

    def test_nothing_new_costs_one_call(self, connect):
        crm = connect()
        later = crm.now().replace(year=2030)
        read(crm, CONTACT, later)
        before = dict(crm.calls)
        assert read(crm, CONTACT, later) == []
        assert {family: crm.calls[family] - before[family] for family in crm.calls} == {
            "describe": 0,
            "query": 1,
            "clock": 0,
        }

    @pytest.mark.parametrize("listed", [True, False], ids=["listed pages", "locators"])
    def test_an_interrupted_bulk_query_goes_on_where_it_was(self, connect, simulator, listed):
        simulator.control("settings", {"bulk_page": 40})
        version = "62.0" if listed else "57.0"
        whole = by_id(read(connect(BY_BULK, version=version), CONTACT))
        size = 40 if listed else 70
        for crash_at in range(1, 8 if listed else 6):  # the job's id, then the pages
            log, seen = Log(crash_at), {}
            with pytest.raises(Crash):
                read_into(seen, connect(BY_BULK, version=version), ReadRequest(CONTACT), log)
            assert len(seen) == min(size * (crash_at - 1), len(whole))
            jobs = simulator.control("stats")["bulk_jobs"]
            rest, after = {}, Log()
            after.state = log.state
            resumed = ReadRequest(CONTACT, job=log.state)
            read_into(rest, connect(BY_BULK, version=version), resumed, after)
            assert simulator.control("stats")["bulk_jobs"] == jobs, "another job was made"
            assert not seen.keys() & rest.keys()
            assert seen | rest == whole
            assert after.state["done"]
            assert read(connect(BY_BULK, version=version), CONTACT, job=after.state) == []

    def test_a_saved_job_of_another_request_is_left_alone(self, connect):
        crm = connect(BY_BULK)
        log = Log(1)
        with pytest.raises(Crash):
            read_into({}, crm, ReadRequest(COMPANY), log)
        assert by_id(records(crm.changed(ReadRequest(CONTACT, job=log.state), Log()))) == by_id(
            read(crm, CONTACT)
        )
        lost = {**log.state, "job_id": "750000000000000AAA"}
        assert by_id(records(crm.changed(ReadRequest(COMPANY, job=lost), Log()))) == by_id(read(crm, COMPANY))

    @pytest.mark.parametrize("listed", [True, False], ids=["listed pages", "locators"])
    @pytest.mark.parametrize(
        ("status", "code"),
        [(404, "NOT_FOUND"), (410, "GONE"), (400, "INVALIDJOB"), (400, "INVALID_QUERY_LOCATOR")],
    )
    def test_a_result_that_expires_on_the_way_is_asked_for_anew(
        self, connect, simulator, listed, status, code
    ):
        simulator.control("settings", {"bulk_page": 70})
        crm = connect(BY_BULK, version="62.0" if listed else "57.0")
        whole = by_id(read(crm, CONTACT))
        jobs = simulator.control("stats")["bulk_jobs"]
        fault = {  # three pages are fetched side by side, in any order; the fourth after the first was handed out
            "match": {"method": "GET", "path": "/results$"},
            "after": 3,
            "limit": 1,
            "effect": {"status": status, "body": [{"errorCode": code, "message": "no"}]},
        }
        simulator.control("faults", [fault])
        log = Log()
        found = [record for page in taken(crm.changed(ReadRequest(CONTACT), log), log) for record in page]
        assert by_id(found) == whole
        assert len(found) > len(whole), "pages that had been read came again"
        assert log.state["done"]
        assert counted(simulator.control("stats")["bulk_jobs"]) == counted(jobs) + 2, (
            "the first, and another one"
        )

    def test_expired_results_of_an_interrupted_read_cost_another_job(self, connect, simulator):
        simulator.control("settings", {"bulk_page": 70})
        crm, log = connect(BY_BULK), Log(3)
        whole = by_id(read(crm, CONTACT))
        with pytest.raises(Crash):
            read_into({}, crm, ReadRequest(CONTACT), log)
        simulator.control("expire", {"what": "results"})
        assert by_id(read(crm, CONTACT, job=log.state)) == whole

    def test_a_job_that_fails_for_a_moment_is_made_again_and_an_aborted_one_is_not(self, connect, simulator):
        crm = connect(BY_BULK)
        whole = by_id(read(crm, CONTACT))
        job = {"event": "bulk job", "limit": 1}
        simulator.control(
            "faults", [{**job, "do": {"state": "Failed", "message": "InternalServerError : x"}}]
        )
        assert by_id(read(crm, CONTACT)) == whole
        for told, error_class in (
            ({"state": "Failed", "message": "InvalidBatch : x"}, ErrorClass.PERMANENT),
            ({"state": "Aborted"}, ErrorClass.TRANSIENT),
        ):
            simulator.control("faults", [{**job, "do": told}])
            log = Log()
            with pytest.raises(CrmError) as caught:
                read_into({}, crm, ReadRequest(CONTACT), log)
            assert caught.value.error_class is error_class
            assert log.state is None, "the next run makes another job"

    @pytest.mark.parametrize("by", ["listed pages", "locators", "rest"])
    @pytest.mark.parametrize("rows", ["lose", "repeat", "shuffle"])
    def test_pages_with_wrong_rows_lose_nothing(self, connect, simulator, by, rows):
        simulator.control("settings", {"bulk_page": 70})
        bulk = replace(BY_BULK, page_size=200)
        crm = connect(
            Thresholds(bulk_query_above=10**6, page_size=200) if by == "rest" else bulk,
            version="57.0" if by == "locators" else "62.0",
        )
        whole = by_id(read(crm, CONTACT))
        strike(simulator, "GET", "/query/01g|/results$", limit=2, rows=rows)
        log = Log()
        found = [record for page in taken(crm.changed(ReadRequest(CONTACT), log), log) for record in page]
        assert by_id(found) == whole
        assert simulator.control("faults")[0]["hits"] > 0

    def test_pages_in_another_charset_are_read_again(self, connect, simulator):
        simulator.control("settings", {"bulk_page": 70})
        crm = connect(BY_BULK)
        write(crm, CONTACT, sample(80))
        whole = by_id(read(crm, CONTACT))
        strike(simulator, "GET", "/results$", limit=4, charset="cp1252")
        assert by_id(read(crm, CONTACT)) == whole

    def test_pages_that_were_fetched_ahead_are_thrown_away(self, connect, simulator):
        simulator.control("settings", {"bulk_page": 20})
        crm = connect(replace(BY_BULK, bulk_page_rows=20))
        pages = crm.changed(ReadRequest(CONTACT), Log())
        next(pages)
        pages.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith(("ahead", "bulk"))]

    def test_a_bulk_read_with_a_limit_leaves_the_rest_of_its_result_to_the_next(self, connect, simulator):
        crm = connect(replace(BY_BULK, bulk_query_above=10))
        whole = by_id(read(crm, CONTACT))
        seen: list[Record] = []
        log = Log()
        jobs = counted(simulator.control("stats")["bulk_jobs"])
        while log.state is None or not log.state.get("done"):
            request = ReadRequest(CONTACT, limit=100, job=log.state)
            some = [record for page in taken(crm.changed(request, log), log) for record in page]
            assert 0 < len(some) <= 100
            seen += some
        assert by_id(seen) == whole
        assert len(seen) == len(whole)
        assert counted(simulator.control("stats")["bulk_jobs"]) == jobs + 1

    def test_a_result_that_breaks_off_is_taken_up_again(self, connect, simulator):
        crm = connect(replace(BY_BULK, bulk_page_rows=1000))
        whole = by_id(read(crm, CONTACT))
        strike(simulator, "GET", "/results", limit=3, truncate=0.6)
        assert by_id(read(crm, CONTACT)) == whole

    def test_dropped_cursors_lose_and_double_nothing(self, connect, simulator):
        crm = connect(Thresholds(page_size=200))
        whole = [record[CRM_ID] for record in read(crm, CONTACT)]
        assert len(whole) > 200
        body = [{"message": "invalid query locator", "errorCode": "INVALID_QUERY_LOCATOR"}]
        strike(simulator, "GET", r"/query/01g", limit=99, status=400, body=body)
        assert [record[CRM_ID] for record in read(crm, CONTACT)] == whole

    def test_a_cursor_dropped_where_nothing_is_ordered_passes(self, connect, simulator):
        crm = connect()
        simulator.control("settings", {"query_page": 50})
        body = [{"message": "invalid query locator", "errorCode": "INVALID_QUERY_LOCATOR"}]
        strike(simulator, "GET", r"/query/01g", limit=99, status=400, body=body)
        narrow = replace(CONTACT, filters=(Condition("LastName", "eq", ("nobody",)),))
        with pytest.raises(CrmError) as caught:
            list(crm.left(narrow, Window()))
        assert caught.value.error_class is ErrorClass.TRANSIENT

    def test_a_hidden_field_is_absent_and_told(self, connect, simulator, caplog):
        simulator.control(
            "settings", {"hidden_fields": {simulator.info["username"]: {"Contact": ["Birthdate"]}}}
        )
        for thresholds in (Thresholds(), BY_BULK):
            crm = connect(thresholds)
            with caplog.at_level(logging.WARNING):
                found = read(crm, CONTACT)
            assert all("Birthdate" not in record and "Email" in record for record in found)
            assert "Birthdate is not read" in caplog.text

    @pytest.mark.parametrize("thresholds", [Thresholds(), BY_BULK], ids=["rest", "bulk"])
    def test_a_field_that_is_hidden_after_it_was_described_is_absent(self, connect, simulator, thresholds):
        crm = connect(thresholds)
        crm_id = next(record[CRM_ID] for record in read(crm, CONTACT) if "Birthdate" in record)
        user = simulator.info["username"]
        simulator.control("settings", {"hidden_fields": {user: {"Contact": ["Birthdate"]}}})
        (record,) = records(crm.by_ids(CONTACT, [crm_id]))
        assert "Birthdate" not in record
        simulator.control("settings", {"hidden_fields": {user: {"Contact": ["Birthdate", "Email"]}}})
        found = read(crm, CONTACT)
        assert found
        assert all("Email" not in record and "LastName" in record for record in found)

    def test_fifteen_character_ids_are_found(self, connect):
        crm = connect()
        crm_id = read(crm, COMPANY, limit=1)[0][CRM_ID]
        assert [
            r[CRM_ID] for r in records(crm.by_ids(COMPANY, [crm_id[:15], "nonsense", "' OR Id != '"]))
        ] == [crm_id]


def counted(jobs: dict[str, int]) -> int:
    return sum(jobs.values())


def read_into(seen: dict[str, Record], crm: SalesforceCrm, request: ReadRequest, log: Log) -> None:
    """Page by page, so that what was read before a crash is known."""
    for found in taken(crm.changed(request, log), log):
        seen |= by_id(found)


class TestWriting:
    def test_ten_thousand_creates_with_some_rejected(self, connect):
        crm = connect()
        operations = sample(10_000)
        bad = {operation.key for operation in operations[::97]}
        operations = [
            replace(o, values={**o.values, "LastName": "x" * 81}) if o.key in bad else o for o in operations
        ]
        results = write(crm, CONTACT, operations)
        assert {key for key, result in results.items() if not result.ok} == bad
        assert all(result.created and result.crm_id for result in results.values() if result.ok)
        errors = [results[key].error for key in bad]
        assert {(e.error_class, e.code, e.fields) for e in errors} == {
            (ErrorClass.VALIDATION, "STRING_TOO_LONG", ("LastName",))
        }
        assert all("xxx" not in e.message for e in errors)
        assert crm.calls["bulk_ingest"] < 40
        assert "collections" not in crm.calls
        some = [o for o in operations if o.key not in bad][:50]
        found = by_id(records(crm.by_ids(CONTACT, [results[o.key].crm_id or "" for o in some])))
        for operation in some:
            record = found[results[operation.key].crm_id]
            assert (record[HUB_ID], record["LastName"]) == (operation.key, operation.values["LastName"])
            assert (record["FirstName"] or "").split() == (operation.values["FirstName"] or "").split()

    def test_one_job_holds_rows_that_write_different_columns(self, connect):
        crm = connect(BY_BULK)
        added = list(write(crm, CONTACT, sample(4)).values())
        everything = {"first_name": "A", "notes": "B", "born": "2000-02-29", "interests": "Analytics;Mobile"}
        write(crm, CONTACT, [update(CONTACT, r, everything) for r in added])
        operations = [
            update(CONTACT, added[0], {"first_name": None}),
            update(CONTACT, added[1], {"notes": None, "born": None}),
            update(CONTACT, added[2], {"interests": None, "opted_out": "true"}),
            update(CONTACT, added[3], {"notes": "#N/A"}),
        ]
        results = write(crm, CONTACT, operations)
        assert all(result.ok for result in results.values())
        found = by_id(records(crm.by_ids(CONTACT, [r.crm_id or "" for r in added])))
        said = [
            tuple(found[r.crm_id][name] for name in ("FirstName", "Description", "Birthdate", "Interests__c"))
            for r in added
        ]
        both = "Analytics;Mobile"
        assert said == [
            (None, "B", "2000-02-29", both),
            ("A", None, None, both),
            ("A", "B", "2000-02-29", None),
            ("A", "#N/A", "2000-02-29", both),
        ]

    def test_a_bulk_job_that_fails_as_a_whole_is_told_for_each_record(self, connect, simulator):
        crm = connect(BY_BULK)
        crm.describe("Contact")
        simulator.control(
            "settings", {"hidden_fields": {simulator.info["username"]: {"Contact": ["Birthdate"]}}}
        )
        operations = [create(CONTACT, {"last_name": "Late", "born": "2000-01-01"}) for _ in range(3)]
        results = write(crm, CONTACT, operations)
        assert {result.error.error_class for result in results.values()} == {ErrorClass.PERMISSION}
        assert {result.error.fields for result in results.values()} == {("Birthdate",)}

    def test_a_field_hidden_since_fails_its_records_alone(self, connect, simulator):
        crm = connect()
        crm.describe("Contact")
        simulator.control(
            "settings", {"hidden_fields": {simulator.info["username"]: {"Contact": ["Birthdate"]}}}
        )
        operations = [create(CONTACT, {"last_name": f"Name {i}"}) for i in range(7)]
        operations[3] = create(CONTACT, {"last_name": "Late", "born": "2000-01-01"})
        results = write(crm, CONTACT, operations)
        assert [results[o.key].ok for o in operations] == [True] * 3 + [False] + [True] * 3
        assert results[operations[3].key].error.error_class is ErrorClass.PERMISSION

    def test_in_a_bulk_job_too_who_does_not_write_the_field_only_waits(self, connect, simulator):
        crm = connect(BY_BULK)
        crm.describe("Contact")
        simulator.control(
            "settings", {"hidden_fields": {simulator.info["username"]: {"Contact": ["Birthdate"]}}}
        )
        operations = [create(CONTACT, {"last_name": f"Name {i}"}) for i in range(3)]
        operations[1] = create(CONTACT, {"last_name": "Late", "born": "2000-01-01"})
        results = write(crm, CONTACT, operations)
        waits, refused = ErrorClass.TRANSIENT, ErrorClass.PERMISSION
        assert [results[o.key].error.error_class for o in operations] == [waits, refused, waits]
        results = write(crm, CONTACT, operations)
        assert [results[o.key].ok for o in operations] == [True, False, True], "it was described anew"

    def test_an_external_id_that_is_hidden_since_is_no_records_fault(self, connect, simulator):
        crm = connect()
        crm.describe("Contact")
        hidden = {simulator.info["username"]: {"Contact": ["crm_sync_id__c"]}}
        simulator.control("settings", {"hidden_fields": hidden})
        gone = {"method": "PATCH", "path": "/composite/sobjects/Contact/crm_sync_id__c"}
        body = [{"errorCode": "NOT_FOUND", "message": "Provided external ID field does not exist"}]
        simulator.control("faults", [{"match": gone, "limit": 1, "effect": {"status": 404, "body": body}}])
        for _ in range(2):  # what Salesforce says, then what its description says
            with pytest.raises(CrmError, match=r"Contact.*crm_sync_id__c.*crm-sync setup") as caught:
                write(crm, CONTACT, sample(2))
            assert caught.value.error_class is ErrorClass.PERMISSION

    def test_locked_rows_are_transient_and_alone(self, connect, simulator):
        for thresholds in (Thresholds(), BY_BULK):
            crm = connect(thresholds)
            added = list(write(crm, CONTACT, sample(3)).values())
            simulator.control("settings", {"locked": [added[1].crm_id]})
            results = write(crm, CONTACT, [update(CONTACT, r, {"first_name": "New"}) for r in added])
            assert [results[r.key].ok for r in added] == [True, False, True]
            assert results[added[1].key].error.error_class is ErrorClass.TRANSIENT

    def test_what_a_job_could_not_lock_is_looked_at_again_before_it_is_sent_again(self, connect, simulator):
        crm = connect(BY_BULK)
        added = list(write(crm, CONTACT, sample(3)).values())
        simulator.control("settings", {"locked": [added[1].crm_id]})
        operations = [update(CONTACT, r, {"first_name": "New"}) for r in added]
        shown = {"FirstName": sample(1)[0].values["FirstName"]}
        spent = []
        for known in (False, True):
            before = crm.calls.get("collections", 0)
            expected = [replace(o, expected=shown if known else {}) for o in operations]
            results = write(crm, CONTACT, expected)
            assert [results[r.key].ok for r in added] == [True, False, True]
            spent.append(crm.calls["collections"] - before)
        assert spent[1] - spent[0] == 2  # before the job, and before the locked one goes once more

    @pytest.mark.parametrize("drop", ["before", "after"])
    def test_a_collection_without_an_answer_is_not_repeated(self, connect, simulator, drop):
        crm = connect()
        operations = sample(3)
        crm.describe("Contact")
        strike(simulator, "PATCH", "composite/sobjects", drop=drop)
        with pytest.raises(CrmError) as caught:
            write(crm, CONTACT, operations)
        assert caught.value.error_class is ErrorClass.UNKNOWN_OUTCOME
        assert crm.calls["collections"] == 1
        found = {r[HUB_ID] for r in records(crm.by_hub_ids(CONTACT, [o.key for o in operations]))}
        assert found == ({o.key for o in operations} if drop == "after" else set())

    @pytest.mark.parametrize("drop", ["before", "after"])
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "jobs/ingest$"),
            ("PUT", "batches"),
            ("PATCH", "jobs/ingest/"),
            ("GET", "jobs/ingest/"),
            ("GET", "Results"),
        ],
    )
    def test_a_bulk_job_survives_a_lost_answer_anywhere(self, connect, simulator, method, path, drop):
        crm = connect(BY_BULK)
        operations = sample(5)
        strike(simulator, method, path, drop=drop)
        results = write(crm, CONTACT, operations)
        assert all(result.ok and result.created for result in results.values())
        found = records(crm.by_hub_ids(CONTACT, [o.key for o in operations]))
        assert len(found) == 5

    def test_results_are_collected_on_after_a_crash_between_them(self, connect, simulator):
        crm, log = connect(BY_BULK), Log()
        operations = sample(2_500)
        answers = crm.write(CONTACT, operations, log)
        first = next(answer for answer in answers if answer)
        answers.close()  # the process ends here, with these results saved
        settled = {result.key for result in first}
        assert 0 < len(settled) < 2_500
        rest = [operation for operation in operations if operation.key not in settled]
        jobs = simulator.control("stats")["bulk_jobs"]
        after = Log()
        after.state = log.state
        results = [r for part in connect(BY_BULK).resume_write(CONTACT, rest, log.state, after) for r in part]
        assert sorted(r.key for r in results) == sorted(o.key for o in rest)
        assert all(result.ok for result in results)
        assert simulator.control("stats")["bulk_jobs"] == jobs
        assert after.state is None

    def test_operations_that_were_not_in_the_job_must_be_looked_up(self, connect):
        crm = connect(BY_BULK)
        operations, started = sample(3), Starter(crm)
        with pytest.raises(Crash):
            write_with(crm, operations, started)
        collected: list[Result] = []
        with pytest.raises(CrmError) as caught:
            collect(
                collected,
                connect(BY_BULK).resume_write(CONTACT, [*operations, *sample(2)], started.state, Log()),
            )
        assert caught.value.error_class is ErrorClass.UNKNOWN_OUTCOME
        assert sorted(r.key for r in collected) == sorted(o.key for o in operations)

    def test_a_job_that_somebody_aborts_is_told_for_each_record(self, connect):
        crm = connect(BY_BULK)
        results = {}
        for answer in crm.write(CONTACT, sample(3), Aborter(crm)):
            results |= {result.key: result for result in answer}
        assert {result.error.code for result in results.values()} == {"ABORTED"}
        assert {result.error.error_class for result in results.values()} == {ErrorClass.TRANSIENT}
        assert len(results) == 3

    def test_a_job_that_is_gone_must_be_looked_up(self, connect):
        crm = connect(BY_BULK)
        state = {
            "kind": "ingest",
            "job_id": "750000000000000AAA",
            "operation": "upsert",
            "key": "crm_sync_id__c",
        }
        log = Log()
        with pytest.raises(CrmError) as caught:
            list(crm.resume_write(CONTACT, sample(2), state, log))
        assert caught.value.error_class is ErrorClass.UNKNOWN_OUTCOME


def write_with(crm: SalesforceCrm, operations: list[Operation], log: Log) -> None:
    for _ in crm.write(CONTACT, operations, log):
        pass


def collect(into: list[Result], answers: Iterator[list[Result]]) -> None:
    for answer in answers:
        into += answer


class Meddler(Log):
    """Changes the state of a job behind the connector's back, as soon as its data are there."""

    state_wanted = ""

    def __init__(self, crm: SalesforceCrm) -> None:
        super().__init__()
        self._api = crm._api

    def save(self, state) -> None:
        super().save(state)
        if state["phase"] == "uploaded":
            tail, body = f"jobs/ingest/{state['job_id']}", {"state": self.state_wanted}
            self._api.call("PATCH", tail, family="test", idempotent=False, body=body)


class Aborter(Meddler):
    state_wanted = "Aborted"


class Starter(Meddler):
    """Starts the job, and then the process ends."""

    state_wanted = "UploadComplete"

    def save(self, state) -> None:
        super().save(state)
        if state["phase"] == "uploaded":
            raise Crash


class TestSessionsInTheMiddle:
    @pytest.mark.parametrize("by", ["listed pages", "locators", "rest"])
    def test_sessions_that_end_between_pages_and_downloads_lose_nothing(self, connect, simulator, by):
        ways = {
            "rest": Thresholds(bulk_query_above=10**6, page_size=200),
            "locators": replace(BY_BULK, bulk_page_rows=30),
            "listed pages": BY_BULK,
        }
        whole = by_id(read(connect(BY_BULK), CONTACT))
        simulator.control("settings", {"session_calls": 5, "bulk_page": 30})
        info = simulator.info
        crm = connect(
            ways[by],
            tokens=MemoryTokenStore(),
            version="57.0" if by == "locators" else "62.0",
            grant="refresh_token",
            **{name: info[name] for name in ("client_id", "client_secret", "refresh_token")},
        )
        found = read(crm, CONTACT)
        simulator.control("settings", {"session_calls": None})
        assert by_id(found) == whole
        assert len(found) == len(whole)


class TestSessions:
    def login(self, simulator: Simulator, **more):
        info = simulator.info
        return {
            "grant": "refresh_token", "client_id": info["client_id"], "client_secret": info["client_secret"],
            "refresh_token": info["refresh_token"], **more,
        }  # fmt: skip

    def test_a_session_that_ends_all_the_time_is_renewed_in_the_middle_of_jobs(self, connect, simulator):
        simulator.control("settings", {"session_calls": 3, "rotate_refresh_tokens": True})
        tokens = MemoryTokenStore()
        crm = connect(BY_BULK, tokens=tokens, **self.login(simulator))
        operations = sample(300)
        results = write(crm, CONTACT, operations)
        assert all(result.ok for result in results.values())
        assert {o.key for o in operations} <= {r[HUB_ID] for r in read(crm, CONTACT)}
        assert tokens.load("salesforce")["refresh_token"] != simulator.info["refresh_token"]
        simulator.control("settings", {"session_calls": None})

    def test_every_grant_logs_in(self, connect, simulator):
        info = simulator.info
        client = {"client_id": info["client_id"], "client_secret": info["client_secret"]}
        grants = [
            {"grant": "client_credentials", **client},
            {
                "grant": "jwt_bearer",
                **client,
                "username": info["username"],
                "private_key_file": info["private_key_file"],
            },
        ]
        for auth in grants:
            health = connect(**auth).check()
            assert (health.ok, health.problems) == (True, ())
            assert health.user == info["username"]

    @pytest.mark.parametrize("skew", [-300.0, 300.0])
    def test_an_assertion_is_good_though_the_clocks_differ(self, connect, simulator, skew):
        simulator.control("settings", {"clock_skew": skew})
        auth = {name: simulator.info[name] for name in ("client_id", "username", "private_key_file")}
        health = connect(grant="jwt_bearer", **auth).check()
        simulator.control("settings", {"clock_skew": 0.0})
        assert (health.ok, health.problems) == (True, ())

    def test_wrong_secrets_are_told_with_advice(self, connect, simulator):
        health = connect(**self.login(simulator, client_secret="wrong")).check()
        assert not health.ok
        assert "correct the auth settings" in health.problems[0]
        health = connect(**self.login(simulator, refresh_token="withdrawn")).check()
        assert "connect this account again" in health.problems[0]


class TestMoods:
    def test_limits_are_heard_on_every_answer(self, connect):
        crm = connect()
        read(crm, COMPANY, limit=1)
        assert "of 100000" in crm.limits["daily calls left"]

    def test_a_used_up_day_is_told_at_once(self, connect, simulator):
        simulator.control("settings", {"daily_api_requests": 1})
        with pytest.raises(CrmError) as caught:
            read(connect(), COMPANY)
        assert caught.value.error_class is ErrorClass.RATE_LIMIT

    def test_bursts_of_503_and_429_are_sat_out(self, connect, simulator):
        simulator.control(
            "faults",
            [
                {"match": {"method": "GET"}, "every": 3, "effect": {"status": 503}},
                {"match": {"method": "GET"}, "every": 4, "effect": {"status": 429, "retry_after": 1}},
                {"match": {"method": "GET"}, "every": 5, "effect": {"html": True}},
                {"match": {"method": "GET"}, "every": 7, "effect": {"bad_gzip": True}},
            ],
        )
        for thresholds in (Thresholds(page_size=200), BY_BULK):
            crm = connect(thresholds)
            assert len(read(crm, CONTACT)) >= 300
            assert all(result.ok for result in write(crm, CONTACT, sample(20)).values())

    def test_a_web_page_instead_of_an_answer_to_a_write_is_an_unknown_outcome(self, connect, simulator):
        crm = connect()
        crm.describe("Contact")
        strike(simulator, "PATCH", "composite", html=True)
        with pytest.raises(CrmError) as caught:
            write(crm, CONTACT, sample(2))
        assert caught.value.error_class is ErrorClass.UNKNOWN_OUTCOME

    def test_what_is_in_the_recycle_bin_is_told_once(self, connect, simulator):
        crm = connect()
        purged, binned = write(crm, CONTACT, sample(2)).values()
        for result, operation in ((purged, "hard_delete"), (binned, "delete")):
            simulator.control("edit", {"object": "Contact", "operation": operation, "id": result.crm_id})
        listed, logged = by_id(read(crm, CONTACT)), by_id(records(crm.deleted(CONTACT, Window())))
        assert listed[binned.crm_id][DELETED] == "true"
        assert purged.crm_id not in listed
        assert binned.crm_id not in logged
        long_ago = Window(crm.now().replace(year=2020), crm.now().replace(year=2021))
        assert records(crm.deleted(CONTACT, long_ago)) == []

    def test_record_types_are_set_and_asked_for(self, connect):
        crm = connect()
        known = crm.describe("Account").record_types
        name = min(known)
        stream = replace(COMPANY, record_type=name)
        result = next(iter(write(crm, stream, [create(stream, {"name": "Typed Ltd"})]).values()))
        assert result.crm_id in by_id(read(crm, stream))
        for other in set(known) - {name}:
            assert result.crm_id not in by_id(read(crm, replace(COMPANY, record_type=other)))
        with pytest.raises(CrmError, match="no record type Nothing"):
            write(crm, replace(COMPANY, record_type="Nothing"), [create(stream, {"name": "X"})])
