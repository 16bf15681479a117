"""The part of the contract about writing: creates, updates, deletes, awkward values, references, jobs."""

from dataclasses import replace
from datetime import timedelta

import pytest

from crm_sync.connectors.crm import DELETED, HUB_ID, Crm, Operation, Result
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import FieldType, StreamSpec
from tests.contract.ground import MANY, Ground
from tests.contract.kit import (
    AWKWARD,
    Crash,
    Log,
    Record,
    by_id,
    create,
    delete,
    meaning,
    read,
    records,
    update,
    vendor,
    write,
)

TYPED = {
    FieldType.STRING: (" two\r\nlines  ", "other"),
    FieldType.PHONE: ("+1 415 555 0100", "+14155550101"),
    FieldType.NUMBER: ("10000000", "0.10"),
    FieldType.DATE: ("1969-12-31", "2026-03-29"),
    FieldType.DATETIME: ("2026-03-29T01:30:00Z", "2026-10-25T00:30:00.000Z"),
    FieldType.BOOLEAN: ("true", "false"),
}
"""Two values of each type, one of them in an unusual spelling."""


class Writing(Ground):
    def test_a_created_record_is_there_with_its_values_and_its_hub_id(self, crm, contact):
        values = self.sample(contact)
        operation = create(contact, values)
        result = write(crm, contact, [operation])[operation.key]
        assert (result.ok, result.created, result.error) == (True, True, None)
        found = self.now_of(crm, contact, result.crm_id)
        assert {name: found[name] for name in operation.values} == operation.values
        if contact.external_id is not None:
            assert found[HUB_ID] == operation.key

    def test_a_create_sent_twice_makes_one_record(self, crm, contact, settle):
        if contact.external_id is None:
            pytest.skip("this CRM has no external id")
        operation = create(contact, self.sample(contact))
        first = write(crm, contact, [operation])[operation.key]
        settle()
        second = write(crm, contact, [operation])[operation.key]
        settle()
        assert (second.ok, second.created, second.crm_id) == (True, False, first.crm_id)
        assert len(records(crm.by_hub_ids(contact, [operation.key]))) == 1

    def test_an_update_changes_only_what_it_says(self, crm, contact):
        added = self.add(crm, contact)[0]
        before = self.now_of(crm, contact, added.crm_id)
        operation = update(contact, added, {"first_name": "Beatrix"})
        result = write(crm, contact, [operation])[added.key]
        after = self.now_of(crm, contact, added.crm_id)
        assert (result.ok, result.crm_id, result.created) == (True, added.crm_id, False)
        changed = {name for name in contact.vendor_fields if before[name] != after[name]}
        assert changed == set(operation.values)
        assert after[contact.field("first_name").vendor.name] == "Beatrix"

    def test_what_an_answer_returns_is_what_the_record_says(self, crm, contact):
        operation = create(contact, self.sample(contact))
        result = write(crm, contact, [operation])[operation.key]
        found = self.now_of(crm, contact, result.crm_id)
        for name, value in (result.returned or {}).items():
            if name in contact.vendor_fields:
                assert value == found[name]
        if result.modified_at is not None:
            assert result.modified_at.utcoffset() == timedelta(0)

    def test_none_clears_a_field(self, crm, contact):
        added = self.add(crm, contact)[0]
        write(crm, contact, [update(contact, added, {"first_name": None})])
        assert self.now_of(crm, contact, added.crm_id)[contact.field("first_name").vendor.name] is None

    def test_awkward_text_comes_back_as_it_was(self, crm, contact):
        names = {spec.name for spec in contact.columns}
        spec = contact.field("notes" if "notes" in names else "last_name")
        operations = {
            label: create(contact, {**self.sample(contact), spec.name: text})
            for label, text in AWKWARD.items()
            if spec.name == "notes" or len(text) <= 80
        }
        results = write(crm, contact, list(operations.values()))
        assert {label: results[o.key].error for label, o in operations.items() if not results[o.key].ok} == {}
        found = by_id(records(crm.by_ids(contact, [r.crm_id or "" for r in results.values()])))
        for label, operation in operations.items():
            said = found[results[operation.key].crm_id or ""][spec.vendor.name]
            assert meaning(spec, said) == meaning(spec, AWKWARD[label]), label

    @pytest.mark.parametrize(
        ("kind", "values"),
        [
            (FieldType.NUMBER, ["0", "1234567.89", "-0.5"]),
            (FieldType.DATE, ["2026-03-29", "1969-12-31", "2024-02-29"]),
            (FieldType.DATETIME, ["2026-03-29T01:30:00.000Z", "2026-10-25T00:30:00.000Z"]),
            (FieldType.BOOLEAN, ["true", "false"]),
        ],
    )
    def test_typed_values_come_back_in_the_ports_spelling(self, crm, streams, settle, kind, values):
        stream, spec = self.of_type(streams, kind)
        operations = {value: create(stream, {**self.sample(stream), spec.name: value}) for value in values}
        results = write(crm, stream, list(operations.values()))
        assert [r.error for r in results.values() if not r.ok] == []
        ids = {value: results[operation.key].crm_id or "" for value, operation in operations.items()}
        settle()
        for found in (by_id(records(crm.by_ids(stream, list(ids.values())))), by_id(read(crm, stream))):
            for value, crm_id in ids.items():
                said = found[crm_id][spec.vendor.name]
                if kind is FieldType.NUMBER:
                    assert meaning(spec, said) == meaning(spec, value)
                    assert "e" not in (said or "").lower()
                else:
                    assert said == value

    def test_a_selection_of_several_comes_back(self, crm, streams):
        stream, spec = self.of_type(streams, FieldType.MULTIPICKLIST)
        chosen = ";".join(self.choices(spec)[:2])
        operation = create(stream, {**self.sample(stream), spec.name: chosen})
        result = write(crm, stream, [operation])[operation.key]
        said = self.now_of(crm, stream, result.crm_id)[spec.vendor.name]
        assert meaning(spec, said) == meaning(spec, chosen)

    def test_a_rejected_record_does_not_stop_the_others(self, crm, contact):
        bad_field, bad_value = self.unacceptable(crm, contact)
        good = [create(contact, self.sample(contact)) for _ in range(4)]
        bad = create(contact, {**self.sample(contact), bad_field: bad_value})
        results = write(crm, contact, [*good[:2], bad, *good[2:]])
        assert [results[o.key].ok for o in good] == [True] * 4
        error = results[bad.key].error
        assert error is not None
        assert error.error_class is ErrorClass.VALIDATION
        assert error.code
        assert contact.field(bad_field).vendor.name in error.fields
        assert (bad_value or "") not in error.message

    def unacceptable(self, crm: Crm, contact: StreamSpec) -> tuple[str, str]:
        """A field of contact (ours) and a value the CRM refuses: one that is too long, or an e-mail without @."""
        info = crm.describe(contact.object).fields[contact.field("last_name").vendor.name]
        if info.max_length is not None and info.max_length < 10_000:
            return "last_name", "x" * (info.max_length + 1)
        return "email", "no-address"

    def test_a_record_that_is_gone_is_said_to_be(self, crm, contact, person):
        kept, gone = self.add(crm, contact, 2)
        person.delete(contact.object, gone.crm_id or "")
        results = write(crm, contact, [update(contact, r, {"first_name": "New"}) for r in (kept, gone)])
        assert results[kept.key].ok
        error = results[gone.key].error
        assert error is not None
        assert error.error_class is ErrorClass.GONE

    def test_a_delete_deletes_that_record_alone(self, crm, contact):
        kept, gone = self.add(crm, contact, 2)
        assert write(crm, contact, [delete(gone)])[gone.key].ok
        found = by_id(records(crm.by_ids(contact, [kept.crm_id or "", gone.crm_id or ""])))
        assert found[kept.crm_id or ""][DELETED] in {None, "false"}
        assert found.get(gone.crm_id or "", {DELETED: "true"})[DELETED] == "true"

    def test_creates_updates_and_deletes_may_be_mixed(self, crm, contact):
        changed, gone = self.add(crm, contact, 2)
        new = create(contact, self.sample(contact))
        results = write(crm, contact, [delete(gone), new, update(contact, changed, {"first_name": "New"})])
        assert [r.error for r in results.values() if not r.ok] == []
        assert results[new.key].created

    def test_many_operations_get_one_result_each(self, crm, contact):
        added = self.add(crm, contact, MANY)
        operations = [update(contact, r, {"first_name": f"N{i}"}) for i, r in enumerate(added)]
        results = write(crm, contact, operations, batch_size=60)
        assert all(r.ok for r in results.values())
        found = by_id(records(crm.by_ids(contact, [r.crm_id or "" for r in added])))
        name = contact.field("first_name").vendor.name
        assert [found[r.crm_id or ""][name] for r in added] == [f"N{i}" for i in range(MANY)]

    def test_what_somebody_changed_meanwhile_is_not_overwritten(self, crm, contact, person):
        kept, edited, same, elsewhere = self.add(crm, contact, 4)
        first, last = (contact.field(name).vendor.name for name in ("first_name", "last_name"))
        person.update(contact.object, edited.crm_id, {first: "Somebody's"})
        person.update(contact.object, same.crm_id, {first: "New"})
        person.update(contact.object, elsewhere.crm_id, {last: "Elsewhere"})
        expected = vendor(contact, {"first_name": "Ann"})
        operations = [
            replace(update(contact, r, {"first_name": "New"}), expected=expected)
            for r in (kept, edited, same, elsewhere)
        ]
        results = write(crm, contact, operations)
        assert [results[r.key].ok for r in (kept, edited, same, elsewhere)] == [True, False, True, True]
        error = results[edited.key].error
        assert error is not None
        assert (error.error_class, error.fields) == (ErrorClass.MOVED, (first,))
        assert "Somebody" not in error.message
        assert self.now_of(crm, contact, edited.crm_id)[first] == "Somebody's"
        after = self.now_of(crm, contact, elsewhere.crm_id)
        assert (after[first], after[last]) == ("New", "Elsewhere")

    def test_what_nobody_changed_is_written_however_it_was_read(self, crm, streams, company, settle):
        """Listings and looks by id may spell a value differently."""
        target = self.add(crm, company)[0]
        for stream in (streams["contact"], streams["deal"]):
            made = write(crm, stream, [create(stream, self.of_all_types(stream, target)) for _ in range(3)])
            ids = [r.crm_id or "" for r in made.values()]
            for listed in (True, False):
                settle()
                found = by_id(read(crm, stream) if listed else records(crm.by_ids(stream, ids)))
                operations = []
                for r in made.values():
                    values = vendor(stream, self.of_all_types(stream, target, again=listed))
                    expected = {name: found[r.crm_id or ""][name] for name in values}
                    operations.append(Operation(r.key, "update", r.crm_id, values, expected))
                assert [r.error for r in write(crm, stream, operations).values() if not r.ok] == []

    def of_all_types(self, stream: StreamSpec, target: Result, *, again: bool = False) -> Record:
        """A value for each field but the e-mail address, which only one record may have."""
        values = self.sample(stream)
        for spec in stream.columns:
            if spec.type is FieldType.EMAIL or spec.to_crm is not None or spec.name in values:
                continue
            values[spec.name] = target.crm_id if spec.type is FieldType.REFERENCE else TYPED[spec.type][again]
        return values

    def test_a_record_that_is_gone_has_not_moved(self, crm, contact, person):
        gone = self.add(crm, contact)[0]
        person.delete(contact.object, gone.crm_id or "")
        operation = replace(
            update(contact, gone, {"first_name": "New"}), expected=vendor(contact, {"first_name": "Ann"})
        )
        error = write(crm, contact, [operation])[gone.key].error
        assert error is not None
        assert error.error_class is ErrorClass.GONE

    def test_a_reference_that_somebody_moved_is_not_overwritten(self, crm, streams, company):
        deal = streams["deal"]
        one, two, three = self.add(crm, company, 3)
        name = deal.field("company").vendor.name
        made = [create(deal, {**self.sample(deal), "company": one.crm_id}) for _ in range(2)]
        kept, edited = write(crm, deal, made).values()
        assert write(crm, deal, [update(deal, edited, {"company": two.crm_id})])[edited.key].ok
        operations = [
            replace(update(deal, r, {"company": three.crm_id}), expected={name: one.crm_id})
            for r in (kept, edited)
        ]
        results = write(crm, deal, operations)
        assert results[kept.key].ok
        error = results[edited.key].error
        assert error is not None
        assert (error.error_class, error.fields) == (ErrorClass.MOVED, (name,))
        assert self.now_of(crm, deal, edited.crm_id)[name] == two.crm_id
        assert self.now_of(crm, deal, kept.crm_id)[name] == three.crm_id

    def test_nothing_to_write_needs_no_call(self, crm, contact):
        before = sum(crm.calls.values())
        assert list(crm.write(contact, [], Log())) == []
        assert sum(crm.calls.values()) == before

    @pytest.mark.parametrize("entity", ["contact", "deal"])
    def test_a_reference_is_set_moved_and_cleared(self, crm, streams, company, entity, settle):
        stream = streams[entity]
        spec = next(s for s in stream.columns if s.type is FieldType.REFERENCE and s.entity == "company")
        one, two = self.add(crm, company, 2)
        operation = create(stream, {**self.sample(stream), spec.name: one.crm_id})
        result = write(crm, stream, [operation])[operation.key]
        for target in (one.crm_id, two.crm_id, None):
            if target != one.crm_id:
                assert write(crm, stream, [update(stream, result, {spec.name: target})])[result.key].ok
            settle()
            assert self.now_of(crm, stream, result.crm_id)[spec.vendor.name] == target
            assert by_id(read(crm, stream))[result.crm_id or ""][spec.vendor.name] == target


class Jobs(Ground):
    def test_a_job_goes_on_after_a_crash_wherever_that_was(self, crm, contact, settle):
        if self.job_size is None:
            pytest.skip("this CRM has no jobs")
        for crash_at in range(1, 20):
            operations = [create(contact, self.sample(contact)) for _ in range(self.job_size)]
            log = Log(crash_at)
            try:
                for _ in crm.write(contact, operations, log):
                    pass
            except Crash:
                settle()
                self.finish(crm, contact, operations, log)
            settle()
            found = records(crm.by_hub_ids(contact, [operation.key for operation in operations]))
            assert sorted(r[HUB_ID] or "" for r in found) == sorted(o.key for o in operations)
            if len(log.saved) < crash_at:
                assert crash_at > 1, "no job was saved"
                assert log.state is None, "a finished job is cleared"
                return
        pytest.fail("a job is saved too often to be tested")

    def finish(self, crm: Crm, stream: StreamSpec, operations: list[Operation], log: Log) -> None:
        """What the next process does: collect the results; if there are none, look, then write what is missing."""
        assert log.state is not None
        after = Log()
        try:
            results = [r for a in crm.resume_write(stream, operations, log.state, after) for r in a]
        except CrmError as error:
            if error.error_class is not ErrorClass.UNKNOWN_OUTCOME:
                raise
            there = {r[HUB_ID] for r in records(crm.by_hub_ids(stream, [o.key for o in operations]))}
            results = list(write(crm, stream, [o for o in operations if o.key not in there]).values())
            assert all(r.ok for r in results)
            return
        assert sorted(r.key for r in results) == sorted(o.key for o in operations)
        assert all(r.ok for r in results)
