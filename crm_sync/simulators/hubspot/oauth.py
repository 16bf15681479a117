"""OAuth 2.0 endpoints: authorize (approves by itself), token, introspect, revoke, and the old v1 token look-ups."""

import base64
import hashlib
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from crm_sync.simulators.hubspot.access import ALL_SCOPES, WEBHOOKS_JOURNAL, Access, App, Grant
from crm_sync.simulators.hubspot.errors import ApiError, not_found
from crm_sync.simulators.hubspot.http import Route, answer, no_content, store_of, version_of
from crm_sync.simulators.hubspot.store import Store

CODE_MS = 60_000
USER = "admin@portal.example"
USER_ID = 1


class OAuthError(ApiError):
    """400 with OAuth's own fields; v1 answered with ``status`` and ``message`` only."""

    def __init__(self, request: Request, error: str, status_word: str, message: str) -> None:
        super().__init__(400, message)
        self.category = None
        self.extra = {"status": status_word}
        if not request.scope["path"].startswith("/oauth/v1"):
            self.extra |= {"error": error, "error_description": message}


async def authorize(request: Request) -> Response:
    access, query = _access(request), request.query_params
    app = access.app_by_client(query.get("client_id", ""))
    redirect = query.get("redirect_uri", "")
    if app is None or not redirect.startswith(("http://", "https://")):
        raise ApiError(
            400, "The client_id or redirect_uri of this authorization link is not known", "BAD_CLIENT_ID"
        )
    asked = frozenset(query.get("scope", "").split()) | frozenset(query.get("optional_scope", "").split())
    store = store_of(request)
    code = access.issue(app, "code", asked & ALL_SCOPES, store.clock.now() + CODE_MS)
    access.tokens[code].redirect_uri = redirect
    access.tokens[code].challenge = query.get("code_challenge")
    back = {"code": code} | ({"state": query["state"]} if "state" in query else {})
    return RedirectResponse(f"{redirect}{'&' if '?' in redirect else '?'}{urlencode(back)}", 302)


async def token(request: Request) -> Response:
    store, access, form = store_of(request), _access(request), await _form(request)
    app = _client(request, access, form)
    grant_type = form.get("grant_type")
    if grant_type == "authorization_code":
        grant = _code(request, store, access, app, form)
        return _issued(request, app, grant.scopes, None)
    if grant_type == "refresh_token":
        given = form.get("refresh_token", "")
        held = access.tokens.get(given)
        if held is None or held.kind != "refresh" or held.app is not app:
            raise OAuthError(
                request, "invalid_grant", "BAD_REFRESH_TOKEN", "refresh token is invalid, expired or revoked"
            )
        if store.settings.rotate_refresh_tokens:
            del access.tokens[given]
            given = ""
        return _issued(request, app, held.scopes, given or None)
    if grant_type == "client_credentials":
        scopes = frozenset(form.get("scope", WEBHOOKS_JOURNAL).split())
        return _issued(request, app, scopes, None, refresh=False)
    raise OAuthError(
        request, "unsupported_grant_type", "BAD_GRANT_TYPE", f"grant_type {grant_type} is not supported"
    )


async def introspect(request: Request) -> Response:
    store, access, form = store_of(request), _access(request), await _form(request)
    app = _client(request, access, form)
    given = form.get("token", "")
    grant = access.tokens.get(given)
    if grant is None or grant.app is not app or grant.kind == "code" or _expired(store, grant):
        return answer({"active": False})
    return answer({"active": True, "token_use": f"{grant.kind}_token", "token_type": "Bearer", "is_private_distribution": False}
                  | _about(store, given, grant))  # fmt: skip


async def revoke(request: Request) -> Response:
    access, form = _access(request), await _form(request)
    app = _client(request, access, form)
    given = form.get("token", "")
    grant = access.tokens.get(given)
    if grant is not None and grant.app is app:
        _revoke(access, given)
    return answer({})


async def access_token(request: Request) -> Response:
    """v1: what is this access token?"""
    store, access = store_of(request), _access(request)
    given = request.path_params["token"]
    grant = access.tokens.get(given)
    if grant is None or grant.kind != "access" or _expired(store, grant):
        raise not_found("The access token is invalid or expired", category="TOKEN_NOT_FOUND")
    return answer(_about(store, given, grant) | {"token": given, "token_type": "access", "user_id": USER_ID})


async def refresh_token(request: Request) -> Response:
    """v1: what is this refresh token, or delete it."""
    access = _access(request)
    given = request.path_params["token"]
    grant = access.tokens.get(given)
    if grant is None or grant.kind != "refresh":
        raise not_found("The refresh token is invalid", category="TOKEN_NOT_FOUND")
    if request.method == "DELETE":
        _revoke(access, given)
        return no_content()
    return answer(
        _about(store_of(request), given, grant)
        | {"token": given, "token_type": "refresh", "user_id": USER_ID}
    )


def routes() -> list[Route]:
    return [
        Route("/oauth/authorize", authorize, methods=["GET"], name="oauth.authorize"),
        Route("/oauth/v1/token", token, methods=["POST"], name="oauth.token"),
        Route("/oauth/v3/token", token, methods=["POST"], name="oauth.token"),
        Route("/oauth/v3/token/introspect", introspect, methods=["POST"], name="oauth.introspect"),
        Route("/oauth/v3/token/revoke", revoke, methods=["POST"], name="oauth.revoke"),
        Route("/oauth/v1/access-tokens/{token}", access_token, methods=["GET"], name="oauth.about"),
        Route(
            "/oauth/v1/refresh-tokens/{token}", refresh_token, methods=["GET", "DELETE"], name="oauth.about"
        ),
    ]


def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form-encoded body (a JSON body holds none, as at HubSpot)."""
    raw = (await request.body()).decode("utf-8", "replace")
    return {name: values[-1] for name, values in parse_qs(raw, keep_blank_values=True).items()}


def _client(request: Request, access: Access, form: dict[str, str]) -> App:
    app = access.app_by_client(form.get("client_id", ""))
    if app is None:
        raise OAuthError(request, "invalid_client", "BAD_CLIENT_ID", "missing or unknown client id")
    if form.get("client_secret") != app.client_secret:
        raise OAuthError(request, "invalid_client", "BAD_CLIENT_SECRET", "missing or invalid client secret")
    return app


def _code(request: Request, store: Store, access: Access, app: App, form: dict[str, str]) -> Grant:
    grant = access.tokens.pop(form.get("code", ""), None)
    good = (
        grant is not None
        and grant.kind == "code"
        and grant.app is app
        and not _expired(store, grant)
        and grant.redirect_uri == form.get("redirect_uri")
        and _proves(grant.challenge, form.get("code_verifier", ""))
    )
    if grant is None or not good:
        raise OAuthError(request, "invalid_grant", "BAD_AUTH_CODE", "missing or unknown auth code")
    return grant


def _proves(challenge: str | None, verifier: str) -> bool:
    if challenge is None:
        return True
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge


def _issued(
    request: Request, app: App, scopes: frozenset[str], refresh_with: str | None, *, refresh: bool = True
) -> Response:
    store, access = store_of(request), _access(request)
    seconds = store.settings.token_seconds
    document: dict[str, object] = {
        "token_type": "bearer",
        "access_token": access.issue(app, "access", scopes, store.clock.now() + 1000 * seconds),
        "expires_in": seconds,
    }
    if refresh:
        document["refresh_token"] = refresh_with or access.issue(app, "refresh", scopes)
    if version_of(request) != "v1":
        document |= {
            "token_use": "access_token",
            "hub_id": store.portal_id,
            "user_id": USER_ID,
            "scopes": sorted(scopes),
        }
    return answer(document)


def _about(store: Store, given: str, grant: Grant) -> dict[str, object]:
    about: dict[str, object] = {
        "hub_id": store.portal_id,
        "hub_domain": f"portal-{store.portal_id}.example",
        "user": USER,
        "user_id": USER_ID,
        "app_id": grant.app.id,
        "client_id": grant.app.client_id,
        "scopes": sorted(grant.scopes),
        "signed_access_token": {
            "expiresAt": grant.expires, "scopes": "", "hubId": store.portal_id, "userId": USER_ID, "appId": grant.app.id,
            "signature": hashlib.sha256(given.encode()).hexdigest(), "scopeToScopeGroupPks": "", "newSignature": "", "hublet": "na1",
            "trialScopes": "", "trialScopeToScopeGroupPks": "", "isUserLevel": False,
        },
    }  # fmt: skip
    if grant.expires is not None:
        about["expires_in"] = max(0, (grant.expires - store.clock.now()) // 1000)
    return about


def _revoke(access: Access, given: str) -> None:
    """A refresh token takes the app's access tokens with it."""
    grant = access.tokens.pop(given)
    if grant.kind == "refresh":
        for token_ in [t for t, g in access.tokens.items() if g.app is grant.app and g.kind == "access"]:
            del access.tokens[token_]


def _expired(store: Store, grant: Grant) -> bool:
    return grant.expires is not None and grant.expires <= store.clock.now()
