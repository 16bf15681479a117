"""Tokens: one renewal at a time, rotation, each grant's request, and texts that say what to do."""

import fcntl
import json
import multiprocessing
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from crm_sync.connectors.build import Options, connect
from crm_sync.connectors.http import Transport, TransportSettings
from crm_sync.connectors.oauth import (
    BearerAuth,
    ClientCredentialsGrant,
    JwtBearerGrant,
    MemoryTokenStore,
    RefreshTokenGrant,
    StaticToken,
    TokenEndpoint,
)
from crm_sync.connectors.salesforce import login
from crm_sync.core.errors import ConfigError, CrmError, ErrorClass
from crm_sync.core.spec import ConnectionSpec, SecretRef
from crm_sync.mapping.load import load_text
from tests.connectors.server import Answer, Asked, Server


class Vendor:
    """A token endpoint with rotating refresh tokens, and an API that takes the newest access token only."""

    def __init__(self, server: Server, *, rotate: bool = True, expires_in: int | None = None) -> None:
        self.server = server
        self.renewals = 0
        self.refresh_token = "refresh-0"
        self.rotate = rotate
        self.expires_in = expires_in
        server.answer = self

    def __call__(self, asked: Asked) -> Answer:
        if asked.path == "/token":
            return self.token(asked.form)
        if asked.headers.get("Authorization") != f"Bearer access-{self.renewals}":
            return Answer(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
        return Answer(200, {"ok": True})

    def token(self, form: Mapping[str, str]) -> Answer:
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh_token:
            return Answer(
                400, {"error": "invalid_grant", "error_description": "expired access/refresh token"}
            )
        self.renewals += 1
        given: dict[str, Any] = {"access_token": f"access-{self.renewals}"}
        if self.rotate and form["grant_type"] == "refresh_token":
            self.refresh_token = given["refresh_token"] = f"refresh-{self.renewals}"
        if self.expires_in is not None:
            given["expires_in"] = self.expires_in
        return Answer(200, given)


def endpoint(server: Server, settings: TransportSettings) -> TokenEndpoint:
    return TokenEndpoint("acme", f"{server.url}/token", "client", "s3cret", settings)


def transport(server: Server, settings: TransportSettings, store, grant=None) -> Transport:
    grant = grant or RefreshTokenGrant(endpoint(server, settings), "refresh-0")
    auth = BearerAuth("acme", store, grant, settings.clock)
    return Transport("acme", server.url, settings, auth=auth)


def call(client: Transport) -> None:
    assert client.request("GET", "/api", family="api", idempotent=True).json() == {"ok": True}


def refused(client: Transport) -> CrmError:
    with pytest.raises(CrmError) as caught:
        call(client)
    return caught.value


def test_the_first_token_comes_from_the_configured_refresh_token(server, settings):
    vendor, store = Vendor(server), MemoryTokenStore()
    client = transport(server, settings, store)
    call(client)
    call(client)
    assert vendor.renewals == 1
    assert store.load("acme") == {"access_token": "access-1", "refresh_token": "refresh-1"}
    client.close()


def test_an_expired_token_is_renewed_once_and_rotated(server, settings):
    vendor, store = Vendor(server), MemoryTokenStore()
    client = transport(server, settings, store)
    for expected in (1, 2, 3):
        call(client)
        assert vendor.renewals == expected
        assert store.load("acme")["refresh_token"] == f"refresh-{expected}"
        vendor.refresh_token = store.load("acme")["refresh_token"]
        client._client.auth._token = {"access_token": "stale"}
        store._tokens["acme"] = {**store.load("acme"), "access_token": "stale"}
    client.close()


def test_a_token_that_announces_its_end_is_renewed_before_it(server, settings):
    vendor = Vendor(server, expires_in=30)  # less than the minute in advance
    client = transport(server, settings, MemoryTokenStore())
    call(client)
    call(client)
    assert vendor.renewals == 2
    assert all(asked.path == "/token" or "Authorization" in asked.headers for asked in server.asked)
    client.close()


def test_eight_threads_renew_once(server, settings):
    vendor, store = (
        Vendor(server),
        MemoryTokenStore({"acme": {"access_token": "old", "refresh_token": "refresh-0"}}),
    )
    clients = [transport(server, settings, store) for _ in range(8)]
    barrier = threading.Barrier(8)

    def work(client: Transport) -> None:
        barrier.wait()
        call(client)

    threads = [threading.Thread(target=work, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert vendor.renewals == 1
    for client in clients:
        client.close()


class FileTokenStore:
    """A store that processes share: tokens in a file, renewals under its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, connection: str) -> Mapping[str, Any] | None:
        return json.loads(self.path.read_text()).get(connection)

    def refresh(self, connection, stale, renew):
        with self.path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            tokens = json.load(file)
            current = tokens.get(connection)
            if current is not None and current["access_token"] != stale:
                return current
            tokens[connection] = dict(renew(current))
            file.seek(0)
            file.truncate()
            json.dump(tokens, file)
            return tokens[connection]


def _process(url: str, ca_file: Path, path: Path, start: Any) -> None:
    settings = TransportSettings(ca_bundle=ca_file)
    client = transport(Server(url, ca_file), settings, FileTokenStore(path))
    start.wait()
    for _ in range(3):
        call(client)
    client.close()


def test_several_processes_renew_once(server, settings, tmp_path):
    vendor = Vendor(server)
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({"acme": {"access_token": "old", "refresh_token": "refresh-0"}}))
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    processes = [
        spawn.Process(target=_process, args=(server.url, server.ca_file, path, start)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert vendor.renewals == 1
    assert json.loads(path.read_text())["acme"]["refresh_token"] == "refresh-1"


def test_a_new_setting_is_tried_when_the_stored_refresh_token_is_refused(server, settings):
    vendor = Vendor(server)
    store = MemoryTokenStore({"acme": {"access_token": "old", "refresh_token": "withdrawn"}})
    client = transport(server, settings, store)
    call(client)
    assert vendor.renewals == 1
    client.close()


def test_a_withdrawn_login_says_to_connect_again_and_holds_no_secret(server, settings):
    vendor = Vendor(server)
    vendor.refresh_token = "another"
    client = transport(server, settings, MemoryTokenStore())
    error = refused(client)
    assert error.error_class is ErrorClass.AUTH
    assert "connect this account again" in str(error)
    assert "refresh-0" not in str(error)
    assert "s3cret" not in str(error)
    client.close()


@pytest.mark.parametrize(
    ("status", "body", "advice"),
    [
        (400, {"error": "invalid_grant", "error_description": "inactive user"}, "connect this account again"),
        (
            400,
            {"error": "invalid_client_id", "error_description": "client identifier invalid"},
            "correct the auth",
        ),
        (
            401,
            {"error": "invalid_client", "error_description": "invalid client credentials"},
            "correct the auth",
        ),
        (400, {"error": "invalid_grant", "error_description": "audience is invalid"}, "correct the auth"),
        (
            400,
            {"error": "invalid_grant", "error_description": "no client credentials user enabled"},
            "correct the auth",
        ),
        (
            400,
            {
                "error": "invalid_app_access",
                "error_description": "user is not admin approved to access this app",
            },
            "correct the auth",
        ),
        (
            400,
            {"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token"},
            "connect this account",
        ),
    ],
)
def test_refusals_say_what_to_do(server, settings, status, body, advice):
    server.answers(Answer(status, body))
    with pytest.raises(CrmError, match=advice) as caught:
        endpoint(server, settings).ask({"grant_type": "refresh_token"})
    assert caught.value.error_class is ErrorClass.AUTH
    assert len(server.asked) == 1


BUSY = {"error": "invalid_grant", "error_description": "token request is already being processed"}


@pytest.mark.parametrize(
    "body",
    [
        {"error": "unknown_error", "error_description": "retry your request"},
        {"error": "server_error", "error_description": "try again"},
        {"error": "temporarily_unavailable"},
        BUSY,
    ],
)
def test_what_passes_is_tried_again(server, settings, body):
    server.answers(Answer(400, body), Answer(200, {"access_token": "t"}))
    assert endpoint(server, settings).ask({"grant_type": "refresh_token"}) == {"access_token": "t"}


@pytest.mark.parametrize("said", [BUSY, {"error": "invalid_grant", "error_description": "please wait"}])
def test_the_first_refresh_token_is_not_shown_after_a_refusal_that_may_pass(server, settings, said):
    """Where refresh tokens rotate it was given away long ago: who shows it again may lose the login for good."""
    shown = []

    def answer(asked):
        shown.append(asked.form["refresh_token"])
        return Answer(400, said)

    server.answer = answer
    with pytest.raises(CrmError):
        RefreshTokenGrant(endpoint(server, settings), "the first").renew({"refresh_token": "the newest"})
    assert set(shown) == {"the newest"}


@pytest.mark.parametrize("said", ["expired access/refresh token", "inactive user", "token was revoked", ""])
def test_the_first_refresh_token_is_tried_after_a_final_refusal(server, settings, said):
    refused = {"error": "invalid_grant", "error_description": said}
    server.answers(Answer(400, refused), Answer(200, {"access_token": "t"}))
    token = RefreshTokenGrant(endpoint(server, settings), "the first").renew({"refresh_token": "the newest"})
    assert token == {"access_token": "t", "refresh_token": "the first"}


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}"])
def test_an_answer_that_is_no_token_is_said_to_be_none(server, settings, body):
    server.answers(Answer(200, body))
    with pytest.raises(CrmError) as caught:
        endpoint(server, settings).ask({"grant_type": "refresh_token"})
    assert caught.value.error_class is ErrorClass.AUTH


def test_a_token_endpoint_that_is_down_is_tried_again(server, settings):
    server.answers(Answer(503), Answer(200, {"access_token": "a"}))
    assert endpoint(server, settings).ask({"grant_type": "refresh_token"}) == {"access_token": "a"}


def test_client_credentials_are_sent_in_the_form(server, settings):
    Vendor(server)
    client = transport(
        server, settings, MemoryTokenStore(), ClientCredentialsGrant(endpoint(server, settings))
    )
    call(client)
    sent = {"grant_type": "client_credentials", "client_id": "client", "client_secret": "s3cret"}
    assert server.asked[0].form == sent
    client.close()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def test_an_assertion_is_signed_for_the_user(server, settings, key):
    Vendor(server)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    grant = JwtBearerGrant(endpoint(server, settings), "me@example.com", "https://login.salesforce.com", pem)
    client = transport(server, settings, MemoryTokenStore(), grant)
    call(client)
    form = server.asked[0].form
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = jwt.decode(
        form["assertion"], key.public_key(), algorithms=["RS256"], audience="https://login.salesforce.com"
    )
    assert (claims["iss"], claims["sub"]) == ("client", "me@example.com")
    assert 0 < claims["exp"] - settings.clock() <= 300
    client.close()


def test_a_key_that_is_none_is_said_to_be_none(server, settings):
    grant = JwtBearerGrant(
        endpoint(server, settings), "me@example.com", "https://x", "-----BEGIN NOTHING-----"
    )
    with pytest.raises(CrmError, match="RSA key in PEM form"):
        grant.renew(None)


def test_a_static_token_is_never_stored_and_cannot_be_renewed(server, settings):
    vendor, store = Vendor(server), MemoryTokenStore()
    grant = StaticToken("acme", {"access_token": "access-0"})
    client = transport(server, settings, store, grant)
    call(client)
    vendor.renewals = 7  # the token is not the newest any more
    error = refused(client)
    assert (error.error_class, store.load("acme")) == (ErrorClass.AUTH, None)
    assert "make a new one" in str(error)
    assert "access-0" not in str(error)
    client.close()


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("https://acme.my.salesforce.com", True),
        ("https://acme--dev.sandbox.my.salesforce.com", True),
        ("https://acme.my.site.force.com", True),
        ("https://crm.internal:8443", True),
        ("https://crm.internal", False),
        ("http://acme.my.salesforce.com", False),
        ("https://salesforce.com.evil.example", False),
        ("https://evilsalesforce.com", False),
        ("https://acme.my.salesforce.com@evil.example", False),
        ("https://user@acme.my.salesforce.com", False),
        ("", False),
    ],
)
def test_tokens_go_only_to_salesforce_or_to_the_configured_host(address, good):
    assert login.trusted(address, "https://crm.internal:8443") is good
    keep = login.accept("acme", "https://crm.internal:8443")
    answer = {
        "instance_url": address,
        "id": "https://login.salesforce.com/id/00Dxx0000001gER/005xx000001Sv6A",
    }
    if good:
        assert keep(answer) == {"instance_url": address, "organisation": "00Dxx0000001gER"}
    else:
        with pytest.raises(CrmError) as caught:
            keep(answer)
        assert caught.value.error_class is ErrorClass.AUTH


def options(**given: Any) -> Options:
    return Options("acme.yaml", given)


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ({}, login.PRODUCTION),
        ({"environment": "sandbox"}, login.SANDBOX),
        ({"environment": "sandbox", "host": "acme.my.salesforce.com"}, "https://acme.my.salesforce.com"),
        ({"host": "https://127.0.0.1:8443/"}, "https://127.0.0.1:8443"),
        ({"host": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080"),
    ],
)
def test_where_to_log_in(given, host):
    assert login.login_host(options(**given)) == host


@pytest.mark.parametrize(
    "host", ["http://acme.my.salesforce.com", "ftp://x", "https://", "https://u:p@x.example"]
)
def test_hosts_that_are_not_safe_are_refused(host):
    with pytest.raises(ConfigError, match="host"):
        login.login_host(options(host=host))


def test_client_credentials_need_the_organisations_own_host(settings):
    auth = {"grant": "client_credentials", "client_id": "a", "client_secret": "b"}
    with pytest.raises(ConfigError, match="My Domain"):
        login.grant("acme", options(auth=auth), settings)


@pytest.mark.parametrize(
    ("auth", "field"),
    [
        ({"grant": "refresh_token"}, "auth.client_id"),
        ({"grant": "access_token"}, "auth.access_token"),
        ({"grant": "jwt_bearer", "client_id": "a"}, "auth.username"),
        (
            {"grant": "jwt_bearer", "client_id": "a", "username": "u", "private_key_file": "/nowhere"},
            "private_key_file",
        ),
        ({"grant": "password", "client_id": "a"}, "auth.grant"),
    ],
)
def test_what_is_missing_is_named(auth, field, settings):
    with pytest.raises(ConfigError, match=field) as caught:
        login.grant("acme", options(auth=auth), settings)
    assert "acme.yaml" in str(caught.value)


def test_every_missing_secret_is_named_with_its_place():
    auth = {
        "grant": "refresh_token",
        "client_id": SecretRef("SF_ID"),
        "client_secret": SecretRef("SF_SECRET"),
    }
    spec = ConnectionSpec("acme", "salesforce", {"auth": auth}, (), "connections/acme.yaml")
    with pytest.raises(ConfigError) as caught:
        connect(spec, env={"SF_ID": "x"}, tokens=MemoryTokenStore())
    assert str(caught.value) == (
        "connections/acme.yaml: auth.client_secret: the environment variable SF_SECRET is not set; "
        "it must hold the secret"
    )


def test_complaints_about_options_name_the_line_of_the_connection_file():
    text = """
kind: salesforce
auth:
  grant: refresh_token
  client_id: {env: SF_ID}
  client_secret:
    env: SF_SECRET
  refresh_token: ${SF_REFRESH}
entities: {contact: {object: Contact, fields: {last_name: LastName}}}
"""
    (spec,) = load_text(text, "acme.yaml").connections
    with pytest.raises(ConfigError) as caught:
        connect(spec, env={"SF_ID": "x"}, tokens=MemoryTokenStore())
    assert [str(problem).split(": the")[0] for problem in caught.value.problems] == [
        "acme.yaml:6: auth.client_secret",
        "acme.yaml:8: auth.refresh_token",
    ]
    wrong = Options("acme.yaml", {"auth": {}}, spec.lines).wrong
    assert str(wrong("auth.grant", "is odd")) == "acme.yaml:4: auth.grant: is odd"
    assert str(wrong("auth.username", "is needed and missing")).startswith("acme.yaml:3: auth.username")
    assert str(wrong("nothing", "is needed and missing")).startswith("acme.yaml: nothing")


def test_an_unknown_kind_is_named():
    spec = ConnectionSpec("acme", "nosuch", {}, (), "connections/acme.yaml")
    with pytest.raises(ConfigError, match="no connector for kind 'nosuch'"):
        connect(spec, env={}, tokens=MemoryTokenStore())
