"""OAuth 2.0 as the login hosts speak it: authorize, token, revoke, introspect, userinfo, identity.

Source: "OAuth 2.0 Web Server Flow", "Refresh Token Flow", "JWT Bearer Flow", "Client Credentials Flow",
"OAuth Authorization Errors" (Salesforce Help). There is no ``expires_in``; ``issued_at`` is text.
"""

import base64
import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt

from crm_sync.simulators.salesforce.sessions import CODE_SECONDS, Grant, Session
from crm_sync.simulators.salesforce.web import Answer, Call

AUDIENCES = ("https://login.salesforce.com", "https://test.salesforce.com")
NO_CACHE = {"Cache-Control": "no-cache, no-store"}
DEFAULT_SCOPE = "refresh_token api"


class OAuthError(Exception):
    """``{"error": ..., "error_description": ...}``."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.answer = Answer(status, {"error": error, "error_description": description}, dict(NO_CACHE))


def authorize(call: Call) -> Answer:
    """GET /services/oauth2/authorize: everybody agrees at once, and is sent back with a code."""
    query = call.query
    redirect = query.get("redirect_uri", "")
    if query.get("client_id") != call.org.account.client_id:
        return Answer(400, {"error": "invalid_client_id", "error_description": "client identifier invalid"})
    if not redirect:
        return Answer(
            400,
            {"error": "redirect_uri_mismatch", "error_description": "redirect_uri must match configuration"},
        )
    reply: dict[str, str] = {}
    if query.get("response_type") != "code":
        reply = {"error": "unsupported_response_type", "error_description": "response type not supported"}
    elif query.get("login_hint") == "denied":  # how a test lets the user refuse
        reply = {"error": "access_denied", "error_description": "end-user denied authorization"}
    elif query.get("code_challenge_method", "S256") != "S256":
        reply = {"error": "invalid_request", "error_description": "invalid code challenge method"}
    else:
        grant = Grant(
            call.org.account.username,
            query["client_id"],
            query.get("scope", DEFAULT_SCOPE),
            redirect,
            query.get("code_challenge"),
            call.org.clock.now(),
        )
        reply["code"] = call.org.sessions.grant_code(grant)
    if "state" in query:
        reply["state"] = query["state"]
    separator = "&" if "?" in redirect else "?"
    return Answer(302, headers={"Location": f"{redirect}{separator}{urlencode(reply)}"})


def token(call: Call) -> Answer:
    """POST /services/oauth2/token."""
    form = dict(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True)) or dict(call.query)
    grants = {
        "refresh_token": _refresh,
        "authorization_code": _code,
        "urn:ietf:params:oauth:grant-type:jwt-bearer": _jwt_bearer,
        "client_credentials": _client_credentials,
        "password": _password,
    }
    handler = grants.get(form.get("grant_type", ""))
    if handler is None:
        return OAuthError("unsupported_grant_type", "grant type not supported").answer
    try:
        return Answer(body=handler(call, form), headers=dict(NO_CACHE))
    except OAuthError as error:
        return error.answer


def _client(call: Call, form: dict[str, str], *, secret_needed: bool) -> str:
    """The id of the calling app, from the form or a Basic header. Raises invalid_client_id, invalid_client."""
    client_id, secret = form.get("client_id", ""), form.get("client_secret")
    scheme, _, encoded = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            raise OAuthError("invalid_client", "invalid client credentials") from None
    account = call.org.account
    if client_id != account.client_id:
        raise OAuthError("invalid_client_id", "client identifier invalid")
    if (secret is None and secret_needed) or (secret is not None and secret != account.client_secret):
        raise OAuthError("invalid_client", "invalid client credentials")
    return client_id


def _refresh(call: Call, form: dict[str, str]) -> dict[str, Any]:
    client = _client(call, form, secret_needed=False)
    sessions = call.org.sessions
    old = form.get("refresh_token", "")
    grant = sessions.refresh_tokens.get(old)
    if grant is None or grant.client != client:
        raise OAuthError("invalid_grant", "expired access/refresh token")
    answer = _answer(call, sessions.open(grant.username, client, grant.scope))
    if call.org.settings.rotate_refresh_tokens:
        del sessions.refresh_tokens[old]
        answer["refresh_token"] = sessions.grant_refresh(grant)
    return answer


def _code(call: Call, form: dict[str, str]) -> dict[str, Any]:
    client = _client(call, form, secret_needed="code_verifier" not in form)
    grant = call.org.sessions.codes.pop(form.get("code", ""), None)
    if grant is None:
        raise OAuthError("invalid_grant", "invalid authorization code")
    if call.org.clock.now() - grant.created > CODE_SECONDS:
        raise OAuthError("invalid_grant", "expired authorization code")
    if form.get("redirect_uri") != grant.redirect_uri:
        raise OAuthError("redirect_uri_mismatch", "redirect_uri must match configuration")
    verifier = form.get("code_verifier")
    if grant.challenge is not None:
        if verifier is None:
            raise OAuthError("invalid_grant", "code verifier is required")
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        if digest != grant.challenge.rstrip("="):
            raise OAuthError("invalid_request", "invalid code verifier")
    answer = _answer(call, call.org.sessions.open(grant.username, client, grant.scope))
    if {"refresh_token", "offline_access", "full"}.intersection(grant.scope.split()):
        answer["refresh_token"] = call.org.sessions.grant_refresh(grant)
    if "openid" in grant.scope.split():
        claims = {"iss": call.org.base_url, "aud": client, "sub": answer["id"]}
        answer["id_token"] = jwt.encode(claims, call.org.account.private_key, algorithm="RS256")
    return answer


MOST_AHEAD = 300.0  # seconds; Salesforce says "within a few minutes", on its own clock


def _jwt_bearer(call: Call, form: dict[str, str]) -> dict[str, Any]:
    account = call.org.account
    try:
        claims = jwt.decode(
            form.get("assertion", ""),
            account.private_key.public_key(),
            algorithms=["RS256"],
            audience=[*AUDIENCES, call.org.base_url, *_site(call)],
            options={"require": ["iss", "sub", "aud", "exp"], "verify_exp": False},
        )
        if not call.org.clock.now() < float(claims["exp"]) <= call.org.clock.now() + MOST_AHEAD:
            raise OAuthError("invalid_grant", "expired authorization code")
    except jwt.InvalidAudienceError:
        raise OAuthError("invalid_grant", "audience is invalid") from None
    except jwt.InvalidTokenError:
        raise OAuthError("invalid_grant", "invalid assertion") from None
    if claims["iss"] != account.client_id:
        raise OAuthError("invalid_client_id", "client identifier invalid")
    if claims["sub"] not in call.org.sessions.users:
        raise OAuthError("invalid_grant", "user hasn't approved this consumer")
    return _answer(call, call.org.sessions.open(claims["sub"], account.client_id, "api"))


def _site(call: Call) -> list[str]:
    host = call.headers.get("host", "")
    return [f"https://{host}", f"http://{host}"]


def _client_credentials(call: Call, form: dict[str, str]) -> dict[str, Any]:
    if call.headers.get("host", "").split(":")[0] in {"login.salesforce.com", "test.salesforce.com"}:
        raise OAuthError("invalid_grant", "request not supported on this domain")
    client = _client(call, form, secret_needed=True)
    return _answer(call, call.org.sessions.open(call.org.account.username, client, "api"))


def _password(call: Call, form: dict[str, str]) -> dict[str, Any]:
    client = _client(call, form, secret_needed=True)
    account = call.org.account
    good = (account.password, account.password + account.security_token)
    if form.get("username") != account.username or form.get("password") not in good:
        raise OAuthError("invalid_grant", "authentication failure")
    return _answer(call, call.org.sessions.open(account.username, client, "api"))


def _answer(call: Call, session: Session) -> dict[str, Any]:
    identity = f"{call.org.base_url}/id/{call.org.sessions.org_id}/{session.user_id}"
    issued = str(int(call.org.clock.now() * 1000))
    digest = hmac.new(
        call.org.account.client_secret.encode(), (identity + issued).encode(), hashlib.sha256
    ).digest()
    return {
        "access_token": session.token,
        "signature": base64.b64encode(digest).decode(),
        "scope": session.scope,
        "instance_url": call.org.base_url,
        "id": identity,
        "token_type": "Bearer",
        "issued_at": issued,
        "api_instance_url": call.org.base_url,
    }


def revoke(call: Call) -> Answer:
    """POST or GET /services/oauth2/revoke."""
    form = dict(parse_qsl(call.body.decode("utf-8", "replace"))) or dict(call.query)
    if call.org.sessions.revoke(form.get("token", "")):
        return Answer(200)
    return Answer(
        400, {"error": "unsupported_token_type", "error_description": "this token type is not supported"}
    )


def introspect(call: Call) -> Answer:
    """POST /services/oauth2/introspect."""
    form = dict(parse_qsl(call.body.decode("utf-8", "replace")))
    try:
        client = _client(call, form, secret_needed=True)
    except OAuthError as error:
        return error.answer
    text = form.get("token", "")
    session = call.org.sessions.sessions.get(text)
    grant = call.org.sessions.refresh_tokens.get(text)
    if session is not None:
        return Answer(
            body={
                "active": True, "scope": session.scope, "client_id": client, "username": session.username,
                "sub": f"{call.org.base_url}/id/{call.org.sessions.org_id}/{session.user_id}", "token_type": "access_token",
                "exp": int(session.last_used + call.org.settings.session_seconds), "iat": int(session.last_used),
            }
        )  # fmt: skip
    if grant is not None:
        return Answer(
            body={
                "active": True,
                "scope": grant.scope,
                "client_id": client,
                "username": grant.username,
                "token_type": "refresh_token",
            }
        )
    return Answer(body={"active": False})


def identity(call: Call) -> Answer:
    """GET /services/oauth2/userinfo and /id/{org}/{user}."""
    org, session = call.org, call.user
    table = org.store.tables["User"]
    row = table.rows[session.user_id]
    address = f"{org.base_url}/id/{org.sessions.org_id}/{session.user_id}"
    rest = f"{org.base_url}/services/data/v{{version}}/"
    return Answer(
        body={
            "id": address,
            "sub": address,
            "user_id": session.user_id,
            "organization_id": org.sessions.org_id,
            "username": session.username,
            "preferred_username": session.username,
            "nick_name": table.get(row, "Alias"),
            "display_name": table.get(row, "Name"),
            "name": table.get(row, "Name"),
            "email": table.get(row, "Email"),
            "email_verified": True,
            "given_name": table.get(row, "FirstName"),
            "family_name": table.get(row, "LastName"),
            "active": True,
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": 0,
            "zoneinfo": "GMT",
            "urls": {
                "rest": rest,
                "sobjects": f"{rest}sobjects/",
                "query": f"{rest}query/",
                "custom_domain": org.base_url,
            },
        }
    )


def metadata(call: Call) -> Answer:
    """GET /.well-known/openid-configuration."""
    base = call.org.base_url
    return Answer(
        body={
            "issuer": base,
            "authorization_endpoint": f"{base}/services/oauth2/authorize",
            "token_endpoint": f"{base}/services/oauth2/token",
            "revocation_endpoint": f"{base}/services/oauth2/revoke",
            "userinfo_endpoint": f"{base}/services/oauth2/userinfo",
            "introspection_endpoint": f"{base}/services/oauth2/introspect",
        }
    )
