"""Who may call: apps, tokens, scopes (HubSpot's OAuth, private apps and service keys).

Here: the register of grants. Not here: the OAuth endpoints (oauth.py) and the check on every request (gate.py).
"""

import secrets
from dataclasses import dataclass, field
from typing import Literal

OBJECTS = (
    "contacts",
    "companies",
    "deals",
    "leads",
    "custom",
    "owners",
    "line_items",
    "products",
    "appointments",
)
ALL_SCOPES = frozenset(
    {f"crm.objects.{name}.{right}" for name in OBJECTS for right in ("read", "write")}
    | {f"crm.schemas.{name}.{right}" for name in OBJECTS for right in ("read", "write")}
    | {
        "tickets",
        "e-commerce",
        "crm.export",
        "crm.import",
        "oauth",
        "account-info.security.read",
        "sales-email-read",
    }
)
WEBHOOKS_JOURNAL = "developer.webhooks_journal.read"


@dataclass(slots=True)
class App:
    """An app that users install; private apps have no client id of their own to log in with."""

    id: int
    name: str
    client_id: str
    client_secret: str
    private: bool = False


@dataclass(slots=True)
class Grant:
    """What a token stands for; ``expires`` is in ms, None for never."""

    app: App
    kind: Literal["access", "refresh", "code"]
    scopes: frozenset[str]
    expires: int | None = None
    redirect_uri: str | None = None
    challenge: str | None = None
    used: bool = False
    family: str = ""


def _uuid_like() -> str:
    raw = secrets.token_hex(16)
    return "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))


@dataclass(slots=True)
class Access:
    """All apps and tokens. Tokens are random; the clock is the caller's."""

    apps: list[App] = field(default_factory=list)
    tokens: dict[str, Grant] = field(default_factory=dict)
    developer_key: str = field(default_factory=_uuid_like)

    def add_app(self, name: str, *, private: bool = False) -> App:
        app = App(1_200_000 + len(self.apps), name, _uuid_like(), _uuid_like(), private)
        self.apps.append(app)
        return app

    def private_token(self, app: App, scopes: frozenset[str] = ALL_SCOPES) -> str:
        """A token of a private app or a service key: it does not expire."""
        token = f"pat-na1-{_uuid_like()}"
        self.tokens[token] = Grant(app, "access", scopes)
        return token

    def issue(
        self,
        app: App,
        kind: Literal["access", "refresh", "code"],
        scopes: frozenset[str],
        expires: int | None = None,
    ) -> str:
        """A fresh token. Access tokens are long on purpose: real ones pass 300 characters."""
        token = secrets.token_urlsafe(240) if kind == "access" else f"na1-{_uuid_like()}"
        self.tokens[token] = Grant(app, kind, scopes, expires)
        return token

    def app_by_client(self, client_id: str) -> App | None:
        return next((app for app in self.apps if not app.private and app.client_id == client_id), None)

    def app_by_id(self, number: str) -> App | None:
        return next((app for app in self.apps if str(app.id) == number), None)
