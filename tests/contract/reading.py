"""The part of the contract about reading: windows, pages, filters, deletions, look-ups."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from crm_sync.connectors.crm import (
    CRM_ID,
    DELETED,
    HUB_ID,
    MERGED_INTO,
    MODIFIED_AT,
    Crm,
    ReadRequest,
    Window,
)
from crm_sync.core.spec import Condition, FieldType, Operator, StreamSpec
from tests.contract.ground import MANY, Ground
from tests.contract.kit import Log, Person, Record, by_id, delete, moment, read, records, taken, vendor, write

SECOND = timedelta(seconds=1)


def texts_of(one: str, other: str) -> list[tuple[Operator, tuple[str, ...]]]:
    return [
        *((operator, (one,)) for operator in (Operator.EQ, Operator.NEQ)),
        *((operator, (one, other)) for operator in (Operator.IN, Operator.NOT_IN)),
        *((operator, ()) for operator in (Operator.IS_BLANK, Operator.IS_NOT_BLANK)),
    ]


_NUMBERS = [(o, ("6",)) for o in (Operator.LT, Operator.LTE, Operator.GT, Operator.GTE)] + [
    (o, ("7",)) for o in (Operator.EQ, Operator.LTE, Operator.GT)
]


class Reading(Ground):
    def test_what_a_person_enters_is_read_with_its_values(self, crm, contact, person: Person, settle):
        values = self.sample(contact)
        crm_id = person.create(contact.object, vendor(contact, values))
        settle()
        listed = by_id(read(crm, contact))[crm_id]
        looked_up = self.now_of(crm, contact, crm_id)
        for found in (listed, looked_up):
            assert {name: found[name] for name in vendor(contact, values)} == vendor(contact, values)
            assert found[DELETED] in {None, "false"}
            assert found[MERGED_INTO] is None
            assert set(contact.vendor_fields) <= set(found)
            assert moment(found[MODIFIED_AT]) <= crm.now() + 2 * SECOND

    def test_a_field_without_a_value_is_none(self, crm, contact, person, settle):
        crm_id = person.create(contact.object, vendor(contact, {**self.sample(contact), "first_name": None}))
        settle()
        name = contact.field("first_name").vendor.name
        assert by_id(read(crm, contact))[crm_id][name] is None
        assert self.now_of(crm, contact, crm_id)[name] is None

    def test_a_window_holds_its_start_and_not_its_end(self, crm, contact, person, settle):
        crm_id = person.create(contact.object, vendor(contact, self.sample(contact)))
        settle()
        at = moment(self.now_of(crm, contact, crm_id)[MODIFIED_AT])

        def seen(start, end):
            return crm_id in by_id(read(crm, contact, start, end))

        assert seen(at, None)
        assert seen(at, at + SECOND)
        assert seen(None, at + SECOND)
        assert not seen(at - 10 * SECOND, at)
        assert not seen(None, at)
        assert not seen(at + SECOND, None)
        assert not seen(at + SECOND, at + 2 * SECOND)

    def test_an_edit_moves_a_record_into_a_later_window(self, crm, contact, person, settle):
        crm_id = person.create(contact.object, vendor(contact, self.sample(contact)))
        settle()
        since = moment(self.now_of(crm, contact, crm_id)[MODIFIED_AT]) + timedelta(milliseconds=1)
        assert crm_id not in by_id(read(crm, contact, since))
        name = contact.field("first_name").vendor.name
        person.update(contact.object, crm_id, {name: "Later"})
        settle()
        assert by_id(read(crm, contact, since))[crm_id][name] == "Later"

    def test_many_records_of_one_moment_are_neither_lost_nor_doubled(self, crm, contact, settle):
        written = {result.crm_id for result in self.add(crm, contact, MANY)}
        settle()
        since = min(moment(r[MODIFIED_AT]) for r in records(crm.by_ids(contact, sorted(written))))
        seen = [r[CRM_ID] for r in read(crm, contact, since)]
        assert written <= set(seen)
        assert max(seen.count(crm_id) for crm_id in written) <= 2  # twice is allowed: pages may overlap
        assert written <= set(by_id(read(crm, contact)))

    def test_neighbouring_windows_hold_every_record_once(self, crm, contact, settle):
        written = {result.crm_id for result in self.add(crm, contact, 30)}
        settle()
        stamps = {r[CRM_ID]: moment(r[MODIFIED_AT]) for r in records(crm.by_ids(contact, sorted(written)))}
        cut = sorted(stamps.values())[15]
        early = written & set(by_id(read(crm, contact, min(stamps.values()), cut)))
        late = written & set(by_id(read(crm, contact, cut, max(stamps.values()) + SECOND)))
        assert early == {crm_id for crm_id, at in stamps.items() if at < cut}
        assert late == written - early

    def test_a_limit_is_kept(self, crm, contact, settle):
        self.add(crm, contact, 5)
        settle()
        assert len(read(crm, contact, limit=3)) == 3

    def test_reads_with_a_limit_go_on_behind_each_other(self, crm, contact, settle):
        written = sorted(str(result.crm_id) for result in self.add(crm, contact, 9))
        settle()
        since = min(moment(r[MODIFIED_AT]) for r in records(crm.by_ids(contact, written)))
        for window in (Window(since), Window()):
            whole = by_id(read(crm, contact, window.start))
            limit = len(whole) // 4 + 1
            seen: list[Record] = []
            log = Log()
            while True:
                request = ReadRequest(contact, window, limit, log.state)
                some = [record for page in taken(crm.changed(request, log), log) for record in page]
                seen += some
                if len(some) < limit:
                    break
                assert len(seen) < 3 * len(whole), "the same records come again and again"
            assert by_id(seen) == whole

    def test_filters_are_the_vendors_work(self, crm, contact, person, settle):
        tag = uuid4().hex[:12]
        name = contact.field("first_name").vendor.name
        ids = {}
        for value in (f"A{tag}", f"B{tag}", None):
            sample = {**self.sample(contact), "first_name": value}
            ids[value] = person.create(contact.object, vendor(contact, sample))
        settle()
        since = min(moment(self.now_of(crm, contact, i)[MODIFIED_AT]) for i in ids.values())

        def kept(operator, *values):
            condition = Condition(name, operator, values)
            crm.matches([condition])
            found = by_id(read(crm, replace(contact, filters=(condition,)), since))
            return {value for value, crm_id in ids.items() if crm_id in found}

        assert kept(Operator.EQ, f"A{tag}") == {f"A{tag}"}
        assert kept(Operator.IN, f"A{tag}", f"B{tag}") == {f"A{tag}", f"B{tag}"}
        assert kept(Operator.IS_BLANK) == {None}
        assert kept(Operator.IS_NOT_BLANK) == {f"A{tag}", f"B{tag}"}
        assert kept(Operator.EQ, f"x' OR {name} != '{tag}") == set()

    def test_what_a_filter_leaves_out_is_told(self, crm, streams, person, settle):
        """By the words of the listing: each record is in it or told to be left out, whatever an operator makes of blanks."""
        assert list(crm.left(streams["contact"], Window(crm.now()))) == []
        tag = uuid4().hex[:12]
        texts = [f"A{tag}", f"B{tag}", None]
        cases = [
            (streams["contact"], streams["contact"].field("first_name"), texts, texts_of(*texts[:2])),
            (*self.of_type(streams, FieldType.NUMBER), ["5", "7", None], _NUMBERS),
        ]
        for stream, spec, values, conditions in cases:
            ids = []
            for value in values:
                sample = {**self.sample(stream), spec.name: value}
                ids.append(person.create(stream.object, vendor(stream, sample)))
            settle()
            window = Window(min(moment(r[MODIFIED_AT]) for r in records(crm.by_ids(stream, ids))))
            for operator, given in conditions:
                filtered = replace(stream, filters=(Condition(spec.vendor.name, operator, given),))
                inside = set(ids) & set(by_id(read(crm, filtered, window.start)))
                assert crm.fulfilling(filtered, ids) == inside, operator
                left = records(crm.left(filtered, window))
                assert set(ids) - inside <= {record[CRM_ID] for record in left}, operator
                assert all(moment(record[MODIFIED_AT]) >= window.start for record in left)

    def test_a_deleted_record_fulfils_nothing(self, crm, contact, person, settle):
        condition = Condition(contact.field("last_name").vendor.name, Operator.IS_NOT_BLANK)
        filtered = replace(contact, filters=(condition,))
        kept, lost = (person.create(contact.object, vendor(contact, self.sample(contact))) for _ in range(2))
        person.delete(contact.object, lost)
        settle()
        assert crm.fulfilling(filtered, [kept, lost]) == {kept}

    def test_a_deleted_record_is_told(self, crm, contact, person, settle):
        kept, lost = (person.create(contact.object, vendor(contact, self.sample(contact))) for _ in range(2))
        settle()
        start = moment(self.now_of(crm, contact, lost)[MODIFIED_AT])
        person.delete(contact.object, lost)
        settle()
        told = self.departures(crm, contact, Window(start, None))
        assert lost in told
        assert kept not in told
        assert told[lost][MERGED_INTO] is None
        assert moment(told[lost][MODIFIED_AT]) >= start
        assert by_id(read(crm, contact)).get(lost, {DELETED: "true"})[DELETED] == "true"
        assert all(r[DELETED] == "true" for r in records(crm.by_ids(contact, [lost])))

    def test_a_merged_record_names_the_one_that_survived(self, crm, contact, person, settle):
        if not self.merges:
            pytest.skip("records cannot be merged in this CRM")
        winner, loser = (
            person.create(contact.object, vendor(contact, self.sample(contact))) for _ in range(2)
        )
        settle()
        start = moment(self.now_of(crm, contact, loser)[MODIFIED_AT])
        survivor = person.merge(contact.object, winner, loser)
        settle()
        told = self.departures(crm, contact, Window(start, None))
        assert told[loser][MERGED_INTO] == survivor
        assert survivor not in told
        assert self.now_of(crm, contact, survivor)[DELETED] in {None, "false"}

    def departures(self, crm: Crm, stream: StreamSpec, window: Window) -> dict[str, Record]:
        """Records that are told to be gone, by `changed` and `deleted` together."""
        told = read(crm, stream, window.start, window.end) + records(crm.deleted(stream, window))
        return by_id(record for record in told if record[DELETED] == "true")

    def test_look_ups_by_id_give_what_is_there(self, crm, contact):
        ids = [result.crm_id for result in self.add(crm, contact, 3)]
        gone = self.add(crm, contact)[0]
        write(crm, contact, [delete(gone)])
        found = records(crm.by_ids(contact, [*ids, ids[0], gone.crm_id]))
        assert sorted(r[CRM_ID] for r in found if r[CRM_ID] != gone.crm_id) == sorted(ids)
        assert [r for r in found if r[CRM_ID] == gone.crm_id and r[DELETED] != "true"] == []
        assert list(crm.by_ids(contact, [])) == []

    def test_many_ids_are_looked_up(self, crm, contact):
        ids = {result.crm_id for result in self.add(crm, contact, MANY)}
        assert {r[CRM_ID] for r in records(crm.by_ids(contact, sorted(ids)))} == ids

    def test_look_ups_by_hub_id_settle_what_was_created(self, crm, contact, settle):
        if contact.external_id is None:
            pytest.skip("this CRM has no external id")
        added = self.add(crm, contact, 3)
        settle()
        found = records(crm.by_hub_ids(contact, [*(r.key for r in added), str(uuid4())]))
        assert {(r[HUB_ID], r[CRM_ID]) for r in found} == {(r.key, r.crm_id) for r in added}
        assert list(crm.by_hub_ids(contact, [])) == []
