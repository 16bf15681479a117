"""OAuth tokens in Postgres: encrypted, one row a connection, renewed by one process at a time."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from crm_sync.connectors.crm import Renew
from crm_sync.core.errors import SyncError
from crm_sync.hub.connect import connect


class PostgresTokenStore:
    """Implements `connectors.crm.TokenStore`. `keys` are Fernet keys: the first encrypts, all decrypt.

    Each row's plaintext names its connection, so that rows that were swapped in the database do not decrypt to
    somebody else's tokens. Every call uses a connection of its own: a renewal must be committed whatever the run's
    transaction does (a dry run too uses up a rotating refresh token).
    """

    def __init__(self, url: str, keys: Sequence[bytes]) -> None:
        if not keys:
            raise SyncError(
                "no key for tokens at rest: set CRM_SYNC_SECRET_KEY or let CRM_SYNC_HOME hold the key file"
            )
        self._url = url
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def load(self, connection: str) -> Mapping[str, Any] | None:
        with connect(self._url) as conn:
            row = conn.execute("select sealed from sync.token where connection = %s", [connection]).fetchone()
        return None if row is None else self._open(connection, row[0])

    def refresh(self, connection: str, stale: str | None, renew: Renew) -> Mapping[str, Any]:
        with connect(self._url) as conn:
            conn.execute(
                "select pg_advisory_xact_lock(hashtextextended('crm_sync token ' || %s, 0))", [connection]
            )
            row = conn.execute("select sealed from sync.token where connection = %s", [connection]).fetchone()
            current = None if row is None else self._open(connection, row[0])
            if current is not None and current.get("access_token") not in (None, stale):
                return current
            renewed = renew(current)
            sealed = self._fernet.encrypt(
                json.dumps({"connection": connection, "tokens": dict(renewed)}).encode()
            )
            conn.execute(
                "insert into sync.token (connection, sealed) values (%s, %s) on conflict (connection)"
                " do update set sealed = excluded.sealed, saved_at = clock_timestamp()",
                [connection, sealed],
            )
        return renewed

    def _open(self, connection: str, sealed: bytes) -> Mapping[str, Any]:
        try:
            content = json.loads(self._fernet.decrypt(bytes(sealed)))
        except InvalidToken:
            raise SyncError(
                f"the stored tokens of connection {connection} cannot be decrypted with the present keys:"
                " restore the earlier CRM_SYNC_SECRET_KEY, or delete the row in sync.token and connect again"
            ) from None
        if content["connection"] != connection:
            raise SyncError(
                f"the stored tokens of connection {connection} belong to another connection; connect again"
            )
        tokens: Mapping[str, Any] = content["tokens"]
        return tokens
