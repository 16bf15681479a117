"""The account: options, credentials, set-up, descriptions, limits."""

import pytest

from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.core.errors import ConfigError, CrmError, ErrorClass
from tests.connectors.hubspot.conftest import COMPANY, CONTACT, stream
from tests.contract.kit import create, read, write


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "api.hubapi.com"}, "base_url"),
        ({"api_version": "2026-04"}, "api_version"),
        ({"search_lag": "soon"}, "search_lag"),
        ({"search_lag": -1}, "search_lag"),
        ({"auth": {"grant": "password"}}, "auth.grant"),
        ({"auth": {"grant": "access_token"}}, "auth.access_token"),
        ({"auth": {"grant": "refresh_token", "client_id": "a"}}, "auth.client_secret"),
    ],
)
def test_options_that_cannot_be_used(joined, options, message):
    with pytest.raises(ConfigError, match=message):
        joined(**options)


def oauth(simulator, **more):
    info = simulator.info
    return {
        "grant": "refresh_token",
        "client_id": info["client_id"],
        "client_secret": info["client_secret"],
        "refresh_token": info["refresh_token"],
    } | more


class TestOAuth:
    def test_a_token_that_expired_is_renewed_in_the_middle_of_a_read(self, joined, simulator):
        tokens = MemoryTokenStore()
        crm = joined(auth=oauth(simulator), tokens=tokens)
        first = len(read(crm, CONTACT))
        before = tokens.load("hubspot")["access_token"]
        simulator.control("tokens", {"expire": True})
        assert len(read(crm, CONTACT)) == first
        assert tokens.load("hubspot")["access_token"] != before

    @pytest.mark.parametrize("version", ["v3", "2026-09"])
    def test_every_version_of_the_token_endpoint(self, joined, simulator, version):
        crm = joined(auth=oauth(simulator), api_version=version)
        assert crm.check().ok
        assert "daily calls left" not in crm.limits  # public apps are not told

    def test_a_refused_refresh_token_asks_to_connect_again(self, joined, simulator):
        crm = joined(auth=oauth(simulator, refresh_token="na1-withdrawn"))
        health = crm.check()
        assert not health.ok
        assert "connect" in health.problems[0]
        assert "na1-withdrawn" not in health.problems[0]
        with pytest.raises(CrmError) as caught:
            read(crm, CONTACT)
        assert caught.value.error_class is ErrorClass.AUTH


class TestLimits:
    def test_a_storm_of_429_is_waited_out_as_told(self, joined, calm):
        naps = []
        crm = joined(sleep=naps.append)
        crm.describe("companies")
        body = {
            "status": "error",
            "message": "You have reached your ten_secondly_rolling limit.",
            "policyName": "TEN_SECONDLY_ROLLING",
        }
        fault = {
            "match": {"path": "/objects/.*/companies$"},
            "limit": 2,
            "effect": {"status": 429, "body": body},
        }
        calm.control("faults", [fault])
        crm._transport._limiter.pause = lambda *_: None  # here only the waits between tries are looked at
        assert read(crm, COMPANY)
        assert [nap for nap in naps if nap >= 1] == [10.0, 10.0]

    def test_a_daily_limit_is_not_waited_for(self, joined, calm):
        naps = []
        crm = joined(sleep=naps.append)
        crm.describe("companies")
        body = {"message": "You have reached your daily limit.", "policyName": "DAILY"}
        calm.control("faults", [{"match": {"path": "/objects/"}, "effect": {"status": 429, "body": body}}])
        with pytest.raises(CrmError) as caught:
            read(crm, COMPANY)
        assert (caught.value.error_class, caught.value.code) == (ErrorClass.RATE_LIMIT, "DAILY")
        assert caught.value.retry_after == 3600
        assert max(naps, default=0) < 1

    def test_the_search_limit_is_kept_without_being_told(self, joined, calm):
        calm.control("settings", {"search_per_second": 5})
        calm.control("stats/reset", {})
        crm = joined()
        for _ in range(9):
            read(crm, COMPANY, crm.now())
        assert calm.control("stats")["refused"] == {}

    def test_the_ten_seconds_are_learned_from_the_headers(self, joined, calm):
        crm = joined()
        crm.check()
        assert "of 100000" in crm.limits["burst calls left"]
        assert "of 650000" in crm.limits["daily calls left"]

    def test_a_locked_record_is_tried_again_after_two_seconds(self, joined, calm):
        naps = []
        crm = joined(sleep=naps.append)
        crm.setup([CONTACT], dry_run=False)
        calm.control("faults", [{"match": {"path": "/batch/upsert"}, "limit": 1, "effect": {"status": 423}}])
        (result,) = write(crm, CONTACT, [create(CONTACT, {"last_name": "Locked"})]).values()
        assert result.ok
        assert [nap for nap in naps if nap >= 1] == [2.0]


class TestSetup:
    def test_a_dry_run_does_nothing_and_a_second_run_has_nothing_to_do(self, joined):
        leads = stream("lead", "leads", external_id="crm_sync_id")
        promise = joined().setup([leads, leads], dry_run=True)
        assert promise == ["leads: unique text property crm_sync_id"]
        crm = joined()
        assert crm.setup([leads], dry_run=False) == promise
        assert crm.describe("leads").fields["crm_sync_id"].unique
        assert crm.setup([leads], dry_run=False) == []
        assert joined().setup([leads], dry_run=True) == []

    def test_another_process_was_faster(self, joined):
        slow, fast = joined(), joined()
        tickets = stream("ticket", "tickets", external_id="crm_sync_id")
        slow.describe("tickets")
        fast.setup([tickets], dry_run=False)
        slow.setup([tickets], dry_run=False)
        assert slow.describe("tickets").fields["crm_sync_id"].unique

    def test_a_property_of_another_make_cannot_be_used(self, joined):
        for name in ("jobtitle", "createdate"):
            with pytest.raises(CrmError, match="unique") as caught:
                joined().setup([stream("contact", "contacts", external_id=name)], dry_run=True)
            assert caught.value.error_class is ErrorClass.VALIDATION

    def test_streams_without_an_external_id_need_nothing(self, joined):
        crm = joined()
        assert crm.setup([stream("contact", "contacts", external_id=None)], dry_run=False) == []
        assert crm.calls == {}


class TestDescribe:
    def test_what_can_be_known_of_a_field(self, joined):
        fields = joined().describe("contacts").fields
        assert fields["email"].unique
        assert fields["firstname"].max_length == 65_536
        assert fields["interests"].vendor_type == "enumeration.checkbox"
        assert "mobile" in fields["interests"].options
        assert fields["hubspot_owner_id"].options is None  # kept elsewhere
        assert not fields["lastmodifieddate"].updateable
        assert fields["hs_email_domain"].calculated
        assert fields["association:companies"].updateable
        assert "association:contacts" not in fields

    def test_it_is_asked_for_once(self, joined):
        crm = joined()
        assert crm.describe("contacts") is crm.describe("Contact")
        assert crm.calls["properties"] == 1


class TestHealth:
    def test_a_token_of_another_account(self, joined, simulator):
        health = joined(portal_id=7).check()
        assert (health.ok, len(health.problems)) == (False, 1)
        assert str(simulator.info["portal_id"]) in health.problems[0]

    def test_a_working_account(self, joined, simulator):
        health = joined(portal_id=simulator.info["portal_id"]).check()
        assert health.ok
        assert health.account.startswith(str(simulator.info["portal_id"]))
        assert health.detail["currency"] == "USD"

    def test_the_clock_needs_one_call_at_most(self, joined):
        crm = joined()
        crm.now()
        crm.now()
        assert crm.calls == {"account": 1}
