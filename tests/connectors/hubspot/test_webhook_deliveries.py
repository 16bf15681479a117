"""Webhooks as the simulator delivers them: signed, repeated, mixed with those of other accounts."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import pytest

from crm_sync.core.errors import CrmError, ErrorClass
from tests.connectors.hubspot.conftest import hasty


@pytest.fixture
def receiver():
    """The address of a server that takes every delivery, and what it took: (URL, headers, body)."""
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((f"{address}{self.path}", dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield address, taken
    server.shutdown()
    thread.join()
    server.server_close()


def subscribe(simulator, url, *event_types):
    crm = hasty(simulator)
    base = f"/webhooks/v3/{simulator.info['app_id']}"
    calls = [("PUT", f"{base}/settings", {"targetUrl": url})]
    calls += [
        ("POST", f"{base}/subscriptions", {"eventType": event_type, "active": True})
        for event_type in event_types
    ]
    for method, path, body in calls:
        crm._transport.request(method, path, family="test", idempotent=True, json=body)
    crm.close()


def test_deliveries_are_believed_and_lead_to_the_records(joined, calm, receiver):
    address, taken = receiver
    calm.control(
        "settings", {"webhook_duplicates": 1.0, "webhook_foreign_events": 1.0, "webhook_reorder": True}
    )
    subscribe(calm, f"{address}/hook%2Fhubspot?x=%20", "contact.creation", "contact.deletion")
    email = f"{uuid4().hex}@example.com"
    crm_id = calm.control("edit", {"object": "contacts", "properties": {"email": email}})["id"]
    calm.control("do/archive", {"object": "contacts", "id": crm_id})
    crm = joined(webhook_secret=calm.info["webhook_secret"])
    hints = []
    deadline = time.monotonic() + 10
    while len(hints) < 6 and time.monotonic() < deadline:
        time.sleep(0.05)
        hints = [
            h for url, headers, body in list(taken) for h in crm.parse_webhook("POST", url, headers, body)
        ]
    assert {(h.entity_object, h.crm_id, h.change) for h in hints} == {
        ("contacts", crm_id, "create"),
        ("contacts", crm_id, "delete"),
    }
    crm.check()  # now it knows which account it is
    ours = [h for url, headers, body in taken for h in crm.parse_webhook("POST", url, headers, body)]
    assert len(ours) < len(hints)
    assert len({h.event_id for h in ours}) == 2, "a repeated event is recognised"
    url, headers, body = taken[0]
    for forged in (
        ("POST", url, headers, body + b" "),
        ("POST", url + "&y", headers, body),
        ("PUT", url, headers, body),
    ):
        with pytest.raises(CrmError) as caught:
            crm.parse_webhook(*forged)
        assert caught.value.error_class is ErrorClass.AUTH


def test_a_delivery_is_fresh_by_the_clock_of_hubspot(joined, calm, receiver):
    address, taken = receiver
    subscribe(calm, f"{address}/hook", "company.creation")
    crm = joined(webhook_secret=calm.info["webhook_secret"])
    for skew in (-360.0, 360.0):  # seconds; five minutes is as old as a delivery may be
        taken.clear()
        calm.control("settings", {"clock_skew": skew})
        crm_id = calm.control("edit", {"object": "companies", "properties": {"name": "Early"}})["id"]
        crm.check()  # now it knows HubSpot's clock
        deadline = time.monotonic() + 10
        while not taken and time.monotonic() < deadline:
            time.sleep(0.05)
        url, headers, body = taken[0]
        assert [hint.crm_id for hint in crm.parse_webhook("POST", url, headers, body)] == [crm_id]
