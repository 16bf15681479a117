"""Whether an organisation can be reached, as whom, and what is left of its allowances: for `crm-sync check`."""

import logging
from collections.abc import Mapping
from typing import Any

from crm_sync.connectors.crm import Health
from crm_sync.connectors.oauth import BearerAuth
from crm_sync.connectors.salesforce.api import Api
from crm_sync.core.errors import CrmError

log = logging.getLogger(__name__)

_ALLOWANCES = {
    "daily calls left": "DailyApiRequests",
    "daily bulk query jobs left": "DailyBulkV2QueryJobs",
    "daily bulk batches left": "DailyBulkApiBatches",
}


def check(api: Api, auth: BearerAuth) -> Health:
    """One look, by two calls."""
    try:
        allowances = api.get("limits", family="check")
        user = _user(api)
    except CrmError as error:
        return Health(ok=False, account="", user="", detail=api.transport.said, problems=(str(error),))
    token = auth.token()
    host = str(token["instance_url"]).partition("://")[2]
    account = str(user.get("organization_id") or token.get("organisation") or host)
    name = str(user.get("preferred_username") or "")
    return Health(ok=True, account=f"{account} at {host}", user=name, detail=_left(allowances))


def _user(api: Api) -> Mapping[str, Any]:
    """Who we are, as far as the token's scope lets us know."""
    try:
        return dict(api.get("/services/oauth2/userinfo", family="check"))
    except CrmError as error:
        who = api.transport.connection
        log.info("%s: the token does not tell its user (%s)", who, error.code or error.status)
        return {}


def _left(allowances: Mapping[str, Any]) -> dict[str, str]:
    """What is left of the allowances that we use, for people."""
    found = {label: allowances.get(name) for label, name in _ALLOWANCES.items()}
    return {label: f"{of['Remaining']} of {of['Max']}" for label, of in found.items() if of}
