"""OAuth 2.0 for connectors: which token goes with a request, and how a new one is got.

    request ── BearerAuth ── token of the store ──▶ 401? ── TokenStore.refresh (one renewal at a time) ──▶ repeat

Here: the `httpx.Auth` that adds tokens, and the grants that obtain them at a vendor's token endpoint. Not here:
where tokens are kept and how renewals exclude each other across processes (a TokenStore), and the interactive
login that gives the first refresh token.

A token is a plain mapping: `access_token`; `refresh_token` where the grant has one; `expires_at` (seconds since the
epoch) where the vendor says; and whatever else the vendor's `accept` function keeps, such as `instance_url`.
"""

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import httpx
import jwt

from crm_sync.connectors import oauth_refusals
from crm_sync.connectors.crm import Renew, TokenStore
from crm_sync.connectors.http import Transport, TransportSettings
from crm_sync.connectors.oauth_refusals import LostLoginError
from crm_sync.core.errors import CrmError, ErrorClass

Token = Mapping[str, Any]

_EARLY = 60.0  # seconds before its announced end at which a token is renewed
_RENEWALS = 3
"""Of the token for one request. The first may only bring what another process had stored, which may be as old as ours;
and what is new may be refused again while others renew. An account that must be connected anew says so when it is
asked for a token."""
_ASSERTION_LIFE = 180.0  # seconds that a signed assertion is valid
_PATIENCE = 60.0  # seconds for an answer: with rotating refresh tokens, the login is lost with the answer
_WRONG_CLOCK = 60.0  # seconds by which two clocks must differ to be the reason why an assertion is refused


class Grant(Protocol):
    """A way to get a token."""

    def renew(self, current: Token | None) -> Token:
        """A new token, given the last one known (None: there was none).

        Raises CrmError(AUTH) if the vendor will not give one; its text says whether to connect again or to correct
        a setting. The result holds everything to keep, the refresh token included."""


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """The address that gives tokens for one client (application). `accept` checks a vendor's answer and returns what
    is to be kept of it beside the standard members."""

    connection: str
    url: str
    client_id: str
    client_secret: str | None
    settings: TransportSettings
    accept: Callable[[Mapping[str, Any]], Mapping[str, Any]] = field(default=lambda _: {})

    def ask(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Send a token request (RFC 6749: form in, JSON out)."""
        with closing(self._transport()) as transport:
            return self._asked(transport, form)

    def ask_at(self, form: Callable[[float], Mapping[str, str]]) -> dict[str, Any]:
        """The same with a form that is made for a moment, in seconds since the epoch: for now by our clock and, if that
        is refused by a vendor whose clock says something else, once more for now by the vendor's."""
        with closing(self._transport()) as transport:
            try:
                return self._asked(transport, form(self.settings.clock()))
            except CrmError as error:
                theirs = transport.now().timestamp()
                wrong_clock = abs(theirs - self.settings.clock()) > _WRONG_CLOCK
                if error.error_class is not ErrorClass.AUTH or not wrong_clock:
                    raise
                return self._asked(transport, form(theirs))

    def _transport(self) -> Transport:
        patient = replace(self.settings, timeout=max(self.settings.timeout, _PATIENCE))
        return Transport(
            self.connection, self.url, patient, classify=partial(oauth_refusals.refusal, self.connection)
        )

    def _asked(self, transport: Transport, form: Mapping[str, str]) -> dict[str, Any]:
        try:
            # A token request whose answer got lost can only be tried again: there is nothing to look up.
            answer = transport.request("POST", self.url, family="oauth", idempotent=True, data=form)
            received = answer.json()
        except ValueError as error:
            raise CrmError(
                ErrorClass.AUTH, f"{self.connection}: {self.url} did not answer with JSON"
            ) from error
        if not isinstance(received, dict) or not isinstance(received.get("access_token"), str):
            raise CrmError(ErrorClass.AUTH, f"{self.connection}: {self.url} answered without an access_token")
        token: dict[str, Any] = {"access_token": received["access_token"], **self.accept(received)}
        if isinstance(received.get("refresh_token"), str):
            token["refresh_token"] = received["refresh_token"]
        with suppress(KeyError, TypeError, ValueError):
            token["expires_at"] = self.settings.clock() + float(received["expires_in"])
        return token

    def client(self) -> dict[str, str]:
        """The form fields that identify the client."""
        secret = {} if self.client_secret is None else {"client_secret": self.client_secret}
        return {"client_id": self.client_id, **secret}


@dataclass(frozen=True, slots=True)
class RefreshTokenGrant:
    """RFC 6749 section 6, with rotation: a new refresh token in the answer replaces the old one.

    first: the refresh token of the connection file, used while the store has none, and when the stored one is refused
    for good (the person connected again and changed the setting). Not when the refusal may pass: a token that was
    rotated away long ago looks like a stolen one, and a vendor may withdraw the login for it.
    """

    endpoint: TokenEndpoint
    first: str | None

    def renew(self, current: Token | None) -> Token:
        stored = (current or {}).get("refresh_token")
        candidates = list(dict.fromkeys(token for token in (stored, self.first) if token))
        if not candidates:
            raise CrmError(
                ErrorClass.AUTH,
                f"{self.endpoint.connection}: there is no refresh token; connect this account",
            )
        for candidate in candidates:
            try:
                token = self._ask(candidate)
            except LostLoginError:
                if candidate == candidates[-1]:
                    raise
            else:
                return {"refresh_token": candidate, **token}
        raise AssertionError("unreachable: the last candidate returns or raises")

    def _ask(self, refresh_token: str) -> dict[str, Any]:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, **self.endpoint.client()}
        return self.endpoint.ask(form)


@dataclass(frozen=True, slots=True)
class JwtBearerGrant:
    """RFC 7523: an assertion signed with the client's private key (PEM, RS256) for one user."""

    endpoint: TokenEndpoint
    username: str
    audience: str
    private_key: str

    def renew(self, current: Token | None) -> Token:  # noqa: ARG002 - every assertion stands for itself
        return self.endpoint.ask_at(self._form)

    def _form(self, now: float) -> dict[str, str]:
        claims = {
            "iss": self.endpoint.client_id,
            "sub": self.username,
            "aud": self.audience,
            "exp": int(now + _ASSERTION_LIFE),
        }
        try:
            assertion = jwt.encode(claims, self.private_key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise CrmError(
                ErrorClass.AUTH, f"{self.endpoint.connection}: the private key is not an RSA key in PEM form"
            ) from error
        grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        return {"grant_type": grant_type, "assertion": assertion}


@dataclass(frozen=True, slots=True)
class ClientCredentialsGrant:
    """RFC 6749 section 4.4: the application itself logs in, as the user that is set in the vendor's app."""

    endpoint: TokenEndpoint

    def renew(self, current: Token | None) -> Token:  # noqa: ARG002 - nothing of the old token is used
        return self.endpoint.ask({"grant_type": "client_credentials", **self.endpoint.client()})


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token that a person made and that cannot be renewed (HubSpot private app or service key, a test session)."""

    connection: str
    token: Token

    def renew(self, current: Token | None) -> Token:
        if current and current.get("access_token") == self.token["access_token"]:
            raise CrmError(
                ErrorClass.AUTH,
                f"{self.connection}: the access token is not accepted (any more); make a new one and set it",
                status=401,
            )
        return self.token


class MemoryTokenStore:
    """Tokens for the life of one process; renewals exclude each other between threads only."""

    def __init__(self, tokens: Mapping[str, Token] | None = None) -> None:
        self._tokens: dict[str, Token] = dict(tokens or {})
        self._lock = threading.Lock()

    def load(self, connection: str) -> Token | None:
        return self._tokens.get(connection)

    def refresh(self, connection: str, stale: str | None, renew: Renew) -> Token:
        with self._lock:
            current = self._tokens.get(connection)
            if current is not None and current.get("access_token") not in (None, stale):
                return current
            self._tokens[connection] = renew(current)
            return self._tokens[connection]


class BearerAuth(httpx.Auth):
    """Adds the connection's token to requests, and renews it when the vendor answers 401.

    The store decides who renews: of many threads and processes that saw the same token refused, one does. A
    static token is never stored, so that a changed setting takes effect.
    """

    def __init__(self, connection: str, store: TokenStore, grant: Grant, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._store = MemoryTokenStore() if isinstance(grant, StaticToken) else store
        self._grant = grant
        self._clock = clock
        self._token: Token | None = None

    def token(self) -> Token:
        """The token to use now: the last known, the store's, or a new one."""
        token = self._token or self._store.load(self._connection)
        if token is None or not token.get("access_token"):
            return self._renew(None)
        if token.get("expires_at") is not None and float(token["expires_at"]) - _EARLY < self._clock():
            return self._renew(str(token["access_token"]))
        self._token = token
        return token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self.token()
        for left in reversed(range(_RENEWALS + 1)):
            request.headers["Authorization"] = f"Bearer {token['access_token']}"
            response = yield request
            if response.status_code != 401 or not left:
                return
            token = self._renew(str(token["access_token"]))

    def _renew(self, stale: str | None) -> Token:
        self._token = self._store.refresh(self._connection, stale, self._grant.renew)
        return self._token
