"""What each kind of CRM adds to a connection file: hosts, versions, ways to log in.

A kind is one model; `KINDS` lists them. The keys that all kinds share are in `models.py`. What the connectors do
with the settings is theirs; secrets reach them as references to environment variables.
"""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from crm_sync.mapping.limits import Strict
from crm_sync.mapping.models import ConnectionModel
from crm_sync.mapping.nodes import Path
from crm_sync.mapping.values import BaseUrl, FilePath, Secret, Setting, Switch, count, natural, wrong


def _matching(pattern: str, message: str) -> Any:
    """A text of this pattern; numbers without quotes are fine (`62.0`)."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise wrong(message)
        return value

    return Annotated[
        str,
        AfterValidator(check),
        WithJsonSchema({"type": ["string", "number"], "pattern": f"^({pattern})$"}),
    ]


_SalesforceVersion = _matching(r"[1-9][0-9]\.0", 'must be a Salesforce API version such as "62.0"')
_HubSpotVersion = _matching(
    r"v3|20[0-9]{2}-(03|09)",
    'must be "v3" or the month of a HubSpot API version, such as "2026-03" or "2026-09"',
)
_PortalId = _matching(r"[0-9]{1,18}", "must be the number of the account (Hub ID)")
_CHECK = "Look at records right before they are updated: what somebody changed since it was last read is not overwritten."
_CLIENT_ID = "Id of the connected app."
_CLIENT_SECRET = "Secret of the connected app."  # noqa: S105 - a description


# --- Salesforce


class SalesforceRefreshToken(Strict):
    """A user has connected the account; the refresh token stands for that login."""

    grant: Literal["refresh_token"]
    client_id: Setting = Field(description=_CLIENT_ID)
    client_secret: Secret | None = Field(None, description=f"{_CLIENT_SECRET} Some apps have none.")
    refresh_token: Secret = Field(
        description="The first refresh token; rotated ones are kept, encrypted, in Postgres."
    )


class SalesforceJwtBearer(Strict):
    """A certificate that was uploaded to the connected app stands for the login; nobody has to be there."""

    grant: Literal["jwt_bearer"]
    client_id: Setting = Field(description=_CLIENT_ID)
    username: Setting = Field(description="The Salesforce user to act as.")
    private_key: Secret | None = Field(
        None, description="The private key (PEM). Either this or `private_key_file`."
    )
    private_key_file: FilePath | None = Field(None, description="File with the private key (PEM).")


class SalesforceClientCredentials(Strict):
    """The connected app itself logs in, as the user that its policies name. Needs `host` (My Domain)."""

    grant: Literal["client_credentials"]
    client_id: Setting = Field(description=_CLIENT_ID)
    client_secret: Secret = Field(description=_CLIENT_SECRET)


class SalesforceAccessToken(Strict):
    """A token that somebody got elsewhere; it lasts as long as a session and is not renewed. For trying things out."""

    grant: Literal["access_token"]
    access_token: Secret = Field(description="The access token.")
    instance_url: BaseUrl | None = Field(None, description="Host that the token belongs to. Default: `host`.")


SalesforceAuth = Annotated[
    SalesforceRefreshToken | SalesforceJwtBearer | SalesforceClientCredentials | SalesforceAccessToken,
    Field(discriminator="grant"),
]


class SalesforceConnection(ConnectionModel):
    """A Salesforce org."""

    default_external_id: ClassVar[str | None] = "crm_sync_id__c"
    has_record_types: ClassVar[bool] = True
    limit_keys: ClassVar[frozenset[str]] = ConnectionModel.limit_keys | {"jobs", "requests"}
    vendor_name: ClassVar[re.Pattern[str]] = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

    kind: Literal["salesforce"] = Field(description="Which CRM.")
    environment: Literal["production", "sandbox"] = Field(
        "production", description="Which login host, unless `host` is given."
    )
    host: BaseUrl | None = Field(
        None, description="The org's own host (My Domain), instead of the common login host."
    )
    api_version: _SalesforceVersion = Field(  # type: ignore[valid-type]
        "62.0", description="Version of the API."
    )
    auth: SalesforceAuth = Field(description="How to log in.")
    bulk_query_above: count(0, 1_000_000_000) = Field(  # type: ignore[valid-type]
        2000, description="Reads of more records than this use Bulk API 2.0."
    )
    bulk_write_above: count(0, 1_000_000_000) = Field(  # type: ignore[valid-type]
        2000, description="Writes of more records than this use Bulk API 2.0."
    )
    check_before_write: Switch = Field(True, description=f"{_CHECK} One call for 2,000 records.")
    assignment_rules: Switch = Field(
        False,
        description="Let the org's assignment rules choose the owner of accounts, cases and leads that are created or"
        " updated by REST. Bulk API jobs run none.",
    )
    page_size: count(200, 2000) | None = Field(  # type: ignore[valid-type]
        None, description="Records per page of a query. Default: Salesforce's own."
    )
    ca_bundle: FilePath | None = Field(
        None, description="File with certificate authorities to trust beside the usual ones."
    )

    def complaints(self) -> list[tuple[Path, str]]:
        if isinstance(self.auth, SalesforceJwtBearer):
            given = [self.auth.private_key, self.auth.private_key_file]
            if given.count(None) != 1:
                return [(("auth",), "give either private_key or private_key_file")]
        if isinstance(self.auth, SalesforceClientCredentials) and self.host is None:
            return [(("auth", "grant"), "client_credentials only works on the org's own host; give host too")]
        if (
            isinstance(self.auth, SalesforceAccessToken)
            and self.host is None
            and self.auth.instance_url is None
        ):
            return [(("auth",), "needs instance_url (or host): the host that the token belongs to")]
        return []


# --- HubSpot


class HubSpotAccessToken(Strict):
    """The token of a private app, or a service key."""

    grant: Literal["access_token"]
    access_token: Secret = Field(description="The token (begins with pat-).")


class HubSpotRefreshToken(Strict):
    """A user has connected the account to a public app; the refresh token stands for that login."""

    grant: Literal["refresh_token"]
    client_id: Setting = Field(description="Id of the app.")
    client_secret: Secret = Field(description="Secret of the app; it also proves that webhooks are genuine.")
    refresh_token: Secret = Field(description="The refresh token.")


HubSpotAuth = Annotated[HubSpotAccessToken | HubSpotRefreshToken, Field(discriminator="grant")]


class HubSpotConnection(ConnectionModel):
    """A HubSpot account (portal)."""

    default_external_id: ClassVar[str | None] = "crm_sync_id"
    has_associations: ClassVar[bool] = True
    limit_keys: ClassVar[frozenset[str]] = ConnectionModel.limit_keys | {"search"}
    vendor_name: ClassVar[re.Pattern[str]] = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

    kind: Literal["hubspot"] = Field(description="Which CRM.")
    base_url: BaseUrl = Field("https://api.hubapi.com", description="Host of the API.")
    api_version: _HubSpotVersion = Field(  # type: ignore[valid-type]
        "2026-03", description='Version of the API: "2026-03", "2026-09" or "v3".'
    )
    auth: HubSpotAuth = Field(description="How to log in.")
    search_lag: count(0, 3600) = Field(  # type: ignore[valid-type]
        60,
        description="Seconds that HubSpot's search index may be behind; so long afterwards it is asked again.",
    )
    associations_every: count(1, 168) | None = Field(  # type: ignore[valid-type]
        None,
        description="Hours within which the associations of every linked record are looked at: changing one does not move"
        " a record's modification time. One call for 1,000 records and association. Default: full reads only.",
    )
    check_before_write: Switch = Field(True, description=f"{_CHECK} One call for 100 records.")
    webhook_secret: Secret | None = Field(
        None, description="Secret that proves that a webhook is genuine. Default: `auth.client_secret`."
    )
    portal_id: _PortalId | None = Field(  # type: ignore[valid-type]
        None, description="Number of the account; webhooks of other accounts are left alone."
    )
    ca_bundle: FilePath | None = Field(
        None, description="File with certificate authorities to trust beside the usual ones."
    )


# --- memory


class MemoryConnection(ConnectionModel):
    """A CRM that lives in the memory of one process: for tests and for learning."""

    default_external_id: ClassVar[str | None] = "crm_sync_id"
    has_associations: ClassVar[bool] = True
    limit_keys: ClassVar[frozenset[str]] = frozenset()
    has_record_types: ClassVar[bool] = True

    kind: Literal["memory"] = Field(description="Which CRM.")
    settings: Annotated[dict[str, Any], BeforeValidator(natural)] = Field(
        default_factory=dict, alias="options", description="Whatever the memory connector takes."
    )

    def options(self) -> dict[str, Any]:
        return dict(self.settings)


KINDS: dict[str, type[ConnectionModel]] = {
    "salesforce": SalesforceConnection,
    "hubspot": HubSpotConnection,
    "memory": MemoryConnection,
}
