"""Who is logged in: access tokens, refresh tokens, authorization codes, and what each may see.

Not here: how a token is asked for (oauth.py, soap.py).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.settings import Settings

CODE_SECONDS = 15 * 60
ORG_PREFIX = "00D"


@dataclass(slots=True)
class Session:
    """One access token in use."""

    token: str
    user_id: str
    username: str
    client: str
    scope: str
    last_used: float
    calls: int = 0
    hidden: dict[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grant:
    """A refresh token, or an authorization code with what it was asked with."""

    username: str
    client: str
    scope: str
    redirect_uri: str = ""
    challenge: str | None = None
    created: float = 0.0


@dataclass(slots=True)
class Sessions:
    """All tokens of the org. ``now`` gives seconds since the epoch."""

    org_id: str
    settings: Settings
    now: Callable[[], float]
    users: dict[str, str] = field(default_factory=dict)  # username -> user id
    sessions: dict[str, Session] = field(default_factory=dict)
    refresh_tokens: dict[str, Grant] = field(default_factory=dict)
    codes: dict[str, Grant] = field(default_factory=dict)

    def open(
        self, username: str, client: str, scope: str = "api refresh_token", token: str | None = None
    ) -> Session:
        """A new session for a user of the org."""
        token = token or f"{self.org_id[:15]}!AQ{secrets.token_urlsafe(60)}"
        session = Session(token, self.users[username], username, client, scope, self.now())
        self.sessions[token] = session
        return session

    def authenticate(self, header: str) -> Session:
        """The session of an Authorization header. Counts the call. Raises INVALID_SESSION_ID (401)."""
        scheme, _, token = header.partition(" ")
        session = self.sessions.get(token.strip()) if scheme.lower() in {"bearer", "oauth"} else None
        if session is None:
            raise expired()
        limit = self.settings.session_calls
        if self.now() - session.last_used > self.settings.session_seconds or (
            limit is not None and session.calls >= limit
        ):
            del self.sessions[session.token]
            raise expired()
        session.calls += 1
        session.last_used = self.now()
        return session

    def masks(self, session: Session) -> dict[str, frozenset[str]]:
        """Object -> lower-case names of the fields that this session's user may not see."""
        hidden = {
            name: frozenset(f.lower() for f in fields)
            for name, fields in self.settings.hidden_fields.get(session.username, {}).items()
        }
        for name, fields in session.hidden.items():
            hidden[name] = hidden.get(name, frozenset()) | fields
        return hidden

    def grant_refresh(self, grant: Grant, token: str | None = None) -> str:
        """A refresh token; one too many for this user and app silently revokes the oldest."""
        mine = [
            t
            for t, g in self.refresh_tokens.items()
            if (g.username, g.client) == (grant.username, grant.client)
        ]
        for old in mine[: max(0, len(mine) + 1 - self.settings.max_refresh_tokens)]:
            del self.refresh_tokens[old]
        token = token or f"5Aep861{secrets.token_urlsafe(56)}"
        self.refresh_tokens[token] = grant
        return token

    def grant_code(self, grant: Grant) -> str:
        code = f"aPrx{secrets.token_urlsafe(48)}"
        self.codes[code] = grant
        return code

    def revoke(self, token: str) -> bool:
        """Kill an access token, or a refresh token with the access tokens of its user and app."""
        if self.sessions.pop(token, None) is not None:
            return True
        grant = self.refresh_tokens.pop(token, None)
        if grant is None:
            return False
        for session in list(self.sessions.values()):
            if (session.username, session.client) == (grant.username, grant.client):
                del self.sessions[session.token]
        return True


def expired() -> ApiError:
    return ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")
