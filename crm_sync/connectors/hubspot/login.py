"""How a connection logs in: by the token of a private app, or as a user who has connected a public one."""

from crm_sync.connectors import identity
from crm_sync.connectors.build import Options
from crm_sync.connectors.http import Transport, TransportSettings
from crm_sync.connectors.oauth import BearerAuth, Grant, RefreshTokenGrant, StaticToken, TokenEndpoint


def grant(name: str, options: Options, token_url: str, settings: TransportSettings) -> Grant:
    """The grant that the connection file describes. Raises ConfigError."""
    kind = options.get("auth.grant", "access_token")
    if kind == "access_token":
        return StaticToken(name, {"access_token": str(options.need("auth.access_token"))})
    if kind != "refresh_token":
        raise options.wrong("auth.grant", "must be access_token or refresh_token")
    endpoint = TokenEndpoint(
        connection=name,
        url=token_url,
        client_id=str(options.need("auth.client_id")),
        client_secret=str(options.need("auth.client_secret")),
        settings=settings,
    )
    return RefreshTokenGrant(endpoint, options.get("auth.refresh_token"))


def digest(transport: Transport) -> str:
    """A short name for the login: a private app's token, or what an installation of a public app is renewed by. Either
    belongs to one account for good."""
    auth = transport.auth
    token = auth.token() if isinstance(auth, BearerAuth) else {}
    return identity.digest(str(token.get("refresh_token") or token.get("access_token") or ""))
