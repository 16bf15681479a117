"""Logging in to an organisation: which host, which grant, and whose answers are believed.

Source: "OAuth Authorization Flows" of the Salesforce help; error texts are told apart in connectors/oauth_refusals.py.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crm_sync.connectors.build import Options
from crm_sync.connectors.http import TransportSettings
from crm_sync.connectors.oauth import (
    ClientCredentialsGrant,
    Grant,
    JwtBearerGrant,
    RefreshTokenGrant,
    StaticToken,
    TokenEndpoint,
)
from crm_sync.core.errors import CrmError, ErrorClass

PRODUCTION, SANDBOX = "https://login.salesforce.com", "https://test.salesforce.com"
_OURS = (".salesforce.com", ".force.com", ".salesforce.mil", ".cloudforce.com")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def login_host(options: Options) -> str:
    """The address that gives tokens: the configured host (My Domain), or the environment's.

    Raises ConfigError for anything but an https address (http is allowed on this machine).
    """
    configured = options.get("host")
    if configured is None:
        return SANDBOX if options.get("environment") == "sandbox" else PRODUCTION
    address = str(configured) if "://" in str(configured) else f"https://{configured}"
    parts = urlsplit(address)
    plain = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not parts.hostname or parts.username or parts.query or not (parts.scheme == "https" or plain):
        raise options.wrong("host", "must be a host name or an https address, such as acme.my.salesforce.com")
    return f"{parts.scheme}://{parts.netloc}"


def grant(name: str, options: Options, settings: TransportSettings) -> Grant:
    """The grant that the connection file asks for. Raises ConfigError for what is missing."""
    host = login_host(options)
    kind = options.get("auth.grant", "refresh_token")
    if kind == "access_token":
        instance = str(options.get("auth.instance_url", host))
        token = {"access_token": options.need("auth.access_token"), "instance_url": instance}
        return StaticToken(name, token)
    endpoint = TokenEndpoint(
        connection=name,
        url=f"{host}/services/oauth2/token",
        client_id=str(options.need("auth.client_id")),
        client_secret=options.get("auth.client_secret"),
        settings=settings,
        accept=accept(name, host),
    )
    match kind:
        case "refresh_token":
            return RefreshTokenGrant(endpoint, first=options.get("auth.refresh_token"))
        case "client_credentials":
            if host in {PRODUCTION, SANDBOX}:
                raise options.wrong("host", "client_credentials needs the My Domain host of the organisation")
            options.need("auth.client_secret")
            return ClientCredentialsGrant(endpoint)
        case "jwt_bearer":
            username = str(options.need("auth.username"))
            return JwtBearerGrant(endpoint, username, _audience(options, host), _private_key(options))
        case _:
            raise options.wrong(
                "auth.grant",
                f"{kind!r} is not one of refresh_token, jwt_bearer, client_credentials, access_token",
            )


def accept(name: str, host: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """What to keep of a token answer: where the API is, and whose organisation it is.

    The address is only believed if it belongs to Salesforce or is the configured host: the token will be sent there.
    """

    def keep(answer: Mapping[str, Any]) -> Mapping[str, Any]:
        instance = str(answer.get("instance_url") or "")
        if not trusted(instance, host):
            where = urlsplit(instance).hostname or "nothing"
            raise CrmError(
                ErrorClass.AUTH,
                f"{name}: the login names {where} as the organisation's address, which is neither Salesforce's nor "
                f"the configured host; set host to the organisation's My Domain address",
            )
        identity = urlsplit(str(answer.get("id") or "")).path.split("/")  # /id/<organisation>/<user>
        organisation = identity[2] if len(identity) == 4 else ""
        return {"instance_url": instance.rstrip("/"), "organisation": organisation}

    return keep


def organisation(token: Mapping[str, Any]) -> str:
    """The id of the organisation that a token is for, in its 15 characters; empty if nothing tells. A login's answer does,
    and so does a session id, which begins with it ("Session ID", Salesforce help)."""
    told = str(token.get("organisation") or "")
    if not told.startswith("00D"):
        session, mark, _ = str(token.get("access_token") or "").partition("!")
        told = session if mark and session.startswith("00D") else ""
    return told[:15]


def trusted(address: str, host: str) -> bool:
    """Whether a token may be sent to that address."""
    parts, own = urlsplit(address), urlsplit(host)
    if (parts.scheme, parts.netloc) == (own.scheme, own.netloc):
        return True
    name = parts.hostname or ""
    return parts.scheme == "https" and parts.username is None and name.endswith(_OURS)


def _audience(options: Options, host: str) -> str:
    sandbox = options.get("environment") == "sandbox" or host == SANDBOX or ".sandbox." in host
    return SANDBOX if sandbox else PRODUCTION


def _private_key(options: Options) -> str:
    inline = options.get("auth.private_key")
    if inline is not None:
        return str(inline).replace("\\n", "\n")  # environment files cannot hold line ends
    path = Path(str(options.need("auth.private_key_file"))).expanduser()
    try:
        return path.read_text()
    except OSError as error:
        raise options.wrong("auth.private_key_file", f"{path}: {error.strerror}") from error
