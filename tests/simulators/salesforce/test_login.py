"""OAuth: every grant, its refusals, rotation, sessions that end."""

import base64
import hashlib
import secrets
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def app(salesforce):
    return {"client_id": salesforce.info["client_id"], "client_secret": salesforce.info["client_secret"]}


def grant(http, **form):
    return http.post("/services/oauth2/token", data=form)


def fresh_refresh_token(http, salesforce, **more):
    """A refresh token of one's own, by the web server flow with PKCE."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = {
        "response_type": "code", "client_id": salesforce.info["client_id"], "redirect_uri": "https://app.example/back",
        "state": "s1", "scope": "api refresh_token", "code_challenge": challenge, "code_challenge_method": "S256", **more,
    }  # fmt: skip
    back = http.get("/services/oauth2/authorize", params=asked)
    assert back.status_code == 302
    query = parse_qs(urlsplit(back.headers["location"]).query)
    assert query["state"] == ["s1"]
    return grant(
        http, grant_type="authorization_code", code=query["code"][0], redirect_uri="https://app.example/back",
        code_verifier=verifier, **app(salesforce),
    )  # fmt: skip


def test_refresh_answers_in_the_recorded_shape(http, salesforce):
    mine = fresh_refresh_token(http, salesforce).json()["refresh_token"]
    answer = grant(http, grant_type="refresh_token", refresh_token=mine, **app(salesforce))
    body = answer.json()
    assert answer.status_code == 200
    assert {"access_token", "instance_url", "id", "issued_at", "signature", "token_type", "scope"} <= set(
        body
    )
    assert "expires_in" not in body
    assert "refresh_token" not in body
    assert (body["instance_url"], body["token_type"]) == (salesforce.base_url, "Bearer")
    assert isinstance(body["issued_at"], str)
    assert abs(int(body["issued_at"]) / 1000 - time.time()) < 60
    assert http.get("/services/data/v68.0/limits", headers=bearer(body["access_token"])).status_code == 200
    who = http.get(urlsplit(body["id"]).path, headers=bearer(body["access_token"])).json()
    assert who["username"] == salesforce.info["username"]


def test_rotation_kills_the_old_refresh_token(http, salesforce):
    salesforce.control("settings", {"rotate_refresh_tokens": True})
    first = fresh_refresh_token(http, salesforce).json()["refresh_token"]
    second = grant(http, grant_type="refresh_token", refresh_token=first, **app(salesforce)).json()[
        "refresh_token"
    ]
    assert second != first
    again = grant(http, grant_type="refresh_token", refresh_token=first, **app(salesforce))
    assert (again.status_code, again.json()) == (
        400,
        {"error": "invalid_grant", "error_description": "expired access/refresh token"},
    )
    assert grant(http, grant_type="refresh_token", refresh_token=second, **app(salesforce)).status_code == 200


def test_a_code_works_once_and_needs_its_verifier(http, salesforce):
    assert fresh_refresh_token(http, salesforce).json()["refresh_token"]
    reused = grant(
        http,
        grant_type="authorization_code",
        code="used",
        redirect_uri="https://app.example/back",
        **app(salesforce),
    )
    assert reused.json()["error_description"] == "invalid authorization code"
    asked = {
        "response_type": "code", "client_id": salesforce.info["client_id"], "redirect_uri": "https://app.example/back",
        "code_challenge": "x" * 43,
    }  # fmt: skip
    for verifier, error in (({}, "invalid_grant"), ({"code_verifier": "wrong"}, "invalid_request")):
        back = http.get("/services/oauth2/authorize", params=asked)
        code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": "https://app.example/back"}
        assert grant(http, **form, **verifier, **app(salesforce)).json()["error"] == error
    denied = http.get("/services/oauth2/authorize", params={**asked, "login_hint": "denied"})
    assert "error=access_denied" in denied.headers["location"]


def assertion(salesforce, **changed):
    claims = {
        "iss": salesforce.info["client_id"], "sub": salesforce.info["username"], "aud": "https://login.salesforce.com",
        "exp": int(time.time()) + 180,
    }  # fmt: skip
    key = Path(salesforce.info["private_key_file"]).read_text()
    return jwt.encode(claims | changed, key, algorithm="RS256")


@pytest.mark.parametrize(
    ("changed", "error", "description"),
    [
        ({}, None, None),
        ({"aud": "https://elsewhere.example"}, "invalid_grant", "audience is invalid"),
        ({"sub": "nobody@example.com"}, "invalid_grant", "user hasn't approved this consumer"),
        ({"iss": "x"}, "invalid_client_id", "client identifier invalid"),
        ({"exp": 1}, "invalid_grant", "expired authorization code"),
        ({"exp": int(time.time()) + 3600}, "invalid_grant", "expired authorization code"),
    ],
)
def test_jwt_bearer(http, salesforce, changed, error, description):
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": assertion(salesforce, **changed),
    }
    body = grant(http, **form).json()
    assert (body.get("error"), body.get("error_description")) == (error, description)
    if error is None:
        assert "refresh_token" not in body


def test_client_credentials_in_body_or_header(http, salesforce):
    assert grant(http, grant_type="client_credentials", **app(salesforce)).status_code == 200
    pair = tuple(app(salesforce).values())
    assert (
        http.post("/services/oauth2/token", data={"grant_type": "client_credentials"}, auth=pair).status_code
        == 200
    )
    wrong = grant(http, grant_type="client_credentials", client_id=pair[0], client_secret="no").json()
    assert wrong["error"] == "invalid_client"
    assert grant(http, grant_type="nonsense").json()["error"] == "unsupported_grant_type"


def test_sessions_end(http, salesforce):
    token = salesforce.control("tokens", {})["access_token"]
    salesforce.control("settings", {"session_calls": 2})
    statuses = [http.get("/services/data/v68.0/limits", headers=bearer(token)).status_code for _ in range(3)]
    assert statuses == [200, 200, 401]
    assert http.get("/services/data/v68.0/limits").json() == [
        {"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}
    ]


def test_revoke_and_introspect(http, salesforce):
    tokens = fresh_refresh_token(http, salesforce).json()
    told = http.post(
        "/services/oauth2/introspect", data={"token": tokens["access_token"], **app(salesforce)}
    ).json()
    assert (told["active"], told["username"]) == (True, salesforce.info["username"])
    assert http.post("/services/oauth2/revoke", data={"token": tokens["access_token"]}).status_code == 200
    assert http.post("/services/oauth2/revoke", data={"token": "x"}).status_code == 400
    told = http.post(
        "/services/oauth2/introspect", data={"token": tokens["access_token"], **app(salesforce)}
    ).json()
    assert told == {"active": False}


def test_a_sixth_refresh_token_revokes_the_first(http, salesforce):
    tokens = [fresh_refresh_token(http, salesforce).json()["refresh_token"] for _ in range(6)]
    form = {"grant_type": "refresh_token", **app(salesforce)}
    assert [grant(http, refresh_token=t, **form).status_code for t in tokens] == [400] + [200] * 5
