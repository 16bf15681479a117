"""The part of the contract about the account: credentials, descriptions, limits, clock, webhooks."""

from datetime import timedelta

import pytest

from crm_sync.connectors.crm import MODIFIED_AT, Operation
from crm_sync.core.errors import CrmError, ErrorClass
from tests.contract.ground import Ground
from tests.contract.kit import moment, read, update, write

REFUSED = {ErrorClass.VALIDATION, ErrorClass.PERMISSION}


class Account(Ground):
    def test_working_credentials_are_said_to_work(self, crm):
        health = crm.check()
        assert (health.ok, health.problems) == (True, ())
        assert health.account

    def test_refused_credentials_are_told_not_raised(self, refused, contact):
        if refused is None:
            pytest.skip("no connector with refused credentials was given")
        health = refused.check()
        assert not health.ok
        assert health.problems
        with pytest.raises(CrmError) as caught:
            read(refused, contact)
        assert caught.value.error_class is ErrorClass.AUTH

    def test_the_account_is_told_and_a_known_login_costs_no_call(self, crm):
        told = crm.identity()
        if told is None:
            pytest.skip("this vendor does not tell which account it is")
        assert told.account
        assert crm.identity() == told
        before = sum(crm.calls.values())
        assert crm.identity(told.login) == (None if told.login else told)
        assert sum(crm.calls.values()) == before
        assert crm.identity("another login") == told

    @pytest.mark.parametrize("entity", ["contact", "company", "deal"])
    def test_describe_knows_the_mapped_fields(self, crm, streams, entity):
        stream = streams[entity]
        known = crm.describe(stream.object).fields
        plain = {name for name, field in stream.vendor_fields.items() if field.association is None}
        assert plain <= set(known)
        if stream.external_id is not None:
            assert known[stream.external_id].unique

    def test_describe_knows_what_may_be_written(self, crm, contact, deal):
        fields = crm.describe(contact.object).fields
        writable = fields[contact.field("last_name").vendor.name]
        assert (writable.createable, writable.updateable) == (True, True)
        assert any(not info.updateable for info in fields.values()), "every CRM computes some fields itself"
        options = crm.describe(deal.object).fields[deal.field("stage").vendor.name].options
        assert options is None or set(self.choices(deal.field("stage"))) <= set(options)

    def test_a_field_that_is_read_only_is_refused_for_that_record_alone(self, crm, contact):
        infos = crm.describe(contact.object).fields.values()
        name = min(i.name for i in infos if not i.updateable and not i.createable)
        good, bad = self.add(crm, contact, 2)
        operations = [
            update(contact, good, {"first_name": "New"}),
            Operation(bad.key, "update", bad.crm_id, {name: "1"}),
        ]
        results = write(crm, contact, operations)
        assert results[good.key].ok
        error = results[bad.key].error
        assert error is not None
        assert error.error_class in REFUSED

    def test_an_object_that_is_not_there_is_refused(self, crm):
        with pytest.raises(CrmError) as caught:
            crm.describe("NoSuchObject")
        assert caught.value.error_class is ErrorClass.PERMISSION

    def test_what_was_set_up_need_not_be_set_up_again(self, crm, streams):
        crm.setup(list(streams.values()), dry_run=False)
        assert crm.setup(list(streams.values()), dry_run=True) == []

    def test_calls_are_counted(self, crm, contact):
        before = dict(crm.calls)
        read(crm, contact, limit=1)
        assert sum(crm.calls.values()) > sum(before.values())
        assert all(crm.calls[family] >= count for family, count in before.items())

    def test_the_clock_is_the_vendors(self, crm, contact):
        added = self.add(crm, contact)[0]
        now = crm.now()
        assert now.utcoffset() == timedelta(0)
        assert abs(now - moment(self.now_of(crm, contact, added.crm_id)[MODIFIED_AT])) < timedelta(minutes=5)

    def test_a_forged_webhook_is_refused(self, crm):
        with pytest.raises(CrmError) as caught:
            crm.parse_webhook(
                "POST", "https://sync.example/hook", {"Content-Type": "application/json"}, b"[{}]"
            )
        assert caught.value.error_class is ErrorClass.AUTH
