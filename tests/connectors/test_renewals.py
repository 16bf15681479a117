"""A request whose token is refused more than once."""

from dataclasses import replace

import pytest

from crm_sync.connectors.oauth import MemoryTokenStore
from crm_sync.core.errors import ErrorClass
from tests.connectors.server import Answer
from tests.connectors.test_oauth import Vendor, call, refused, transport


def test_a_token_that_another_process_stored_may_be_as_old_as_ours(server, settings):
    vendor = Vendor(server)
    store = MemoryTokenStore({"acme": {"access_token": "old", "refresh_token": "refresh-0"}})
    client = transport(server, settings, store)
    client._client.auth._token = {"access_token": "older"}
    call(client)
    assert vendor.renewals == 1
    assert [asked.headers.get("Authorization") for asked in server.asked if asked.path == "/api"] == [
        "Bearer older",
        "Bearer old",
        "Bearer access-1",
    ]
    client.close()


@pytest.mark.parametrize("times", [2, 3])
def test_a_token_that_expires_at_once_is_renewed_again(server, settings, times):
    vendor = Vendor(server)
    expiries = iter(range(times))

    def answer(asked):
        if asked.path == "/api" and next(expiries, None) is not None:
            return Answer(401, [])
        return vendor(asked)

    server.answer = answer
    client = transport(server, settings, MemoryTokenStore())
    call(client)
    assert vendor.renewals == times + 1
    client.close()


def test_a_vendor_that_refuses_every_token_is_believed_in_the_end(server, settings):
    vendor = Vendor(server)
    server.answer = lambda asked: vendor(asked) if asked.path == "/token" else Answer(401, [])
    client = transport(server, settings, MemoryTokenStore())
    assert refused(client).error_class is ErrorClass.AUTH
    assert vendor.renewals == 4
    client.close()


def test_a_token_is_waited_for_longer_than_other_answers(server, settings):
    """The refresh token that was given up is worth nothing any more: with the answer the login would be lost."""
    vendor = Vendor(server)
    server.answer = lambda asked: replace(vendor(asked), delay=0.4 if asked.path == "/token" else 0.0)
    client = transport(server, replace(settings, timeout=0.2), MemoryTokenStore())
    call(client)
    assert vendor.renewals == 1
    client.close()
