"""Tokens, scopes, limits and faults."""

import re
import time
import uuid
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from crm_sync.simulators.hubspot.clock import iso, milliseconds_of
from crm_sync.simulators.serve import running

CONTACTS = "/crm/v3/objects/contacts"


def app(sim):
    return {"client_id": sim.info["client_id"], "client_secret": sim.info["client_secret"]}


def refresh(api, sim, version="2026-03", **changes):
    form = {"grant_type": "refresh_token", "refresh_token": sim.info["refresh_token"], **app(sim), **changes}
    return api.post(f"/oauth/{version}/token", data=form, headers={"Authorization": ""})


def get(api, token):
    return api.get(CONTACTS, params={"limit": 1}, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("version", ["v1", "v3", "2026-03", "2026-09"])
def test_refreshing(sim, api, version):
    document = refresh(api, sim, version).json()
    assert document["expires_in"] == 1800
    assert document["token_type"] == "bearer"
    assert document["refresh_token"] == sim.info["refresh_token"]
    assert len(document["access_token"]) > 300
    assert ("scopes" in document) == (version != "v1")
    assert get(api, document["access_token"]).status_code == 200


def test_a_bad_refresh_token_has_old_and_new_fields(sim, api):
    answer = refresh(api, sim, refresh_token="nonsense")
    assert answer.status_code == 400
    assert answer.json().items() >= {"error": "invalid_grant", "status": "BAD_REFRESH_TOKEN"}.items()
    assert answer.json()["error_description"] == answer.json()["message"]
    assert "error" not in refresh(api, sim, "v1", refresh_token="nonsense").json()


@pytest.mark.parametrize(
    ("field", "status"), [("client_id", "BAD_CLIENT_ID"), ("client_secret", "BAD_CLIENT_SECRET")]
)
def test_a_bad_client(sim, api, field, status):
    assert refresh(api, sim, **{field: "x"}).json()["status"] == status


def test_access_tokens_expire_after_half_an_hour(sim, api):
    token = refresh(api, sim).json()["access_token"]
    sim.control("clock", {"advance": 1790})
    assert get(api, token).status_code == 200
    sim.control("clock", {"advance": 11})
    answer = get(api, token)
    assert (answer.status_code, answer.json()["category"]) == (401, "EXPIRED_AUTHENTICATION")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nonsense", "Basic eDp5"])
def test_bad_credentials(api, header):
    answer = api.get(CONTACTS, headers={"Authorization": header})
    assert (answer.status_code, answer.json()["category"]) == (401, "INVALID_AUTHENTICATION")


def test_authorization_code(sim, api):
    redirect = "https://app.example/callback?x=1"
    query = {
        "client_id": sim.info["client_id"],
        "redirect_uri": redirect,
        "scope": "oauth crm.objects.contacts.read",
        "state": "s/1",
    }
    answer = api.get("/oauth/authorize", params=query)
    assert answer.status_code == 302
    back = parse_qs(urlsplit(answer.headers["location"]).query)
    assert back["state"] == ["s/1"]
    form = {"grant_type": "authorization_code", "code": back["code"][0], "redirect_uri": redirect, **app(sim)}
    document = api.post("/oauth/v3/token", data=form).json()
    assert document["scopes"] == ["crm.objects.contacts.read", "oauth"]
    assert api.post("/oauth/v3/token", data=form).json()["status"] == "BAD_AUTH_CODE"
    refused = api.get(
        "/crm/v3/objects/deals", headers={"Authorization": f"Bearer {document['access_token']}"}
    )
    assert (refused.status_code, refused.json()["category"]) == (403, "MISSING_SCOPES")
    assert refused.json()["errors"][0]["context"]["requiredGranularScopes"] == ["crm.objects.deals.read"]


def test_introspect_and_revoke(sim, api, settings):
    settings(rotate_refresh_tokens=False)
    query = {"client_id": sim.info["client_id"], "redirect_uri": "https://app.example/", "scope": "oauth"}
    code = parse_qs(urlsplit(api.get("/oauth/authorize", params=query).headers["location"]).query)["code"][0]
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": "https://app.example/",
        **app(sim),
    }
    tokens = api.post("/oauth/2026-03/token", data=form).json()
    about = api.post(
        "/oauth/2026-03/token/introspect", data={**app(sim), "token": tokens["access_token"]}
    ).json()
    assert about["active"] is True
    assert about["token_use"] == "access_token"
    assert about["hub_id"] == sim.info["portal_id"]
    assert api.get(f"/oauth/v1/access-tokens/{tokens['access_token']}").json()["token_type"] == "access"
    api.post("/oauth/2026-03/token/revoke", data={**app(sim), "token": tokens["refresh_token"]})
    assert api.post(
        "/oauth/2026-03/token/introspect", data={**app(sim), "token": tokens["access_token"]}
    ).json() == {"active": False}
    assert get(api, tokens["access_token"]).status_code == 401


def test_refresh_tokens_can_rotate():
    with running("hubspot", records=1, use_tls=False) as sim, httpx.Client(base_url=sim.base_url) as api:
        sim.control("settings", {"rotate_refresh_tokens": True})
        document = refresh(api, sim).json()
        assert document["refresh_token"] != sim.info["refresh_token"]
        assert refresh(api, sim).json()["error"] == "invalid_grant"


def test_ten_second_limit(sim, api, settings):
    settings(burst_private=5)
    token = sim.control("tokens", {})["access_token"]
    answers = [get(api, token) for _ in range(6)]
    assert [a.status_code for a in answers] == [200] * 5 + [429]
    assert [a.headers["X-HubSpot-RateLimit-Remaining"] for a in answers] == ["4", "3", "2", "1", "0", "0"]
    assert answers[0].headers["X-HubSpot-RateLimit-Interval-Milliseconds"] == "10000"
    document = answers[-1].json()
    assert document["policyName"] == "TEN_SECONDLY_ROLLING"
    assert document["message"] == "You have reached your ten_secondly_rolling limit."
    assert "Retry-After" not in answers[-1].headers
    settings(retry_after=True)
    assert 1 <= int(get(api, token).headers["Retry-After"]) <= 10
    sim.control("clock", {"advance": 10})
    assert get(api, token).status_code == 200


def test_daily_limit_is_shared_by_private_apps_and_ends_at_midnight(sim, api, settings):
    used = int(get(api, sim.info["access_token"]).headers["X-HubSpot-RateLimit-Daily"]) - int(
        get(api, sim.info["access_token"]).headers["X-HubSpot-RateLimit-Daily-Remaining"]
    )
    settings(daily=used + 1)
    other = sim.control("tokens", {})["access_token"]
    assert get(api, other).status_code == 200
    answer = get(api, sim.info["access_token"])
    assert (answer.status_code, answer.json()["policyName"]) == (429, "DAILY")
    sim.control("clock", {"advance": 86_400})
    assert get(api, other).status_code == 200


def test_search_has_its_own_limit_and_no_headers(sim, api, settings):
    sim.control("clock", {"advance": 2})
    settings(search_per_second=5)
    answers = [api.post(f"{CONTACTS}/search", json={"limit": 1}) for _ in range(6)]
    assert [a.status_code for a in answers] == [200] * 5 + [429]
    assert answers[-1].json()["message"] == "You have reached your secondly limit."
    assert not [name for name in answers[0].headers if "ratelimit" in name]


def test_oauth_apps_have_no_daily_headers(sim, api):
    answer = get(api, refresh(api, sim).json()["access_token"])
    assert answer.headers["X-HubSpot-RateLimit-Max"] == "110"
    assert "X-HubSpot-RateLimit-Daily" not in answer.headers


def test_account_information(api):
    details = api.get("/account-info/2026-09/details").json()
    assert details["companyCurrency"] == "USD"
    usage = api.get("/account-info/v3/api-usage/daily/private-apps").json()["results"][0]
    assert usage["currentUsage"] > 0
    assert milliseconds_of(usage["resetsAt"]) > milliseconds_of(usage["collectedAt"])
    assert api.get("/crm/limits/2026-09/records").json()["hubspotDefinedObjectTypes"][0]["usage"] > 0


@pytest.mark.parametrize(
    ("status", "word"), [(423, "LOCKED"), (477, "MIGRATION_IN_PROGRESS"), (502, None), (429, "RATE_LIMITS")]
)
def test_faults_speak_hubspot(sim, api, status, word):
    sim.control(
        "faults", [{"match": {"path": "/objects/contacts$"}, "effect": {"status": status}, "limit": 1}]
    )
    answer = get(api, sim.info["access_token"])
    assert answer.status_code == status
    assert answer.json().get("category") == word
    assert answer.json()["correlationId"]
    assert ("retry-after" in answer.headers) == (status == 477)
    assert get(api, sim.info["access_token"]).status_code == 200


def test_control_refuses_nonsense(sim, api):
    for path, body in (
        ("settings", {"nonsense": 1}),
        ("settings", {"index_lag": "x"}),
        ("clock", {"advance": -1}),
        ("do/jump", {"object": "deals"}),
    ):
        assert api.post(f"/_simulator/{path}", json=body).status_code == 400


def test_requests_are_counted_by_family(sim, api):
    sim.control("stats/reset", {})
    get(api, sim.info["access_token"])
    get(api, "nonsense")
    stats = sim.control("stats")
    assert (stats["requests"], stats["statuses"], stats["total"]) == (
        {"objects.list": 1},
        {"200": 1, "401": 1},
        2,
    )


def test_moments():
    assert iso(0) == "1970-01-01T00:00:00Z"
    assert iso(1_564_113_600_001) == "2019-07-26T04:00:00.001Z"
    assert milliseconds_of("2019-07-26T06:00:00.001+02:00") == 1_564_113_600_001
    assert milliseconds_of("2019-07-26") == 1_564_099_200_000
    assert milliseconds_of(str(uuid.uuid4())) is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", iso(time.time_ns() // 1_000_000))
