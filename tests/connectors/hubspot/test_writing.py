"""Writing to the simulator: who is refused and why, associations, stages, answers that never come."""

from uuid import uuid4

import pytest

from crm_sync.connectors.crm import HUB_ID, Operation
from crm_sync.core.errors import CrmError, ErrorClass
from tests.connectors.hubspot.conftest import COMPANY, CONTACT, DEAL, field, hasty, stream
from tests.contract.kit import Log, by_id, create, delete, read, records, update, write

TO_COMPANY = "association:companies"
TO_CONTACT = "association:contacts"


def email():
    return f"{uuid4().hex}@example.com"


def person(**more):
    return create(CONTACT, {"last_name": "Test", "email": email(), **more})


def one(crm, spec, operation):
    return write(crm, spec, [operation])[operation.key]


def row(crm, spec, result):
    return by_id(records(crm.by_ids(spec, [result.crm_id])))[result.crm_id]


def company(crm):
    return one(crm, COMPANY, create(COMPANY, {"name": f"Company {uuid4().hex[:8]}"})).crm_id


class TestRefusals:
    @pytest.mark.parametrize("partial", [True, False])
    def test_each_bad_record_gets_its_own_reason(self, joined, calm, partial):
        calm.control("settings", {"partial_answers_on_2026_09": partial})
        crm = joined(api_version="2026-09")
        crm.setup([CONTACT], dry_run=False)
        taken = email()
        there = one(crm, CONTACT, create(CONTACT, {"last_name": "First", "email": taken}))
        good = [person() for _ in range(20)]
        twin = create(CONTACT, {"last_name": "Second", "email": taken.upper()})
        wrong = person(email="nonsense")
        results = write(crm, CONTACT, [*good[:7], twin, *good[7:15], wrong, *good[15:]])
        assert all(results[o.key].ok and results[o.key].created for o in good)
        conflict, invalid = results[twin.key].error, results[wrong.key].error
        assert (conflict.error_class, conflict.code) == (ErrorClass.VALIDATION, "CONFLICT")
        assert there.crm_id in conflict.message
        assert taken not in conflict.message.lower()
        assert (invalid.code, invalid.fields) == ("INVALID_EMAIL", ("email",))
        assert "nonsense" not in invalid.message

    def test_a_refusal_that_names_nobody_is_traced_by_smaller_batches(self, crm, calm):
        there = [one(crm, CONTACT, person()) for _ in range(5)]
        refusal = {"status": "error", "category": "VALIDATION_ERROR", "message": "CONTACT is not valid"}
        body = {"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [refusal]}
        fault = {"match": {"path": "/batch/update"}, "limit": 3, "effect": {"status": 207, "body": body}}
        calm.control("faults", [fault])  # all five, the first two, the first: then the truth
        results = write(crm, CONTACT, [update(CONTACT, r, {"first_name": "Ann"}) for r in there])
        assert [results[r.key].ok for r in there] == [False, True, True, True, True]
        assert results[there[0].key].error.code == "VALIDATION_ERROR"

    def test_an_answer_that_leaves_a_record_out_says_nothing_about_it(self, crm, calm):
        result = one(crm, CONTACT, person())
        body = {"status": "COMPLETE", "results": []}
        calm.control(
            "faults", [{"match": {"path": "/batch/update"}, "effect": {"status": 200, "body": body}}]
        )
        error = one(crm, CONTACT, update(CONTACT, result, {"first_name": "Ann"})).error
        assert (error.error_class, error.code) == (ErrorClass.UNKNOWN_OUTCOME, "NO_RESULT")

    def test_an_archive_that_was_refused_in_part(self, crm, calm):
        kept, gone = (one(crm, CONTACT, person()) for _ in range(2))
        refusal = {"status": "error", "category": "VALIDATION_ERROR", "context": {"ids": [kept.crm_id]}}
        body = {"status": "COMPLETE", "results": [], "errors": [refusal]}
        calm.control(
            "faults", [{"match": {"path": "/batch/archive"}, "effect": {"status": 207, "body": body}}]
        )
        results = write(crm, CONTACT, [delete(kept), delete(gone)])
        assert (results[kept.key].ok, results[gone.key].ok) == (False, True)

    def test_without_an_external_id_creates_are_creates(self, crm):
        plain = stream("contact", "contacts", *CONTACT.fields, external_id=None)
        operation = person()
        assert one(crm, plain, operation).created
        assert one(crm, plain, operation).error.code == "CONFLICT"

    def test_two_operations_on_one_record_do_not_meet_in_one_batch(self, crm):
        result = one(crm, CONTACT, person())
        operations = [
            Operation(key, "update", result.crm_id, {"firstname": name})
            for key, name in (("a", "A"), ("b", "B"))
        ]
        before = crm.calls["batch_write"]
        assert all(r.ok for r in write(crm, CONTACT, operations).values())
        assert crm.calls["batch_write"] - before == 2
        assert row(crm, CONTACT, result)["firstname"] == "B"

    def test_a_merged_record_answers_for_the_survivor(self, crm, simulator):
        winner, loser = (one(crm, CONTACT, person()) for _ in range(2))
        told = {"object": "contacts", "primary": winner.crm_id, "other": loser.crm_id}
        survivor = simulator.control("do/merge", told)["id"]
        result = one(crm, CONTACT, update(CONTACT, loser, {"first_name": "Ann"}))
        assert result.crm_id == survivor if result.ok else result.error.error_class is ErrorClass.GONE

    def test_before_setup_a_create_says_what_to_do(self, crm):
        other = stream("contact", "contacts", *CONTACT.fields, external_id="another_id")
        with pytest.raises(CrmError, match="crm-sync setup") as caught:
            write(crm, other, [person()])
        assert caught.value.error_class is ErrorClass.PERMISSION

    def test_a_token_that_may_not_write(self, joined, simulator):
        scopes = ["crm.objects.contacts.read", "crm.objects.companies.read", "crm.schemas.contacts.read"]
        weak = simulator.control("tokens", {"scopes": scopes})["access_token"]
        crm = joined(auth={"grant": "access_token", "access_token": weak})
        with pytest.raises(CrmError) as caught:
            write(crm, CONTACT, [person()])
        assert caught.value.error_class is ErrorClass.PERMISSION
        assert "MISSING_SCOPES" in str(caught.value)

    def test_deleting_what_is_gone_is_done(self, crm):
        result = one(crm, CONTACT, person())
        assert one(crm, CONTACT, delete(result)).ok
        assert one(crm, CONTACT, delete(result)).ok

    def test_there_are_no_jobs_to_resume(self, crm):
        with pytest.raises(CrmError) as caught:
            crm.resume_write(CONTACT, [], {}, Log())
        assert caught.value.error_class is ErrorClass.PERMANENT


class TestSideBySide:
    def test_locked_records_are_written_in_the_end(self, crm, calm):
        there = list(write(crm, CONTACT, [person() for _ in range(250)]).values())
        calm.control("faults", [{"event": "locked", "limit": 10}])
        results = write(crm, CONTACT, [update(CONTACT, r, {"first_name": "Ann"}) for r in there])
        assert all(results[r.key].ok for r in there)
        calls = crm.calls["batch_write"]
        assert write(crm, CONTACT, [update(CONTACT, there[0], {"first_name": "Bob"})])[there[0].key].ok
        assert crm.calls["batch_write"] == calls + 1

    def test_one_lost_answer_among_many_leaves_only_its_records_open(self, crm, calm):
        operations = [person() for _ in range(120)]
        fault = {"match": {"path": "/batch/upsert"}, "after": 3, "limit": 1, "effect": {"drop": "after"}}
        calm.control("faults", [fault])
        known, error = TestLostAnswers.until_trouble(crm.write(CONTACT, operations, Log(), batch_size=10))
        assert error.error_class is ErrorClass.UNKNOWN_OUTCOME
        open_ones = {o.key for o in operations} - {r.key for r in known}
        assert len(open_ones) == 10
        assert all(r.ok for r in known)
        found = records(crm.by_hub_ids(CONTACT, [o.key for o in operations]))
        assert sorted(r[HUB_ID] for r in found) == sorted(o.key for o in operations)

    def test_what_is_too_large_for_one_call_goes_in_several(self, crm, calm):
        calm.control("faults", [{"match": {"path": "/batch/upsert"}, "limit": 2, "effect": {"status": 413}}])
        assert all(r.ok and r.created for r in write(crm, CONTACT, [person() for _ in range(40)]).values())


class TestLostAnswers:
    def test_a_create_without_an_answer_is_settled_by_its_hub_id(self, crm, calm):
        for drop, there in (("before", 0), ("after", 1)):
            fault = {"match": {"path": "/batch/upsert"}, "limit": 1, "effect": {"drop": drop}}
            calm.control("faults", [fault])
            operation = person()
            with pytest.raises(CrmError) as caught:
                write(crm, CONTACT, [operation])
            assert caught.value.error_class is ErrorClass.UNKNOWN_OUTCOME
            found = records(crm.by_hub_ids(CONTACT, [operation.key]))
            assert [r[HUB_ID] for r in found] == [operation.key] * there
            assert one(crm, CONTACT, operation).created is (there == 0)

    @pytest.mark.parametrize(
        "effect", [{"status": 502}, {"html": True}, {"truncate": 0.5}, {"bad_gzip": True}]
    )
    def test_an_answer_that_says_nothing_is_an_unknown_outcome(self, crm, calm, effect):
        calm.control("faults", [{"match": {"path": "/batch/update"}, "limit": 1, "effect": effect}])
        result = one(crm, CONTACT, person())
        with pytest.raises(CrmError) as caught:
            write(crm, CONTACT, [update(CONTACT, result, {"first_name": "Ann"})])
        assert caught.value.error_class is ErrorClass.UNKNOWN_OUTCOME

    def test_what_was_answered_before_the_trouble_is_handed_out(self, crm, calm):
        operations = [person() for _ in range(4)]
        fault = {"match": {"path": "/batch/upsert"}, "after": 1, "effect": {"status": 502}}
        calm.control("faults", [fault])
        known, error = self.until_trouble(crm.write(CONTACT, operations, Log(), batch_size=2))
        assert error.error_class is ErrorClass.UNKNOWN_OUTCOME
        assert sorted(r.key for r in known) == sorted(o.key for o in operations[:2])

    def test_trouble_with_associations_does_not_hide_the_records_without_any(self, crm, calm):
        plain, linked = person(), person(company=company(crm))
        calm.control("faults", [{"match": {"path": "/associations/"}, "effect": {"status": 400, "body": {}}}])
        known, error = self.until_trouble(crm.write(CONTACT, [plain, linked], Log()))
        assert error is None
        assert {r.key: r.ok for r in known} == {plain.key: True, linked.key: False}
        calm.control("faults", [{"match": {"path": "/associations/"}, "effect": {"status": 403, "body": {}}}])
        plain, linked = person(), person(company=company(crm))
        known, error = self.until_trouble(crm.write(CONTACT, [plain, linked], Log()))
        assert error.error_class is ErrorClass.PERMISSION
        assert [r.key for r in known] == [plain.key]

    @staticmethod
    def until_trouble(answers):
        known = []
        try:
            for answer in answers:
                known += answer
        except CrmError as error:
            return known, error
        return known, None


class TestAssociations:
    def test_a_company_that_is_not_there(self, crm):
        operation, good = person(company="999"), person(company=company(crm))
        results = write(crm, CONTACT, [operation, good])
        result = results[operation.key]
        assert (result.ok, result.created, results[good.key].ok) == (False, True, True)
        assert (result.error.code, result.error.fields) == ("ASSOCIATION_REFUSED", (TO_COMPANY,))
        assert row(crm, CONTACT, result)["lastname"] == "Test"

    def test_the_primary_company_is_the_value_and_others_stay(self, crm, simulator):
        first, second, third = company(crm), company(crm), company(crm)
        result = one(crm, CONTACT, person(company=second))
        assert result.returned[TO_COMPANY] == second
        self.also(simulator, "contacts", result.crm_id, first)
        assert row(crm, CONTACT, result)[TO_COMPANY] == second  # the primary one, though not the lowest id
        moved = one(crm, CONTACT, update(CONTACT, result, {"company": third}))
        assert moved.returned == {TO_COMPANY: third}
        assert self.linked(simulator, "contacts", result.crm_id, "companies") == {first, third}
        for found in (row(crm, CONTACT, result), by_id(read(crm, CONTACT))[result.crm_id]):
            assert found[TO_COMPANY] == third

    def test_removing_the_value_tells_what_it_is_then(self, crm, simulator):
        first, second = company(crm), company(crm)
        result = one(crm, CONTACT, person(company=second))
        self.also(simulator, "contacts", result.crm_id, first)
        for left in (first, None):
            done = one(crm, CONTACT, update(CONTACT, result, {"company": None}))
            assert done.returned == {TO_COMPANY: left}
            assert row(crm, CONTACT, result)[TO_COMPANY] == left

    def test_a_deal_has_several_contacts_and_the_first_is_the_value(self, crm, simulator):
        people = sorted((one(crm, CONTACT, person()).crm_id for _ in range(3)), key=int)
        told = {"name": "Deal", "stage": "Closed Won", "contact": people[1]}
        result = one(crm, DEAL, create(DEAL, told))
        assert result.returned[TO_CONTACT] == people[1]
        moved = one(crm, DEAL, update(DEAL, result, {"contact": people[0], "name": "Other"}))
        assert moved.returned == {TO_CONTACT: people[0], "dealname": "Other"}
        assert self.linked(simulator, "deals", result.crm_id, "contacts") == {people[0]}

    def test_writing_the_same_again_changes_nothing(self, crm, simulator):
        operation = person(company=company(crm))
        result = one(crm, CONTACT, operation)
        again = one(crm, CONTACT, operation)
        assert (again.created, again.returned[TO_COMPANY]) == (False, result.returned[TO_COMPANY])
        assert len(self.linked(simulator, "contacts", result.crm_id, "companies")) == 1

    @staticmethod
    def linked(simulator, kind, crm_id, other):
        (record,) = simulator.control(f"dump/{kind}?id={crm_id}")["records"]
        return set(record["associations"].get(other, {}))

    @staticmethod
    def also(simulator, kind, crm_id, company_id):
        """Somebody adds a second, not primary, company."""
        crm = hasty(simulator)
        path = crm._api.paths.associations(kind, "companies", "associate/default")
        crm._api.write(path, "test", {"inputs": [{"from": {"id": crm_id}, "to": {"id": company_id}}]})
        crm.close()


class TestStages:
    @pytest.fixture
    def partner(self, crm):
        """A second pipeline whose stages are called like those of the first."""
        label = f"Partner {uuid4().hex[:8]}"
        stages = [
            {"label": name, "displayOrder": n, "metadata": {"probability": "0.5"}}
            for n, name in enumerate(("Closed Won", "Trial"))
        ]
        body = {"label": label, "displayOrder": 9, "stages": stages}
        crm._api.write(crm._api.paths.pipelines("deals"), "test", body)
        return label

    def test_stages_of_other_pipelines(self, joined, partner):
        crm = joined()
        result = one(crm, DEAL, create(DEAL, {"name": "D", "stage": f"{partner}/Closed Won"}))
        assert result.returned["dealstage"] == f"{partner}/Closed Won"
        assert row(crm, DEAL, result)["pipeline"] == partner
        one(crm, DEAL, update(DEAL, result, {"stage": "Closed Won"}))
        found = row(crm, DEAL, result)
        assert (found["dealstage"], found["pipeline"]) == ("Closed Won", "Sales Pipeline")

    def test_an_unknown_stage_is_that_records_trouble(self, crm):
        good, bad = (create(DEAL, {"name": "D", "stage": s}) for s in ("Closed Won", "No such stage"))
        before = crm.calls["batch_write"]
        results = write(crm, DEAL, [bad, good])
        assert results[good.key].ok
        assert (results[bad.key].error.error_class, results[bad.key].error.fields) == (
            ErrorClass.VALIDATION,
            ("dealstage",),
        )
        assert crm.calls["batch_write"] - before == 1

    def test_constants_are_set_on_create(self, crm):
        fixed = stream(
            "deal",
            "deals",
            *DEAL.fields,
            constants={"description": "from the hub", "pipeline": "Sales Pipeline"},
        )
        result = one(crm, fixed, create(fixed, {"name": "D", "stage": "Closed Lost"}))
        plain = stream("deal", "deals", field("text", "description"))
        assert row(crm, plain, result)["description"] == "from the hub"

    def test_describe_names_them(self, joined, partner):
        info = joined().describe("deals")
        assert {"Closed Won", f"{partner}/Closed Won"} <= set(info.fields["dealstage"].options)
        assert partner in info.fields["pipeline"].options
        assert {name for name, f in info.fields.items() if f.required} == {"dealname", "dealstage"}
