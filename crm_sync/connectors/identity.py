"""Which account a login leads to: what has to stay the same as long as a connection is synced."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """account: the vendor's own id of the organisation or portal, the same for every login to it. login: a digest of the
    login, if it can only ever lead to this account; else empty."""

    account: str
    login: str = ""


def digest(*parts: str) -> str:
    """A short name for a login, from which nobody can get the login back (its parts are long and random)."""
    return hashlib.sha256("\n".join(("crm_sync login", *parts)).encode()).hexdigest()[:24]
