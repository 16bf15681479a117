"""Tokens at rest: encrypted, bound to their connection, renewed by one at a time."""

import threading
from collections.abc import Mapping
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet

from crm_sync.core.errors import SyncError
from crm_sync.hub.migrate import upgrade
from crm_sync.hub.tokens import PostgresTokenStore

KEY, OTHER = Fernet.generate_key(), Fernet.generate_key()


@pytest.fixture
def url(fresh_database_url: str) -> str:
    upgrade(fresh_database_url)
    return fresh_database_url


def _give(token: str) -> Any:
    return lambda current: {"access_token": token, "refresh_token": "r"}


def test_what_was_renewed_is_loaded_again_by_anybody_with_the_key(url: str) -> None:
    assert PostgresTokenStore(url, [KEY]).load("acme") is None
    PostgresTokenStore(url, [KEY]).refresh("acme", None, _give("one"))
    assert PostgresTokenStore(url, [KEY]).load("acme") == {"access_token": "one", "refresh_token": "r"}


def test_nothing_readable_is_stored(url: str) -> None:
    PostgresTokenStore(url, [KEY]).refresh("acme", None, _give("very-secret"))
    with psycopg.connect(url) as conn:
        (sealed,) = conn.execute("select sealed from sync.token").fetchone() or (b"",)
    assert b"very-secret" not in bytes(sealed)


def test_a_key_can_be_replaced_while_the_old_one_still_decrypts(url: str) -> None:
    PostgresTokenStore(url, [KEY]).refresh("acme", None, _give("one"))
    assert PostgresTokenStore(url, [OTHER, KEY]).load("acme") is not None
    PostgresTokenStore(url, [OTHER, KEY]).refresh("acme", "one", _give("two"))
    assert PostgresTokenStore(url, [OTHER]).load("acme") == {"access_token": "two", "refresh_token": "r"}


def test_another_key_is_told_what_to_do_and_no_secret(url: str) -> None:
    PostgresTokenStore(url, [KEY]).refresh("acme", None, _give("very-secret"))
    with pytest.raises(SyncError, match="cannot be decrypted") as failure:
        PostgresTokenStore(url, [OTHER]).load("acme")
    assert "very-secret" not in str(failure.value)
    assert failure.value.__cause__ is None


def test_rows_that_were_swapped_are_refused(url: str) -> None:
    store = PostgresTokenStore(url, [KEY])
    store.refresh("production", None, _give("p"))
    store.refresh("sandbox", None, _give("s"))
    with psycopg.connect(url) as conn:
        conn.execute(
            "update sync.token set sealed = (select sealed from sync.token where connection = 'sandbox')"
        )
    with pytest.raises(SyncError, match="belong to another connection"):
        store.load("production")


def test_without_a_key_nothing_is_stored(url: str) -> None:
    with pytest.raises(SyncError, match="CRM_SYNC_SECRET_KEY"):
        PostgresTokenStore(url, [])


def test_whoever_comes_late_gets_what_the_first_one_renewed(url: str) -> None:
    """Ten threads find their token refused at once: the vendor sees one refresh, as a rotating one demands."""
    PostgresTokenStore(url, [KEY]).refresh("acme", None, _give("stale"))
    renewals: list[str] = []
    found: list[str] = []

    def renew(current: Mapping[str, Any] | None) -> Mapping[str, Any]:
        renewals.append((current or {})["access_token"])
        return {"access_token": "fresh"}

    def work() -> None:
        found.append(PostgresTokenStore(url, [KEY]).refresh("acme", "stale", renew)["access_token"])

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert renewals == ["stale"]
    assert found == ["fresh"] * 10


def test_a_renewal_that_fails_changes_nothing(url: str) -> None:
    store = PostgresTokenStore(url, [KEY])
    store.refresh("acme", None, _give("one"))

    def fail(_current: Mapping[str, Any] | None) -> Mapping[str, Any]:
        raise SyncError("the vendor said no")

    with pytest.raises(SyncError, match="said no"):
        store.refresh("acme", "one", fail)
    assert (store.load("acme") or {})["access_token"] == "one"
