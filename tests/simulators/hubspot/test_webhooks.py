"""Webhooks: what is delivered, how it is signed, and what happens when nobody takes it."""

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from crm_sync.simulators.hubspot.webhooks import sign


class Receiver:
    """A real HTTP server that keeps what it is sent; ``status`` is what it answers, after ``delay`` seconds."""

    def __init__(self):
        self.requests, self.status, self.delay = [], 204, 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((dict(self.headers), body))
                time.sleep(outer.delay)
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?x=%2F1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def events(self):
        return [event for _, body in list(self.requests) for event in json.loads(body)]


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def subscribed(sim, api, receiver):
    """Subscriptions of the public app, delivered to the receiver."""
    base = f"/webhooks/v3/{sim.info['app_id']}"
    api.put(f"{base}/settings", json={"targetUrl": receiver.url, "throttling": {"maxConcurrentRequests": 10}})
    for kind in (
        "contact.creation",
        "contact.deletion",
        "contact.merge",
        "contact.associationChange",
        "contact.privacyDeletion",
    ):
        assert api.post(f"{base}/subscriptions", json={"eventType": kind, "active": True}).status_code == 201
    body = {"eventType": "contact.propertyChange", "propertyName": "firstname", "active": True}
    api.post(f"{base}/subscriptions", json=body)
    yield receiver
    for each in api.get(f"{base}/subscriptions").json()["results"]:
        api.delete(f"{base}/subscriptions/{each['id']}")


def until(condition, seconds=8.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def create(api, **properties):
    body = {"properties": {"email": f"{uuid.uuid4().hex}@w.example", **properties}}
    return int(api.post("/crm/v3/objects/contacts", json=body).json()["id"])


def test_what_is_delivered(sim, api, subscribed):
    made = create(api, firstname="Zoë", lastname="not subscribed")
    until(lambda: len(subscribed.events) >= 2)
    by_type = {e["subscriptionType"]: e for e in subscribed.events}
    changed = by_type["contact.propertyChange"]
    assert by_type["contact.creation"]["objectId"] == made
    assert (changed["propertyName"], changed["propertyValue"]) == ("firstname", "Zoë")
    assert changed["portalId"] == sim.info["portal_id"]
    assert changed["appId"] == sim.info["app_id"]
    assert changed["attemptNumber"] == 0
    assert changed["changeSource"] == "INTEGRATION"
    assert isinstance(changed["occurredAt"], int)


def test_signatures(sim, api, subscribed):
    create(api)
    until(lambda: subscribed.requests)
    headers, body = subscribed.requests[0]
    secret = sim.info["webhook_secret"].encode()
    assert headers["X-HubSpot-Signature-Version"] == "v1"
    assert headers["X-HubSpot-Signature"] == hashlib.sha256(secret + body).hexdigest()
    stamp = headers["X-HubSpot-Request-Timestamp"]
    uri = subscribed.url.replace("%2F", "/")
    expected = hmac.new(secret, b"POST" + uri.encode() + body + stamp.encode(), hashlib.sha256).digest()
    assert headers["X-HubSpot-Signature-v3"] == base64.b64encode(expected).decode()


def test_only_some_characters_are_decoded_before_signing():
    one = sign("s", "POST", "https://h.example/a%20b%3Fc", b"", 1)["X-HubSpot-Signature-v3"]
    assert one == sign("s", "POST", "https://h.example/a%20b?c", b"", 1)["X-HubSpot-Signature-v3"]
    assert one != sign("s", "POST", "https://h.example/a b?c", b"", 1)["X-HubSpot-Signature-v3"]


def test_batches_hold_at_most_a_hundred(api, subscribed):
    for _ in range(2):
        inputs = [
            {"properties": {"email": f"{uuid.uuid4().hex}@w.example", "firstname": "x"}} for _ in range(80)
        ]
        api.post("/crm/v3/objects/contacts/batch/create", json={"inputs": inputs})
    until(lambda: len(subscribed.events) >= 320)
    assert max(len(json.loads(body)) for _, body in subscribed.requests) <= 100


def test_merge_deletion_and_associations(sim, api, subscribed):
    one, two = create(api), create(api)
    company = api.post("/crm/v3/objects/companies", json={"properties": {"name": "x"}}).json()["id"]
    api.put(f"/crm/v4/objects/contacts/{one}/associations/companies/{company}",
            json=[{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}])  # fmt: skip
    api.post("/crm/v3/objects/contacts/merge", json={"primaryObjectId": one, "objectIdToMerge": two})
    api.post("/crm/v3/objects/contacts/gdpr-delete", json={"objectId": str(one)})
    until(
        lambda: (
            {e["subscriptionType"] for e in subscribed.events}
            >= {"contact.merge", "contact.privacyDeletion", "contact.deletion"}
        )
    )
    merged = next(e for e in subscribed.events if e["subscriptionType"] == "contact.merge")
    assert (merged["primaryObjectId"], merged["mergedObjectIds"], merged["newObjectId"]) == (one, [two], one)
    links = [e for e in subscribed.events if e["subscriptionType"] == "contact.associationChange"]
    assert [(e["associationType"], e["isPrimaryAssociation"]) for e in sorted(links, key=lambda e: e["isPrimaryAssociation"])] == [
        ("CONTACT_TO_COMPANY_UNLABELED", False), ("CONTACT_TO_COMPANY", True),
    ]  # fmt: skip


def test_duplicates_foreign_portals_and_disorder(api, subscribed, settings):
    settings(webhook_duplicates=1.0, webhook_foreign_events=1.0, webhook_reorder=True)
    create(api)
    until(lambda: len(subscribed.events) >= 3)
    ids = [e["eventId"] for e in subscribed.events]
    assert len(ids) > len(set(ids))
    assert len({e["portalId"] for e in subscribed.events}) == 2


def test_retries_with_fresh_stamps_ten_times_and_no_more(sim, api, subscribed, settings):
    settings(webhook_delay=0)
    subscribed.status = 400
    create(api)
    until(lambda: len(subscribed.requests) == 1)
    for attempt in range(1, 11):
        sim.control("clock", {"advance": 50_000})
        until(lambda wanted=attempt: len(subscribed.requests) == wanted + 1)
    assert [e["attemptNumber"] for e in subscribed.events] == list(range(11))
    stamps = [int(headers["X-HubSpot-Request-Timestamp"]) for headers, _ in subscribed.requests]
    assert len(set(stamps)) == 11
    until(lambda: sim.control("webhooks")["waiting"] == 0)


def test_a_slow_receiver_counts_as_a_failure(sim, api, subscribed, settings):
    settings(webhook_timeout=0.3)
    subscribed.delay = 1.0
    create(api)
    until(lambda: sim.control("webhooks")["deliveries"][-1]["outcome"] in {"ReadTimeout", "TimeoutError"})
    until(lambda: sim.control("webhooks")["waiting"] == 1)
    subscribed.delay = 0.0
    sim.control("clock", {"advance": 100})
    until(lambda: [e["attemptNumber"] for e in subscribed.events] == [0, 1])


def test_object_events_name_the_type(sim, api, receiver):
    base = f"/app-webhooks/2026-09/{sim.info['app_id']}"
    api.put(f"{base}/settings", json={"targetUrl": receiver.url})
    made = api.post(
        f"{base}/subscriptions", json={"eventType": "object.creation", "objectTypeId": "0-46", "active": True}
    ).json()
    api.post("/crm/v3/objects/notes", json={"properties": {"hs_timestamp": "1764000000000"}})
    until(lambda: receiver.events)
    assert (receiver.events[0]["objectTypeId"], receiver.events[0]["subscriptionType"]) == (
        "0-46",
        "object.creation",
    )
    api.patch(f"{base}/subscriptions/{made['id']}", json={"active": False})
    api.delete(f"{base}/subscriptions/{made['id']}")


@pytest.mark.parametrize(
    "body",
    [{"eventType": "contact.jump"}, {"eventType": "contact.propertyChange"}, {"eventType": "product.associationChange"},
     {"eventType": "company.propertyChange", "propertyName": "hs_lastmodifieddate"}, {"eventType": "object.creation"}],
)  # fmt: skip
def test_bad_subscriptions(sim, api, body):
    assert api.post(f"/webhooks/v3/{sim.info['app_id']}/subscriptions", json=body).status_code == 400
